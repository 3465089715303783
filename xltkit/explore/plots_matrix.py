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

MOST_WRITTEN = 16  # languages beyond which numbers in the cells could not be read


def agreement(results: Results, task: str = "", arms: Sequence[str] = ()) -> Figure:
    """How many items (%) any two languages predict the same for, one panel an arm.

    Means over seeds, the same above and below the diagonal. Languages stand in the order of all
    figures of the study.

    Args:
        results: of a study.
        task: which to draw; the first that is parallel, unless named.
        arms: which to draw; all, unless named.

    Raises:
        ValueError: if there is nothing to draw.
    """
    table = pairwise(results, [task] if task else [])
    mirrored = table.rename(columns={"language": "other", "other": "language"})
    table = pd.concat([table, mirrored]).rename(columns={"agreement": "value"})
    order = [label.split()[0] for label in language_order(results)]
    names = ("language", "language")
    return _panels(table, "same prediction (% of items)", task, arms, order, names)


def mixed(table: pd.DataFrame, task: str = "", arms: Sequence[str] = ()) -> Figure:
    """The score of each pair of languages of the two texts, means over seeds, one panel an arm.

    Args:
        table: of ``analysis.score_matrix``.
        task: which to draw; the first, unless named.
        arms: which to draw; all, unless named.

    Raises:
        ValueError: if there is nothing to draw.
    """
    families = columns(list(table["language"].unique()))["family"]
    order = [code for _, codes in families.groupby(families, sort=False) for code in codes.index]
    names = ("language of the first text", "language of the second text")
    return _panels(table, "score (points)", task, arms, order, names)


@style()
def _panels(
    table: pd.DataFrame,
    unit: str,
    task: str,
    arms: Sequence[str],
    order: Sequence[str],
    names: tuple[str, str],
) -> Figure:
    """Heat maps of a task (the first, unless named), one an arm, with the same colors."""
    task = task or table["task"].iloc[0]
    table = table[table["task"] == task]
    arms = list(arms or table["arm"].unique())
    for arm in arms:
        choose(f"arm of {task!r}", arm, table["arm"].unique())
    means = table[table["arm"].isin(arms)].groupby(["arm", "language", "other"])["value"].mean()
    order = [code for code in order if code in means.index.unique("language")]
    labels = [f"{code} {name}" for code, name in columns(order)["language_name"].items()]
    side = 1.2 + 0.42 * len(order)
    size = (side * len(arms) + 1.6, side + 0.8)
    shape = {"figsize": size, "squeeze": False, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(1, len(arms), **shape)
    look = {"vmin": means.min(), "vmax": means.max(), "cmap": "viridis", "linewidths": 0.5}
    look |= {"annot": len(order) <= MOST_WRITTEN, "fmt": ".0f"}
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
