"""The registry: every task and suite the kit knows, by name."""

from __future__ import annotations

from difflib import get_close_matches

import pandas as pd

from xltkit.tasks import microworld, xtreme
from xltkit.tasks.table import COLUMNS, Budget, Portion, Source, Suite, Task

__all__ = [
    "COLUMNS",
    "SUITES",
    "TASKS",
    "Budget",
    "Portion",
    "Source",
    "Suite",
    "Task",
    "get",
    "register",
    "suite",
    "table_of_tasks",
]

TASKS: dict[str, Task] = microworld.TASKS | xtreme.TASKS
SUITES: dict[str, Suite] = microworld.SUITES | xtreme.SUITES


def _unknown(what: str, name: str, known: dict) -> ValueError:
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"There is no {what} {name!r}.{hint} Known: {', '.join(sorted(known))}.")


def get(name: str) -> Task:
    """The task with this name. Raises ValueError, naming the known ones, if there is none."""
    if name not in TASKS:
        raise _unknown("task", name, TASKS)
    return TASKS[name]


def suite(name: str) -> Suite:
    """The suite with this name. Raises ValueError, naming the known ones, if there is none."""
    if name not in SUITES:
        raise _unknown("suite", name, SUITES)
    return SUITES[name]


def register(task: Task) -> Task:
    """Add a task of your own to the registry, for this session."""
    if task.kind not in COLUMNS:
        raise _unknown("kind", task.kind, COLUMNS)
    TASKS[task.name] = task
    return task


def table_of_tasks() -> pd.DataFrame:
    """One row per task: kind, metric, chance, training set, languages, where it lies, licence."""
    rows = []
    for task in TASKS.values():
        source = task.test or task.validation or task.train
        rows.append(
            {
                "task": task.name,
                "kind": task.kind,
                "metric": task.metric,
                "chance": round(task.chance, 1),
                "trains on": task.train_on or (task.name if task.train else "-"),
                "languages": len(source.configs),
                "data": source.hub,
                "revision": source.revision[:8] or "-",
                "licence": task.licence or "-",
                "note": task.note,
            }
        )
    return pd.DataFrame(rows).set_index("task")
