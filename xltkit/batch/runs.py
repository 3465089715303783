"""Plan a batch: the runs in ``notebooks/runs.toml``, checked before anything starts.

A run is done if its ``result.json`` is intact and of this notebook, parameters and versions.
"""

import ast
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

from xltkit.batch.parameters import PATHS, STUDY, check, full_paths, look_up
from xltkit.files import read, root, versions
from xltkit.keys import digest, unknown
from xltkit.studies.saved import ResultError, record


@dataclass(frozen=True)
class Entry:
    """One block of ``runs.toml``."""

    notebook: str
    question: str
    minutes: float = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    long: bool = False  # left out of a full run of everything unless it is named
    real: bool = False  # from the block [real]; never started unless it is named


@dataclass(frozen=True)
class PlannedRun:
    """One run with all settings resolved."""

    name: str
    notebook: Path
    injected: Mapping[str, Any]  # parameters that papermill sets
    parameters: Mapping[str, Any]  # all of them, with the notebook's own defaults
    base: Path  # outputs, or outputs/smoke: results of the two kinds never mix

    @property
    def folder(self) -> Path:
        """Where the notebook itself writes its result."""
        return self.base / self.name

    def file(self, ending: str) -> Path:
        """A file of this run beside its folder: ``.ipynb``, ``.html``, ``.failed.ipynb``, ..."""
        return self.base / f"{self.name}{ending}"

    @cached_property
    def run_id(self) -> str:
        """A hash of what determines the result of a run: cells, parameters and versions."""
        cells = json.loads(read(self.notebook))["cells"]
        sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
        return digest([sources, self.parameters, kit_identity()], 64)

    @property
    def todo(self) -> str:
        """Why it has to run, in words; empty if it is done."""
        # A result is written before the last cells run; the notebook is renamed only after them. A
        # partial notebook that is still there was left by a batch that was killed.
        if self.file(".partial.ipynb").exists():
            return "interrupted before its end"
        return self.result_problem() if self.file(".ipynb").exists() else "not done yet"

    def result_problem(self) -> str:
        """Why ``result.json`` is not the intact result of this very run; empty if it is."""
        try:
            result = record(self.folder)
        except ResultError as error:
            return str(error)
        is_same = result.get("run_id") == self.run_id
        return "" if is_same else "changed since: its parameters, the notebook or the kit"


