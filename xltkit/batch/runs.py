"""What a batch will do: the runs of ``notebooks/runs.toml``, checked before anything starts.

A run is done when its ``result.json`` is whole and belongs to this notebook, these parameters and
these versions. What papermill writes into a notebook is never asked: after a dead kernel it says
that every cell was completed.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from xltkit.batch.parameters import ParameterError, check
from xltkit.files import root as root_folder
from xltkit.files import versions
from xltkit.keys import digest, unknown
from xltkit.studies.saved import ResultError, record

FIELDS = {
    "notebook": str,
    "question": str,
    "minutes": (int, float),
    "parameters": dict,
    "long": bool,  # left out of a full run of everything unless it is named
    "real": bool,  # made of the block [real]; never started unless it is named
}
OPTIONAL = {"minutes": 0, "parameters": {}, "long": False, "real": False}
NAME = re.compile(r"\w[\w-]*")  # of a run
RESERVED = ("index", "interactive", "published", "smoke", "store")  # other things in outputs/


class BatchError(ValueError):
    """Something about the runs that were asked for is wrong; nothing was started."""


@dataclass(frozen=True)
class PlannedRun:
    """One run with everything settled; ``todo`` says why it has to run, empty when it is done."""

    name: str
    notebook: Path
    minutes: float
    injected: dict[str, Any]  # parameters that papermill sets
    parameters: dict[str, Any]  # all of them, with the notebook's own defaults
    base: Path  # outputs, or outputs/smoke: results of the two kinds never mix
    run_id: str = ""
    todo: str = ""

    @property
    def folder(self) -> Path:
        """Where the notebook itself writes its result."""
        return self.base / self.name

    def file(self, ending: str) -> Path:
        """A file of this run beside its folder: ``.ipynb``, ``.html``, ``.failed.ipynb``, ..."""
        return self.base / f"{self.name}{ending}"


def read_runs(root: Path) -> dict[str, dict[str, Any]]:
    """The blocks of ``notebooks/runs.toml`` by name, those that ``[real]`` stands for at the end.

    Raises:
        BatchError: every problem of the file, a line each.
    """
    path = root / "notebooks" / "runs.toml"
    try:
        runs = tomllib.loads(path.read_text(encoding="utf-8"))
        runs |= _real_runs(runs.pop("real", {}), runs)
    except FileNotFoundError:
        raise BatchError(f"{path} is missing; run this inside the repository.") from None
    except tomllib.TOMLDecodeError as error:
        raise BatchError(f"{path} is not valid TOML: {error}.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise BatchError(
            f"{path}: [real] has encoders, parameters and questions, whose blocks are named like "
            f"runs and hold parameters by suite; here: {type(error).__name__} {error}."
        ) from error
    problems = []
    for name, block in runs.items():
        if not isinstance(block, dict) or not NAME.fullmatch(name) or name in RESERVED:
            problems.append(f"[{name}] cannot be a run; no run is called {', '.join(RESERVED)}.")
            continue
        runs[name] = block = OPTIONAL | block
        for field in FIELDS.keys() | block.keys():
            if field not in FIELDS:
                problems.append(f"[{name}] {unknown('field', field, FIELDS)}")
            elif not isinstance(block.get(field), FIELDS[field]):
                problems.append(f"[{name}] has no {field}, or one of the wrong type.")
    if problems:
        raise BatchError(f"{path}:\n" + "\n".join(sorted(problems)))
    return runs


def _real_runs(block: Mapping[str, Any], runs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The runs that ``[real]`` stands for: each question, with each encoder, on each suite."""
    blocks = {}
    for name, suites in block.get("questions", {}).items():
        base = {"notebook": runs[name]["notebook"], "question": runs[name]["question"]}
        for short, encoder in block["encoders"].items():
            for suite, special in suites.items():
                parameters = {"suite": suite, "encoder": encoder, **block["parameters"], **special}
                blocks[f"{name}-{short}-{suite}"] = {**base, "parameters": parameters, "real": True}
    return blocks


def select(names: Sequence[str], runs: Mapping[str, Any], smoke: bool = False) -> list[str]:
    """The runs with these names, each once; without a name all that are neither long nor real.

    A name may be a pattern (``10_*-xtreme``); ``real`` stands for all real runs. A smoke run of
    everything takes the long ones, too.
    """
    real = [name for name, block in runs.items() if block["real"]]
    if not names:
        return [n for n, block in runs.items() if n not in real and (smoke or not block["long"])]
    chosen: list[str] = []
    for name in names:
        matching = real if name == "real" else [run for run in runs if fnmatchcase(run, name)]
        if not matching:
            raise BatchError(unknown("run", name, runs))
        chosen += matching
    return list(dict.fromkeys(chosen))


