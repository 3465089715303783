"""The generalised setting: the two texts of an example in two languages (Huang et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import pandas as pd
from datasets import Dataset

from xltkit.tasks.base import Columns, Task, types_with


def predict(
    predicting: Callable[[Mapping[str, Dataset]], tuple[pd.DataFrame, pd.DataFrame]],
    task: Task,
    rows: Mapping[str, Dataset],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and scores for all ordered pairs of languages.

    Premise, first sentence or question is in ``language``; hypothesis, second sentence, context
    or alternatives are in ``other``. The items are those that all languages have.

    Raises:
        ValueError: for a task of one text, or one that is not parallel.
    """
    column = task.type.crossed_text
    if not column:
        have = ", ".join(types_with("crossed_text"))
        raise ValueError(
            f"{task.name} is {task.kind} and has no two texts; mixed=True is for {have}."
        )
    places = {code: {key: i for i, key in enumerate(r["id"][:])} for code, r in rows.items()}
    first = next(iter(places.values()))
    shared = [key for key in first if all(key in others for others in places.values())]
    if not shared:
        raise ValueError(f"{task.name} is not parallel: no item is in all of {list(rows)}.")
    same = {code: r.select([places[code][key] for key in shared])[:] for code, r in rows.items()}
    joined = {
        f"{a}+{b}": Columns(same[b] | {column: same[a][column]}) for a, b in product(same, repeat=2)
    }
    return tuple(_apart(table) for table in predicting(joined))


def _apart(table: pd.DataFrame) -> pd.DataFrame:
    both = table["language"].str.split("+", regex=False, expand=True)
    return table.assign(language=both[0], other=both[1])
