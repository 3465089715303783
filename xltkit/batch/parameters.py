"""The parameters of a notebook: one table, and a check of them before any work.

The first code cell declares them; the second is ``run = xlt.start(globals())``.
"""

import contextlib
import json
import os
import time
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from xltkit.files import commit, read, replacing, root, versions, write
from xltkit.keys import file_digest, unknown

PARAMETERS = tomllib.loads(read(Path(__file__).with_suffix(".toml")))
PATHS = ("encoder", "tower", "teacher", "published", "synonyms", "dictionaries", "results_folder")
STUDY = ("suite", "targets", "source", "languages", "split", "substitutes")
TYPES = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
SMOKE_ROWS = 128  # of each training set in a smoke run
SMOKE_LANGUAGES = ["qas", "qto"]  # of the microworld
smoke = False  # whether this process executes a smoke run: figures then say so


def check(values: Mapping[str, Any], declared: Iterable[str] = PARAMETERS) -> dict[str, Any]:
    """Normalized parameters (1.0 for 1 if a float). Raises ValueError with one line per problem."""
    allowed = [name for name in PARAMETERS if name in declared]
    problems = []
    checked = {}
    for name, value in values.items():
        if name not in allowed:
            problems.append(unknown("parameter", name, allowed))
            continue
        row = PARAMETERS[name]
        if problem := _problem(row, value):
            example = f"{name}: {row['type']} = {row['example']!r}"
            problems.append(f"{name} is {value!r}; {problem}. Type for example {example}")
        elif row["type"] == "float":
            value = float(value)
        checked[name] = value
    if problems:
        raise ValueError("\n".join(problems))
    return checked


def _problem(row: Mapping[str, Any], value: Any) -> str:
    """What is wrong with a value, by its row of the table; empty if nothing is."""
    is_list = row["type"].startswith("list[")
    elements = value if is_list else [value]
    types = TYPES[row["type"].removeprefix("list[").removesuffix("]")]
    # Exact types: True is an int to Python, and 'false' is true.
    if type(elements) is not list or any(type(element) not in types for element in elements):
        return f"it must be {row['type']}"
    if "least" in row and any(element < row["least"] for element in elements):
        return f"the smallest number allowed is {row['least']}"
    if "allowed" in row and value not in row["allowed"]:
        return f"allowed are {', '.join(map(repr, row['allowed']))}"
    if is_list and len(set(value)) < len(value):
        # Two equal seeds are one seed counted twice: intervals would be too narrow.
        return "each value may be in it once"
    return ""


def look_up(values: Mapping[str, Any]) -> None:
    """Raise ValueError, with the nearest name, if a parameter names something unknown."""
    # These import torch, which takes seconds: wrong types are rejected before.
    from xltkit.data import lexicons
    from xltkit.models import vision
    from xltkit.studies import saved, study

    tasks = study.target_tasks(values.get("targets", ()), values.get("suite", "microworld"))
    study.find_language(values.get("source", "en"))
    codes = [*values.get("languages", ()), *values.get("mixed", ())]
    study.check_languages(codes, tasks, values.get("split", "test"))
    study.parse_substitutes(values.get("substitutes", ()))
    finders = [vision.fingerprint] * 4 + [lexicons.fingerprint] * 2 + [saved.read_all]
    for name, find in zip(PATHS, finders, strict=True):
        if values.get(name) and (problem := _missing(find, values[name])):
            raise ValueError(problem)


@cache
def _missing(find: Callable, value: str) -> str:
    """Why a value cannot be found, if so; cached, since without a network it takes seconds."""
    try:
        find(value)
    except ValueError as error:
        return str(error)
    return ""


def full_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values, with full paths to files and folders that were given relative to ``folder``."""
    paths = {n: Path(folder, Path(str(values[n])).expanduser()) for n in PATHS if values.get(n)}
    full = {name: str(path.resolve()) for name, path in paths.items() if path.exists()}
    if full:
        from xltkit.models.checkpoints import SHIPPED  # imports torch

        full = {name: path for name, path in full.items() if values[name] not in SHIPPED}
    return {**values, **full}


def parse(typed: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Parse names and values from the command line by their types, and check them."""
    values: dict[str, Any] = dict(typed)
    for name, text in typed:
        if name in PARAMETERS and PARAMETERS[name]["type"] != "str":
            # What is not TOML stays text, and the check says what to type instead.
            with contextlib.suppress(tomllib.TOMLDecodeError):
                values[name] = tomllib.loads(f"value = {text}")["value"]
    return check(values)


