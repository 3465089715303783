"""Figures of language by language, one panel an arm: a tidy table in, a figure out."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from xltkit.analysis.consistency import pairwise
from xltkit.data.languages import columns
from xltkit.explore.plots import language_order
from xltkit.studies.results import Results

# What a column of ``pairwise`` is called beside its colours.
UNITS = {
    "agreement": "same prediction (% of items)",
    "expected": "same prediction by chance (% of items)",
    "kappa": "Cohen's kappa (-1 to 1)",
    "both_right": "right in both (% of items)",
    "covered": "right in both (% of those right in either)",
    "covered_expected": "right in both if independent (% of those right in either)",
    "rankc": "RankC (points)",
    "rankc_corrected": "RankC above its floor (% of what is possible)",
}
MOST_WRITTEN = 16  # languages beyond which numbers in the cells could not be read


def agreement(
    found: Results | pd.DataFrame, column: str = "agreement", task: str = "",
    arms: Sequence[str] = (),
) -> Figure:  # fmt: skip
    """How well any two languages agree: means over seeds, the same above and below the diagonal.

    Args:
        found: the results of a study, or the table that ``consistency.pairwise`` made of them
            (which takes a while on large test sets).
        column: which, a key of ``UNITS``.
        task: which to draw; the first that is parallel, unless named.
        arms: which to draw; all, unless named.

    Returns:
        A figure of one panel an arm, all with the same colours. Languages stand by family: in the
        order of all figures of the study, or of a table, that of their first appearance.

    Raises:
        ValueError: if there is nothing to draw.
    """
    if column not in UNITS:
        raise ValueError(f"column is {column!r}; expected one of {', '.join(UNITS)}.")
    table = found
    if not isinstance(found, pd.DataFrame):
        table = pairwise(found, [task] if task else [])
    table = _chosen(table, task, arms, column)
    mirrored = table.rename(columns={"language": "other", "other": "language"})
    order = _order(found, [*table["language"], *table["other"]])
    figure = _panels(
        pd.concat([table, mirrored]), column, order, f"{table['task'].iloc[0]}: {UNITS[column]}"
    )
    figure.supxlabel("language", fontsize="medium")
    figure.axes[0].set_ylabel("language")
    return figure


def mixed(
    table: pd.DataFrame, task: str = "", arms: Sequence[str] = (), *, results: Results | None = None
) -> Figure:
    """The score of each pair of languages of the two texts: means over seeds.

    Args:
        table: of ``generalised.matrix``.
        task: which to draw; the first, unless named.
        arms: which to draw; all, unless named.
        results: of the study, whose order of languages is then kept.

    Returns:
        A figure of one panel an arm, all with the same colours. Languages stand by family.

    Raises:
        ValueError: if there is nothing to draw.
    """
    table = _chosen(table, task, arms, "value")
    order = _order(table if results is None else results, table["language"])
    figure = _panels(table, "value", order, f"{table['task'].iloc[0]}: score (points)")
    figure.supxlabel("language of the second text", fontsize="medium")
    figure.axes[0].set_ylabel("language of the first text")
    return figure


def _chosen(table: pd.DataFrame, task: str, arms: Sequence[str], column: str) -> pd.DataFrame:
    """The rows of a task (the first, unless named) and of the arms, if they hold any number."""
    task = task or table["task"].iloc[0]
    mine = table[(table["task"] == task) & table["arm"].isin(list(arms) or table["arm"])]
    if lacking := [arm for arm in arms if arm not in set(mine["arm"])]:
        raise ValueError(f"The table has no rows of arms {lacking} and task {task!r}.")
    if not mine[column].notna().any():
        raise ValueError(f"The table has no {column!r} of task {task!r}.")
    return mine


def _order(found: Results | pd.DataFrame, codes: Sequence[str]) -> list[str]:
    """The codes by family."""
    codes = list(dict.fromkeys(codes))
    if not isinstance(found, pd.DataFrame):
        return [c for c in (label.split()[0] for label in language_order(found)) if c in codes]
    family = columns(codes)["family"]
    return sorted(codes, key=lambda code: list(family.unique()).index(family[code]))


def _panels(table: pd.DataFrame, column: str, order: list[str], unit: str) -> Figure:
    arms = list(dict.fromkeys(table["arm"]))
    size = 1.2 + 0.42 * len(order)
    figure, axes = plt.subplots(
        1, len(arms), figsize=(size * len(arms) + 1.6, size + 0.8), squeeze=False,
        layout="constrained", sharey=True,
    )  # fmt: skip
    names = [f"{code} {name}" for code, name in columns(order)["language_name"].items()]
    grids = {
        arm: table[table["arm"] == arm]
        .pivot_table(index="language", columns="other", values=column, aggfunc="mean")
        .reindex(index=order, columns=order)
        for arm in arms
    }
    every = np.stack([grid.to_numpy() for grid in grids.values()])
    for ax, (arm, grid) in zip(axes[0], grids.items(), strict=True):
        sns.heatmap(
            grid, annot=len(order) <= MOST_WRITTEN, fmt=".2f" if column == "kappa" else ".0f",
            vmin=np.nanmin(every), vmax=np.nanmax(every), cmap="viridis", ax=ax, square=True,
            linewidths=0.5, annot_kws={"fontsize": "x-small"}, cbar=False,
            xticklabels=names, yticklabels=names,
        )  # fmt: skip
        ax.set(xlabel="", ylabel="")
        ax.grid(visible=False)  # it would show through empty cells
        ax.set_title(f"arm: {arm}", loc="left", fontsize="medium")
        ax.tick_params(axis="x", rotation=90)
        ax.tick_params(axis="y", rotation=0)
    figure.colorbar(axes[0, -1].collections[0], ax=list(axes[0]), label=unit, shrink=0.8)
    return figure