def plan(
    names: Sequence[str] = (),
    *,
    smoke: bool = False,
    overrides: Mapping[str, Any] | None = None,
    root: Path | None = None,
    outputs: Path | None = None,
) -> list[PlannedRun]:
    """Check everything about the chosen runs, and say which have to run and why.

    Raises:
        BatchError: every problem of every run, a line each.
    """
    root = root or root_folder()
    outputs = (outputs or root / "outputs").resolve()
    overrides = dict(overrides or {})
    runs = read_runs(root)
    planned = []
    problems = []
    for name in select(names, runs, smoke):
        notebook = root / "notebooks" / f"{runs[name]['notebook']}.ipynb"
        usual = runs[name]["parameters"]
        injected = {**usual, **overrides, **({"smoke": True} if smoke else {})}
        try:
            parameters = _parameters(notebook, injected)
        except ParameterError as error:
            problems += [f"[{name}] {line}" for line in str(error).splitlines()]
            continue
        changed = {k: parameters[k] for k in overrides if k != "smoke"}
        if changed:  # a default that is typed out is the same run
            defaults = _parameters(notebook, usual)
            changed = {k: value for k, value in changed.items() if value != defaults[k]}
        # A run with parameters set by hand has a name of its own: it replaces no other result.
        variant = f"{name}-{digest(changed, 6)}" if changed else name
        base = outputs / "smoke" if parameters.get("smoke") else outputs
        minutes = runs[name]["minutes"]
        planned.append(PlannedRun(variant, notebook, minutes, injected, parameters, base))
    if problems:
        raise BatchError("Nothing was started.\n" + "\n".join(problems))
    settled = [replace(run, run_id=_identity(run)) for run in planned]
    return [replace(run, todo=why_to_run(run)) for run in settled]


def _parameters(notebook: Path, injected: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a notebook, with its defaults where nothing is injected.

    Raises:
        ParameterError: every problem with the notebook and with the values, a line each.
    """
    declared = _declared(notebook)
    what = f"parameter in {notebook.name} called"
    problems = [unknown(what, name, declared) for name in injected if name not in declared]
    try:
        values = check({name: injected.get(name, declared[name]) for name in declared})
    except ParameterError as error:
        problems.append(str(error))
    if problems:
        raise ParameterError("\n".join(problems))
    return values


def _declared(notebook: Path) -> dict[str, Any]:
    """The parameters that a notebook declares, with their defaults.

    Raises:
        ParameterError: if there is no such notebook, or its first cell is no list of parameters.
    """
    if not notebook.is_file():
        names = sorted(path.stem for path in notebook.parent.glob("*.ipynb"))
        raise ParameterError(unknown("notebook", notebook.stem, names))
    try:
        tagged = [c for c in _cells(notebook) if "parameters" in c["metadata"].get("tags", [])]
        statements = ast.parse("".join(tagged[0]["source"])).body
    except (ValueError, LookupError, TypeError, SyntaxError) as error:
        raise ParameterError(
            f"{notebook.name} has no cell with the tag 'parameters' that can be read "
            f"({type(error).__name__}: {error}); tag its first one."
        ) from error
    declared = {}
    for statement in statements:
        try:
            declared[statement.target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError):
            raise ParameterError(
                f"{notebook.name} has `{ast.unparse(statement)}` among its parameters; papermill "
                "replaces plain values alone, such as `seeds: list[int] = [0]`."
            ) from None
    return declared


def _cells(notebook: Path) -> list[dict[str, Any]]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def _identity(run: PlannedRun) -> str:
    """A hash of what decides about the result of a run: cells, parameters and versions."""
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in _cells(run.notebook)]
    return digest([sources, run.parameters, kit_identity()], 64)


@cache
def kit_identity() -> str:
    """A digest of what the kit computes: its version, and the versions that enter stage keys.

    Versions of phases, of methods of robust training, of attacks and of the evaluation; what the
    microworld generates; the weights of ``micro``. An edit that changes none of these changes no
    number, and no notebook has to run again for it.
    """
    # torch takes seconds to import: a command with a slip in it is refused before.
    from xltkit.evaluation.attacks import Attack
    from xltkit.models.encoder import fingerprint as weights
    from xltkit.tasks import get, suite
    from xltkit.training import image_text, phases, synonyms  # noqa: F401, they define phases
    from xltkit.training.align import Align
    from xltkit.training.robust import Robust

    classes = [phases.Evaluate, Align]
    for base in (phases.Phase, Robust, Attack):
        classes += [base, *_subclasses(base)]
    objectives = {each.__name__: each.version for each in classes if "xltkit" in each.__module__}
    world = suite("microworld")
    sources = [get(name).test for name in world.targets]
    data = [source.fingerprint(code) for source in sources for code in ("en", "qto")]
    return digest([versions()["xltkit"], objectives, data, weights("micro")])


def _subclasses(base: type) -> list[type]:
    """All classes below one, those of its subclasses too."""
    below = []
    for each in base.__subclasses__():
        below += [each, *_subclasses(each)]
    return below


def result_problem(run: PlannedRun) -> str:
    """Why ``result.json`` is not the whole result of this very run; empty when it is."""
    try:
        result = record(run.folder)
    except ResultError as error:
        return str(error)
    if result.get("run_id") == run.run_id:
        return ""
    old = result["parameters"]
    names = old.keys() | run.parameters.keys()
    changed = sorted(name for name in names if old.get(name) != run.parameters.get(name))
    return f"changed since: {', '.join(changed) or 'the notebook or the kit'}"


def why_to_run(run: PlannedRun) -> str:
    """Why a run has to run, in words; empty when it is done."""
    # A result is written before the last cells run; only after them is the notebook given its
    # name. A partial notebook that is still there was left by a batch that was killed.
    if run.file(".partial.ipynb").exists():
        return "interrupted before its end"
    if run.file(".failed.ipynb").exists():
        return "failed before"
    if not run.file(".ipynb").exists():
        return "not run yet"
    return result_problem(run)
