"""Figures of a study and of claims: a tidy table in, axes out."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from itertools import groupby
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from xltkit.analysis.claims import UNCONFIRMED, VERDICTS
from xltkit.analysis.compare import compare
from xltkit.analysis.intervals import t_interval
from xltkit.batch import parameters
from xltkit.data.languages import CLASSES
from xltkit.keys import choose, unknown
from xltkit.progress import interactive
from xltkit.studies.results import Results

BASELINE_COLOR = "#333333"  # the first arm is the same dark gray in every figure
MARKERS = "osD^vPX*"
MIN_SEEDS = 3  # for an interval; with fewer seeds every run is drawn
GROUPS = ("family", "resource", "script")  # columns of languages that colors can tell apart
CLASS_RANK = {level: rank for rank, level in enumerate(CLASSES)}  # from much text to little
VERDICT_STYLES: dict[str, dict[str, Any]] = {  # told apart by shape, too
    "agrees": {"marker": "o", "color": "#0173b2"},
    "disagrees": {"marker": "X", "color": "#b8500c"},
    "cannot tell at this size": {"marker": "o", "color": "#595959", "markerfacecolor": "white"},
}
CLAIM_WIDTH = 46  # characters of a claim on one line


def style() -> AbstractContextManager:
    """The look of the kit's figures, for as long as a ``with`` block or a decorated function runs.

    Importing the kit changes no default of seaborn or matplotlib; ``with xlt.plots.style():``
    around a figure of your own makes it look like the others.
    """
    look = sns.axes_style("whitegrid") | sns.plotting_context("notebook", font_scale=0.9)
    look |= {"figure.dpi": 110, "savefig.dpi": 144}
    look["axes.prop_cycle"] = plt.cycler(color=sns.color_palette("colorblind"))
    return plt.rc_context(look)


def show(axes: Axes | Figure, *, caption: str, alt: str) -> None:
    """Display a figure with its caption and a text for those who cannot see it.

    Args:
        axes: what a plot function returned.
        caption: unit, n, and what the bar is.
        alt: what the figure shows, in words.
    """
    figure = axes if isinstance(axes, Figure) else axes.figure
    image = base64.b64encode(_png(figure)).decode()
    if interactive():  # JupyterLab shows neither caption nor text of an image
        source = f"data:image/png;base64,{image}"
        picture = f'<img src="{source}" alt="{escape(alt)}" style="max-width:100%">'
        text = f"<figcaption>{escape(caption)}</figcaption>"
        display(HTML(f'<figure style="margin:0">{picture}{text}</figure>'))
        return
    data = {"image/png": image, "text/plain": f"{caption}\n{alt}"}
    metadata = {"image/png": {"alt": alt, "caption": caption}}
    display(data, metadata=metadata, raw=True)


def _png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file; the figure is closed. A smoke run is marked as one."""
    with style():
        if parameters.smoke:
            center = {"ha": "center", "va": "center"}
            figure.text(0.5, 0.5, "SMOKE", fontsize=60, color="gray", alpha=0.25, **center)
        full = io.BytesIO()
        figure.savefig(full, format="png", bbox_inches="tight")
    plt.close(figure)
    # 256 colors look the same and keep a rendered notebook small enough to be read online
    small = io.BytesIO()
    Image.open(full).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def new_axes(width: float, height: float) -> Axes:
    """The axes of a new figure (inches)."""
    return plt.figure(figsize=(width, height), layout="constrained").add_subplot()