@dataclass(frozen=True)
class Run:
    """What a notebook was started with; every declared parameter is an attribute."""

    parameters: Mapping[str, Any]
    folder: Path
    run_id: str = ""
    began: float = field(default_factory=time.monotonic)

    def __getattr__(self, name: str) -> Any:
        declared = self.__dict__.get("parameters", {})
        if name in declared:
            return declared[name]
        raise AttributeError(unknown("parameter in this notebook called", name, declared))

    @property
    def guessed(self) -> str:
        """``Your guess: 60.`` and a space, to print before what was measured; empty without one."""
        return f"Your guess: {self.guess}. " if self.guess else ""

    @property
    def options(self) -> dict[str, Any]:
        """The declared parameters that a study takes: ``xlt.study(..., **run.options)``."""
        names = (
            "suite source split languages substitutes steps examples learning_rate freeze".split()
        )
        declared = {name: self.parameters[name] for name in names if name in self.parameters}
        return declared | {"rows": SMOKE_ROWS if self.parameters.get("smoke") else 0}

    def finish(self, tables: Mapping[str, Any], answer: str) -> None:
        """Write data frames and, last of all, ``result.json``, which marks the run as done."""
        from xltkit.models.device import describe  # imports torch

        if not answer.strip():
            raise ValueError("The answer is empty; type the answer to the question in a sentence.")
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for name, table in tables.items():
            file = self.folder / f"{name}.parquet"
            with replacing(file) as partial:
                table.to_parquet(partial)
            files[name] = {"file": file.name, "rows": len(table), "sha256": file_digest(file)}
        record = {
            "run": self.folder.name,
            "run_id": self.run_id,
            "answer": answer,
            "parameters": dict(self.parameters),
            "tables": files,
            "smoke": self.parameters.get("smoke", False),
            "seconds": round(time.monotonic() - self.began, 1),
            "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "commit": commit(),
            "device": describe(),
            "stages": sorted({key for table in tables.values() for key in table.get("stage", ())}),
        }
        write(self.folder / "result.json", json.dumps(record, indent=2, ensure_ascii=False))


def start(namespace: dict[str, Any]) -> Run:
    """Check the parameters that a notebook declares, and print what runs where in six lines."""
    global smoke
    annotated = namespace.get("__annotations__", {})
    declared = {name: namespace[name] for name in annotated if name in namespace}
    try:
        parameters = check(declared)
    except ValueError as error:
        stray = ", ".join(name for name in declared if name not in PARAMETERS)
        hint = f"\nCorrect the name, run `del {stray}` once, then both cells again."
        raise ValueError(f"{error}{hint if stray else ''}") from None
    import pandas as pd  # after the check, like torch, which the next line imports

    from xltkit.models.device import describe

    pd.set_option("display.html.use_mathjax", False)  # two dollar signs in a table are no formula
    pd.set_option("display.max_colwidth", 200)
    warnings.formatwarning = lambda message, *_, **__: f"{message}\n"  # without the line of code
    smoke = parameters.get("smoke", False)
    if smoke:
        parameters = _cut_down(parameters)
    # JupyterLab names the notebook: one run by hand does not replace the results of another.
    by_hand = Path(os.environ.get("JPY_SESSION_NAME", "")).stem
    folder = Path(os.environ.get("XLTKIT_RUN_FOLDER") or root() / "outputs/interactive" / by_hand)
    print("versions ", ", ".join(f"{name} {version}" for name, version in versions().items()))
    print("device   ", describe())
    print("seeds    ", ", ".join(map(str, parameters.get("seeds", []))) or "none declared")
    print("commit   ", commit())
    print("mode     ", "smoke: cut down, measures nothing" if smoke else "full")
    print("results  ", os.path.relpath(folder, root()))
    return Run(parameters, folder, os.environ.get("XLTKIT_RUN_ID", ""))


def _cut_down(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a smoke run: few steps and items, two seeds, languages and targets."""
    small = {name: PARAMETERS[name].get("smoke", value) for name, value in parameters.items()}
    if "seeds" in small:
        small["seeds"] = small["seeds"][:2]
    if "targets" in small:
        small["targets"] = list(dict.fromkeys([*small["targets"][:1], *small["targets"][-1:]]))
    if "languages" in small and small.get("suite") == "microworld":
        small["languages"] = SMOKE_LANGUAGES
    return small
