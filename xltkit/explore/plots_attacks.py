"""Figures of models under attack, from the table of ``xltkit.analysis.attack_report``."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from xltkit.analysis.compare import per_seed
from xltkit.explore.plots import arm_styles, dot_and_bar, style
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
        report: of ``analysis.attack_report``.
        task: which; the first, unless named.

    Raises:
        ValueError: if the report has no transfer language of the task.
    """
    task = task or report["task"].iloc[0]
    table = _transfer_means(report, task)
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


def _transfer_means(report: pd.DataFrame, task: str) -> pd.DataFrame:
    """Means over the transfer languages of a task by panel, strength, arm and seed."""
    table = report[(report["task"] == task) & ~report["is_source"]]
    if table.empty:
        tasks = ", ".join(dict.fromkeys(report["task"]))
        raise ValueError(f"The report has no transfer language of {task!r}; its tasks are {tasks}.")
    panel = _panel_titles(table)
    # Categories keep the order of the report, which grouping would sort away.
    table = table.assign(panel=pd.Categorical(panel, categories=list(dict.fromkeys(panel))))
    return per_seed(table, ["panel", "attack", "strength", "arm"])


def _panel_titles(table: pd.DataFrame) -> pd.Series:
    """Attacks as people tell them apart: name, search, and settings where they differ in them."""
    beam = ", beam " + table["beam"].astype(str)
    random = (table["access"] == "black box") & (table["attack"] != "distractor")
    search = np.where(table["beam"] > 0, beam, np.where(random, ", random", ""))
    several = table.groupby(["attack", "beam"])["settings"].transform("nunique") > 1
    settings = np.where(several & (table["settings"] != ""), ", " + table["settings"], "")
    return table["attack"] + search + settings
