"""Figures of a study and of claims: a tidy table in, axes out."""

from __future__ import annotations

import base64
import io
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
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
from xltkit.evaluation.predict import protocol_layer
from xltkit.progress import interactive
from xltkit.studies.results import Results

BASELINE_COLOR = "#333333"  # the baseline arm is the same dark gray in every figure
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

Styles = Mapping[str, Mapping[str, Any]]


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


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes given, or those of a new figure (inches)."""
    if ax is not None:
        return ax
    return plt.figure(figsize=(width, height), layout="constrained").add_subplot()


def arm_styles(arms: Sequence[str], baseline: str) -> dict[str, dict[str, Any]]:
    """Color and marker of each arm: never told apart by color alone."""
    colors = sns.color_palette("colorblind")
    styles = {baseline: {"color": BASELINE_COLOR, "marker": MARKERS[0]}}
    others = [arm for arm in arms if arm != baseline]
    for i, arm in enumerate(others):
        marker = MARKERS[(i + 1) % len(MARKERS)]
        styles[arm] = {"color": colors[i % len(colors)], "marker": marker}
    return styles


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval over seeds; not numbers if there are too few of them."""
    return t_interval(values) if len(values) >= MIN_SEEDS else (np.nan, np.nan)


def dot_and_bar(
    ax: Axes,
    place: float,
    values: Sequence[float],
    look: Mapping[str, Any],
    *,
    bar: tuple[float, float] | None = None,
    vertical: bool = False,
    size: float = 5,
) -> None:
    """Draw the mean over seeds as a dot and its interval as a bar.

    Args:
        ax: where to draw.
        place: on the other axis.
        values: one a seed; with fewer than three each is a dot and there is no bar.
        look: color and marker.
        bar: the interval, where the values are no seeds; they are then drawn as they are.
        vertical: values go up instead of to the right.
        size: of the dot.
    """
    dots = values if bar or len(values) < MIN_SEEDS else [np.mean(values)]
    ends = bar or interval(values)
    dot_places = [place] * len(dots)
    bar_places = [place, place]
    line = {"color": look["color"], "linewidth": 1.4}
    if vertical:
        ax.plot(dot_places, dots, linestyle="", markersize=size, **look)
        ax.plot(bar_places, ends, **line)
    else:
        ax.plot(dots, dot_places, linestyle="", markersize=size, **look)
        ax.plot(ends, bar_places, **line)


def legend(ax: Axes, styles: Styles, title: str = "arm", *, right: float = 1.01) -> None:
    """Name what markers and colors stand for, to the right of the axes."""
    for name, look in styles.items():
        ax.plot([], [], label=name, **{"linestyle": "", **look})
    where = {"loc": "center left", "bbox_to_anchor": (right, 0.5)}
    ax.legend(title=title, frameon=False, **where)


def _rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of a figure, from above; no grid lines along them."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


def _labels(table: pd.DataFrame) -> pd.Series:
    """Languages as people read them: code and name."""
    return table["language"] + " " + table["language_name"]


def interval_caption(results: Results, method: str = "") -> str:
    """What a dot and a bar stand for, for captions: it depends on the number of seeds.

    Args:
        results: of a study.
        method: of a comparison, for figures of ``differences``; empty for those of ``dots``.
    """
    seeds = results.main["seed"].nunique()
    if method:
        over = {"both": "seeds and examples", "examples": "examples"}.get(method, "seeds")
        bar = f"95 % interval of the paired difference over {over}"
        return f"dot: mean of {seeds} seeds; bar: {bar}"
    if seeds < MIN_SEEDS:
        return f"each dot is one of {seeds} runs; no interval, for there are fewer than 3 seeds"
    return f"dot: mean of {seeds} seeds; bar: 95 % t interval over seeds"


def language_order(results: Results) -> list[str]:
    """Languages with the source first, then families by their mean over all tasks, best first.

    One order for every figure of a study: a reader looks for a language where it was before.

    Returns:
        Labels of code and name.
    """
    table = results.main
    transfer = table[~table["is_source"]]
    ranks = transfer.groupby("family", sort=False)["value"].mean().rank(ascending=False)
    languages = (
        table.assign(label=_labels(table))
        .groupby("label", sort=False)
        .agg({"is_source": "first", "family": "first", "value": "mean"})
    )
    languages["rank"] = languages["family"].map(ranks).fillna(0)
    languages.loc[languages["is_source"], "rank"] = -1
    return list(languages.sort_values(["rank", "value"], ascending=[True, False]).index)


