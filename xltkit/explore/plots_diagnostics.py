"""Figures of where errors are, and of where in the encoder a score comes from."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from xltkit.analysis.compare import by_layer
from xltkit.analysis.errors import ATTRIBUTES
from xltkit.evaluation.predict import protocol_layer
from xltkit.explore.plots import BASELINE, _axes, _legend, _style
from xltkit.studies.results import Results


def buckets(
    table: pd.DataFrame, arm: str = "", metric: str = "", *, ax: Axes | None = None
) -> Axes:
    """The score by an attribute of the items, one row a group, with the number of items in a cell.

    Args:
        table: of ``diagnostics.buckets``.
        arm: which to draw; the first, unless named.
        metric: which to draw; the first, unless named.
        ax: where to draw; a new figure, unless given.

    A cell in brackets holds too few items to lean on (``small``); an empty one holds none.
    """
    arm, metric = arm or table["arm"].iloc[0], metric or table["metric"].iloc[0]
    table = table[(table["arm"] == arm) & (table["metric"] == metric)]
    if table.empty:
        raise ValueError(f"The table has no rows of arm {arm!r} and metric {metric!r}.")
    over = table.columns[table.columns.get_loc("task") + 1]
    shown = [
        f"{value:.0f}\nn = {n}" if not small else f"({value:.0f})\nn = {n}"
        for value, n, small in table[["value", "n", "small"]].itertuples(index=False)
    ]
    cells = table.assign(shown=shown)
    grid = {
        name: cells.pivot(index=over, columns="bucket", values=name) for name in ("value", "shown")
    }
    ax = _axes(ax, 2.4 + 1.0 * grid["value"].shape[1], 1.4 + 0.5 * len(grid["value"]))
    sns.heatmap(
        grid["value"].astype(float), annot=grid["shown"].fillna(""), fmt="", vmin=0, vmax=100,
        cmap="viridis", ax=ax, linewidths=0.5, annot_kws={"fontsize": "small"},
        cbar_kws={"label": f"{table['task'].iloc[0]}: {metric} (points)"},
    )  # fmt: skip
    ax.set_xlabel(ATTRIBUTES[table["by"].iloc[0]][1])
    ax.set_ylabel(over)
    ax.set_title(f"arm: {arm}", loc="left", fontsize="medium")
    ax.tick_params(axis="x", rotation=30)
    ax.tick_params(axis="y", rotation=0)
    return ax


def layers(results: Results, task: str = "", *, ax: Axes | None = None) -> Axes:
    """Retrieval by layer, one line an arm: means over seeds and transfer languages.

    Full lines are means of the tokens, dashed ones the first token; the dotted line is the layer
    that retrieval reads unless told otherwise. The task is the first one
    that was swept, unless named.
    """
    table = by_layer(results)
    table = table[table["task"] == (task or table["task"].iloc[0])]
    arms = list(results.study.arms)
    ax = _axes(ax, 7, 3.6)
    style = _style(arms, arms[0])
    for arm in arms:
        for pooling, line in {"mean": "-", "first": "--"}.items():
            mine = table[(table["arm"] == arm) & (table["pooling"] == pooling)]
            name = arm if pooling == "mean" else None
            ax.plot(mine["layer"], mine["value"], line, label=name, markersize=5, **style[arm])
    ax.axvline(protocol_layer(table["layer"].max()), color=BASELINE, linestyle=":", linewidth=1.2)
    ax.set_xticks(sorted(table["layer"].unique()))
    ax.set_xlabel("layer")
    ax.set_ylabel(f"{table['task'].iloc[0]}: accuracy (points)")
    _legend(ax)
    return ax
