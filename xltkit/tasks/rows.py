"""The training rows of a portion: read, chosen, and if a check asks for it, shuffled."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from datasets import Dataset

from xltkit.data import loading as data
from xltkit.keys import derive
from xltkit.tasks import Portion, Source, Task, get


def source_of(task: Task, split: str) -> Source:
    """The source of a split. Raises MissingData if the task has none."""
    source = getattr(task, split)
    if source is None:
        raise data.MissingData(f"The task {task.name!r} has no {split} split.")
    return source


def training_rows(portion: Portion) -> Dataset:
    """The training rows of a portion.

    A smaller number of examples is the same random choice for every seed, and the small set is a
    part of every larger one. The microworld generates as many as are asked for.
    """
    return _training_rows(portion, state(portion))


def count(portion: Portion) -> int:
    """The number of training rows of a portion; those of the microworld are not made to know it."""
    source = source_of(get(portion.task), "train")
    if source.hub != "microworld":
        return len(training_rows(portion))
    from xltkit.data.microworld.generate import SIZES  # only there if it is asked for

    usual = source.configs[portion.language].partition(":")[2]
    return portion.examples or int(usual or SIZES["train"])


def state(portion: Portion) -> str:
    """What the rows of a portion are now: a file that is edited in a session is read again."""
    task = get(portion.task)
    try:
        return data.fingerprint(source_of(task, "train"), portion.language)
    except data.MissingData:
        data.load(task, "train", portion.language)  # its error says whose rows are missing
        raise


@lru_cache(maxsize=64)
def _training_rows(portion: Portion, state: str) -> Dataset:
    rows = data.load(get(portion.task), "train", portion.language, portion.examples)
    if portion.examples and portion.examples < len(rows):
        order = np.random.default_rng(derive("subset", portion.task)).permutation(len(rows))
        rows = rows.select(order[: portion.examples])
    # Pictures are dealt out where they are looked up (``Contrast``): their rows are not copied.
    deal = portion.shuffled and get(portion.task).kind != "captions"
    return _shuffled(rows, portion.task) if deal else rows


# What a shuffle deals out anew, where it is no label.
_DEALT = {"span": "question", "tagging": "tags", "ranking": "query", "text": "translation"}


def _shuffled(rows: Dataset, task: str) -> Dataset:
    """The same rows with labels, tags, questions or translations dealt out at random."""
    random = np.random.default_rng(derive("shuffle", task))
    column = _DEALT.get(get(task).kind, "label")
    if column not in rows.column_names:
        raise ValueError(f"{task} has no {column} to shuffle; shuffle a task with labels or pairs.")
    values = rows[column][:]
    if column == "tags":  # over all words, so that every sentence keeps its length
        ends = np.cumsum([len(tags) for tags in values])[:-1]
        values = [list(t) for t in np.split(random.permutation(np.concatenate(values)), ends)]
    else:
        values = [values[i] for i in random.permutation(len(values))]
    features = rows.features
    return rows.remove_columns(column).add_column(column, values).cast(features)
