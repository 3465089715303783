"""The registry: every task and suite the kit knows, by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from xltkit.data import loading as data
from xltkit.data.source import Source
from xltkit.keys import choose

# Each of these registers its task types.
from xltkit.tasks import captions, labels, mlm, retrieval, span, tagging  # noqa: F401
from xltkit.tasks.base import (
    TYPES,
    Suite,
    Task,
    TaskType,
    TrainingArguments,
    TrainingSet,
    types_with,
)
from xltkit.tasks.suites import SUITES, TASKS

__all__ = [
    "SUITES",
    "TASKS",
    "TYPES",
    "Source",
    "Suite",
    "Task",
    "TaskType",
    "TrainingArguments",
    "TrainingSet",
    "available_sets",
    "get",
    "parse_substitutes",
    "register",
    "suite",
    "table_of_tasks",
]


def get(name: str) -> Task:
    """The task with this name. Raises ValueError, naming the known ones, if there is none.

    A task whose tags only its own file knows (``ccg``) comes with the tags of that file; without
    the file it has none, and loading it says what is missing.
    """
    task = TASKS[choose("task", name, TASKS)]
    read_labels = getattr(task.train.read, "labels", None) if task.train else None
    if read_labels is None or task.labels:
        return task
    try:
        return replace(task, labels=read_labels(data.file(task.train, "en")))
    except data.MissingData:
        return task


def parse_substitutes(substitutes: Iterable[str]) -> dict[str, str]:
    """Which task stands in for which: ``["mnli<-sick"]`` as ``{"mnli": "sick"}``.

    Raises:
        ValueError: if an entry has no arrow, or names a task that there is not.
    """
    pairs = {}
    for entry in substitutes:
        old, arrow, new = entry.partition("<-")
        if not arrow:
            raise ValueError(f"{entry!r} is no stand-in; write 'mnli<-sick' to train on SICK.")
        pairs[get(old.strip()).name] = get(new.strip()).name
    return pairs


def available_sets(
    training_sets: Iterable[TrainingSet], substitutes: Iterable[str] = ()
) -> list[TrainingSet]:
    """The training sets whose training rows are to be had; the others are told in a warning.

    Args:
        training sets: what is wanted.
        substitutes: ``"mnli<-sick"`` takes SICK where MNLI is wanted.
    """
    names = parse_substitutes(substitutes)
    wanted = dict.fromkeys(replace(p, task=names.get(p.task, p.task)) for p in training_sets)
    return [p for p in wanted if data.available(get(p.task), "train", [p.language])[0]]


def suite(name: str) -> Suite:
    """The suite with this name. Raises ValueError, naming the known ones, if there is none."""
    return SUITES[choose("suite", name, SUITES)]


def register(task: Task) -> Task:
    """Add a task to the registry, for this session. Raises ValueError if its type is unknown."""
    choose("task type", task.kind, types_with("columns"))
    TASKS[task.name] = task
    return task


def table_of_tasks() -> pd.DataFrame:
    """One row per task: what it is, what it trains on, where it lies, and on what terms.

    ``splits`` are those with labels; ``languages`` are of the split that is scored, or trained on.
    """
    rows = []
    for task in TASKS.values():
        source = task.test or task.validation or task.train
        rows.append(
            {
                "task": task.name,
                "kind": task.kind,
                "metric": task.metric or "-",
                "chance": round(task.chance, 1),
                "trains on": task.train_on or (task.name if task.train else "-"),
                "splits": " ".join(name for name in data.SPLITS if getattr(task, name)),
                "languages": len(source.languages),
                "data": " ".join(dict.fromkeys(part.hub for part in source.parts)),
                "revision": " ".join((part.revision or "-")[:8] for part in source.parts),
                "licence": task.licence or "-",
                "citation": task.citation or "-",
                "note": task.note,
            }
        )
    return pd.DataFrame(rows).set_index("task")
