"""Figures of how words are cut in pieces."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from xltkit.languages import CLASSES
from xltkit.plots import MARKERS, _axes, _named, _separate


def pieces(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Pieces per word, one row a language, grouped by family; the marker is its resource level.

    Args:
        table: of ``xltkit.explore.subwords.fertility``.
        ax: where to draw; a new figure, unless given.
    """
    table = table.assign(label=_named(table))
    families = list(dict.fromkeys(table["family"]))
    table = table.iloc[
        [i for f in families for i in (table["family"] == f).to_numpy().nonzero()[0]]
    ]
    order = list(table["label"])
    ax = _axes(ax, 6.5, 0.9 + 0.28 * len(order))
    levels = [*CLASSES, ""]
    colours = sns.color_palette("colorblind")
    for level, own in table.groupby("resource", sort=False):
        at, name = levels.index(level), level or "unknown"
        style = {"color": colours[at], "marker": MARKERS[at], "markersize": 7, "linestyle": ""}
        ax.plot(own["pieces_per_word"], [order.index(x) for x in own["label"]], label=name, **style)
    ax.set_yticks(range(len(order)), order)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    _separate(ax, table, order)
    ax.set_xlim(0.9, None)
    ax.set_xlabel(f"pieces per word ({table['sentences'].sum()} sentences)")
    # Right of the names of the families.
    ax.legend(title="resource", loc="center left", bbox_to_anchor=(1.22, 0.5), frameon=False)
    return ax
