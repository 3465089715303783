"""Sentences as points: where an encoder puts those that say the same in several languages."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xltkit.data.languages import columns
from xltkit.explore.embeddings import found, unit
from xltkit.explore.plots import BASELINE, MARKERS

MOST = len(MARKERS)  # languages that can be told apart by marker


def sentences(panels: Mapping[str, pd.DataFrame], *, first: int = 6) -> Figure:
    """The same sentences in several languages, one panel an encoder.

    A point is a sentence: its number stands beside it and is its colour, its marker is the
    language. A line joins it with its source sentence. Directions are the two in which the drawn
    points of a panel differ most (principal components of vectors of length 1); how much of all
    differences that is stands below. Above stands what no flat picture can distort: how many of
    *all* sentences of the table have their translation as their nearest in the first language.

    Args:
        panels: by name, tables of ``embeddings.embed``.
        first: how many of the sentences are drawn.

    Raises:
        ValueError: if there are more languages than markers.
    """
    codes = list(dict.fromkeys(next(iter(panels.values()))["language"]))
    if len(codes) > MOST:
        raise ValueError(f"{len(codes)} languages cannot be told apart; draw {MOST} at most.")
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.3 * len(panels), 4.9), squeeze=False, layout="constrained"
    )
    for ax, (name, table) in zip(axes[0], panels.items(), strict=True):
        _panel(ax, table[table["sentence"] < first], codes)
        share = found(table, codes[0]).mean() if len(codes) > 1 else 100.0
        ax.set_title(f"{name}\ntranslation found: {share:.0f} %", loc="left", fontsize="medium")
    names = columns(codes)["language_name"]
    shown = [
        plt.Line2D([], [], color=BASELINE, linestyle="", marker=mark, label=f"{code} {names[code]}")
        for code, mark in zip(codes, MARKERS, strict=False)
    ]
    figure.legend(handles=shown, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(ax: Axes, table: pd.DataFrame, codes: list[str]) -> None:
    centred = unit(table) - unit(table).mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points = pd.DataFrame(left[:, :2] * sizes[:2], table.index, ["x", "y"])
    kept = (sizes[:2] ** 2).sum() / (sizes**2).sum()
    numbers = table["sentence"].unique()
    colours = dict(zip(numbers, sns.color_palette("colorblind", len(numbers)), strict=True))
    for number, rows in table.groupby("sentence"):
        by_code = points.loc[rows.index].set_index(rows["language"])
        origin = by_code.loc[codes[0]]
        for code, mark in zip(codes, MARKERS, strict=False):
            x, y = by_code.loc[code]
            ax.plot([origin.x, x], [origin.y, y], color=colours[number], linewidth=0.7, zorder=1)
            ax.plot(x, y, mark, color=colours[number], markersize=7, markeredgecolor="white")
        ax.annotate(
            str(number + 1), origin, xytext=(5, 4), textcoords="offset points", weight="bold"
        )
    ax.margins(0.12)
    ax.set(xticks=[], yticks=[], xlabel=f"two directions: {100 * kept:.0f} % of the differences")
    ax.set_aspect("equal", adjustable="datalim")
