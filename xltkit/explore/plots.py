"""Figures of a study, of attacks and of claims: a tidy table in, axes or a figure out."""

from __future__ import annotations

import base64
import io
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
from xltkit.analysis.compare import compare, per_seed
from xltkit.analysis.consistency import pairwise
from xltkit.analysis.intervals import t_interval
from xltkit.batch import parameters
from xltkit.data.languages import CLASSES, columns
from xltkit.keys import choose
from xltkit.progress import interactive
from xltkit.studies.results import Results
from xltkit.tasks import get

BASELINE_COLOR = "#333333"  # the first arm is the same dark gray in every figure
MARKERS = "osD^vPX*"
MIN_SEEDS = 3  # for an interval; with fewer seeds every run is drawn
GROUPS = ("family", "resource", "script")  # columns of languages that colors can tell apart
MOST_WRITTEN = 16  # rows of a heat map beyond which numbers in the cells could not be read
VERDICT_STYLES: dict[str, dict[str, Any]] = {  # told apart by shape, too
    "agrees": {"marker": "o", "color": "#0173b2"},
    "disagrees": {"marker": "X", "color": "#b8500c"},
    "cannot tell at this size": {"marker": "o", "color": "#595959", "markerfacecolor": "white"},
}
# What strength is, and the factor to its unit, where it is no share of words.
STRENGTHS = {
    "embeddings": ("radius (mean embedding norms)", 1),
    "distractor": ("sentences added", 1),
}
WORDS = ("words attacked (%)", 100)


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
    """Display a figure and close it; in a smoke run it is marked as one.

    Args:
        axes: what a plot function returned.
        caption: unit, n, and what the bar is.
        alt: what the figure shows, in words, for those who cannot see it.
    """
    figure = axes.figure
    full, small = io.BytesIO(), io.BytesIO()
    with style():
        if parameters.smoke:
            center = {"ha": "center", "va": "center"}
            figure.text(0.5, 0.5, "SMOKE", fontsize=60, color="gray", alpha=0.25, **center)
        figure.savefig(full, format="png", bbox_inches="tight")
    plt.close(figure)
    # 256 colors look the same and keep a rendered notebook small enough to be read online
    Image.open(full).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    image = base64.b64encode(small.getvalue()).decode()
    if interactive():  # JupyterLab shows neither caption nor text of an image
        source = f"data:image/png;base64,{image}"
        picture = f'<img src="{source}" alt="{escape(alt)}" style="max-width:100%">'
        text = f"<figcaption>{escape(caption)}</figcaption>"
        display(HTML(f'<figure style="margin:0">{picture}{text}</figure>'))
        return
    data = {"image/png": image, "text/plain": f"{caption}\n{alt}"}
    display(data, metadata={"image/png": {"alt": alt, "caption": caption}}, raw=True)


