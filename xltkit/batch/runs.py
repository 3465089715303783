"""What a batch will do: the runs of ``notebooks/runs.toml``, checked before anything starts.

One block a run: ``notebook``, ``question``, ``minutes``, ``parameters``, ``long``, ``timeout``,
``memory``. The block ``real`` stands for many runs, of every question with every encoder. A run is
done when its own ``result.json`` is whole and belongs to this notebook, these parameters and this
kit.
What papermill writes into a notebook is never asked: after a dead kernel it says that every cell
was completed.
"""

from __future__ import annotations

import ast
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from xltkit.batch import parameters as rules
from xltkit.files import root as root_folder
from xltkit.files import versions
from xltkit.keys import digest
from xltkit.studies.saved import ResultError, record

FIELDS = {
    "notebook": str,
    "question": str,
    "minutes": (int, float),
    "parameters": dict,
    "long": bool,  # left out of a full run of everything unless it is named
    "timeout": (int, float),  # minutes that it may take; 0: as many as it likes
    "memory": (int, float),  # GiB that its processes may hold together; 0: as many as there are
    "real": bool,  # made of the block [real]; never started unless it is named
}
OVERWRITE = {
    "missing": "run what is not done, or not with this notebook, these parameters and this kit",
    "never": "keep every result that is there and whole, whatever has changed since",
    "always": "run again what is done, too",
}
RESERVED = ("index", "interactive", "published", "smoke", "store")  # other things in outputs/


class BatchError(ValueError):
    """Something about the runs that were asked for is wrong; nothing was started."""


@dataclass(frozen=True)
class Planned:
    """One run with everything settled; ``todo`` says why it has to run, empty when it is done."""

    name: str
    notebook: Path
    minutes: float
    given: dict[str, Any]  # injected by papermill
    values: dict[str, Any]  # all parameters, with the notebook's own defaults
    run_id: str
    base: Path  # outputs, or outputs/smoke: results of the two kinds never mix
    timeout: float = 0  # minutes; 0: none
    memory: float = 0  # GiB; 0: no limit
    todo: str = ""

    @property
    def folder(self) -> Path:
        """Where the notebook itself writes its result."""
        return self.base / self.name

    def file(self, ending: str) -> Path:
        """A file of this run beside its folder: ``.ipynb``, ``.html``, ``.failed.ipynb``, ..."""
        return self.base / f"{self.name}{ending}"


def read_runs(root: Path) -> dict[str, dict[str, Any]]:
    """The blocks of ``notebooks/runs.toml``, checked."""
    path = root / "notebooks" / "runs.toml"
    try:
        runs = tomllib.loads(path.read_text(encoding="utf-8"))
        runs |= _real(runs.pop("real", {}), runs)
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
        if not re.fullmatch(r"\w[\w-]*", name) or name in RESERVED or not isinstance(block, dict):
            problems.append(
                f"[{name}] cannot be a run: a run is a block named with letters, digits, _ and -, "
                f"and not {', '.join(RESERVED)}."
            )
            continue
        problems += [f"[{name}] {rules.unknown(k, FIELDS, 'field')}" for k in block.keys() - FIELDS]
        for field in ("notebook", "question"):
            if not block.get(field):
                problems.append(f'[{name}] has no {field}. Type for example {field} = "...".')
        for field in FIELDS.keys() & block.keys():
            value = block[field]
            if not isinstance(value, FIELDS[field]):
                problems.append(f"[{name}] {field} is {value!r}, of the wrong type.")
            elif FIELDS[field] == (int, float) and not 0 <= value < math.inf:
                problems.append(f"[{name}] {field} is {value!r}; type a number from 0 on.")
    if problems:
        raise BatchError(f"{path}:\n" + "\n".join(problems))
    return runs


