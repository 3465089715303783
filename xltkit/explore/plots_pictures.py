"""Pictures that captions retrieve, and sentences as points: what to look at before any score."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xltkit.data.languages import columns
from xltkit.explore.embeddings import retrieval_accuracy, unit
from xltkit.explore.plots import BASELINE_COLOR, MARKERS, style
from xltkit.keys import choose
from xltkit.studies.make import test_rows
from xltkit.studies.results import Results
from xltkit.tasks import get
from xltkit.tasks.captions import WAYS

SHOWN = 3  # captions that retrieved their own picture, and as many that did not
RIGHT = "#2a7f3f"
WRONG = "#b3261e"


@style()
def retrieved(results: Results, task: str, language: str, *, arm: str = "") -> Figure:
    """Captions in a language, the picture each belongs to and the one that was ranked first.

    Args:
        results: of a study of a task with pictures.
        task: the task.
        language: of the captions; below them stand the English ones, if there are any.
        arm: whose; the first one if empty. The first seed is shown.

    Raises:
        ValueError: if there is nothing of that arm, task and language.
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
            ax.set_title(title, fontsize=8, color=RIGHT if row.rank == 1 else WRONG)
            ax.set(xticks=[], yticks=[])
    return figure


@style()
def sentences(panels: Mapping[str, pd.DataFrame], *, first: int = 6) -> Figure:
    """The same sentences in several languages, one panel an encoder.

    A point is a sentence: its number stands beside it and is its color, its marker is the
    language. A line joins it with its source sentence. Directions are the two in which the drawn
    points of a panel differ most (principal components of vectors of length 1); how much of all
    differences that is stands below. Above stands what no flat picture can distort: how many of
    *all* sentences of the table have their translation as their nearest in the first language.

    Args:
        panels: by name, tables of ``embeddings.embed``.
        first: how many of the sentences are drawn.

    Raises:
        ValueError: if there are more languages than markers.
    """
    codes = list(next(iter(panels.values()))["language"].unique())
    if len(codes) > len(MARKERS):
        raise ValueError(
            f"{len(codes)} languages cannot be told apart; draw {len(MARKERS)} at most."
        )
    markers = dict(zip(codes, MARKERS, strict=False))
    size = (4.3 * len(panels), 4.9)
    figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
    for ax, (name, table) in zip(axes[0], panels.items(), strict=True):
        _draw_points(ax, table[table["sentence"] < first], markers)
        accuracy = retrieval_accuracy(table).mean() if len(codes) > 1 else 100.0
        title = f"{name}\ntranslation found: {accuracy:.0f} %"
        ax.set_title(title, loc="left", fontsize="medium")
    for code, name in columns(codes)["language_name"].items():
        axes[0, 0].plot([], [], markers[code], color=BASELINE_COLOR, label=f"{code} {name}")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_points(ax: Axes, table: pd.DataFrame, markers: Mapping[str, str]) -> None:
    """The sentences of one encoder in its two principal directions, joined with their source."""
    vectors = unit(table)
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    variance = 100 * (sizes[:2] ** 2).sum() / (sizes**2).sum()
    table = table.assign(x=left[:, 0] * sizes[0], y=left[:, 1] * sizes[1])
    colors = sns.color_palette("colorblind", table["sentence"].nunique())
    for color, (number, rows) in zip(colors, table.groupby("sentence"), strict=True):
        points = rows.set_index("language")[["x", "y"]]
        source = points.iloc[0]
        for code, (x, y) in points.iterrows():
            ax.plot([source.x, x], [source.y, y], color=color, linewidth=0.7, zorder=1)
            ax.plot(x, y, markers[code], color=color, markersize=7, markeredgecolor="white")
        beside = {"xytext": (5, 4), "textcoords": "offset points"}
        ax.annotate(str(number + 1), source, weight="bold", **beside)
    ax.margins(0.12)
    ax.set(xticks=[], yticks=[], xlabel=f"two directions: {variance:.0f} % of the differences")
    ax.set_aspect("equal", adjustable="datalim")
