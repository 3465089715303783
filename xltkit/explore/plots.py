"""Figures of studies, attacks and claims, from tidy tables."""

import base64
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from itertools import cycle, groupby
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from PIL import Image

from xltkit.analysis.claims import UNCONFIRMED, VERDICTS
from xltkit.analysis.compare import compare, per_seed
from xltkit.analysis.intervals import t_interval
from xltkit.batch import parameters
from xltkit.data.languages import CLASSES, columns
from xltkit.explore.html import NO_MATH
from xltkit.keys import choose
from xltkit.progress import interactive
from xltkit.studies.make import test_rows
from xltkit.studies.results import Results
from xltkit.tasks import get
from xltkit.tasks.captions import WAYS

BASELINE_COLOR = "#333333"  # the first arm is the same dark gray in every figure
MARKERS = "osD^vPX*"
MIN_SEEDS = 3  # for an interval; with fewer seeds every run is drawn
GROUPS = ("family", "resource", "script")  # language columns that colors can show
MOST_WRITTEN = 16  # rows of a heat map beyond which numbers in the cells are unreadable
VERDICT_STYLES = {  # different in shape, too
    "agrees": {"marker": "o", "color": "#0173b2"},
    "disagrees": {"marker": "X", "color": "#b8500c"},
    "cannot tell at this size": {"marker": "o", "color": "#595959", "fill": "white"},
}
# What strength is, and the factor to its unit, if it is not a share of words.
UNITS = {"embeddings": ("radius (mean embedding norms)", 1), "distractor": ("sentences added", 1)}
WORDS = ("words attacked (%)", 100)
Styles = Mapping[str, Mapping[str, Any]]  # color and marker by what is drawn
SHOWN = 3  # captions that retrieved their own picture, and as many that did not


def style() -> AbstractContextManager:
    """The style of the kit's figures: use ``with xlt.plots.style():`` for your own figures."""
    look = sns.axes_style("whitegrid") | sns.plotting_context("notebook", font_scale=0.9)
    look |= {"figure.dpi": 110, "savefig.dpi": 144, "text.parse_math": False}
    look["axes.prop_cycle"] = plt.cycler(color=sns.color_palette("colorblind"))
    return plt.style.context(["default", look])  # whatever the user's matplotlibrc says


def show(axes: Axes | Figure, *, caption: str, alt: str) -> None:
    """Display a figure and close it; in a smoke run it is marked as one.

    ``caption`` should give the unit, n, and what bars mean; ``alt`` says in words what the figure
    shows, for those who cannot see it.
    """
    figure = axes.figure
    full, small = io.BytesIO(), io.BytesIO()
    with style():
        if parameters.smoke:
            figure.text(0.5, 0.5, "SMOKE", size=60, alpha=0.13, ha="center", va="center")
        figure.savefig(full, format="png", bbox_inches="tight")
    plt.close(figure)
    # 256 colors look the same and keep a rendered notebook small enough to be read online
    Image.open(full).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    image = base64.b64encode(small.getvalue()).decode()
    if interactive():  # JupyterLab shows neither caption nor alt text of an image
        source = f"data:image/png;base64,{image}"
        picture = f'<img src="{source}" alt="{escape(alt)}" style="max-width:100%">'
        text = f"{picture}<figcaption>{escape(caption)}</figcaption>"
        display(HTML(f'<figure class="{NO_MATH}" style="margin:0">{text}</figure>'))
        return
    data = {"image/png": image, "text/plain": f"{caption}\n{alt}"}
    display(data, metadata={"image/png": {"alt": alt, "caption": caption}}, raw=True)


def arm_styles(arms: Iterable[str]) -> dict[str, dict[str, str]]:
    """Color and marker of each arm, the baseline first: arms never differ by color alone."""
    colors = [BASELINE_COLOR, *sns.color_palette("colorblind").as_hex()]
    looks = zip(arms, cycle(colors), cycle(MARKERS), strict=False)
    return {arm: {"color": color, "marker": marker} for arm, color, marker in looks}


