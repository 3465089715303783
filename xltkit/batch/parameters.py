"""The parameters of a notebook: one table, and the guard that checks them before any work.

A notebook declares the parameters it wants in its first code cell, under names of this table, and
its second code cell is ``run = xlt.start(globals())``. A batch asks the same functions before it
starts a kernel, so that a person and a batch meet the same rules.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xltkit.files import commit, replacing, root, versions, write
from xltkit.keys import file_digest, unknown

if TYPE_CHECKING:  # pandas takes half a second to import, and a batch checks without it
    import pandas

RESULT_TYPE = "application/vnd.xlt.result+json"
STARTED = "_xltkit_started"  # left in the notebook: from then on it has variables of its own
TYPES = {"str": str, "int": int, "float": float, "bool": bool}
smoke = False  # whether the notebook of this process is a smoke run: figures then say so


class ParameterError(ValueError):
    """A parameter with a wrong name or a wrong value."""


@dataclass(frozen=True)
class Parameter:
    """One row of the table: the type as it is written in a notebook, and what a value may be."""

    type: str
    help: str
    example: Any
    allowed: tuple[str, ...] = ()
    is_filled: bool = False  # an empty text or list is refused
    least: int | None = None


PARAMETERS: dict[str, Parameter] = {
    "suite": Parameter("str", "set of tasks, see the task table", "microworld", is_filled=True),
    "encoder": Parameter("str", "micro, a Hub id, or a folder", "micro", is_filled=True),
    "targets": Parameter("list[str]", "tasks that are scored", ["nli", "qa"], is_filled=True),
    "seeds": Parameter("list[int]", "one training run a seed", [0, 1, 2], is_filled=True, least=0),
    "steps": Parameter("int", "target training steps, 0: those of the task", 0, least=0),
    "intermediate_steps": Parameter("int", "steps of an intermediate phase", 300, least=0),
    "pretraining_steps": Parameter("int", "steps of a pretraining from scratch", 1200, least=1),
    "axis": Parameter("str", "what high and low resource mean", "size", ("size", "language")),
    "source": Parameter("str", "the language that labels come from", "en", is_filled=True),
    "examples": Parameter("int", "test items a language, 0: all", 0, least=0),
    "split": Parameter("str", "what is scored", "test", ("test", "validation")),
    "languages": Parameter("list[str]", "languages scored, empty: all", ["en", "sw"]),
    "substitutes": Parameter("list[str]", "train on other data: wanted<-instead", ["mnli<-sick"]),
    "tower": Parameter("str", "an image tower, empty: that of the suite", "pixels"),
    "teacher": Parameter("str", "a CLIP that teaches texts, empty: the suite's", "micro-clip"),
    "published": Parameter("str", "an encoder of one more arm, or none", "xlm-roberta-base"),
    "results_folder": Parameter("str", "where claims look", "outputs/published", is_filled=True),
    "synonyms": Parameter("str", "a table of synonyms", "microworld-released", is_filled=True),
    "smoke": Parameter("bool", "tiny run that shows that it works, and measures nothing", False),
    "guess": Parameter("float", "your guess, shown beside the measured value", 0.5),
}
# What a smoke run does instead of what the parameters say; of many targets it keeps two.
SMOKE = {"steps": 2, "intermediate_steps": 2, "pretraining_steps": 2, "examples": 8}
SMOKE_ROWS = 128  # of each training set
SMOKE_LANGUAGES = ["qas", "qto"]  # of the microworld
# The parameters that `study` takes, under the names it takes them by.
STUDY = ("suite", "source", "split", "languages", "substitutes", "steps", "examples")


def check(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in one form (1 is 1.0 where a float is wanted; lists are copies).

    Raises:
        ParameterError: every problem in a line, with what to type instead.
    """
    problems = []
    checked = {}
    for name, value in values.items():
        if name not in PARAMETERS:
            problems.append(unknown("parameter", name, PARAMETERS))
            continue
        parameter = PARAMETERS[name]
        if problem := _problem(parameter, value):
            example = f"{name}: {parameter.type} = {parameter.example!r}"
            problems.append(f"{name} is {value!r}; {problem}. Type for example {example}")
        else:
            checked[name] = float(value) if parameter.type == "float" else copy(value)
    if problems:
        raise ParameterError("\n".join(problems))
    return checked


def _problem(parameter: Parameter, value: Any) -> str:
    """What is wrong with a value; empty when nothing is."""
    is_list = parameter.type.startswith("list[")
    if is_list and type(value) is not list:
        return f"it must be {parameter.type}, not {type(value).__name__}"
    allowed_type = TYPES[parameter.type.removeprefix("list[").removesuffix("]")]
    for element in value if is_list else [value]:
        # Exact types: True is an int to Python, and 'false' is true.
        is_whole_float = allowed_type is float and type(element) is int
        if type(element) is not allowed_type and not is_whole_float:
            return f"it must be {parameter.type}, and {element!r} is {type(element).__name__}"
        if allowed_type is float and not math.isfinite(element):
            return "it must be a finite number"
        if parameter.least is not None and element < parameter.least:
            return f"the smallest number allowed is {parameter.least}"
        if parameter.allowed and element not in parameter.allowed:
            return f"allowed are {', '.join(map(repr, parameter.allowed))}"
    if parameter.is_filled and not value:
        return "it must not be empty"
    if is_list and len(set(value)) < len(value):
        # Two equal seeds are one seed counted twice: intervals would be too narrow.
        return "each value may be in it once"
    return ""


