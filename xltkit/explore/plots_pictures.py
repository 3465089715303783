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
from xltkit.studies.results import Results
from xltkit.tasks import get, load
from xltkit.tasks.captions import WAYS

RIGHT = "#2a7f3f"
WRONG = "#b3261e"


@style()
def retrieved(
    results: Results, task: str, language: str, *, arm: str = "", hits: int = 3, misses: int = 3
) -> Figure:
    """Captions in a language, the picture each belongs to and the one that was ranked first.

    Args:
        results: of a study of a task with pictures.
        task: the task.
        language: of the captions; below them stand the English ones, if there are any.
        arm: whose; the first one if empty. The first seed is shown.
        hits: how many captions that retrieved their own picture.
        misses: how many that did not.

    Raises:
        ValueError: if there is nothing of that arm, task and language.
    """
    table = results.predictions
    arm = arm or next(iter(results.study.arms))
    table = table[(table["arm"] == arm) & (table["task"] == task)]
    if language not in set(table["language"]):
        raise ValueError(
            f"There are no predictions of arm {arm!r} on {task!r} in {language!r}; arms are "
            f"{list(results.study.arms)}, languages {sorted(table['language'].unique())}."
        )
    # The first caption of each picture, as a query for pictures
    table = table[(table["language"] == language) & (table["direction"] == WAYS[0])]
    table = table[table["example_id"].str.endswith("/0") & (table["seed"] == table["seed"].min())]
    right = table["rank"] == 1
    table = pd.concat([table[right][:hits], table[~right][:misses]])
    split = next(c.stage.phase.split for c in results.study.runs if c.task == task)
    examples = {}
    for code in dict.fromkeys((language, "en")):
        if code in getattr(get(task), split):
            rows = load(get(task), split, code)
            places = {name: i for i, name in enumerate(rows["id"][:])}
            examples[code] = {name: rows[places[name]] for name in places.keys() & _ids(table)}
    figure = Figure(figsize=(8.0, 1.45 * len(table)), layout="constrained")
    axes = figure.subplots(len(table), 3, squeeze=False, width_ratios=(3.2, 1, 1))
    for (left, *others), row in zip(axes, table.itertuples(), strict=True):
        name = row.example_id.removesuffix("/0")
        captions = [e[name]["texts"][0].replace(" .", ".") for e in examples.values() if name in e]
        left.text(0, 0.5, "\n".join(textwrap.fill(c, 52) for c in captions), va="center", size=9)
        left.set_axis_off()
        titles = {"its picture": row.gold, f"first (its own: rank {row.rank:.0f})": row.pred}
        for ax, (title, picture) in zip(others, titles.items(), strict=True):
            ax.imshow(examples[language][picture]["image"], interpolation="nearest")
            ax.set_title(title, fontsize=8, color=RIGHT if row.rank == 1 else WRONG)
            ax.set(xticks=[], yticks=[])
    return figure


def _ids(table: pd.DataFrame) -> set[str]:
    """The ids of all pictures that are shown."""
    return {*table["gold"], *table["pred"]}


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
    codes = list(dict.fromkeys(next(iter(panels.values()))["language"]))
    if len(codes) > len(MARKERS):
        raise ValueError(
            f"{len(codes)} languages cannot be told apart; draw {len(MARKERS)} at most."
        )
    markers = dict(zip(codes, MARKERS, strict=False))
    size = (4.3 * len(panels), 4.9)
    figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
    for ax, (name, table) in zip(axes[0], panels.items(), strict=True):
        _draw_points(ax, table[table["sentence"] < first], markers)
        accuracy = retrieval_accuracy(table, codes[0]).mean() if len(codes) > 1 else 100.0
        title = f"{name}\ntranslation found: {accuracy:.0f} %"
        ax.set_title(title, loc="left", fontsize="medium")
    names = columns(codes)["language_name"]
    look = {"color": BASELINE_COLOR, "linestyle": ""}
    for code, marker in markers.items():
        axes[0, 0].plot([], [], marker=marker, label=f"{code} {names[code]}", **look)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_points(ax: Axes, table: pd.DataFrame, markers: Mapping[str, str]) -> None:
    """The sentences of one encoder in its two principal directions, joined with their source."""
    vectors = unit(table)
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    variance = (sizes[:2] ** 2).sum() / (sizes**2).sum()
    table = table.assign(x=left[:, 0] * sizes[0], y=left[:, 1] * sizes[1])
    colors = sns.color_palette("colorblind", table["sentence"].nunique())
    for color, (number, rows) in zip(colors, table.groupby("sentence"), strict=True):
        points = rows.set_index("language")[["x", "y"]]
        source = points.iloc[0]
        for code, marker in markers.items():
            x, y = points.loc[code]
            ax.plot([source.x, x], [source.y, y], color=color, linewidth=0.7, zorder=1)
            ax.plot(x, y, marker, color=color, markersize=7, markeredgecolor="white")
        beside = {"xytext": (5, 4), "textcoords": "offset points"}
        ax.annotate(str(number + 1), source, weight="bold", **beside)
    ax.margins(0.12)
    ax.set(
        xticks=[], yticks=[], xlabel=f"two directions: {100 * variance:.0f} % of the differences"
    )
    ax.set_aspect("equal", adjustable="datalim")