def arm_styles(arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Color and marker of each arm, the baseline first: never told apart by color alone."""
    colors = [BASELINE_COLOR, *sns.color_palette("colorblind")]
    return {
        arm: {"color": colors[i % len(colors)], "marker": MARKERS[i % len(MARKERS)]}
        for i, arm in enumerate(arms)
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval over seeds, as seaborn's ``errorbar``; NaN with fewer than three."""
    return t_interval(values) if len(values) >= MIN_SEEDS else (np.nan, np.nan)


def over_seeds(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means of ``value`` by group with ``low`` and ``high``; with too few seeds, every run."""
    if table["seed"].nunique() < MIN_SEEDS:
        return table.assign(low=np.nan, high=np.nan)
    groups = table.groupby(list(by), sort=False, dropna=False)["value"]
    intervals = groups.apply(interval)
    ends = pd.DataFrame(intervals.tolist(), index=intervals.index, columns=["low", "high"])
    return ends.assign(value=groups.mean()).reset_index()


def dot_and_bar(ax: Axes, table: pd.DataFrame, look: Mapping[str, Any]) -> None:
    """Draw each row as a dot (``value``, ``place``) and a bar from ``low`` to ``high``."""
    ax.plot(table["value"], table["place"], linestyle="", **look)
    ax.hlines(table["place"], table["low"], table["high"], color=look["color"], linewidth=1.4)


def _offsets(arms: Sequence[str]) -> dict[str, float]:
    """How far from the middle of a row each arm is drawn."""
    places = (np.arange(len(arms)) - (len(arms) - 1) / 2) * 0.7 / len(arms)
    return dict(zip(arms, places, strict=True))


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of a figure, from above; no grid lines along them."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


def _legend(ax: Axes, styles: Mapping[str, Mapping[str, Any]], right: float) -> None:
    """Name what markers and colors stand for, to the right of the axes."""
    for name, look in styles.items():
        ax.plot([], [], label=name, **{"linestyle": "", **look})
    ax.legend(title="arm", frameon=False, loc="center left", bbox_to_anchor=(right, 0.5))


def _labels(table: pd.DataFrame) -> pd.Series:
    """Languages as people read them: code and name."""
    return table["language"] + " " + table["language_name"]


def interval_caption(results: Results, method: str = "") -> str:
    """What a dot and a bar stand for, for captions: it depends on the number of seeds.

    Args:
        results: of a study.
        method: ``seeds`` for figures of ``differences``; empty for those of ``dots``.
    """
    seeds = results.main["seed"].nunique()
    if method:
        return f"dot: mean of {seeds} seeds; bar: 95 % interval of the paired difference over seeds"
    if seeds < MIN_SEEDS:
        return f"each dot is one of {seeds} runs; no interval, for there are fewer than 3 seeds"
    return f"dot: mean of {seeds} seeds; bar: 95 % t interval over seeds"


def language_order(results: Results) -> list[str]:
    """Languages with the source first, then families by their mean over all tasks, best first.

    One order for every figure of a study: a reader looks for a language where it was before.

    Returns:
        Labels of code and name.
    """
    table = results.main.assign(label=_labels(results.main))
    families = table[~table["is_source"]].groupby("family")["value"].mean()
    languages = table.groupby("label").agg(
        {"is_source": "first", "family": "first", "value": "mean"}
    )
    languages["family_mean"] = languages["family"].map(families)
    columns = ["is_source", "family_mean", "value"]
    return list(languages.sort_values(columns, ascending=False).index)


@style()
def dots(
    results: Results,
    task: str,
    *,
    metric: str = "",
    arms: Sequence[str] = (),
    languages: Sequence[str] = (),
    color: str = "arm",
) -> Axes:
    """The score in every language, one row a language, one dot an arm.

    The dot is the mean over seeds, the bar its 95 % t interval, the dotted line is chance. With
    fewer than three seeds every run is a dot and there is no bar.

    Args:
        results: of a study.
        task: which to draw.
        metric: which, where a task has several; its main one, unless named.
        arms, languages: which; all, unless named.
        color: what colors tell apart: the ``arm``, or a column of the language, such as
            ``family`` or ``resource``; arms are then told apart by their markers alone.

    Raises:
        ValueError: for a name that does not exist; the message says which do.
    """
    choose("color", color, ("arm", *GROUPS))
    table = _task_scores(results, task, metric, languages)
    arms = list(arms or results.study.arms)
    order = [label for label in language_order(results) if label in set(table["label"])]
    family = dict(zip(table["label"], table["family"], strict=True))
    points = over_seeds(table[table["arm"].isin(arms)], ["arm", "label", *GROUPS])
    points["place"] = points["label"].map(order.index) + points["arm"].map(_offsets(arms))
    styles = arm_styles(arms)
    colors = _group_colors(table[color])
    ax = new_axes(6.5, 0.9 + 0.28 * len(order))
    for (arm, group), rows in points.assign(group=points[color]).groupby(["arm", "group"]):
        look = styles[arm] if color == "arm" else styles[arm] | {"color": colors[group]}
        dot_and_bar(ax, rows, look)
    _name_rows(ax, order)
    _mark_families(ax, [family[label] for label in order])
    chance = table["chance"].iloc[0]
    if table["main"].all() and chance > 1:
        ax.axvline(chance, color=BASELINE_COLOR, linestyle=":", linewidth=1.2)
    ax.set_xlim(-2, 102)
    ax.set_xlabel(f"{task}: {table['metric'].iloc[0]} (points)")
    if color != "arm":
        styles = {arm: look | {"color": BASELINE_COLOR} for arm, look in styles.items()}
        for group, shade in colors.items():
            styles[f"{color}: {group}"] = {"color": shade, "linestyle": "-", "linewidth": 4}
    if len(styles) > 1:
        _legend(ax, styles, right=1.28)
    return ax


def _task_scores(
    results: Results, task: str, metric: str, languages: Sequence[str]
) -> pd.DataFrame:
    """The scores of a task in one metric, with languages as people read them."""
    table = results.scores
    table = table[table["task"] == choose("task", task, table["task"].unique())]
    metric = metric or table.loc[table["main"], "metric"].iloc[0]
    table = table[table["metric"] == choose("metric", metric, table["metric"].unique())]
    shown = table[table["language"].isin(languages)] if languages else table
    if shown.empty:
        raise ValueError(unknown("language", list(languages), table["language"].unique()))
    return shown.assign(label=_labels(shown))


def _group_colors(groups: pd.Series) -> dict[str, tuple]:
    """A color for each group in its order; resource classes from much text to little."""
    names = sorted(groups.unique(), key=lambda group: CLASS_RANK.get(group, 0))
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def _mark_families(ax: Axes, families: Sequence[str]) -> None:
    """A thin line between families, and the name of each at the right of its rows."""
    start = 0
    where = {"transform": ax.get_yaxis_transform(), "va": "center"}
    for name, rows in groupby(families):
        end = start + len(list(rows))
        ax.text(1.01, (start + end - 1) / 2, name, fontsize="small", color="#555555", **where)
        if start:
            ax.axhline(start - 0.5, color="#bbbbbb", linewidth=0.8)
        start = end


@style()
def differences(results: Results, baseline: str, *, by: str = "task") -> Axes:
    """Each arm minus the baseline in the transfer languages, by group.

    The bar is the 95 % interval of the paired difference over seeds; one that crosses the line at
    0 says that the design cannot tell.

    Args:
        results: of a study.
        baseline: the arm to subtract.
        by: a column of ``results.scores`` to group by, such as ``family``.
    """
    table = compare(results, baseline, by)
    table = table[table["languages"] == "transfer"].rename(columns={"difference": "value"})
    arms = [arm for arm in results.study.arms if arm != baseline]
    groups = list(_group_colors(table[by]))
    table["place"] = table[by].map(groups.index) + table["arm"].map(_offsets(arms))
    styles = arm_styles([baseline, *arms])
    del styles[baseline]
    ax = new_axes(7, 0.9 + 0.19 * len(groups) * (len(arms) + 1))
    for arm, look in styles.items():
        dot_and_bar(ax, table[table["arm"] == arm], look)
    ax.axvline(0, color=BASELINE_COLOR, linewidth=1)
    _name_rows(ax, groups)
    for place in range(1, len(groups)):
        ax.axhline(place - 0.5, color="#cccccc", linewidth=0.8)
    ax.set_xlabel(f"difference from {baseline!r} in the transfer languages (points)")
    ax.set_ylabel(by)
    _legend(ax, styles, right=1.01)
    return ax


@style()
def heatmap(results: Results) -> Axes:
    """The score of the first arm by task and language: means over seeds.

    An empty cell is a language that the task does not have.
    """
    arm = next(iter(results.study.arms))
    table = results.main[results.main["arm"] == arm]
    table = table.assign(label=_labels(table))
    grid = table.pivot_table(index="task", columns="label", values="value", sort=False)
    order = [label for label in language_order(results) if label in grid.columns]
    ax = new_axes(1.6 + 0.62 * len(order), 1.6 + 0.45 * len(grid))
    options = {"vmin": 0, "vmax": 100, "cmap": "viridis", "linewidths": 0.5}
    bar = {"label": "score (points)"}
    sns.heatmap(grid[order], annot=True, fmt=".0f", cbar_kws=bar, ax=ax, **options)
    ax.set(xlabel="", ylabel="")
    ax.set_title(f"arm: {arm}", loc="left", fontsize="medium")
    ax.tick_params(axis="x", rotation=60)
    return ax


@style()
def claims(table: pd.DataFrame) -> Axes:
    """The measured difference of every claim with its interval, and the figure that was claimed.

    Args:
        table: of ``analysis.claims_table``; claims that no run measures are left out.
    """
    rows = table[table["verdict"] != VERDICTS[-1]].rename(columns={"difference": "value"})
    rows["place"] = range(len(rows))
    ax = new_axes(8.5, 1.2 + 0.42 * len(rows))
    for verdict, look in VERDICT_STYLES.items():
        dot_and_bar(ax, rows[rows["verdict"] == verdict], look | {"label": verdict})
    diamond = {"linestyle": "", "marker": "D", "color": BASELINE_COLOR}
    for is_unsure, part in rows.groupby(rows["confirmed"] == UNCONFIRMED):
        fill = {"fillstyle": "none", "label": UNCONFIRMED} if is_unsure else {"label": "claimed"}
        ax.plot(part["figure"], part["place"], **diamond, **fill)
    several = rows.groupby("claim")["run"].transform("nunique") > 1
    names = rows["claim"] + np.where(several, " (" + rows["run"] + ")", "")
    _name_rows(ax, [textwrap.fill(name, CLAIM_WIDTH) for name in names])
    ax.tick_params(axis="y", labelsize="small")
    ax.axvline(0, color=BASELINE_COLOR, linewidth=1)
    ax.set_xlabel("difference (points)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.2, -0.13), ncols=2, frameon=False)
    return ax
