"""The parameters of a notebook: one table, and the guard that checks them before any work.

A notebook declares the parameters it wants in its first code cell, under names of this table, and
its second code cell is ``run = xlt.start(globals())``. The batch runner asks the same functions
before it starts a kernel, so that a person and a batch meet the same rules.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
import shlex
import sys
import time
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xltkit.files import commit, root, versions, write

if TYPE_CHECKING:  # pandas takes half a second to import, and a batch run checks without it
    import pandas

RESULT_TYPE = "application/vnd.xlt.result+json"
PLAIN = {"str": str, "int": int, "float": float, "bool": bool}
STARTED = "_xltkit_started"  # left in the kernel: a second start is known by it
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
    filled: bool = False  # an empty text or list is refused
    least: int | None = None


PARAMETERS: dict[str, Parameter] = {
    "suite": Parameter("str", "set of tasks, see the task table", "microworld", filled=True),
    "encoder": Parameter("str", "micro, a Hub id, or a folder", "micro", filled=True),
    "targets": Parameter("list[str]", "tasks that are scored", ["nli", "qa"], filled=True),
    "seeds": Parameter("list[int]", "one training run a seed", [0, 1, 2], filled=True, least=0),
    "steps": Parameter("int", "target training steps, 0: the task's own budget", 0, least=0),
    "intermediate_steps": Parameter("int", "steps of an intermediate phase", 300, least=0),
    "pretraining_steps": Parameter("int", "steps of a pretraining from scratch", 1200, least=1),
    "axis": Parameter("str", "what high and low resource mean", "size", ("size", "language")),
    "source": Parameter("str", "the language that labels come from", "en", filled=True),
    "examples": Parameter("int", "test items a language, 0: all there are", 0, least=0),
    "split": Parameter("str", "what is scored", "test", ("test", "validation")),
    "languages": Parameter("list[str]", "languages scored, empty: all there are", ["en", "sw"]),
    "substitutes": Parameter("list[str]", "train on other data: wanted<-instead", ["mnli<-sick"]),
    "tower": Parameter("str", "an image tower, empty: the suite's own", "pixels"),
    "teacher": Parameter("str", "a CLIP that teaches texts, empty: the suite's own", "micro-clip"),
    "published": Parameter("str", "an encoder of one more arm, or none", "xlm-roberta-base"),
    "results_folder": Parameter(
        "str", "folder of results to hold claims against", "outputs", filled=True
    ),
    "synonyms": Parameter("str", "a table of synonyms", "microworld-released", filled=True),
    "smoke": Parameter("bool", "tiny run that shows that it works, and measures nothing", False),
    "guess": Parameter("float", "your guess, shown beside the measured value", 0.5),
}
# What a smoke run does instead of what the parameters say; of many targets it keeps three.
SMOKE = {"steps": 2, "intermediate_steps": 2, "pretraining_steps": 2, "examples": 8}
SMOKE_ROWS, SMOKE_LANGUAGES = 128, ["qas", "qto"]  # of each training set; of the microworld
# The parameters that `study` takes, under the names it takes them by.
STUDY = ("suite", "source", "split", "languages", "substitutes", "steps", "examples")


def unknown(name: str, known: Collection[str], what: str = "parameter") -> str:
    """One sentence on a name that is not known: what was meant perhaps, and all there are."""
    near = " or ".join(map(repr, difflib.get_close_matches(name, known, n=3)))
    meant = f" Did you mean {near}?" if near else ""
    return f"There is no {what} {name!r}.{meant} There are: {', '.join(known) or 'none'}."


def check(values: Mapping[str, Any]) -> list[str]:
    """Every problem of these parameters in words; an empty list when all is well."""
    problems = []
    for name, value in values.items():
        if name not in PARAMETERS:
            problems.append(unknown(name, PARAMETERS))
        elif problem := _problem(PARAMETERS[name], value):
            problems.append(f"{name} is {value!r}; {problem}. {_remedy(name)}")
    return problems


def _problem(parameter: Parameter, value: Any) -> str:
    """What is wrong with a value; empty when nothing is."""
    many = parameter.type.startswith("list[")
    kind = PLAIN[parameter.type.removeprefix("list[").removesuffix("]")]
    if many and type(value) is not list:
        return f"it must be {parameter.type}, not {type(value).__name__}"
    for element in value if many else [value]:
        # Exact types: True is an int to Python, and 'false' is true.
        if type(element) is not kind and not (kind is float and type(element) is int):
            where = f", and {element!r} in it is {type(element).__name__}" if many else ""
            return f"it must be {parameter.type}{where or f', not {type(element).__name__}'}"
        if kind is float and not math.isfinite(element):
            return "it must be a finite number"
        if parameter.least is not None and element < parameter.least:
            return f"the smallest number allowed is {parameter.least}"
        if parameter.allowed and element not in parameter.allowed:
            return f"allowed are {', '.join(map(repr, parameter.allowed))}"
    if parameter.filled and not value:
        return "it must not be empty"
    if many and len(set(value)) < len(value):
        # Two equal seeds are one seed counted twice: intervals would be too narrow.
        return "each value may stand in it once"
    return ""


def _remedy(name: str) -> str:
    """What to type, in the three places where a parameter can be given."""
    parameter = PARAMETERS[name]
    toml = json.dumps(parameter.example)  # for these types JSON and TOML are the same
    shell = shlex.quote(parameter.example if parameter.type == "str" else toml)
    return (
        f"Type for example `{name}: {parameter.type} = {parameter.example!r}` in the notebook, "
        f"`{name} = {toml}` in runs.toml, or `-p {name} {shell}` on the command line."
    )


def normalise(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values in one form (1 is 1.0 where a float is wanted; lists are copies)."""
    forms = {"float": float, "list[str]": list, "list[int]": list}
    return {name: forms.get(PARAMETERS[name].type, lambda v: v)(v) for name, v in values.items()}


