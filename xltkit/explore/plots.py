"""Figures: a tidy table in, axes out; nothing is averaged without saying so."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from xltkit.analysis.compare import compare
from xltkit.analysis.intervals import t_interval
from xltkit.data.languages import CLASSES
from xltkit.progress import interactive
from xltkit.studies.results import Results

BASELINE = "#333333"  # the baseline arm is the same dark grey in every figure
MARKERS = "osD^vPX*"
FEWEST = 3  # seeds for an interval; with fewer every run is drawn
GROUPS = ("family", "resource", "script")  # columns of languages that colours can tell apart
RANK = {level: i for i, level in enumerate(CLASSES)}  # from much text to little
sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.9)
plt.rcParams |= {"figure.dpi": 110, "savefig.dpi": 144}


def show(axes: Axes | Figure, *, caption: str, alt: str) -> None:
    """Display a figure with its caption and a text for those who cannot see it.

    Args:
        axes: what a plot function returned.
        caption: unit, n, and what the bar is.
        alt: what the figure shows, in words.
    """
    from IPython.display import HTML, display

    drawn = base64.b64encode(_png(axes if isinstance(axes, Figure) else axes.figure)).decode()
    if interactive():  # JupyterLab shows neither caption nor text of an image
        source, said = f"data:image/png;base64,{drawn}", escape(caption)
        image = f'<img src="{source}" alt="{escape(alt)}" style="max-width:100%">'
        display(HTML(f'<figure style="margin:0">{image}<figcaption>{said}</figcaption></figure>'))
        return
    about = {"alt": alt, "caption": caption}
    data = {"image/png": drawn, "text/plain": f"{caption}\n{alt}"}
    display(data, metadata={"image/png": about}, raw=True)


def _png(figure: Figure) -> bytes:
    """A figure as a file, closed; that of a smoke run says so."""
    if os.environ.get("XLTKIT_SMOKE"):
        figure.text(
            0.5, 0.5, "SMOKE", fontsize=60, color="grey", alpha=0.25, ha="center", va="center"
        )
    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight")
    plt.close(figure)
    # 256 colours look the same and keep a rendered notebook small enough to be read online
    Image.open(drawn).convert("RGB").quantize(256).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


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


def dots(
    results: Results, task: str, *, metric: str = "", arms: Sequence[str] = (),
    languages: Sequence[str] = (), colour: str = "arm", ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """The score in every language, one row a language, one dot an arm.

    The dot is the mean over seeds, the bar its 95 % t interval, the dotted line is chance. With
    fewer than three seeds every run is a dot and there is no bar.

    Args:
        results: of a study.
        task: which to draw.
        metric: which, where a task has several; its main one, unless named.
        arms, languages: which; all, unless named.
        colour: what colours tell apart: the ``arm``, or a column of the language, such as
            ``family`` or ``resource``; arms are then told apart by their markers alone.
        ax: where to draw; a new figure, unless given.

    Raises:
        ValueError: if there is nothing to draw, or no such column.
    """
    table = _scored(results, task, metric, languages)
    if colour != "arm" and colour not in GROUPS:
        raise ValueError(f"colour is {colour!r}; expected arm, {', '.join(GROUPS)}.")
    arms = list(arms or results.study.arms)
    order = [label for label in ordered(results) if label in set(table["label"])]
    ax = _axes(ax, 6.5, 0.9 + 0.28 * len(order))
    offsets = np.linspace(-0.22, 0.22, len(arms)) if len(arms) > 1 else [0.0]
    style = _style(arms, arms[0])
    paint = {} if colour == "arm" else _painted(table, colour)
    for arm, offset in zip(arms, offsets, strict=True):
        mine = table[table["arm"] == arm]
        for y, label in enumerate(order):
            values = mine.loc[mine["label"] == label, "value"].to_numpy()
            look = style[arm] | ({"color": paint[label]} if paint else {})
            shown = values if len(values) < FEWEST else [values.mean()]
            ax.plot(shown, [y + offset] * len(shown), linestyle="", markersize=5, **look)
            ax.plot(_bar(values), [y + offset] * 2, color=look["color"], linewidth=1.4)
        look = style[arm] | ({"color": BASELINE} if paint else {})
        ax.plot([], [], linestyle="", label=arm, **look)
    groups = dict(zip(table["label"], table[colour], strict=True)) if paint else {}
    for group, label in {group: label for label, group in groups.items()}.items():
        ax.plot([], [], linewidth=4, label=f"{colour}: {group}", color=paint[label])
    ax.set_yticks(range(len(order)), order)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    _separate(ax, table, order)
    if table["main"].all() and (chance := table["chance"].iloc[0]) > 1:
        ax.axvline(chance, color=BASELINE, linestyle=":", linewidth=1.2)
    ax.set_xlim(-2, 102)
    ax.set_xlabel(f"{task}: {table['metric'].iloc[0]} (points)")
    ax.set_ylabel("")
    if len(arms) > 1 or paint:
        ax.legend(title="arm", loc="center left", bbox_to_anchor=(1.09, 0.5), frameon=False)
    return ax


def _scored(results: Results, task: str, metric: str, languages: Sequence[str]) -> pd.DataFrame:
    """The scores of a task in one metric, with languages as people read them."""
    table = results.scores[results.scores["task"] == task]
    table = table[table["metric"] == metric] if metric else table[table["main"]]
    if languages:
        table = table[table["language"].isin(languages)]
    if table.empty:
        known = results.scores.groupby("task")["metric"].unique().map(list).to_dict()
        raise ValueError(
            f"No score of {task!r} in {metric or 'its metric'} and {list(languages) or 'any'} "
            f"language; there are, by task, {known}."
        )
    return table.assign(label=_named(table))


def _painted(table: pd.DataFrame, column: str) -> dict[str, tuple]:
    """A colour for each language, the same within a group of the column."""
    known = list(dict.fromkeys(table[column]))
    known.sort(key=lambda group: RANK.get(group, 0))
    colours = dict(zip(known, sns.color_palette("colorblind", len(known)), strict=True))
    groups = zip(table["label"], table[column], strict=True)
    return {label: colours[group] for label, group in groups}


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
    groups = sorted(dict.fromkeys(table[by]), key=lambda group: RANK.get(group, 0))
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
    grid = grid.loc[list(dict.fromkeys(table["task"]))]  # in the order of the study
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
