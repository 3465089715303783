"""Inputs whose two texts are in different languages: generalized cross-lingual transfer (G-XLT).

A parallel test set is re-paired, with the first text in one ``language`` and the second in the
``other`` (Huang et al. 2021, arXiv 2104.08645; G-XLT of MLQA).
"""

from itertools import product

import numpy as np
import pandas as pd

from xltkit.analysis.intervals import over_seeds_and_items
from xltkit.analysis.items import grid
from xltkit.keys import choose

STATISTICS = ("diagonal", "off_diagonal", "penalty")


def score_matrix(predictions: pd.DataFrame) -> pd.DataFrame:
    """The mean ``value`` over ``n`` items and ``seeds``, by arm, task and pair of languages."""
    cells = predictions.groupby(["arm", "task", "language", "other"], sort=False)
    table = cells.agg({"score": "mean", "example_id": "nunique", "seed": "nunique"})
    table.columns = ["value", "n", "seeds"]
    return table.assign(value=100 * table["value"]).reset_index()


def penalty(predictions: pd.DataFrame, baseline: str = "") -> pd.DataFrame:
    """What it costs if the two texts are in different languages.

    One row per arm, task and ``statistic``, in points: the mean of the cells on the ``diagonal``
    (one language) and ``off_diagonal`` (two), and the ``penalty``, the second minus the first
    (negative if mixing hurts). ``value`` has the interval ``value_low`` to ``value_high``; a
    ``baseline`` arm adds the columns of ``difference`` from it, NaN in its own rows. Intervals are
    those of ``compare(..., method="both")``, for other seeds and other items; all cells have the
    same items. Raises ValueError for an unknown baseline, or if a cell lacks or repeats an item.
    """
    rows = []
    for task, table in predictions.groupby("task", sort=False):
        arms = list(table["arm"].unique())
        by_item = dict(zip(arms, _by_item(table, task), strict=True))
        for (arm, values), (k, statistic) in product(by_item.items(), enumerate(STATISTICS)):
            own = over_seeds_and_items(values[..., k])
            row = {"arm": arm, "task": task, "statistic": statistic, "value": own["difference"]}
            row |= {"value_low": own["low"], "value_high": own["high"]}
            if baseline and arm != choose("baseline", baseline, arms):
                row |= over_seeds_and_items((values - by_item[baseline])[..., k])
            rows.append(row | {"n_seeds": own["n_seeds"], "n": values.shape[1]})
    return pd.DataFrame(rows)


def _by_item(table: pd.DataFrame, task: str) -> np.ndarray:
    """Each statistic on each item, in points: (arms, seeds, items, statistics).

    Every statistic is the mean of these over items, so cells need not be resampled one by one.
    """
    axes = {name: table[name].unique() for name in ("arm", "seed", "example_id")}
    # In the same order on both axes, or there would be no diagonal.
    axes["language"] = axes["other"] = pd.unique(table[["language", "other"]].to_numpy().ravel())
    counts = grid(table, axes, np.ones(len(table), dtype=int))
    if (counts != 1).any():
        raise ValueError(
            f"{task}: {(counts == 0).sum()} of {counts.size} scores are missing, and "
            f"{(counts > 1).sum()} are there twice: give every item in every pair of languages."
        )
    cells = grid(table, axes, table["score"].astype(np.float32))
    size = len(axes["other"])
    diagonal = np.diagonal(cells, axis1=3, axis2=4).mean(axis=-1, dtype=float)
    whole = cells.mean(axis=(3, 4), dtype=float)
    off_diagonal = (whole * size - diagonal) / (size - 1)
    return 100 * np.stack([diagonal, off_diagonal, off_diagonal - diagonal], axis=-1)