def read_runs() -> dict[str, Entry]:
    """The blocks of ``notebooks/runs.toml`` by name, followed by the runs of ``[real]``."""
    path = root() / "notebooks" / "runs.toml"
    entries: dict[str, Entry] = {}
    name = "the file"
    try:
        blocks = tomllib.loads(read(path))
        real = blocks.pop("real", {"questions": {}})
        for name, block in blocks.items():
            entries[name] = Entry(**block)
        # Each question, with each encoder, on each suite.
        for name, suites in real["questions"].items():
            notebook, question = entries[name].notebook, entries[name].question
            for (short, encoder), suite in product(real["encoders"].items(), suites):
                usual = real["parameters"] | real.get("suites", {}).get(suite, {})
                given = {"suite": suite, "encoder": encoder, **entries[name].parameters}
                given |= usual | suites[suite]
                run = Entry(notebook, question, parameters=given, real=True)
                entries[f"{name}-{short}-{suite}"] = run
        # A notebook that is in no block, such as a copy of yours, is run if it is named.
        listed = {entry.notebook for entry in entries.values()}
        for name in sorted({path.stem for path in path.parent.glob("[!.]*.ipynb")} - listed):
            entries[name] = Entry(name, "A notebook that is not in runs.toml", long=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: {name} is wrong: {type(error).__name__}: {error}") from error
    return entries


def select(names: Sequence[str], entries: Mapping[str, Entry], smoke: bool = False) -> list[str]:
    """The runs with these names or patterns, each once; ``real`` stands for all real runs.

    Without names, all that are not real and, unless it is a smoke run, not long.
    """
    real = [name for name, entry in entries.items() if entry.real]
    if not names:
        return [n for n, entry in entries.items() if n not in real and (smoke or not entry.long)]
    chosen: dict[str, None] = {}
    for name in names:
        matching = real if name == "real" else [run for run in entries if fnmatchcase(run, name)]
        if not matching:
            raise ValueError(f"{unknown('run', name, entries)} All: xltkit run --list")
        chosen |= dict.fromkeys(matching)
    return list(chosen)


def describe(names: Sequence[str]) -> str:
    """The runs with these names or patterns (default: all), a line each, as the command prints.

    Those that are ``long`` or on ``real`` languages run only if they are named.
    """
    entries = read_runs()
    lines = []
    for name in select(names or ["*"], entries):
        entry = entries[name]
        minutes = f"{entry.minutes:g} min" if entry.minutes else ""
        kind = "long" if entry.long else "real" if entry.real else ""
        lines.append(f"{name:<57} {minutes:>6} {kind:<4}  {entry.question}")
    return "\n".join(lines)


def plan(
    names: Sequence[str] = (),
    *,
    smoke: bool = False,
    overrides: Mapping[str, Any] | None = None,
    outputs: Path | None = None,
) -> list[PlannedRun]:
    """The chosen runs. Raises ValueError with one line per problem if anything is wrong."""
    outputs = (outputs or root() / "outputs").resolve()
    # A relative path starts at the folder in which it was typed.
    overrides = full_paths(overrides or {}, Path.cwd()) | ({"smoke": True} if smoke else {})
    entries = read_runs()
    planned = []
    problems = []
    for name in select(names, entries, smoke):
        entry = entries[name]
        notebook = root() / "notebooks" / f"{entry.notebook}.ipynb"
        given = full_paths(entry.parameters, root())
        injected = given | overrides
        try:
            declared = _declared(notebook)
            parameters = check(declared | injected, declared)
            # The notebook's own names are valid, and looking them up takes seconds.
            if any(name in injected for name in (*STUDY, *PATHS)):
                look_up({n: v for n, v in parameters.items() if n in STUDY or n in injected})
        except ValueError as error:
            problems += [f"[{name}] {line}" for line in str(error).splitlines()]
            continue
        # Parameters set by hand never replace another result; typing a default is not a change.
        usual = declared | given
        changed = {key: parameters[key] for key in overrides if parameters[key] != usual[key]}
        changed.pop("smoke", None)
        variant = f"{name}-{digest(changed, 6)}" if changed else name
        base = outputs / "smoke" if parameters.get("smoke") else outputs
        planned.append(PlannedRun(variant, notebook, injected, parameters, base))
    if problems:
        raise ValueError("Nothing was started.\n" + "\n".join(problems))
    return planned


def _declared(notebook: Path) -> dict[str, Any]:
    """The parameters, with defaults, that a notebook declares in its cell with that tag."""
    try:
        cells = json.loads(read(notebook))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        statements = ast.parse("".join(tagged[0]["source"])).body
        return {each.target.id: ast.literal_eval(each.value) for each in statements}
    except (OSError, ValueError, LookupError, AttributeError, SyntaxError) as error:
        raise ValueError(
            f"{notebook.name} has no cell with the tag 'parameters' that holds plain values only, "
            f"such as `seeds: list[int] = [0]` ({type(error).__name__}: {error})."
        ) from error


@cache
def kit_identity() -> str:
    """A digest of what enters stage keys: other edits do not run any notebook again."""
    from xltkit.evaluation.attacks import Attack
    from xltkit.models.checkpoints import fingerprint as weights
    from xltkit.tasks import get, suite
    from xltkit.tasks.base import TaskType
    from xltkit.training import image_text, phases  # noqa: F401, they define phases
    from xltkit.training.align import Align
    from xltkit.training.joint import Joint, Translations
    from xltkit.training.robust import Robust

    classes = [TaskType, Align, Joint, Translations, phases.Phase, Robust, Attack]
    for each in classes:
        classes += each.__subclasses__()  # those of subclasses, too: the list grows on the way
    objectives = {each.__name__: each.version for each in classes if "xltkit" in each.__module__}
    tests = [get(name).test for name in suite("microworld").targets]
    data = [source.fingerprint(code) for source in tests for code in ("en", "qto")]
    return digest([versions()["xltkit"], objectives, data, weights("micro")])