def parse(name: str, text: str) -> Any:
    """A value typed on a command line, read as the type that the parameter has."""
    if name not in PARAMETERS:
        raise ParameterError(unknown(name, PARAMETERS))
    value: Any = text
    if PARAMETERS[name].type != "str":
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            pass  # it stays text, and the check says what to type instead
    if problems := check({name: value}):
        raise ParameterError("\n".join(problems))
    return value


@dataclass(frozen=True)
class Run:
    """What a notebook was started with; every declared parameter is an attribute."""

    parameters: Mapping[str, Any]
    name: str
    run_id: str
    folder: Path
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
        problem = unknown(name, declared, "parameter of this notebook called")
        if name in PARAMETERS:
            problem += f" {_remedy(name)}"
        raise AttributeError(problem)

    def finish(self, results_tables: Mapping[str, pandas.DataFrame], answer: str) -> None:
        """Write the tables and, last of all, ``result.json``: from then on the run is done.

        Example: ``run.finish({"scores": results.scores}, "Transfer costs 21.4 points.")``
        """
        if not isinstance(answer, str) or not answer.strip():
            raise ValueError(f"answer is {answer!r}; type the answer to the question, a sentence.")
        from xltkit.models.device import describe  # imports torch

        self.folder.mkdir(parents=True, exist_ok=True)
        tables = {name: _write_table(self.folder, name, t) for name, t in results_tables.items()}
        record = {
            "run": self.name,
            "run_id": self.run_id,
            "answer": answer,
            "parameters": dict(self.parameters),
            "tables": tables,
            "smoke": self.smoke,
            "seconds": round(time.monotonic() - self.began, 1),
            "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "commit": commit(),
            "device": describe(),
            "stages": _stages(results_tables.values()),
        }
        write(self.folder / "result.json", json.dumps(record, indent=2, ensure_ascii=False))
        if (ipython := sys.modules.get("IPython")) and ipython.get_ipython():
            # No page draws this type: it travels inside the executed notebook, unseen.
            ipython.display.display({RESULT_TYPE: record}, raw=True)