def parse(typed: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Names and values typed on a command line, read as the types that the parameters have.

    Raises:
        ParameterError: every problem in a line.
    """
    values: dict[str, Any] = {}
    for name, text in typed:
        values[name] = text
        if name in PARAMETERS and PARAMETERS[name].type != "str":
            try:
                values[name] = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:
                continue  # it stays text, and the check says what to type instead
    return check(values)


@dataclass(frozen=True)
class Run:
    """What a notebook was started with; every declared parameter is an attribute."""

    parameters: Mapping[str, Any]
    folder: Path
    run_id: str
    began: float

    @property
    def smoke(self) -> bool:
        """Whether this is a tiny run that only shows that everything works."""
        return self.parameters.get("smoke", False)

    @property
    def options(self) -> dict[str, Any]:
        """The declared parameters that say how to study: ``xlt.study(..., **run.options)``."""
        declared = {name: self.parameters[name] for name in STUDY if name in self.parameters}
        return declared | {"rows": SMOKE_ROWS if self.smoke else 0}

    def __getattr__(self, name: str) -> Any:
        declared = self.__dict__.get("parameters", {})
        if name in declared:
            return declared[name]
        raise AttributeError(unknown("parameter in this notebook called", name, declared))

    def finish(self, tables: Mapping[str, pandas.DataFrame], answer: str) -> None:
        """Write the tables and, last of all, ``result.json``: from then on the run is done.

        The keys of the stages are those in the tables' column ``stage``, as ``results.scores`` has.

        Example: ``run.finish({"scores": results.scores}, "Transfer costs 21.4 points.")``
        """
        from xltkit.models.device import describe  # imports torch

        if not isinstance(answer, str) or not answer.strip():
            raise ValueError(f"answer is {answer!r}; type the answer to the question, a sentence.")
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {name: _write_table(self.folder, name, table) for name, table in tables.items()}
        stages: set[str] = set()
        for table in tables.values():
            if "stage" in table:
                stages.update(table["stage"])
        record = {
            "run": self.folder.name,
            "run_id": self.run_id,
            "answer": answer,
            "parameters": dict(self.parameters),
            "tables": files,
            "smoke": self.smoke,
            "seconds": round(time.monotonic() - self.began, 1),
            "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "commit": commit(),
            "device": describe(),
            "stages": sorted(stages),
        }
        write(self.folder / "result.json", json.dumps(record, indent=2, ensure_ascii=False))
        ipython = sys.modules.get("IPython")
        if ipython and ipython.get_ipython():
            # No page draws this type: it travels inside the executed notebook, unseen.
            ipython.display.display({RESULT_TYPE: record}, raw=True)


def _write_table(folder: Path, name: str, table: pandas.DataFrame) -> dict[str, Any]:
    """Write one table under a temporary name first; return what is recorded about it."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or not hasattr(table, "to_parquet"):
        raise ValueError(
            f"The table {name!r} is {type(table).__name__}; results are data frames under names of "
            'letters, digits, - and _. Type for example run.finish({"scores": frame}, "...").'
        )
    file = folder / f"{name}.parquet"
    with replacing(file) as partial:
        table.to_parquet(partial)
    return {"file": file.name, "rows": len(table), "sha256": file_digest(file)}


def start(namespace: dict[str, Any]) -> Run:
    """Check a notebook's parameters, say in six lines what runs where, and return them.

    Example: ``run = xlt.start(globals())`` in the second code cell of a notebook.

    Raises:
        ParameterError: every problem in a line; nothing has been computed.
    """
    global smoke
    annotated = namespace.get("__annotations__", {})
    declared = {name: namespace[name] for name in annotated if name in namespace}
    if not namespace.get(STARTED):
        # What papermill injects has no annotation: a name that nobody declared is a slip.
        for name, value in namespace.items():
            if type(value) in (*TYPES.values(), list) and name != "In" and name[0] != "_":
                declared[name] = value
    try:
        parameters = check(declared)
    except ParameterError as error:
        stray = ", ".join(name for name in declared if name not in PARAMETERS)
        hint = f"\nCorrect the name, run `del {stray}` once, then both cells again."
        raise ParameterError(f"{error}{hint if stray else ''}") from None
    namespace[STARTED] = True
    smoke = parameters.get("smoke", False)
    if smoke:
        parameters = _cut_down(parameters)
    folder = Path(os.environ.get("XLTKIT_RUN_FOLDER") or root() / "outputs" / "interactive")
    run = Run(parameters, folder, os.environ.get("XLTKIT_RUN_ID", ""), time.monotonic())
    _announce(run)
    return run


def _cut_down(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a smoke run: few steps, seeds, items, languages and targets."""
    targets = parameters.get("targets", [])
    first_and_last = list(dict.fromkeys([*targets[:1], *targets[-1:]]))
    small = SMOKE | {"seeds": parameters.get("seeds", [])[:2], "targets": first_and_last}
    if parameters.get("suite") == "microworld":
        small["languages"] = SMOKE_LANGUAGES
    return parameters | {name: value for name, value in small.items() if name in parameters}


def _announce(run: Run) -> None:
    """Print versions, device, seeds, commit, mode and folder of a run."""
    from xltkit.models.device import describe  # imports torch

    lines = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "device": describe(),
        "seeds": ", ".join(map(str, run.parameters.get("seeds", []))) or "none declared",
        "commit": commit(),
        "mode": "smoke: cut down, it measures nothing" if run.smoke else "full",
        "results": os.path.relpath(run.folder, root()),
    }
    for name, text in lines.items():
        print(f"{name:<9} {text}")
