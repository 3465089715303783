"""Inputs whose two texts are in two languages: the generalised cross-lingual setting.

A test set that is parallel is paired anew, the first text in one language and the second in
another (Huang et al. 2021, arXiv 2104.08645; G-XLT of MLQA). Predictions in, tidy tables out:
``predictions`` is a table of ``arm``, ``seed``, ``task``, ``language`` (of the first text),
``other`` (of the second), ``example_id`` and ``score`` (0 to 1).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from xltkit.analysis.intervals import LEVEL
from xltkit.analysis.items import shares

CELL = ["arm", "task", "language", "other"]
STATISTICS = ("diagonal", "off_diagonal", "source_row", "source_column", "penalty")
_AT_ONCE = 1_000_000  # draws held in memory


def matrix(predictions: pd.DataFrame) -> pd.DataFrame:
    """The mean score of each pair of languages.

    Returns:
        One row per arm, task, ``language`` and ``other``: ``value`` (0 to 100, the mean over
        ``n`` items, then over ``seeds``).

    Raises:
        ValueError: if a column is lacking.
    """
    _checked(predictions)
    seeds = predictions.groupby([*CELL, "seed"], sort=False, observed=True)
    table = seeds["score"].mean().mul(100).rename("value").to_frame()
    table["n"] = seeds["example_id"].nunique()
    groups = table.reset_index().groupby(CELL, sort=False, observed=True)
    return groups.agg(value=("value", "mean"), n=("n", "max"), seeds=("seed", "size")).reset_index()


def _checked(predictions: pd.DataFrame) -> None:
    needed = [*CELL, "seed", "example_id", "score"]
    if lacking := [name for name in needed if name not in predictions.columns]:
        raise ValueError(f"The predictions lack the columns {lacking}; needed are {needed}.")


def mixing(
    predictions: pd.DataFrame, source: str = "en", resamples: int = 2000, seed: int = 0,
    baseline: str = "",
) -> pd.DataFrame:  # fmt: skip
    """What it costs that the two texts are in two languages.

    All cells of the matrix are of the same items, so a bootstrap draws items once for the whole
    matrix: cells drawn apart would give too narrow an interval for a mean, and too wide a one for
    a difference. Seeds are drawn as well, and both alike for all arms. (With few seeds such an
    interval is too narrow; see ``t_interval``. With one it says nothing of other seeds.)

    Args:
        predictions: as the module says, every arm, seed and cell of the same items.
        source: the language the labels came from.
        resamples: how many to draw.
        seed: of the draws.
        baseline: an arm to subtract from the others.

    Returns:
        One row per arm and task, in points: ``diagonal`` and ``off_diagonal`` means of the cells,
        those of the ``source_row`` (first text in the source language) and ``source_column``
        (second text), both with the cell of the source alone, and ``penalty``, off-diagonal minus
        diagonal (negative if mixing hurts). Each has its 95 % percentile interval in ``<name>_low``
        and ``<name>_high``. With a baseline there are ``<name>_difference``, ``_difference_low``
        and ``_difference_high``, not numbers in its own row. ``n`` counts items.

    Raises:
        ValueError: for an item that some cell, arm or seed lacks or has twice, an unknown source
            or baseline, or fewer than two languages.
    """
    _checked(predictions)
    rows = []
    for task, table in predictions.groupby("task", sort=False, observed=True):
        arms, values = _per_item(table, task, source)
        if baseline and baseline not in arms:
            raise ValueError(f"baseline is {baseline!r}; {task} was predicted by {arms}.")
        means, drawn = values.mean(axis=(1, 2)), _resampled(values, resamples, seed)
        size = {"seeds": values.shape[1], "n": values.shape[2]}
        for a, arm in enumerate(arms):
            row = {"arm": arm, "task": task} | _intervals(means[a], drawn[:, a], "")
            if baseline:
                b = arms.index(baseline)
                gone = np.nan if a == b else 0.0
                differences = means[a] - means[b] + gone, drawn[:, a] - drawn[:, b] + gone
                row |= _intervals(*differences, "_difference")
            rows.append(row | size)
    return pd.DataFrame(rows)


def _intervals(means: np.ndarray, drawn: np.ndarray, suffix: str) -> dict[str, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    row = {}
    for k, name in enumerate(STATISTICS):
        row[f"{name}{suffix}"] = float(means[k])
        row |= {f"{name}{suffix}_low": float(low[k]), f"{name}{suffix}_high": float(high[k])}
    return row


def _per_item(table: pd.DataFrame, task: str, source: str) -> tuple[list[str], np.ndarray]:
    """The arms, and what each statistic is on a single item (arms, seeds, items, statistics).

    Every statistic is a mean over items of these, so that cells need not be drawn one by one.
    """
    codes = list(dict.fromkeys(table["language"]))
    if set(table["other"]) != set(codes) or source not in codes or len(codes) < 2:
        raise ValueError(
            f"{task} has first texts in {sorted(codes)} and second ones in "
            f"{sorted(set(table['other']))}; expected the same two or more, with {source!r}."
        )
    names = [list(table[name].unique()) for name in ("arm", "seed", "example_id")]
    cells = _cells(table, task, [*names, codes, codes])
    size, at = len(codes), codes.index(source)
    diagonal = np.diagonal(cells, axis1=3, axis2=4).mean(axis=-1, dtype=float)
    whole = cells.mean(axis=(3, 4), dtype=float)
    off = (whole * size - diagonal) / (size - 1)
    row, column = (c.mean(axis=-1, dtype=float) for c in (cells[..., at, :], cells[..., at]))
    return names[0], 100 * np.stack([diagonal, off, row, column, off - diagonal], axis=-1)


def _cells(table: pd.DataFrame, task: str, names: list[list]) -> np.ndarray:
    """The scores as an array (arms, seeds, items, languages, languages) without a gap."""
    columns = ["arm", "seed", "example_id", "language", "other"]
    at = [pd.Index(n).get_indexer(table[c]) for n, c in zip(names, columns, strict=True)]
    cells = np.full([len(n) for n in names], np.nan, dtype=np.float32)
    cells[tuple(at)] = table["score"].to_numpy()
    gaps = np.argwhere(np.isnan(cells))
    if len(gaps) or len(table) != cells.size:
        where = [n[k] for n, k in zip(names, gaps[0], strict=True)] if len(gaps) else []
        example = f", such as {dict(zip(columns, where, strict=True))}" if where else ""
        raise ValueError(
            f"{task}: {len(gaps)} of {cells.size} scores are lacking{example}, and "
            f"{table.duplicated(columns).sum()} are there twice. Every item has to be once in "
            "every pair of languages, arm and seed."
        )
    return cells


def _resampled(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The statistics (resamples, arms, statistics) of seeds and items drawn with replacement."""
    random = np.random.default_rng(seed)
    arms, seeds, items, statistics = values.shape
    by_item = values.transpose(2, 0, 1, 3).reshape(items, -1)
    parts = []
    for start in range(0, resamples, step := max(1, _AT_ONCE // items)):
        count = min(step, resamples - start)
        means = shares(random, count, items) @ by_item
        means = means.reshape(count, arms, seeds, statistics)
        parts.append(np.einsum("bs,bask->bak", shares(random, count, seeds), means))
    return np.concatenate(parts)
