"""Figures of models under attack, from the table of ``xltkit.analysis.attack_report``."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from xltkit.analysis.compare import per_seed
from xltkit.explore.plots import arm_styles, interval, style
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

    Means over the transfer languages and seeds; the bar is the 95 % t interval over seeds, if
    there are three or more.

    Args:
        report: of ``analysis.attack_report``.
        task: which; the first, unless named.

    Raises:
        ValueError: if the report has no transfer language of the task.
    """
    task = task or report["task"].iloc[0]
    table = report[~report["is_source"]]
    choose("task with a transfer language", task, table["task"].unique())
    table = table[table["task"] == task]
    table = table.assign(panel=_panel_titles(table))
    attacks = table.drop_duplicates("panel").set_index("panel")["attack"]
    units = {panel: STRENGTHS.get(attack, WORDS) for panel, attack in attacks.items()}
    arms = list(table["arm"].unique())
    table = per_seed(table, ["panel", "strength", "arm"])
    table["strength"] *= table["panel"].map(lambda panel: units[panel][1])
    # Bars of several arms at one strength are set side by side, or they hide each other.
    step = 0.01 * table.groupby("panel")["strength"].transform("max")
    table["strength"] += step * (table["arm"].map(arms.index) - (len(arms) - 1) / 2)
    styles = arm_styles(arms).values()
    colors = {"hue": "arm", "hue_order": arms, "palette": [look["color"] for look in styles]}
    markers = {"style": "arm", "style_order": arms, "markers": [look["marker"] for look in styles]}
    panels = {"col": "panel", "col_order": list(units), "col_wrap": min(3, len(units))}
    grid = sns.relplot(
        table,
        kind="line",
        x="strength",
        y="value",
        dashes=False,
        errorbar=interval,
        err_style="bars",
        height=3.1,
        aspect=1.15,
        facet_kws={"sharex": False},
        **colors,
        **markers,
        **panels,
    )
    grid.set_titles("{col_name}")
    grid.set_ylabels(f"{task}: {get(task).metric} under attack (points)")
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
