"""Figures of models under attack, from the table of ``xltkit.analysis.attacks.report``."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xltkit.analysis.compare import per_seed
from xltkit.explore.plots import (
    BASELINE_COLOR,
    arm_styles,
    dot_and_bar,
    interval,
    legend,
    new_axes,
    style,
)
from xltkit.keys import choose
from xltkit.tasks import get

# What strength is, and the factor to its unit, where it is no share of words.
STRENGTHS = {
    "embeddings": ("radius (mean embedding norms)", 1),
    "distractor": ("sentences added", 1),
}
WORDS = ("words attacked (%)", 100)


@style()
def curve(report: pd.DataFrame, task: str = "") -> Figure:
    """The task's metric against the strength of the attack, one panel an attack, one line an arm.

    Means over the transfer languages; the bar is the 95 % t interval over seeds. With fewer than
    three seeds every run is a dot and there is no bar.

    Args:
        report: of ``analysis.attacks.report``.
        task: which; the first, unless named.

    Raises:
        ValueError: if the report has no transfer language of the task.
    """
    task, table = _transfer_means(report, task)
    panels = list(dict.fromkeys(table["panel"]))
    wide = min(3, len(panels))
    high = -(-len(panels) // 3)
    figure = plt.figure(figsize=(3.6 * wide, 3.1 * high + 0.6), layout="constrained")
    axes = figure.subplots(high, wide, sharey=True, squeeze=False).flatten()
    arms = list(dict.fromkeys(report["arm"]))
    styles = arm_styles(arms, arms[0])
    for ax, panel in zip(axes, panels, strict=False):
        rows = table[table["panel"] == panel]
        label, unit = STRENGTHS.get(rows["attack"].iloc[0], WORDS)
        strengths = unit * np.unique(rows["strength"])
        # Bars of several arms at one strength are set side by side, or they hide each other.
        shift = 0.06 * np.min(np.diff(strengths), initial=strengths.max())
        for i, arm in enumerate(arms):
            aside = (i - (len(arms) - 1) / 2) * shift
            by_strength = rows[rows["arm"] == arm].groupby("strength")["value"]
            means = by_strength.mean()
            ax.plot(unit * means.index + aside, means, color=styles[arm]["color"])
            for strength, values in by_strength:
                place = unit * strength + aside
                dot_and_bar(ax, place, values.to_numpy(), styles[arm], vertical=True)
        ax.set_xticks(strengths.round(6))
        ax.set_xlabel(label)
        ax.set_title(panel, loc="left", fontsize="medium")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    axes[0].set_ylabel(f"{task}: {get(task).metric} under attack (points)")
    handles = [axes[0].plot([], [], label=arm, **styles[arm])[0] for arm in arms]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


@style()
def plane(
    report: pd.DataFrame, task: str = "", attack: str = "", *, ax: Axes | None = None
) -> Axes:
    """The task's metric without an attack (x) and under it (y), one marker an arm.

    The strongest setting of the attack. Means over seeds and transfer languages; bars are 95 % t
    intervals over seeds, none with fewer than three. On the line an attack takes nothing.

    Args:
        report: of ``analysis.attacks.report``.
        task: which; the first, unless named.
        attack: a panel of ``curve``, by its title; the first, unless named.

    Raises:
        ValueError: if the report has no such rows.
    """
    task, table = _transfer_means(report, task)
    attack = attack or table["panel"].iloc[0]
    table = table[table["panel"] == choose("attack", attack, table["panel"].unique())]
    strongest = table["strength"].max()
    table = table[table["strength"] == strongest]
    arms = list(dict.fromkeys(report["arm"]))
    styles = arm_styles(arms, arms[0])
    ax = new_axes(ax, 5.6, 4)
    for arm in arms:
        runs = table[table["arm"] == arm]
        clean = runs["clean"].mean()
        attacked = runs["value"].mean()
        bar = {"color": styles[arm]["color"], "linewidth": 1.4}
        ax.plot(clean, attacked, linestyle="", markersize=8, **styles[arm])
        ax.plot(interval(runs["clean"]), [attacked] * 2, **bar)
        ax.plot([clean] * 2, interval(runs["value"]), **bar)
    ax.axline((50, 50), slope=1, color=BASELINE_COLOR, linestyle=":", linewidth=1.2)
    ax.autoscale_view()
    label, unit = STRENGTHS.get(table["attack"].iloc[0], WORDS)
    ax.set_xlabel(f"{task}: {get(task).metric} without attack (points)")
    ax.set_ylabel(f"{get(task).metric} under attack (points)")
    ax.set_title(f"{attack}; {label}: {unit * strongest:g}", loc="left", fontsize="medium")
    legend(ax, styles)
    return ax


def _transfer_means(report: pd.DataFrame, task: str) -> tuple[str, pd.DataFrame]:
    """The task, and its means over transfer languages by panel, strength, arm and seed."""
    task = task or report["task"].iloc[0]
    table = report[(report["task"] == task) & ~report["is_source"]]
    if table.empty:
        tasks = ", ".join(dict.fromkeys(report["task"]))
        raise ValueError(f"The report has no transfer language of {task!r}; its tasks are {tasks}.")
    panel = _panel_titles(table)
    # Categories keep the order of the report, which grouping would sort away.
    table = table.assign(panel=pd.Categorical(panel, categories=list(dict.fromkeys(panel))))
    by = ["panel", "attack", "strength", "arm"]
    attacked = per_seed(table, by, "value")
    clean = per_seed(table, by, "clean")
    return task, attacked.merge(clean, on=[*by, "languages", "seed"], validate="one_to_one")


def _panel_titles(table: pd.DataFrame) -> pd.Series:
    """Attacks as people tell them apart: name, search, and settings where they differ in them."""
    beam = ", beam " + table["beam"].astype(str)
    random = (table["access"] == "black box") & (table["attack"] != "distractor")
    search = np.where(table["beam"] > 0, beam, np.where(random, ", random", ""))
    several = table.groupby(["attack", "beam"])["settings"].transform("nunique") > 1
    settings = np.where(several & (table["settings"] != ""), ", " + table["settings"], "")
    return table["attack"] + search + settings