def seaborn_styles(arms: Iterable[str]) -> dict[str, dict[str, str]]:
    """``arm_styles`` as arguments of seaborn: ``palette`` and ``markers``."""
    styles = arm_styles(arms)
    names = {"palette": "color", "markers": "marker"}
    return {name: {arm: look[key] for arm, look in styles.items()} for name, key in names.items()}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval over seeds, as seaborn's ``errorbar``; NaN with fewer than three."""
    return t_interval(values) if len(values) >= MIN_SEEDS else (np.nan, np.nan)


def interval_caption(results: Results, method: str = "") -> str:
    """What dots and bars mean in ``dots``, or in ``differences`` with ``method="seeds"``."""
    seeds = results.main["seed"].nunique()
    if method:
        return f"dot: mean of {seeds} seeds; bar: 95 % interval of the paired difference over seeds"
    if seeds < MIN_SEEDS:
        return f"each dot is one of {seeds} runs; no interval, with fewer than 3 seeds"
    return f"dot: mean of {seeds} seeds; bar: 95 % t interval over seeds"


def language_order(results: Results) -> list[str]:
    """Codes with the source first, then families by their mean over all tasks, best first."""
    table = results.main
    families = table[~table["is_source"]].groupby("family")["value"].mean()
    values = {"is_source": "first", "family": "first", "value": "mean"}
    languages = table.groupby("language").agg(values)
    languages["family"] = languages["family"].map(families)
    return list(languages.sort_values(list(values), ascending=False).index)


def _labels(codes: Sequence[str]) -> list[str]:
    return [f"{code} {name}" for code, name in columns(codes)["language_name"].items()]


def _groups(names: pd.Series) -> list[str]:
    """The groups of languages in order; resource classes from high to low."""
    ranks = {level: rank for rank, level in enumerate(CLASSES)}
    return sorted(names.unique(), key=lambda name: ranks.get(name, 0))


def _dots_and_bars(
    table: pd.DataFrame, names: list[str], styles: Styles, size: tuple, spread: float = 0.7
) -> Axes:
    """A dot (``value``) and a bar (``low`` to ``high``) for each ``series`` in each named ``row``.

    The table has the number of the row, from the top, and may have a ``color`` that overrides that
    of the series. Series are spread over a share of the row; the figure's size is in inches.
    """
    _, ax = plt.subplots(figsize=size, layout="constrained")
    for i, (series, look) in enumerate(styles.items()):
        part = table[table["series"] == series]
        row = part["row"] + (i - (len(styles) - 1) / 2) * spread / len(styles)
        colors = part.get("color", look["color"])
        ax.hlines(row, part["low"], part["high"], colors, linewidth=1.4)
        shade = {"c": look.get("fill", colors), "edgecolors": colors, "zorder": 2}
        ax.scatter(part["value"], row, marker=look["marker"], label=series, **shade)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    return ax


def _legend(ax: Axes, place: float) -> Legend:
    """The legend, which leaves out names that begin with ``_`` unless the artists are given."""
    handles = [*ax.collections[1::2], *(line for line in ax.lines if len(line.get_xdata()) == 0)]
    position = {"loc": "center left", "bbox_to_anchor": (place, 0.5)}
    return ax.legend(handles=handles, title="arm", frameon=False, **position)


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
    """The score in every language, with one row per language and one dot per arm.

    Dots are means over seeds, bars their 95 % t intervals, and the dotted line is chance. With
    fewer than three seeds, every run is a dot and there are no bars. The defaults are the task's
    main metric, all arms and all languages. Colors show the ``arm`` or a column of languages, such
    as ``resource``; arms then differ only by their markers.
    """
    choose("color", color, ("arm", *GROUPS))
    table = results.scores
    table = table[table["task"] == choose("task", task, table["task"].unique())]
    metric = metric or table.loc[table["main"], "metric"].iloc[0]
    table = table[table["metric"] == choose("metric", metric, table["metric"].unique())]
    for column, names in {"arm": arms, "language": languages}.items():
        for name in names:
            choose(column, name, table[column].unique())
        table = table[table[column].isin(names or table[column])]
    codes = [code for code in language_order(results) if code in set(table["language"])]
    points = table.assign(low=np.nan, high=np.nan)
    if table["seed"].nunique() >= MIN_SEEDS:
        values = table.groupby(["arm", "language", *GROUPS], dropna=False)["value"]
        ends = {"low": lambda v: interval(v)[0], "high": lambda v: interval(v)[1]}
        points = values.agg(value="mean", **ends).reset_index()
    points = points.assign(series=points["arm"], row=points["language"].map(codes.index))
    styles = arm_styles(results.study.arms)
    styles = {arm: styles[arm] for arm in arms or styles}
    colors = {}
    if color != "arm":
        groups = _groups(points[color])
        palette = sns.color_palette("colorblind", len(groups)).as_hex()
        colors = dict(zip(groups, palette, strict=True))
        points["color"] = points[color].map(colors)
    ax = _dots_and_bars(points, _labels(codes), styles, (6.5, 0.9 + 0.28 * len(codes)))
    for group, shade in colors.items():
        ax.plot([], [], color=shade, linewidth=4, label=f"{color}: {group}")
    if len(styles) > 1 or colors:
        legend = _legend(ax, 1.28)
        for handle in legend.legend_handles[: len(styles) if colors else 0]:
            handle.set_color(BASELINE_COLOR)
    start = 0  # of the rows of a family, with a thin line above and its name on the right
    for family, rows in groupby(columns(codes)["family"]):
        end = start + len(list(rows))
        at_right = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": "small"}
        ax.text(1.01, (start + end - 1) / 2, family, color="#555555", **at_right)
        ax.axhline(start - 0.5, color="#bbbbbb", linewidth=0.8)
        start = end
    chance = table["chance"].iloc[0]
    if table["main"].all() and chance > 1:
        ax.axvline(chance, color=BASELINE_COLOR, linestyle=":", linewidth=1.2)
    ax.set(xlim=(-2, 102), xlabel=f"{task}: {metric} (points)")
    return ax