def _stages(tables: Iterable[pandas.DataFrame]) -> list[str]:
    """The keys of the stages that scores come from; each is a hash of all that led to it."""
    keys: set[str] = set()
    for table in tables:
        if "stage" in table:
            keys.update(table["stage"])
    return sorted(keys)


def _write_table(folder: Path, name: str, table: pandas.DataFrame) -> dict[str, Any]:
    """Write one table through a temporary name; return what is recorded about it."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or not hasattr(table, "to_parquet"):
        raise ValueError(
            f"The table {name!r} is {type(table).__name__}; results are data frames under names of "
            'letters, digits, - and _. Type for example run.finish({"scores": frame}, "...").'
        )
    file, partial = folder / f"{name}.parquet", folder / f"{name}.parquet.partial"
    table.to_parquet(partial)
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    os.replace(partial, file)
    return {"file": file.name, "rows": len(table), "sha256": digest}


def _given(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters among a notebook's variables."""
    annotated = namespace.get("__annotations__", {})
    if namespace.get(STARTED) and annotated:
        # The reader edited the parameters and ran the cell again. By now the notebook has
        # variables of its own; parameters are those that were declared with a type.
        return {name: namespace[name] for name in annotated if name in namespace}
    ipython = sys.modules.get("IPython")
    hidden = {"In", "Out", *getattr(ipython and ipython.get_ipython(), "user_ns_hidden", ())}
    simple = (str, int, float, bool, list, dict, type(None))  # what can be injected
    return {
        name: value
        for name, value in namespace.items()
        if name in PARAMETERS
        or not (name.startswith("_") or name in hidden or not isinstance(value, simple))
    }


def start(namespace: dict[str, Any]) -> Run:
    """Check a notebook's parameters, say in six lines what runs where, and return them.

    Example: ``run = xlt.start(globals())`` in the second code cell of a notebook.
    """
    global smoke
    given = _given(namespace)
    problems = check(given)
    if stray := [name for name in given if name not in PARAMETERS]:
        problems.append(
            f"Correct the name in the parameters cell, run `del {', '.join(stray)}` once, then "
            "both cells again. (A variable of your own goes below this cell.)"
        )
    if problems:
        raise ParameterError("\n".join(problems))
    folder = Path(os.environ.get("XLTKIT_RUN_FOLDER") or root() / "outputs" / "interactive")
    name, run_id = (os.environ.get(key, "") for key in ("XLTKIT_RUN", "XLTKIT_RUN_ID"))
    run = Run(_smaller(normalise(given)), name, run_id, folder, time.monotonic())
    namespace[STARTED] = True
    smoke = run.smoke
    _announce(run)
    return run


def _smaller(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a smoke run, cut down; those of a full run as they are."""
    if not parameters.get("smoke"):
        return parameters
    targets = parameters.get("targets", [])
    ends = list(dict.fromkeys([*targets[:1], *targets[-1:]]))
    small = SMOKE | {"seeds": parameters.get("seeds", [])[:2], "targets": ends}
    if parameters.get("suite") == "microworld":
        small["languages"] = SMOKE_LANGUAGES
    return parameters | {name: value for name, value in small.items() if name in parameters}


def _announce(run: Run) -> None:
    from xltkit.models.device import describe  # imports torch

    lines = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "device": describe(),
        "seeds": ", ".join(map(str, run.parameters.get("seeds", []))) or "none declared",
        "commit": commit(),
        "mode": "smoke: cut down, it measures nothing" if run.smoke else "full",
        "results": os.path.relpath(run.folder, root()),
    }
    print("\n".join(f"{name:<9} {text}" for name, text in lines.items()))
