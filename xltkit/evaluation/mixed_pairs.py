"""Generalized cross-lingual transfer: the two texts of an example in two languages (G-XLT).

The setting of Lewis et al. (2020) for MLQA; Huang et al. (2021) compare robust training in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import pandas as pd
from datasets import Dataset

from xltkit.tasks.base import Columns, Task, types_with

Tables = tuple[pd.DataFrame, pd.DataFrame]


def predict(
    predict_rows: Callable[[Mapping[str, Dataset | Columns]], Tables],
    task: Task,
    rows: Mapping[str, Dataset],
) -> Tables:
    """Predictions and scores for all ordered pairs of languages.

    Premise, first sentence or question is in ``language``; hypothesis, second sentence, context
    or alternatives are in ``other``. The items are those that all languages have.

    Args:
        predict_rows: predictions and scores of rows by language, see ``evaluation.predict``.
        task: whose rows these are.
        rows: the test rows of each language.

    Raises:
        ValueError: for a task of one text, or one that is not parallel.
    """
    first_text = task.type.crossed_text
    if not first_text:
        raise ValueError(
            f"{task.name} is {task.kind} and has no two texts; mixed=True is for "
            f"{', '.join(types_with('crossed_text'))}."
        )
    places = {code: {key: i for i, key in enumerate(part["id"][:])} for code, part in rows.items()}
    first = next(iter(places.values()))
    shared = [key for key in first if all(key in others for others in places.values())]
    if not shared:
        raise ValueError(f"{task.name} is not parallel: no item is in all of {list(rows)}.")
    tables = {
        code: part.select([places[code][key] for key in shared])[:] for code, part in rows.items()
    }
    pairs = {}
    for one, other in product(tables, repeat=2):
        columns = tables[other] | {first_text: tables[one][first_text]}
        pairs[f"{one}+{other}"] = Columns(columns)
    predictions, scores = predict_rows(pairs)
    return _split_languages(predictions), _split_languages(scores)


def _split_languages(table: pd.DataFrame) -> pd.DataFrame:
    """The two languages of a pair in two columns."""
    both = table["language"].str.split("+", regex=False, expand=True)
    return table.assign(language=both[0], other=both[1])
