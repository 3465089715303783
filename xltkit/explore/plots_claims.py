"""Claims beside what was measured: figures of the table that ``claims.table`` gives."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from xltkit.analysis.claims import UNCONFIRMED, VERDICTS
from xltkit.explore.plots import BASELINE, _axes

# Told apart by shape, too: full, crossed, hollow.
MARKS = {
    "agrees": {"marker": "o", "color": "#0173b2"},
    "disagrees": {"marker": "X", "color": "#b8500c"},
    "cannot tell at this size": {"marker": "o", "color": "#595959", "markerfacecolor": "white"},
}
WIDE = 46  # characters of a claim on one line


def _rows(table: pd.DataFrame, ax: Axes | None) -> tuple[pd.DataFrame, Axes]:
    """What was measured, one row a claim and run, and axes high enough for them."""
    shown = table[table["verdict"] != VERDICTS[-1]]
    several = shown["run"].groupby(shown["claim"]).transform("nunique") > 1
    names = shown["claim"] + np.where(several, " (" + shown["run"] + ")", "")
    ax = _axes(ax, 8.5, 1.2 + 0.42 * len(shown))
    ax.set_yticks(range(len(shown)), [textwrap.fill(name, WIDE) for name in names])
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.tick_params(axis="y", labelsize="small")
    ax.grid(axis="y", visible=False)
    ax.axvline(0, color=BASELINE, linewidth=1)
    return shown, ax


def _claimed(shown: pd.DataFrame, ax: Axes) -> None:
    """The figures that were claimed; hollow, if they could not be confirmed."""
    unsure = (shown["confirmed"] == UNCONFIRMED).to_numpy()
    for known, fill, label in ((~unsure, "full", "claimed"), (unsure, "none", "not confirmed")):
        ax.plot(
            shown["figure"][known], np.flatnonzero(known), linestyle="", marker="D",
            color=BASELINE, fillstyle=fill, label=label,
        )  # fmt: skip


def _legend(ax: Axes) -> None:
    ax.legend(loc="upper center", bbox_to_anchor=(0.2, -0.13), ncols=2, frameon=False)


def measured(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The measured difference of every claim with its interval, and the figure that was claimed.

    Args:
        table: of ``claims.table``; claims that no run measures are left out.
        ax: where to draw; a new figure, unless given.
    """
    shown, ax = _rows(table, ax)
    for y, (_, row) in enumerate(shown.iterrows()):
        style = MARKS[row["verdict"]]
        ax.plot([row["low"], row["high"]], [y, y], color=style["color"], linewidth=1.6)
        ax.plot(row["difference"], y, linestyle="", markersize=7, **style)
    for name, style in MARKS.items():
        ax.plot([], [], linestyle="", label=name, **style)
    _claimed(shown, ax)
    ax.set_xlabel("difference (points)")
    _legend(ax)
    return ax


def visible(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The smallest effect that each design could have seen, beside the figure that was claimed.

    Args:
        table: of ``claims.table``; claims without a p value have no smallest effect, and no row.
        ax: where to draw; a new figure, unless given.
    """
    shown, ax = _rows(table[table["smallest_effect"].notna()], ax)
    rows = np.arange(len(shown))
    ax.barh(rows, shown["smallest_effect"], height=0.5, color="#bbbbbb", label="smallest effect")
    _claimed(shown, ax)
    ax.set_xlabel("effect (points)")
    _legend(ax)
    return ax


def verdicts(shares: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How often each verdict is given to what was measured, one row of bars a condition.

    Args:
        shares: per cent; one row a condition, one column a verdict.
        ax: where to draw; a new figure, unless given.
    """
    ax = _axes(ax, 7, 1.4 + 0.6 * len(shares))
    left = np.zeros(len(shares))
    colours = [MARKS[name]["color"] for name in VERDICTS[:2]] + ["#d0d0d0"]
    for name, colour, hatch in zip(VERDICTS[:3], colours, ("", "xx", ""), strict=True):
        width = shares.get(name, pd.Series(0.0, shares.index)).fillna(0).to_numpy()
        ax.barh(
            range(len(shares)), width, left=left, color=colour, hatch=hatch, label=name,
            edgecolor="white", height=0.6,
        )  # fmt: skip
        left += width
    ax.set_yticks(range(len(shares)), shares.index)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of the verdicts (per cent)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=3, frameon=False)
    return ax
