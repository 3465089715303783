"""Inputs whose two texts are in two languages: generalized cross-lingual transfer (G-XLT).

A parallel test set is paired anew, the first text in one ``language`` and the second in the
``other`` (Huang et al. 2021, arXiv 2104.08645; G-XLT of MLQA).
"""

import numpy as np
import pandas as pd

from xltkit.analysis.intervals import LEVEL
from xltkit.analysis.items import RESAMPLES, draw_batches, draw_weights, grid
from xltkit.keys import choose


def score_matrix(predictions: pd.DataFrame) -> pd.DataFrame:
    """By arm, task and pair of languages the ``value``, a mean over ``n`` items and ``seeds``."""
    cells = predictions.groupby(["arm", "task", "language", "other"], sort=False)
    table = cells.agg({"score": "mean", "example_id": "nunique", "seed": "nunique"})
    table.columns = ["value", "n", "seeds"]
    return table.assign(value=100 * table["value"]).reset_index()


def penalty(predictions: pd.DataFrame, baseline: str = "") -> pd.DataFrame:
    """What it costs that the two texts are in two languages.

    A bootstrap draws items once for the whole matrix: cells drawn apart would give too narrow an
    interval for a mean, and too wide a one for a difference. Seeds are drawn as well, and both
    alike for all arms. (With few seeds such an interval is too narrow; see ``t_interval``.)

    One row per arm and task, in points: ``diagonal`` and ``off_diagonal`` means of the cells, and
    ``penalty``, off-diagonal minus diagonal (negative if mixing hurts). Each has its 95 %
    percentile interval in ``<name>_low`` and ``<name>_high``; with the ``baseline``, an arm, there
    are ``<name>_difference``, ``_difference_low`` and ``_difference_high``, NaN in its own row.
    Raises ValueError for an unknown baseline, or items that some cell lacks or has twice.
    """
    rows = []
    for task, table in predictions.groupby("task", sort=False):
        arms = list(table["arm"].unique())
        values = _by_item(table, task)
        _, seeds, items, statistics = values.shape
        means = values.mean(axis=(1, 2))
        by_item = values.transpose(2, 0, 1, 3).reshape(items, -1)
        random = np.random.default_rng(0)
        batches = []
        for weights in draw_batches(random, RESAMPLES, items, 1):
            by_seed = (weights @ by_item).reshape(-1, len(arms), seeds, statistics)
            seed_weights = draw_weights(random, len(weights), seeds)
            batches.append(np.einsum("ds,dast->dat", seed_weights, by_seed))
        draws = np.concatenate(batches)  # (resamples, arms, statistics)
        for i, arm in enumerate(arms):
            row = {"arm": arm, "task": task} | _intervals(means[i], draws[:, i], "")
            if baseline:
                j = arms.index(choose("baseline", baseline, arms))
                nothing = np.nan if i == j else 0.0  # an arm is not compared with itself
                gap = means[i] - means[j] + nothing
                row |= _intervals(gap, draws[:, i] - draws[:, j] + nothing, "_difference")
            rows.append(row | {"seeds": seeds, "n": items})
    return pd.DataFrame(rows)


def _intervals(means: np.ndarray, draws: np.ndarray, suffix: str) -> dict[str, float]:
    """Each statistic and its percentile interval, as columns of the table."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    row = {}
    for i, name in enumerate(("diagonal", "off_diagonal", "penalty")):
        column = f"{name}{suffix}"
        row |= {column: means[i], f"{column}_low": low[i], f"{column}_high": high[i]}
    return row


def _by_item(table: pd.DataFrame, task: str) -> np.ndarray:
    """What each statistic is on a single item, in points: (arms, seeds, items, statistics).

    Every statistic is a mean over items of these, so that cells need not be drawn one by one.
    """
    axes = {name: table[name].unique() for name in ("arm", "seed", "example_id")}
    # Both in one order, or there would be no diagonal.
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
