"""Which items a finished study gets wrong.

For means by family, script or resource class there is ``xltkit.summary(results, by=...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from scipy import stats

from xltkit.analysis.intervals import LEVEL
from xltkit.analysis.items import item_table
from xltkit.studies.results import Results
from xltkit.tasks import get, load


def buckets(
    results: Results,
    task: str,
    attribute: Callable[[Mapping[str, Any]], float | str],
    bins: int = 4,
) -> pd.DataFrame:
    """The score by an attribute of the items, such as the length of a text.

    Lengths in characters differ by script (XQuAD: a median of 247 in Chinese and 767 in English),
    so that buckets are compared within a language first.

    Args:
        results: of a study.
        task: one of its tasks.
        attribute: of a row of the test set, such as ``lambda row: len(row["context"])``. Numbers
            are cut into ``bins`` at the quantiles of all languages together; names are not binned.
        bins: how many.

    Returns:
        One row per arm, language and ``bucket``: ``value``, the mean score (0 to 100), and ``n``
        items, the seeds of one counting once. ``low`` and ``high`` are the 95 % Wilson interval
        for ``n`` independent items, too wide rather than too narrow for scores between 0 and 1.

    Raises:
        ValueError: for an unknown task, or if the test set does not hold the items any more.
    """
    items = item_table(results, [task])
    scored = results.scores[results.scores["task"] == task].iloc[0]
    rows = []
    for language in items["language"].unique():
        for row in load(get(task), scored["split"], language, int(scored["examples"])):
            rows.append((language, row["id"], attribute(row)))
    attributes = pd.DataFrame(rows, columns=["language", "item", "bucket"])
    if pd.api.types.is_numeric_dtype(attributes["bucket"]):
        attributes["bucket"] = pd.qcut(attributes["bucket"], bins, duplicates="drop")
    table = items.merge(attributes, on=["language", "item"], how="left")
    if table["bucket"].isna().any():
        raise ValueError(
            f"The {scored['split']} split of {task} does not hold all items that were predicted: "
            "the data changed since. Run the study again."
        )
    groups = table.groupby(["arm", "language", "bucket"], observed=True)
    means = groups.agg(value=("score", "mean"), n=("item", "nunique")).reset_index()
    intervals = []
    for value, n in zip(means["value"], means["n"], strict=True):
        test = stats.binomtest(round(value * n), n)
        intervals.append(test.proportion_ci(LEVEL, method="wilson"))
    means[["low", "high"]] = [(interval.low, interval.high) for interval in intervals]
    means[["value", "low", "high"]] *= 100
    return means
