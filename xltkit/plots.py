"""Figures: a tidy table in, axes out; nothing is averaged without saying so."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from xltkit.evaluation.diagnostics import ATTRIBUTES
from xltkit.evaluation.predict import protocol_layer
from xltkit.intervals import t_interval
from xltkit.languages import CLASSES
from xltkit.results import Results
from xltkit.stats import by_layer, compare

BASELINE = "#333333"  # the baseline arm is the same dark grey in every figure
MARKERS = "osD^vPX*"
FEWEST = 3  # seeds for an interval; with fewer every run is drawn
sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.9)
plt.rcParams |= {"figure.dpi": 110, "savefig.dpi": 144}


def show(axes: Axes | Figure, *, caption: str, alt: str) -> None:
    """Display a figure with its caption and a text for those who cannot see it.

    Args:
        axes: what a plot function returned.
        caption: unit, n, and what the bar is.
        alt: what the figure shows, in words.
    """
    from IPython.display import display

    figure = axes if isinstance(axes, Figure) else axes.figure
    if os.environ.get("XLTKIT_SMOKE"):
        figure.text(
            0.5, 0.5, "SMOKE", fontsize=60, color="grey", alpha=0.25, ha="center", va="center"
        )
    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight")
    plt.close(figure)
    # 256 colours look the same and keep a rendered notebook small enough to be read online
    Image.open(drawn).convert("RGB").quantize(256).save(buffer, format="png", optimize=True)
    data = {
        "image/png": base64.b64encode(buffer.getvalue()).decode(),
        "text/plain": f"{caption}\n{alt}",
    }
    about = {"alt": alt, "caption": caption}
    display(data, metadata={"image/png": about}, raw=True)


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    if ax is not None:
        return ax
    return plt.figure(figsize=(width, height), layout="constrained").add_subplot()


def _style(arms: Sequence[str], baseline: str) -> dict[str, dict]:
    """Colour and marker of each arm: never told apart by colour alone."""
    others = [a for a in arms if a != baseline]
    colours = sns.color_palette("colorblind")
    style = {
        a: {"color": colours[i % len(colours)], "marker": MARKERS[(i + 1) % len(MARKERS)]}
        for i, a in enumerate(others)
    }
    return style | {baseline: {"color": BASELINE, "marker": MARKERS[0]}}


def _bar(values: Sequence[float]) -> tuple[float, float]:
    """The t interval over seeds; none with too few."""
    return t_interval(values) if len(values) >= FEWEST else (np.nan, np.nan)


def _legend(ax: Axes, title: str = "arm") -> None:
    ax.legend(title=title, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _named(table: pd.DataFrame) -> pd.Series:
    """Languages as people read them: code and name."""
    return table["language"] + " " + table["language_name"]


def bars(results: Results, method: str = "") -> str:
    """What a dot and a bar stand for, for captions: it depends on the number of seeds.

    With the ``method`` of a comparison, what they stand for in ``differences``.
    """
    seeds = results.main["seed"].nunique()
    if method:
        over = {"both": "seeds and examples", "examples": "examples"}.get(method, "seeds")
        return (
            f"dot: mean of {seeds} seeds; bar: 95 % interval of the paired difference over {over}"
        )
    if seeds < 3:
        return f"each dot is one of {seeds} runs; no interval, for there are fewer than 3 seeds"
    return f"dot: mean of {seeds} seeds; bar: 95 % t interval over seeds"


def ordered(results: Results) -> list[str]:
    """Languages with the source first, then families by their mean over all tasks, best first.

    One order for every figure of a study: a reader looks for a language where it was before.
    """
    table = results.main
    family = table[~table["is_source"]].groupby("family", sort=False)["value"].mean()
    rank = family.rank(ascending=False).to_dict()
    keys = table.assign(label=_named(table)).groupby("label", sort=False).agg(
        source=("is_source", "first"), family=("family", "first"), value=("value", "mean")
    )  # fmt: skip
    keys["rank"] = keys["family"].map(rank).fillna(0)
    keys.loc[keys["source"], "rank"] = -1
    return list(keys.sort_values(["rank", "value"], ascending=[True, False]).index)


def dots(results: Results, task: str, *, arms: Sequence[str] = (), ax: Axes | None = None) -> Axes:
    """The score in every language, one row a language, one dot an arm (all, or those named).

    The dot is the mean over seeds, the bar its 95 % t interval, the dotted line is chance. With
    fewer than three seeds every run is a dot and there is no bar.
    """
    table = results.main
    table = table[table["task"] == task].assign(label=lambda t: _named(t))
    arms = list(arms or results.study.arms)
    order = [label for label in ordered(results) if label in set(table["label"])]
    ax = _axes(ax, 6.5, 0.9 + 0.28 * len(order))
    offsets = np.linspace(-0.22, 0.22, len(arms)) if len(arms) > 1 else [0.0]
    style = _style(arms, arms[0])
    for arm, offset in zip(arms, offsets, strict=True):
        mine = table[table["arm"] == arm]
        for y, label in enumerate(order):
            values = mine.loc[mine["label"] == label, "value"].to_numpy()
            low, high = _bar(values)
            shown = values if len(values) < FEWEST else [values.mean()]
            ax.plot(shown, [y + offset] * len(shown), linestyle="", markersize=5, **style[arm])
            ax.plot([low, high], [y + offset] * 2, color=style[arm]["color"], linewidth=1.4)
        ax.plot([], [], linestyle="", label=arm, **style[arm])
    ax.set_yticks(range(len(order)), order)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    _separate(ax, table, order)
    if (chance := table["chance"].iloc[0]) > 1:
        ax.axvline(chance, color=BASELINE, linestyle=":", linewidth=1.2)
    ax.set_xlim(-2, 102)
    ax.set_xlabel(f"{task}: {table['metric'].iloc[0]} (points)")
    ax.set_ylabel("")
    if len(arms) > 1:
        ax.legend(title="arm", loc="center left", bbox_to_anchor=(1.09, 0.5), frameon=False)
    return ax


def _separate(ax: Axes, table: pd.DataFrame, order: Sequence[str]) -> None:
    """A thin line between families, and the name of the family at the right."""
    family = dict(zip(table["label"], table["family"], strict=True))
    at = 0
    while at < len(order):
        last = at
        while last + 1 < len(order) and family[order[last + 1]] == family[order[at]]:
            last += 1
        ax.text(
            1.01, (at + last) / 2, family[order[at]], transform=ax.get_yaxis_transform(),
            va="center", fontsize="small", color="#555555",
        )  # fmt: skip
        if at:
            ax.axhline(at - 0.5, color="#bbbbbb", linewidth=0.8)
        at = last + 1


def differences(
    results: Results, baseline: str, *, by: str = "task", method: str = "seeds",
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Each arm minus the baseline in the transfer languages, by group.

    The bar is the 95 % interval of the paired difference, by the ``method`` of ``compare`` (over
    seeds, unless named); one that crosses the line at 0 says that the design cannot tell.
    """
    table = compare(results, baseline, by, method)
    table = table[table["languages"] == "transfer"]
    arms = [a for a in results.study.arms if a != baseline]
    rank = {level: i for i, level in enumerate(CLASSES)}  # from much text to little
    groups = sorted(dict.fromkeys(table[by]), key=lambda group: rank.get(group, 0))
    ax = _axes(ax, 7, 0.9 + 0.19 * len(groups) * (len(arms) + 1))
    style = _style(list(results.study.arms), baseline)
    for g, group in enumerate(groups):
        for a, arm in enumerate(arms):
            row = table[(table[by] == group) & (table["arm"] == arm)]
            if row.empty:
                continue
            row = row.iloc[0]
            y = g + (a - (len(arms) - 1) / 2) * 0.8 / max(1, len(arms))
            ax.plot([row["low"], row["high"]], [y, y], color=style[arm]["color"], linewidth=1.6)
            ax.plot(row["difference"], y, linestyle="", markersize=6, **style[arm])
    for arm in arms:
        ax.plot([], [], linestyle="", label=arm, **style[arm])
    ax.axvline(0, color=BASELINE, linewidth=1)
    ax.set_yticks(range(len(groups)), groups)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    for g in range(1, len(groups)):
        ax.axhline(g - 0.5, color="#cccccc", linewidth=0.8)
    ax.set_xlabel(f"difference from {baseline!r} in the transfer languages (points)")
    ax.set_ylabel(by)
    _legend(ax)
    return ax


def heatmap(results: Results, arm: str = "", *, ax: Axes | None = None) -> Axes:
    """The score of an arm (the first, unless named) by task and language: means over seeds.

    An empty cell is a language that the task does not have.
    """
    arm = arm or next(iter(results.study.arms))
    table = results.main
    table = table[table["arm"] == arm].assign(label=lambda t: _named(t))
    grid = table.pivot_table(index="task", columns="label", values="value", aggfunc="mean")
    order = [c for c in ordered(results) if c in grid.columns]
    ax = _axes(ax, 1.6 + 0.62 * len(order), 1.6 + 0.45 * len(grid))
    sns.heatmap(
        grid[order], annot=True, fmt=".0f", vmin=0, vmax=100, cmap="viridis", ax=ax,
        linewidths=0.5, cbar_kws={"label": "score (points)"},
    )  # fmt: skip
    ax.set_xlabel("")
    ax.set_ylabel("")
    ax.set_title(f"arm: {arm}", loc="left", fontsize="medium")
    ax.tick_params(axis="x", rotation=60)
    return ax


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