def arm_styles(arms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Color and marker of each arm, the baseline first: never told apart by color alone."""
    colors = [BASELINE_COLOR, *sns.color_palette("colorblind")]
    return {
        arm: {"color": colors[i % len(colors)], "marker": MARKERS[i % len(MARKERS)]}
        for i, arm in enumerate(arms)
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval over seeds, as seaborn's ``errorbar``; NaN with fewer than three."""
    return t_interval(values) if len(values) >= MIN_SEEDS else (np.nan, np.nan)


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
    """Codes with the source first, then families by their mean over all tasks, best first.

    One order for every figure of a study: a reader looks for a language where it was before.
    """
    table = results.main
    families = table[~table["is_source"]].groupby("family")["value"].mean()
    values = {"is_source": "first", "family": "first", "value": "mean"}
    languages = table.groupby("language").agg(values)
    languages["family"] = languages["family"].map(families)
    return list(languages.sort_values(list(values), ascending=False).index)


def _labels(codes: Sequence[str]) -> list[str]:
    """Languages as people read them: code and name."""
    return [f"{code} {name}" for code, name in columns(codes)["language_name"].items()]


def _groups(names: pd.Series) -> list[str]:
    """The groups of languages in their order; resource classes from much text to little."""
    ranks = {level: rank for rank, level in enumerate(CLASSES)}
    return sorted(names.unique(), key=lambda name: ranks.get(name, 0))


def _named_rows(names: Sequence[str], width: float, height: float) -> Axes:
    """The axes of a new figure (inches) with a row for each name, from above."""
    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    return ax


def _shifts(arms: Sequence[str]) -> dict[str, float]:
    """How far from the middle of a row each arm is drawn."""
    return {arm: (i - (len(arms) - 1) / 2) * 0.7 / len(arms) for i, arm in enumerate(arms)}


def _dots_and_bars(ax: Axes, table: pd.DataFrame, look: Mapping[str, Any]) -> None:
    """Draw a dot (``value``, ``row``) and a bar (``low`` to ``high``) for each row of a table."""
    ax.plot(table["value"], table["row"], linestyle="", **look)
    ax.hlines(table["row"], table["low"], table["high"], color=look["color"], linewidth=1.4)


def _legend(ax: Axes, styles: Mapping[str, Mapping[str, Any]], right: float) -> None:
    """Name what markers and colors stand for, to the right of the axes."""
    for name, look in styles.items():
        ax.plot([], [], label=name, **{"linestyle": "", **look})
    ax.legend(title="arm", frameon=False, loc="center left", bbox_to_anchor=(right, 0.5))


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
    table = results.scores
    table = table[table["task"] == choose("task", task, table["task"].unique())]
    metric = metric or table.loc[table["main"], "metric"].iloc[0]
    table = table[table["metric"] == choose("metric", metric, table["metric"].unique())]
    arms = list(arms or results.study.arms)
    for column, names in {"arm": arms, "language": languages}.items():
        for name in names:
            choose(column, name, table[column].unique())
        table = table[table[column].isin(names or table[column])]
    points = table.assign(low=np.nan, high=np.nan)
    if table["seed"].nunique() >= MIN_SEEDS:
        values = table.groupby(["arm", "language", *GROUPS], dropna=False)["value"]
        ends = {"low": lambda v: interval(v)[0], "high": lambda v: interval(v)[1]}
        points = values.agg(value="mean", **ends).reset_index()
    codes = [code for code in language_order(results) if code in set(table["language"])]
    points["row"] = points["language"].map(codes.index) + points["arm"].map(_shifts(arms))

    ax = _named_rows(_labels(codes), 6.5, 0.9 + 0.28 * len(codes))
    styles = arm_styles(results.study.arms)
    legend = {arm: styles[arm] for arm in arms}
    colors = {}
    if color != "arm":
        groups = _groups(points[color])
        colors = dict(zip(groups, sns.color_palette("colorblind", len(groups)), strict=True))
        legend = {arm: look | {"color": BASELINE_COLOR} for arm, look in legend.items()}
        for group, shade in colors.items():
            legend[f"{color}: {group}"] = {"color": shade, "linestyle": "-", "linewidth": 4}
    for (arm, group), part in points.assign(group=points[color]).groupby(["arm", "group"]):
        shade = colors.get(group, styles[arm]["color"])
        _dots_and_bars(ax, part, styles[arm] | {"color": shade})
    _mark_families(ax, columns(codes)["family"])
    chance = table["chance"].iloc[0]
    if table["main"].all() and chance > 1:
        ax.axvline(chance, color=BASELINE_COLOR, linestyle=":", linewidth=1.2)
    ax.set(xlim=(-2, 102), xlabel=f"{task}: {metric} (points)")
    if len(legend) > 1:
        _legend(ax, legend, right=1.28)
    return ax


def _mark_families(ax: Axes, families: Iterable[str]) -> None:
    """A thin line above the rows of each family, and its name at their right."""
    start = 0
    look = {"va": "center", "fontsize": "small", "color": "#555555"}
    for name, rows in groupby(families):
        end = start + len(list(rows))
        ax.text(1.01, (start + end - 1) / 2, name, transform=ax.get_yaxis_transform(), **look)
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
    styles = arm_styles(results.study.arms)
    del styles[baseline]
    groups = _groups(table[by])
    table["row"] = table[by].map(groups.index) + table["arm"].map(_shifts(list(styles)))
    ax = _named_rows(groups, 7, 0.9 + 0.19 * len(groups) * (len(styles) + 1))
    for arm, look in styles.items():
        _dots_and_bars(ax, table[table["arm"] == arm], look)
    ax.axvline(0, color=BASELINE_COLOR, linewidth=1)
    for row in range(1, len(groups)):
        ax.axhline(row - 0.5, color="#cccccc", linewidth=0.8)
    ax.set_xlabel(f"difference from {baseline!r} in the transfer languages (points)")
    ax.set_ylabel(by)
    _legend(ax, styles, right=1.01)
    return ax


@style()
def claims(table: pd.DataFrame) -> Axes:
    """The measured difference of every claim with its interval, and the figure that was claimed.

    Args:
        table: of ``analysis.claims_table``; claims that no run measures are left out.
    """
    table = table[table["verdict"] != VERDICTS[-1]].rename(columns={"difference": "value"})
    table["row"] = range(len(table))
    several = table.groupby("claim")["run"].transform("nunique") > 1
    names = table["claim"] + np.where(several, " (" + table["run"] + ")", "")
    ax = _named_rows([textwrap.fill(name, 46) for name in names], 8.5, 1.2 + 0.42 * len(table))
    for verdict, look in VERDICT_STYLES.items():
        _dots_and_bars(ax, table[table["verdict"] == verdict], look | {"label": verdict})
    diamond = {"linestyle": "", "marker": "D", "color": BASELINE_COLOR}
    for is_unsure, part in table.groupby(table["confirmed"] == UNCONFIRMED):
        fill = {"fillstyle": "none", "label": UNCONFIRMED} if is_unsure else {"label": "claimed"}
        ax.plot(part["figure"], part["row"], **diamond, **fill)
    ax.tick_params(axis="y", labelsize="small")
    ax.axvline(0, color=BASELINE_COLOR, linewidth=1)
    ax.set_xlabel("difference (points)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.2, -0.13), ncols=2, frameon=False)
    return ax


@style()
def attacks(report: pd.DataFrame) -> Figure:
    """The metric of the first task against the strength of the attack, one panel an attack.

    Means over the transfer languages and seeds, one line an arm; the bar is the 95 % t interval
    over seeds, if there are three or more.

    Args:
        report: of ``analysis.attack_report``, with a transfer language.
    """
    table = report[~report["is_source"]]
    task = table["task"].iloc[0]
    table = table[table["task"] == task]
    table = table.assign(panel=_panel_titles(table))
    kinds = table.drop_duplicates("panel").set_index("panel")["attack"]
    units = {panel: STRENGTHS.get(kind, WORDS) for panel, kind in kinds.items()}
    arms = list(table["arm"].unique())
    table = per_seed(table, ["panel", "strength", "arm"])
    table["strength"] *= table["panel"].map(lambda panel: units[panel][1])
    # Bars of several arms at one strength are set side by side, or they hide each other.
    step = 0.01 * table.groupby("panel")["strength"].transform("max")
    table["strength"] += step * (table["arm"].map(arms.index) - (len(arms) - 1) / 2)
    looks = pd.DataFrame(arm_styles(arms)).loc
    colors = {"hue": "arm", "hue_order": arms, "palette": list(looks["color"])}
    markers = {"style": "arm", "style_order": arms, "markers": list(looks["marker"])}
    panels = {"col": "panel", "col_order": list(units), "col_wrap": min(3, len(units))}
    panels |= {"height": 3.1, "aspect": 1.15, "facet_kws": {"sharex": False}}
    bars = {"errorbar": interval, "err_style": "bars", "dashes": False}
    line = {"kind": "line", "x": "strength", "y": "value"}
    grid = sns.relplot(table, **line, **bars, **colors, **markers, **panels)
    grid.set_titles("{col_name}")
    grid.set_ylabels(f"{task}: {get(task).metric}\nunder attack (points)")
    for panel, ax in grid.axes_dict.items():
        ax.set_xlabel(units[panel][0])
    return grid.tight_layout().figure


def _panel_titles(table: pd.DataFrame) -> pd.Series:
    """Attacks as people tell them apart: name, search, and settings where they differ in them."""
    beam = ", beam " + table["beam"].astype(str)
    random = (table["access"] == "black box") & (table["attack"] != "distractor")
    search = np.where(table["beam"] > 0, beam, np.where(random, ", random", ""))
    several = table.groupby(["attack", "beam"])["settings"].transform("nunique") > 1
    settings = np.where(several & (table["settings"] != ""), ", " + table["settings"], "")
    return table["attack"] + search + settings


def heatmap(results: Results) -> Figure:
    """The score of the first arm by task and language: means over seeds.

    An empty cell is a language that the task does not have.
    """
    arm = next(iter(results.study.arms))
    table = results.main[results.main["arm"] == arm]
    grid = table.pivot_table(index="task", columns="language", values="value", sort=False)
    grid = grid[[code for code in language_order(results) if code in grid]]
    grid = grid.set_axis(_labels(grid.columns), axis=1).rename_axis(index="", columns="")
    return _heat_maps({arm: grid}, "score (points)", (0, 100))


def agreement(results: Results, arms: Sequence[str] = ()) -> Figure:
    """How many items (%) any two languages predict the same for, one panel an arm.

    Of the first task that is parallel; means over seeds, the same above and below the diagonal.

    Args:
        results: of a study.
        arms: which to draw; all, unless named.

    Raises:
        ValueError: if there is nothing to draw.
    """
    table = pairwise(results).rename(columns={"agreement": "value"})
    mirrored = table.rename(columns={"language": "other", "other": "language"})
    names = ("language", "language")
    order = language_order(results)
    return _matrices(
        pd.concat([table, mirrored]), order, arms, "same prediction (% of items)", names
    )


def mixed(table: pd.DataFrame, arms: Sequence[str] = ()) -> Figure:
    """The score of each pair of languages of the two texts, means over seeds, one panel an arm.

    Args:
        table: of ``analysis.score_matrix``; its first task is drawn.
        arms: which to draw; all, unless named.

    Raises:
        ValueError: for an unknown arm.
    """
    families = columns(list(table["language"].unique()))["family"]
    order = [code for _, codes in families.groupby(families, sort=False) for code in codes.index]
    names = ("language of the first text", "language of the second text")
    return _matrices(table, order, arms, "score (points)", names)


def _matrices(
    table: pd.DataFrame,
    order: Sequence[str],
    arms: Sequence[str],
    unit: str,
    names: tuple[str, str],
) -> Figure:
    """Heat maps of the first task of a table, language by language, one panel an arm."""
    task = table["task"].iloc[0]
    table = table[table["task"] == task]
    tested = table["arm"].unique()
    arms = [choose(f"arm of {task!r}", arm, tested) for arm in arms or list(tested)]
    table = table[table["arm"].isin(arms)]
    means = table.groupby(["arm", "language", "other"])["value"].mean()
    order = [code for code in order if code in set(table["language"])]
    labels = dict(zip(order, _labels(order), strict=True))
    grids = {}
    for arm in arms:
        grid = means[arm].unstack("other").reindex(index=order, columns=order)
        grids[arm] = grid.rename(index=labels, columns=labels).rename_axis(
            index=names[0], columns=names[1]
        )
    return _heat_maps(grids, f"{task}: {unit}", (means.min(), means.max()))


@style()
def _heat_maps(grids: Mapping[str, pd.DataFrame], unit: str, limits: tuple[float, float]) -> Figure:
    """A heat map for each arm, all in the same colors; axes are named for those of the tables."""
    *_, grid = grids.values()
    height, width = grid.shape
    shape = {"figsize": (1.6 + (1.2 + 0.5 * width) * len(grids), 2 + 0.42 * height)}
    shape |= {"squeeze": False, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(1, len(grids), **shape)
    look = {"vmin": limits[0], "vmax": limits[1], "cmap": "viridis", "linewidths": 0.5}
    look |= {"annot": height <= MOST_WRITTEN, "fmt": ".0f", "annot_kws": {"fontsize": "small"}}
    for ax, (arm, grid) in zip(axes[0], grids.items(), strict=True):
        sns.heatmap(grid, ax=ax, cbar=False, xticklabels=True, yticklabels=True, **look)
        ax.grid(visible=False)  # it would show through empty cells
        ax.set(xlabel="", ylabel="")
        ax.set_title(f"arm: {arm}", loc="left", fontsize="medium")
        ax.tick_params(axis="x", rotation=90)
        ax.tick_params(axis="y", rotation=0)
    axes[0, 0].set_ylabel(grid.index.name)
    figure.supxlabel(grid.columns.name, fontsize="medium")
    figure.colorbar(axes[0, -1].collections[0], ax=list(axes[0]), label=unit, shrink=0.8)
    return figure