def _real(block: Mapping[str, Any], runs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The runs that ``[real]`` stands for: each question, with each encoder, on each suite."""
    made = {}
    for name, suites in block.get("questions", {}).items():
        of = {key: runs[name][key] for key in ("notebook", "question")}
        for (short, encoder), (suite, own) in product(block["encoders"].items(), suites.items()):
            given = {"suite": suite, "encoder": encoder, **block["parameters"], **own}
            made[f"{name}-{short}-{suite}"] = of | {"parameters": given, "real": True}
    return made


def select(names: Sequence[str], runs: Mapping[str, Any], smoke: bool = False) -> list[str]:
    """The runs with these names, each once; without a name all that are neither long nor real.

    A name may be a pattern (``10_*-xtreme``); ``real`` stands for all real runs.
    """
    real = [name for name, block in runs.items() if block.get("real")]
    found = [real if n == "real" else [r for r in runs if fnmatchcase(r, n)] or [n] for n in names]
    chosen = list(dict.fromkeys(name for each in found for name in each))
    if problems := [rules.unknown(name, runs, "run") for name in chosen if name not in runs]:
        raise BatchError("\n".join(problems))
    every = [n for n, block in runs.items() if smoke or not block.get("long")]
    return chosen or [name for name in every if name not in real]


def plan(
    names: Sequence[str] = (),
    *,
    smoke: bool = False,
    overrides: Mapping[str, Any] | None = None,
    overwrite: str = "missing",
    only_failed: bool = False,
    limits: Mapping[str, float | None] | None = None,
    root: Path | None = None,
    outputs: Path | None = None,
) -> list[Planned]:
    """Check everything about the chosen runs, and say which have to run and why.

    ``overwrite`` is a word of ``OVERWRITE``; with ``only_failed`` runs whose last attempt did not
    fail are left out; ``limits`` (``timeout``, ``memory``) replace those of the blocks.

    Raises one ``BatchError`` that lists every problem of every run.
    """
    root = root or root_folder()
    runs = read_runs(root)
    planned, problems = [], []
    if overwrite not in OVERWRITE:
        problems.append(rules.unknown(str(overwrite), OVERWRITE, "way to overwrite called"))
    for name in select(names, runs, smoke):
        run, found = _planned(name, runs[name], dict(overrides or {}), smoke, root, outputs)
        problems += [f"[{name}] {problem}" for problem in found]
        if run and not problems:
            todo = "asked to overwrite" if overwrite == "always" else ""
            limit = {k: v for k, v in (limits or {}).items() if v is not None}
            todo = todo or unfinished(run, keep=overwrite == "never")
            planned.append(replace(run, todo=todo, **limit))
    if problems:
        raise BatchError("Nothing was started.\n" + "\n".join(problems))
    return [run for run in planned if run.file(".failed.ipynb").exists() or not only_failed]


def _planned(
    name: str,
    block: Mapping[str, Any],
    overrides: dict[str, Any],
    smoke: bool,
    root: Path,
    outputs: Path | None,
) -> tuple[Planned | None, list[str]]:
    """One run of the list with everything settled but what is to do, and every problem with it."""
    given = {**block.get("parameters", {}), **overrides, **({"smoke": True} if smoke else {})}
    notebook = root / "notebooks" / f"{block['notebook']}.ipynb"
    values, problems = _values(notebook, given)
    if problems:
        return None, problems
    usual, _ = _values(notebook, block.get("parameters", {}))
    base = (outputs or root / "outputs").resolve()
    run = Planned(
        name=_variant(name, {k: values[k] for k in overrides}, usual),
        notebook=notebook,
        minutes=block.get("minutes", 0),
        given=given,
        values=values,
        run_id=digest([_cells(notebook), values, kit_identity()], 64),
        base=base / "smoke" if values.get("smoke") else base,
        timeout=block.get("timeout", 0),
        memory=block.get("memory", 0),
    )
    return run, []


def _variant(name: str, asked: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """The name of a run with parameters set by hand: its result replaces no published one."""
    changed = {k: v for k, v in asked.items() if k != "smoke" and v != usual.get(k)}
    return f"{name}-{digest(changed, 6)}" if changed else name


def _values(notebook: Path, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """All parameters of a notebook with these values given, and every problem with them."""
    from papermill import inspect_notebook

    if not notebook.is_file():
        there = sorted(path.stem for path in notebook.parent.glob("*.ipynb"))
        return {}, [rules.unknown(notebook.stem, there, "notebook")]
    try:  # papermill formats paths: braces have to be doubled
        found = inspect_notebook(str(notebook).replace("{", "{{").replace("}", "}}"))
    except Exception as error:  # whatever a broken file makes a reader raise
        return {}, [f"{notebook.name} cannot be read: {error}"]
    if not found:
        return {}, [f"{notebook.name} has no cell with the tag 'parameters'; tag its first one."]
    values, problems = {}, []
    for name, about in found.items():
        wanted = rules.PARAMETERS[name].type if name in rules.PARAMETERS else ""
        if wanted and about["inferred_type_name"].replace(" ", "") != wanted:
            problems.append(f"{notebook.name} declares {name} as another type; type {wanted}.")
        try:
            values[name] = ast.literal_eval(about["default"])
        except (ValueError, SyntaxError):
            problems.append(
                f"{notebook.name} declares {name} = {about['default']}; papermill cannot replace "
                "what is computed. Type a plain value, on one line."
            )
    undeclared = [name for name in given if name not in found]
    what = f"parameter in {notebook.name} called"
    problems += [rules.unknown(name, found, what) for name in undeclared]
    values |= {name: value for name, value in given.items() if name in found}
    problems += rules.check(values)
    return values if problems else rules.normalise(values), problems


def _cells(notebook: Path) -> list[tuple[str, str]]:
    """What a person wrote into a notebook: kinds and sources of its cells."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


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
    from xltkit.training import phases, phases_images, synonyms  # noqa: F401, they define phases
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


def damage(run: Planned, *, keep: bool = False) -> str:
    """Why ``result.json`` is not the whole result of this very run; empty when it is.

    With ``keep`` it may be the result of an earlier notebook or kit.
    """
    try:
        result = record(run.folder)
    except ResultError as error:
        return str(error)
    if result.get("run_id") == run.run_id or keep:
        return ""
    old, new = result["parameters"], run.values
    names = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
    return f"changed since: {', '.join(names) or 'the notebook or the kit'}"


def unfinished(run: Planned, *, keep: bool = False) -> str:
    """Why a run has to run, in words; empty when it is done (``keep``: see ``damage``)."""
    # A result is written before the last cells run; only after them is the notebook given its
    # name. A partial notebook that is still there was left by a batch that was killed.
    if run.file(".partial.ipynb").exists():
        return "interrupted before its end"
    if run.file(".failed.ipynb").exists():
        return "failed before"
    if not run.file(".ipynb").exists():
        return "not run yet"
    return damage(run, keep=keep)