@style()
def differences(results: Results, baseline: str, *, by: str = "task") -> Axes:
    """Each arm minus the baseline in the transfer languages, by a column such as ``family``.

    Bars are 95 % intervals of the paired difference over seeds; one that crosses the line at 0
    means that the design cannot tell.
    """
    table = compare(results, baseline, by).query("languages == 'transfer'")
    table = table.rename(columns={"difference": "value", "arm": "series"})
    groups = _groups(table[by])
    table["row"] = table[by].map(groups.index)
    styles = arm_styles(results.study.arms)
    del styles[baseline]
    ax = _dots_and_bars(table, groups, styles, (7, 0.9 + 0.19 * len(groups) * (len(styles) + 1)))
    ax.axvline(0, color=BASELINE_COLOR, linewidth=1)
    for row in range(1, len(groups)):
        ax.axhline(row - 0.5, color="#cccccc", linewidth=0.8)
    ax.set(xlabel=f"difference from {baseline!r} in the transfer languages (points)", ylabel=by)
    _legend(ax, 1.01)
    return ax


@style()
def claims(table: pd.DataFrame) -> Axes:
    """The measured difference of every claim with its interval, and the number that was claimed.

    Takes the table of ``analysis.claims_table``; claims that no run measures are left out.
    """
    table = table[table["verdict"] != VERDICTS[-1]]
    table = table.rename(columns={"difference": "value", "verdict": "series"})
    table["row"] = range(len(table))
    several = table.groupby("claim")["run"].transform("nunique") > 1
    names = table["claim"] + np.where(several, " (" + table["measured_on"] + ")", "")
    names = [textwrap.fill(name, 60, break_on_hyphens=False) for name in names]
    ax = _dots_and_bars(table, names, VERDICT_STYLES, (9, 1.2 + 0.4 * len(table)), spread=0)
    diamond = {"linestyle": "", "marker": "D", "color": BASELINE_COLOR}
    for is_unsure, part in table.groupby(table["confirmed"] == UNCONFIRMED):
        fill = {"fillstyle": "none", "label": UNCONFIRMED} if is_unsure else {"label": "claimed"}
        ax.plot(part["figure"], part["row"], **diamond, **fill)
    ax.tick_params(axis="y", labelsize="small")
    ax.axvline(0, color=BASELINE_COLOR, linewidth=1)
    ax.set_xlabel("difference (points)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.2, 1), ncols=3, frameon=False)
    return ax


@style()
def attacks(report: pd.DataFrame) -> Figure:
    """The metric of the first task against the strength of the attack, one panel per attack.

    Takes the table of ``analysis.attack_report``. Lines are means over the transfer languages and
    seeds, one per arm; bars are 95 % t intervals over seeds, if there are three or more.
    """
    table = report[~report["is_source"]]
    arms = list(table["arm"].unique())
    task = table["task"].iloc[0]
    table = table[table["task"] == task]
    # What distinguishes attacks: name, search, and settings if they differ in them.
    random = (table["access"] == "black box") & (table["attack"] != "distractor")
    search = np.where(random, ", random", "")
    search = np.where(table["beam"] > 0, ", beam " + table["beam"].astype(str), search)
    several = table.groupby(["attack", "beam"])["settings"].transform("nunique") > 1
    settings = np.where(several & (table["settings"] != ""), ", " + table["settings"], "")
    table = table.assign(panel=table["attack"] + search + settings)
    kinds = table.drop_duplicates("panel").set_index("panel")["attack"]
    units = {panel: UNITS.get(kind, WORDS) for panel, kind in kinds.items()}
    table = per_seed(table, ["panel", "strength", "arm"])
    table["strength"] *= table["panel"].map(lambda panel: units[panel][1])
    # Bars of several arms at one strength are set side by side, or they would hide each other.
    step = 0.01 * table.groupby("panel")["strength"].transform("max")
    table["strength"] += step * (table["arm"].map(arms.index) - (len(arms) - 1) / 2)
    looks = {"hue": "arm", "hue_order": arms, "style": "arm", "style_order": arms}
    looks |= seaborn_styles(arms)
    panels = {"col": "panel", "col_order": list(units), "col_wrap": min(3, len(units))}
    panels |= {"height": 3.1, "aspect": 1.15, "facet_kws": {"sharex": False}}
    bars = {"kind": "line", "errorbar": interval, "err_style": "bars", "dashes": False}
    grid = sns.relplot(table, x="strength", y="value", **bars, **looks, **panels)
    grid.set_titles("{col_name}")
    grid.set_ylabels(f"{task}: {get(task).metric}\nunder attack (points)")
    for panel, ax in grid.axes_dict.items():
        ax.set_xlabel(units[panel][0])
    return grid.tight_layout().figure


def heatmap(results: Results) -> Figure:
    """The score of the first arm by task and language, a mean over seeds; empty if missing."""
    arm = next(iter(results.study.arms))
    table = results.main[results.main["arm"] == arm]
    grid = table.pivot_table(index="task", columns="language", values="value", sort=False)
    grid = grid[[code for code in language_order(results) if code in grid]]
    return _heat_maps({f"arm: {arm}": grid}, ("", ""), "score (points)", 0, 100)


def sources(results: Results, task: str) -> Figure:
    """The score of every source language (rows) in every target of a task, a mean over seeds.

    Languages are grouped by family, in the order of ``language_order``.
    """
    table = results.main[results.main["task"] == choose("task", task, results.main["task"])]
    grid = table.pivot_table(index="source_language", columns="language", values="value")
    codes = [code for code in language_order(results) if code in grid]
    rows = [code for code in codes if code in grid.index]
    grid = grid.reindex(index=rows, columns=codes).set_axis(_labels(rows))
    names = ("source language", "target language")
    limits = grid.min(axis=None), grid.max(axis=None)
    return _heat_maps({f"task: {task}": grid}, names, "score (points)", *limits)


def pairs(table: pd.DataFrame, arms: Sequence[str] = ()) -> Figure:
    """Scores or agreement of any two languages in the first task of a table, one panel per arm.

    Means over seeds, from the table of ``analysis.score_matrix`` or of ``analysis.pairwise``;
    languages are grouped by family. By default, ``arms`` are all.
    """
    names = ("language of the first text", "language of the second text")
    value, unit = "value", "score (points)"
    if "agreement" in table:  # of unordered pairs: the same on both sides of the diagonal
        table = pd.concat([table, table.rename(columns={"language": "other", "other": "language"})])
        names = ("language", "language")
        value, unit = "agreement", "same prediction (% of items)"
    task = table["task"].iloc[0]
    table = table[table["task"] == task]
    tested = list(table["arm"].unique())
    arms = [choose(f"arm of {task!r}", arm, tested) for arm in arms or tested]
    families = columns(list(table["language"].unique()))["family"]
    codes = [code for _, family in families.groupby(families, sort=False) for code in family.index]
    means = table[table["arm"].isin(arms)].pivot_table(value, ["arm", "language"], "other")
    labels = _labels(codes)
    grids = {}
    for arm in arms:
        grids[f"arm: {arm}"] = means.loc[arm].reindex(codes, columns=codes).set_axis(labels)
    return _heat_maps(grids, names, f"{task}: {unit}", means.min(axis=None), means.max(axis=None))


@style()
def _heat_maps(
    grids: Mapping[str, pd.DataFrame], names: Sequence[str], unit: str, low: float, high: float
) -> Figure:
    """Heat maps by title, in the same colors: columns are languages, ``names`` of both axes."""
    height, width = next(iter(grids.values())).shape
    size = (1.6 + (1.2 + 0.5 * width) * len(grids), 2 + 0.42 * height)
    shape = {"figsize": size, "squeeze": False, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(1, len(grids), **shape)
    look = {"vmin": low, "vmax": high, "cmap": "viridis", "linewidths": 0.5, "cbar": False}
    look |= {"annot": height <= MOST_WRITTEN, "fmt": ".0f", "annot_kws": {"fontsize": "small"}}
    for ax, (title, grid) in zip(axes[0], grids.items(), strict=True):
        sns.heatmap(grid, ax=ax, xticklabels=_labels(grid.columns), yticklabels=True, **look)
        ax.grid(visible=False)  # it would show through empty cells
        ax.set(xlabel="", ylabel="")
        ax.set_title(title, loc="left", fontsize="medium")
        ax.tick_params(axis="x", rotation=90)
        ax.tick_params(axis="y", rotation=0)
    axes[0, 0].set_ylabel(names[0])
    figure.supxlabel(names[1], fontsize="medium")
    figure.colorbar(axes[0, -1].collections[0], ax=list(axes[0]), label=unit, shrink=0.8)
    return figure


@style()
def retrieved(results: Results, task: str, language: str, *, arm: str = "") -> Figure:
    """Captions in a language, the picture each belongs to and the one that was ranked first.

    English captions are below, if there are any. Shows the first seed of the arm (default: the
    first arm).
    """
    runs = {run.arm: run for run in results.study.runs[::-1] if run.task == task}
    arm = choose(f"arm that was tested on {task}", arm or next(iter(results.study.arms)), runs)
    phase = runs[arm].stage.phase
    choose("language", language, phase.languages)
    table = results.predictions
    table = table[(table["arm"] == arm) & (table["seed"] == runs[arm].seed)]
    table = table[(table["task"] == task) & (table["language"] == language)]
    # The first caption of each picture, as a query for pictures
    table = table[(table["direction"] == WAYS[0]) & table["example_id"].str.endswith("/0")]
    right = table["rank"] == 1
    table = pd.concat([table[right][:SHOWN], table[~right][:SHOWN]])
    has_english = "en" in getattr(get(task), phase.split)
    codes = dict.fromkeys([language, "en"] if has_english else [language])
    rows = {code: test_rows(get(task), phase, code) for code in codes}
    captions = {}
    for code, part in rows.items():
        captions[code] = dict(zip(part["id"][:], part["texts"][:], strict=True))
    places = {picture: i for i, picture in enumerate(captions[language])}
    figure = Figure(figsize=(8.0, 1.45 * len(table)), layout="constrained")
    axes = figure.subplots(len(table), 3, squeeze=False, width_ratios=(3.2, 1, 1))
    for (left, *others), row in zip(axes, table.itertuples(), strict=True):
        texts = [texts[row.gold][0] for texts in captions.values() if row.gold in texts]
        lines = [textwrap.fill(text.replace(" .", "."), 52) for text in texts]
        left.text(0, 0.5, "\n".join(lines), va="center", size=9)
        left.set_axis_off()
        titles = {"its picture": row.gold, f"first (its own: rank {row.rank:.0f})": row.pred}
        for ax, (title, picture) in zip(others, titles.items(), strict=True):
            ax.imshow(rows[language][places[picture]]["image"], interpolation="nearest")
            ax.set_title(title, fontsize=8, color="#2a7f3f" if row.rank == 1 else "#b3261e")
            ax.set(xticks=[], yticks=[])
    return figure