@style()
def dots(
    results: Results,
    task: str,
    *,
    metric: str = "",
    arms: Sequence[str] = (),
    languages: Sequence[str] = (),
    color: str = "arm",
    ax: Axes | None = None,
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
        ax: where to draw; a new figure, unless given.

    Raises:
        ValueError: if there is nothing to draw, or no such column.
    """
    table = _task_scores(results, task, metric, languages)
    if color != "arm" and color not in GROUPS:
        raise ValueError(f"color is {color!r}; expected arm, {', '.join(GROUPS)}.")
    arms = list(arms or results.study.arms)
    shown = set(table["label"])
    order = [label for label in language_order(results) if label in shown]
    ax = new_axes(ax, 6.5, 0.9 + 0.28 * len(order))
    styles = arm_styles(arms, arms[0])
    groups = {} if color == "arm" else dict(zip(table["label"], table[color], strict=True))
    colors = _group_colors(groups.values())
    offsets = np.linspace(-0.22, 0.22, len(arms)) if len(arms) > 1 else [0.0]
    for arm, offset in zip(arms, offsets, strict=True):
        values = table[table["arm"] == arm].groupby("label")["value"]
        for label, scores in values:
            look = styles[arm]
            if groups:
                look = look | {"color": colors[groups[label]]}
            dot_and_bar(ax, order.index(label) + offset, scores.to_numpy(), look)
    _rows(ax, order)
    _mark_families(ax, dict(zip(table["label"], table["family"], strict=True)), order)
    chance = table["chance"].iloc[0]
    if table["main"].all() and chance > 1:
        ax.axvline(chance, color=BASELINE_COLOR, linestyle=":", linewidth=1.2)
    ax.set_xlim(-2, 102)
    ax.set_xlabel(f"{task}: {table['metric'].iloc[0]} (points)")
    if groups:
        styles = {arm: look | {"color": BASELINE_COLOR} for arm, look in styles.items()}
        lines = {"linestyle": "-", "linewidth": 4}
        styles |= {f"{color}: {group}": lines | {"color": c} for group, c in colors.items()}
    if len(styles) > 1:
        legend(ax, styles, right=1.28)
    return ax


def _task_scores(
    results: Results, task: str, metric: str, languages: Sequence[str]
) -> pd.DataFrame:
    """The scores of a task in one metric, with languages as people read them."""
    table = results.scores[results.scores["task"] == task]
    table = table[table["metric"] == metric] if metric else table[table["main"]]
    if languages:
        table = table[table["language"].isin(languages)]
    if table.empty:
        metrics = results.scores.groupby("task")["metric"].unique().map(list).to_dict()
        raise ValueError(
            f"No score of {task!r} in {metric or 'its metric'} and {list(languages) or 'any'} "
            f"language; metrics by task: {metrics}."
        )
    return table.assign(label=_labels(table))


def _group_colors(groups: Iterable[str]) -> dict[str, tuple]:
    """A color for each group of languages; resource classes in their order."""
    names = sorted(dict.fromkeys(groups), key=lambda group: CLASS_RANK.get(group, 0))
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def _mark_families(ax: Axes, family: Mapping[str, str], order: Sequence[str]) -> None:
    """A thin line between families, and the name of each at the right of its rows."""
    start = 0
    for name, labels in groupby(order, key=family.__getitem__):
        end = start + len(list(labels))
        middle = (start + end - 1) / 2
        where = {"transform": ax.get_yaxis_transform(), "va": "center"}
        ax.text(1.01, middle, name, fontsize="small", color="#555555", **where)
        if start:
            ax.axhline(start - 0.5, color="#bbbbbb", linewidth=0.8)
        start = end


@style()
def differences(
    results: Results,
    baseline: str,
    *,
    by: str = "task",
    method: str = "seeds",
    ax: Axes | None = None,
) -> Axes:
    """Each arm minus the baseline in the transfer languages, by group.

    The bar is the 95 % interval of the paired difference; one that crosses the line at 0 says that
    the design cannot tell.

    Args:
        results: of a study.
        baseline: the arm to subtract.
        by: a column of ``results.scores`` to group by, such as ``family``.
        method: of ``compare``; over seeds, unless named.
        ax: where to draw; a new figure, unless given.
    """
    table = compare(results, baseline, by, method)
    table = table[table["languages"] == "transfer"]
    arms = [arm for arm in results.study.arms if arm != baseline]
    groups = sorted(dict.fromkeys(table[by]), key=lambda group: CLASS_RANK.get(group, 0))
    ax = new_axes(ax, 7, 0.9 + 0.19 * len(groups) * (len(arms) + 1))
    styles = arm_styles(list(results.study.arms), baseline)
    for row in table.to_dict("records"):
        offset = (arms.index(row["arm"]) - (len(arms) - 1) / 2) * 0.8 / len(arms)
        place = groups.index(row[by]) + offset
        bar = (row["low"], row["high"])
        dot_and_bar(ax, place, [row["difference"]], styles[row["arm"]], bar=bar, size=6)
    ax.axvline(0, color=BASELINE_COLOR, linewidth=1)
    _rows(ax, groups)
    for g in range(1, len(groups)):
        ax.axhline(g - 0.5, color="#cccccc", linewidth=0.8)
    ax.set_xlabel(f"difference from {baseline!r} in the transfer languages (points)")
    ax.set_ylabel(by)
    legend(ax, {arm: styles[arm] for arm in arms})
    return ax


@style()
def heatmap(results: Results, arm: str = "", *, ax: Axes | None = None) -> Axes:
    """The score of an arm (the first, unless named) by task and language: means over seeds.

    An empty cell is a language that the task does not have.
    """
    arm = arm or next(iter(results.study.arms))
    table = results.main[results.main["arm"] == arm]
    table = table.assign(label=_labels(table))
    grid = table.pivot_table(index="task", columns="label", values="value", aggfunc="mean")
    tasks = list(dict.fromkeys(table["task"]))  # in the order of the study
    order = [label for label in language_order(results) if label in grid.columns]
    ax = new_axes(ax, 1.6 + 0.62 * len(order), 1.6 + 0.45 * len(grid))
    options = {"vmin": 0, "vmax": 100, "cmap": "viridis", "linewidths": 0.5}
    bar = {"label": "score (points)"}
    sns.heatmap(grid.loc[tasks, order], annot=True, fmt=".0f", cbar_kws=bar, ax=ax, **options)
    ax.set(xlabel="", ylabel="")
    ax.set_title(f"arm: {arm}", loc="left", fontsize="medium")
    ax.tick_params(axis="x", rotation=60)
    return ax


@style()
def layers(table: pd.DataFrame, task: str = "", *, ax: Axes | None = None) -> Axes:
    """Retrieval by layer, one color an arm, dashed where the first token is read.

    The dotted line is the layer that is read by default.

    Args:
        table: one row per ``task``, ``arm``, ``layer`` and ``pooling``, with ``value`` in points.
        task: which to draw; the first, unless named.
        ax: where to draw; a new figure, unless given.
    """
    task = task or table["task"].iloc[0]
    table = table[table["task"] == task]
    arms = list(dict.fromkeys(table["arm"]))
    colors = {arm: look["color"] for arm, look in arm_styles(arms, arms[0]).items()}
    ax = new_axes(ax, 7, 3.6)
    columns = {"x": "layer", "y": "value", "hue": "arm", "style": "pooling"}
    lines = {"style_order": ["mean", "first"], "markers": True, "errorbar": None}
    sns.lineplot(table, palette=colors, ax=ax, **columns, **lines)
    default = protocol_layer(table["layer"].max())
    ax.axvline(default, color=BASELINE_COLOR, linestyle=":", linewidth=1.2)
    ax.set_xticks(sorted(table["layer"].unique()))
    ax.set_ylabel(f"{task}: accuracy (points)")
    sns.move_legend(ax, "center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return ax


@style()
def loss_curves(
    results: Results,
    task: str = "",
    phase: str = "target",
    *,
    arms: Sequence[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """The training loss by step, one line an arm: means over seeds with their 95 % t band.

    With fewer than three seeds every run is a line. Losses are means over the steps since the last
    one logged.

    Args:
        results: of a study.
        task: whose runs; the first that has the phase, unless named.
        phase: ``target`` or ``intermediate``, say; of several of one name in a recipe, the last.
        arms: which to draw; all, unless named. More than three bands are hard to tell apart.
        ax: where to draw; a new figure, unless given.

    Raises:
        ValueError: if no arm has such a phase.
    """
    logs = _logs(results, task, phase)
    task = task or logs["task"].iloc[0]
    arms = list(arms or results.study.arms)
    logs = logs[(logs["task"] == task) & logs["arm"].isin(arms)]
    ax = new_axes(ax, 6.5, 3.8)
    styles = arm_styles(arms, arms[0])
    lines = {"estimator": "mean", "errorbar": interval}
    if logs["seed"].nunique() < MIN_SEEDS:
        lines = {"estimator": None, "units": "seed"}
    colors = {arm: styles[arm]["color"] for arm in arms if arm in set(logs["arm"])}
    columns = {"x": "step", "y": "loss", "hue": "arm", "style": "arm"}
    sns.lineplot(logs, palette=colors, hue_order=list(colors), ax=ax, **columns, **lines)
    target = f", {task}" if phase == "target" else ""  # all tasks share an earlier phase
    ax.set_ylabel(f"{phase} phase{target}: loss (nats)")
    sns.move_legend(ax, "center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return ax


def _logs(results: Results, task: str, phase: str) -> pd.DataFrame:
    """What the stages of a phase logged while they trained: step, loss, arm, seed, task."""
    tables = []
    phases = set()
    for cell in results.study.runs:
        if task not in ("", cell.task):
            continue
        stages = {type(s.phase).__name__.lower(): s for s in reversed(cell.stage.chain[1:])}
        phases |= set(stages)
        if phase not in stages:
            continue
        log = results.store.path(stages[phase].key) / "log.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        table = pd.DataFrame(lines)[["step", "loss"]]
        tables.append(table.assign(arm=cell.arm, seed=cell.seed, task=cell.task))
    if not tables:
        raise ValueError(
            f"There is no phase {phase!r} in the runs of {task or 'any task'}; they have "
            f"{', '.join(sorted(phases)) or 'no training at all'}."
        )
    return pd.concat(tables, ignore_index=True)


@style()
def claims(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The measured difference of every claim with its interval, and the figure that was claimed.

    Args:
        table: of ``analysis.claims_table``; claims that no run measures are left out.
        ax: where to draw; a new figure, unless given.
    """
    rows = table[table["verdict"] != VERDICTS[-1]]
    several = rows.groupby("claim")["run"].transform("nunique") > 1
    names = rows["claim"] + np.where(several, " (" + rows["run"] + ")", "")
    ax = new_axes(ax, 8.5, 1.2 + 0.42 * len(rows))
    for place, row in enumerate(rows.itertuples()):
        look = VERDICT_STYLES[row.verdict]
        dot_and_bar(ax, place, [row.difference], look, bar=(row.low, row.high), size=7)
    for name, look in VERDICT_STYLES.items():
        ax.plot([], [], linestyle="", label=name, **look)
    diamond = {"linestyle": "", "marker": "D", "color": BASELINE_COLOR}
    unsure = (rows["confirmed"] == UNCONFIRMED).to_numpy()
    for shown, fill, label in ((~unsure, "full", "claimed"), (unsure, "none", "not confirmed")):
        places = np.flatnonzero(shown)
        ax.plot(rows["figure"][shown], places, fillstyle=fill, label=label, **diamond)
    _rows(ax, [textwrap.fill(name, CLAIM_WIDTH) for name in names])
    ax.tick_params(axis="y", labelsize="small")
    ax.axvline(0, color=BASELINE_COLOR, linewidth=1)
    ax.set_xlabel("difference (points)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.2, -0.13), ncols=2, frameon=False)
    return ax
