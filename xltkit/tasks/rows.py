"""The rows of a training set: read, chosen, and if a check asks for it, shuffled."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from datasets import Dataset

from xltkit.data import loading as data
from xltkit.keys import derive
from xltkit.tasks import Source, Task, TrainingSet, get


def source_of(task: Task, split: str) -> Source:
    """The source of a split. Raises MissingData if the task has none."""
    source = getattr(task, split)
    if source is None:
        raise data.MissingData(f"The task {task.name!r} has no {split} split.")
    return source


def training_rows(training_set: TrainingSet) -> Dataset:
    """The rows of a training set.

    A smaller number of examples is the same random choice for every seed, and the small set is a
    part of every larger one. The microworld generates as many as are asked for.
    """
    return _training_rows(training_set, state(training_set))


def count(training_set: TrainingSet) -> int:
    """The number of rows of a training set; the microworld makes none to know it."""
    source = source_of(get(training_set.task), "train")
    if source.hub != "microworld":
        return len(training_rows(training_set))
    from xltkit.data.microworld.generate import SIZES  # only there if it is asked for

    usual = source.configs[training_set.language].partition(":")[2]
    return training_set.examples or int(usual or SIZES["train"])


def state(training_set: TrainingSet) -> str:
    """What the rows of a training set are now: a file that is edited in a session is read again."""
    task = get(training_set.task)
    try:
        return data.fingerprint(source_of(task, "train"), training_set.language)
    except data.MissingData:
        data.load(task, "train", training_set.language)  # its error says whose rows are missing
        raise


@lru_cache(maxsize=64)
def _training_rows(training_set: TrainingSet, state: str) -> Dataset:
    rows = data.load(get(training_set.task), "train", training_set.language, training_set.examples)
    if training_set.examples and training_set.examples < len(rows):
        order = np.random.default_rng(derive("subset", training_set.task)).permutation(len(rows))
        rows = rows.select(order[: training_set.examples])
    if not training_set.shuffled:
        return rows
    random = np.random.default_rng(derive("shuffle", training_set.task))
    return get(training_set.task).type.permute(get(training_set.task), rows, random)
