"""Figures of models under attack, from the tables of ``xltkit.analysis.attacks``."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xltkit.analysis.compare import per_seed
from xltkit.explore.plots import BASELINE, FEWEST, _axes, _bar, _legend, _style
from xltkit.tasks import get

# What strength is, and the factor to its unit, where it is no share of words.
STRENGTHS = {
    "embeddings": ("radius (mean embedding norms)", 1),
    "distractor": ("sentences added", 1),
}
WORDS = ("words attacked (%)", 100)


def curve(report: pd.DataFrame, task: str = "") -> Figure:
    """The task's metric against the strength of the attack, one panel an attack, one line an arm.

    Means over the transfer languages; the bar is the 95 % t interval over seeds. With fewer than
    three seeds every run is a dot and there is no bar.

    Args:
        report: of ``attack_report.report``.
        task: which; the first, unless named.

    Raises:
        ValueError: if the report has no transfer language of the task.
    """
    task, table = _transfer(report, task)
    panels = list(dict.fromkeys(table["panel"]))
    wide, high = min(3, len(panels)), -(-len(panels) // 3)
    figure = plt.figure(figsize=(3.6 * wide, 3.1 * high + 0.6), layout="constrained")
    axes = figure.subplots(high, wide, sharey=True, squeeze=False).flatten()
    for empty in axes[len(panels) :]:
        empty.set_axis_off()
    arms = list(dict.fromkeys(report["arm"]))
    style = _style(arms, arms[0])
    for ax, panel in zip(axes, panels, strict=False):
        mine = table[table["panel"] == panel]
        label, unit = STRENGTHS.get(mine["attack"].iloc[0], WORDS)
        strengths = sorted(mine["strength"].unique())
        step = unit * np.min(np.diff(strengths), initial=max(strengths))
        for a, arm in enumerate(arms):
            # Bars of several arms at one strength are set side by side, or they hide each other.
            aside = (a - (len(arms) - 1) / 2) * 0.06 * step
            _line(ax, mine[mine["arm"] == arm], unit, aside, style[arm])
        ax.set_xticks([round(unit * s, 6) for s in strengths])
        ax.set_xlabel(label)
        ax.set_title(panel, loc="left", fontsize="medium")
    axes[0].set_ylabel(f"{task}: {get(task).metric} under attack (points)")
    shown = [axes[0].plot([], [], label=arm, **style[arm])[0] for arm in arms]
    figure.legend(handles=shown, loc="outside lower center", ncols=3, frameon=False)
    return figure


def plane(
    report: pd.DataFrame, task: str = "", attack: str = "", *, ax: Axes | None = None
) -> Axes:
    """The task's metric without an attack (x) and under it (y), one marker an arm.

    The strongest setting of the attack. Means over seeds and transfer languages; bars are 95 % t
    intervals over seeds, none with fewer than three. On the line an attack takes nothing.

    Args:
        report: of ``attack_report.report``.
        task: which; the first, unless named.
        attack: a panel of ``curve``, by its title; the first, unless named.

    Raises:
        ValueError: if the report has no such rows.
    """
    task, table = _transfer(report, task)
    attack = attack or table["panel"].iloc[0]
    if attack not in set(table["panel"]):
        raise ValueError(f"attack is {attack!r}; the report has {sorted(set(table['panel']))}.")
    table = table[table["panel"] == attack]
    most = table["strength"].max()
    table = table[table["strength"] == most]
    ax = _axes(ax, 5.6, 4)
    arms = list(dict.fromkeys(report["arm"]))
    style = _style(arms, arms[0])
    for arm in arms:
        mine = table[table["arm"] == arm]
        x, y = mine["clean"].mean(), mine["value"].mean()
        ax.plot(x, y, linestyle="", markersize=8, label=arm, **style[arm])
        ax.plot(_bar(mine["clean"]), [y, y], color=style[arm]["color"], linewidth=1.4)
        ax.plot([x, x], _bar(mine["value"]), color=style[arm]["color"], linewidth=1.4)
    ax.axline((50, 50), slope=1, color=BASELINE, linestyle=":", linewidth=1.2)
    ax.autoscale_view()
    label, unit = STRENGTHS.get(table["attack"].iloc[0], WORDS)
    ax.set_xlabel(f"{task}: {get(task).metric} without attack (points)")
    ax.set_ylabel(f"{get(task).metric} under attack (points)")
    ax.set_title(f"{attack}; {label}: {unit * most:g}", loc="left", fontsize="medium")
    _legend(ax)
    return ax


def _transfer(report: pd.DataFrame, task: str) -> tuple[str, pd.DataFrame]:
    """Means over the transfer languages of a task by panel, strength, arm and seed."""
    task = task or report["task"].iloc[0]
    table = report[(report["task"] == task) & ~report["is_source"]]
    if table.empty:
        tasks = ", ".join(dict.fromkeys(report["task"]))
        raise ValueError(f"The report has no transfer language of {task!r}; its tasks are {tasks}.")
    panel = _panel(table)
    # Categories keep the order of the report, which grouping would sort away.
    table = table.assign(panel=pd.Categorical(panel, categories=list(dict.fromkeys(panel))))
    by = ["panel", "attack", "strength", "arm"]
    means = [per_seed(table, by, value) for value in ("value", "clean")]
    return task, means[0].merge(means[1], on=[*by, "languages", "seed"], validate="one_to_one")


def _panel(table: pd.DataFrame) -> pd.Series:
    """Attacks as people tell them apart: name, search, and settings where they differ in them."""
    random = (table["access"] == "black box") & (table["attack"] != "distractor")
    search = np.where(
        table["beam"] > 0, ", beam " + table["beam"].astype(str), np.where(random, ", random", "")
    )
    several = table.groupby(["attack", "beam"])["settings"].transform("nunique") > 1
    more = np.where(several & (table["settings"] != ""), ", " + table["settings"], "")
    return table["attack"] + search + more


def _line(ax: Axes, table: pd.DataFrame, unit: float, aside: float, style: dict) -> None:
    """One arm in one panel; rows are seeds at strengths."""
    xs, means = [], []
    for strength, values in table.groupby("strength")["value"]:
        x = unit * strength + aside
        xs, means = [*xs, x], [*means, values.mean()]
        shown = values if len(values) < FEWEST else values[:0]
        ax.plot([x] * len(shown), shown, linestyle="", markersize=3.5, **style)
        ax.plot([x, x], _bar(values), color=style["color"], linewidth=1.4)
    marks = style if len(table) >= FEWEST * len(xs) else style | {"marker": ""}
    ax.plot(xs, means, markersize=5, **marks)
