"""Figures of language by language, one panel an arm."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from xltkit.analysis.consistency import pairwise
from xltkit.data.languages import columns
from xltkit.explore.plots import language_order, style
from xltkit.keys import choose
from xltkit.studies.results import Results

# What a column of ``analysis.pairwise`` is called beside its colors.
UNITS = {
    "agreement": "same prediction (% of items)",
    "expected": "same prediction by chance (% of items)",
    "kappa": "Cohen's kappa (-1 to 1)",
    "rankc": "RankC (points)",
    "rankc_corrected": "RankC above its floor (% of what is possible)",
}
MOST_WRITTEN = 16  # languages beyond which numbers in the cells could not be read


def agreement(
    results: Results, column: str = "agreement", task: str = "", arms: Sequence[str] = ()
) -> Figure:
    """How well any two languages agree: means over seeds, the same above and below the diagonal.

    Args:
        results: of a study.
        column: which number of ``analysis.pairwise``, a key of ``UNITS``.
        task: which to draw; the first that is parallel, unless named.
        arms: which to draw; all, unless named.

    Returns:
        A figure of one panel an arm. Languages stand in the order of all figures of the study.

    Raises:
        ValueError: if there is nothing to draw.
    """
    choose("column", column, UNITS)
    table = pairwise(results, [task] if task else [])
    mirrored = table.rename(columns={"language": "other", "other": "language"})
    order = [label.split()[0] for label in language_order(results)]
    names = ("language", "language")
    return _panels(pd.concat([table, mirrored]), column, UNITS[column], task, arms, order, names)


def mixed(table: pd.DataFrame, task: str = "", arms: Sequence[str] = ()) -> Figure:
    """The score of each pair of languages of the two texts: means over seeds.

    Args:
        table: of ``analysis.score_matrix``.
        task: which to draw; the first, unless named.
        arms: which to draw; all, unless named.

    Returns:
        A figure of one panel an arm. Languages stand by family.

    Raises:
        ValueError: if there is nothing to draw.
    """
    families = columns(list(table["language"].unique()))["family"]
    numbers = pd.Series(pd.factorize(families)[0], families.index)
    order = list(numbers.sort_values(kind="stable").index)
    names = ("language of the first text", "language of the second text")
    return _panels(table, "value", "score (points)", task, arms, order, names)


@style()
def _panels(
    table: pd.DataFrame,
    column: str,
    unit: str,
    task: str,
    arms: Sequence[str],
    order: Sequence[str],
    names: tuple[str, str],
) -> Figure:
    """Heat maps of a task (the first, unless named), one an arm, with the same colors."""
    task = task or table["task"].iloc[0]
    table = table[table["task"] == task].dropna(subset=column)
    arms = list(arms or table["arm"].unique())
    for arm in arms:
        choose(f"arm with {column} of {task!r}", arm, table["arm"].unique())
    means = table[table["arm"].isin(arms)].groupby(["arm", "language", "other"])[column].mean()
    order = [code for code in order if code in means.index.unique("language")]
    labels = [f"{code} {name}" for code, name in columns(order)["language_name"].items()]
    side = 1.2 + 0.42 * len(order)
    size = (side * len(arms) + 1.6, side + 0.8)
    shape = {"figsize": size, "squeeze": False, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(1, len(arms), **shape)
    look = {"vmin": means.min(), "vmax": means.max(), "cmap": "viridis", "linewidths": 0.5}
    look |= {"annot": len(order) <= MOST_WRITTEN, "fmt": ".2f" if column == "kappa" else ".0f"}
    look |= {"annot_kws": {"fontsize": "x-small"}, "square": True, "cbar": False}
    for ax, arm in zip(axes[0], arms, strict=True):
        grid = means[arm].unstack("other").reindex(index=order, columns=order)
        sns.heatmap(grid, xticklabels=labels, yticklabels=labels, ax=ax, **look)
        ax.set(xlabel="", ylabel="")
        ax.grid(visible=False)  # it would show through empty cells
        ax.set_title(f"arm: {arm}", loc="left", fontsize="medium")
        ax.tick_params(axis="x", rotation=90)
        ax.tick_params(axis="y", rotation=0)
    axes[0, 0].set_ylabel(names[0])
    figure.supxlabel(names[1], fontsize="medium")
    label = f"{task}: {unit}"
    figure.colorbar(axes[0, -1].collections[0], ax=list(axes[0]), label=label, shrink=0.8)
    return figure
