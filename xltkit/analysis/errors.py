"""Where a finished study goes wrong: errors shared with the source language, and hard items.

For means by family, script or resource class there is ``xltkit.summary(results, by=...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from xltkit.analysis.consistency import pairwise
from xltkit.analysis.intervals import LEVEL
from xltkit.analysis.items import item_table
from xltkit.studies.results import Results
from xltkit.tasks import get, load


def error_overlap(results: Results, tasks: Sequence[str] = ()) -> pd.DataFrame:
    """Does an item that fails in the source language fail in the others too?

    Error overlap of ExplainaBoard, as XTREME reports it for XNLI and XQuAD (arXiv 2003.11080).

    Args:
        results: of a study.
        tasks: as in ``pairwise``: the test sets have to be translations of one another.

    Returns:
        One row per arm, task and language other than the source, means over ``seeds``. ``kept`` is
        the share of the items right in the source language that are right here too, ``gained``
        that of the items wrong there; both equal ``right`` if errors have nothing in common.
        ``agreement``, ``expected`` and ``kappa`` are those of ``pairwise`` with the source
        language. Shares are 0 to 100; ``n`` counts items.

    Raises:
        ValueError: as ``pairwise``.
    """
    pairs = pairwise(results, tasks)
    pairs = pairs[pairs["language"] == results.study.source].drop(columns="language")
    pairs = pairs.rename(
        columns={"other": "language", "right": "right_in_source", "other_right": "right"}
    )
    wrong_in_source = (100 - pairs["right_in_source"]).replace(0, np.nan)
    pairs["kept"] = 100 * pairs["both_right"] / pairs["right_in_source"].replace(0, np.nan)
    pairs["gained"] = 100 * (pairs["right"] - pairs["both_right"]) / wrong_in_source
    groups = pairs.groupby(["arm", "task", "language"], sort=False)
    columns = ["right", "right_in_source", "kept", "gained", "agreement", "expected", "kappa", "n"]
    means = groups[columns].mean().astype({"n": int})
    return means.assign(seeds=groups["seed"].nunique()).reset_index()


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
        One row per arm, language and ``bucket`` with anything in it. ``value`` is the mean score
        (0 to 100), ``n`` counts items: the seeds of one count once. ``low`` and ``high`` are the
        95 % Wilson interval for ``n`` independent items, too wide rather than too narrow for
        scores between 0 and 1.

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
    out = groups.agg(value=("score", "mean"), n=("item", "nunique")).reset_index()
    intervals = []
    for value, n in zip(out["value"], out["n"], strict=True):
        right = round(value * n)
        intervals.append(stats.binomtest(right, n).proportion_ci(LEVEL, method="wilson"))
    out["value"] *= 100
    out["low"] = [100 * interval.low for interval in intervals]
    out["high"] = [100 * interval.high for interval in intervals]
    return out
