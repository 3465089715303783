"""What captions find, as pictures: the figure to look at before any recall is believed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from datasets import Dataset
from matplotlib.figure import Figure

from xltkit.data import loading as data
from xltkit.tasks import get
from xltkit.tasks.captions import WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xltkit.studies.results import Results

RIGHT, WRONG = "#2a7f3f", "#b3261e"


def found(
    results: Results, task: str, language: str, *, arm: str = "", hits: int = 3, misses: int = 3
) -> Figure:
    """Captions in a language, the picture each belongs to and the one it found.

    Args:
        results: of a study of a task with pictures.
        task: the task.
        language: of the captions; below them stand the English ones, if there are any.
        arm: whose; the first one if empty. The first seed is shown.
        hits: how many captions that found their picture.
        misses: how many that did not.

    Raises:
        ValueError: if there is nothing of that arm, task and language.
    """
    table = results.predictions
    arm = arm or next(iter(results.study.arms))
    chosen = table.query("arm == @arm and task == @task and language == @language")
    if chosen.empty:
        raise ValueError(
            f"There are no predictions of arm {arm!r} on {task!r} in {language!r}; arms are "
            f"{list(results.study.arms)}, languages {sorted(table['language'].unique())}."
        )
    first = (chosen["direction"] == WAYS[0]) & chosen["example_id"].str.endswith("/0")
    chosen = chosen[first & (chosen["seed"] == chosen["seed"].min())]
    right = chosen["rank"] == 1
    shown = pd.concat([chosen[right][:hits], chosen[~right][:misses]])
    split = next(c.stage.phase.split for c in results.study.runs if c.task == task)
    rows = [data.load(get(task), split, code) for code in dict.fromkeys((language, "en"))
            if code in getattr(get(task), split)]  # fmt: skip
    places = [{name: i for i, name in enumerate(table["id"][:])} for table in rows]
    figure = Figure(figsize=(8.0, 1.45 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 3, squeeze=False, width_ratios=(3.2, 1, 1))
    for line, (_, one) in zip(axes, shown.iterrows(), strict=True):
        _line(line, rows, places, one)
    return figure


def _line(
    axes: Sequence[Axes], rows: Sequence[Dataset], places: Sequence[dict[str, int]], one: pd.Series
) -> None:
    """A caption, its picture and the picture it found, on three axes."""
    name, _, number = one["example_id"].rpartition("/")
    said = [
        table[where[name]]["texts"][: int(number) + 1][-1].replace(" .", ".")
        for table, where in zip(rows, places, strict=True)
        if name in where
    ]
    axes[0].text(0, 0.5, "\n".join(textwrap.fill(s, 52) for s in said), va="center", fontsize=9)
    axes[0].set_axis_off()
    titles = ("its picture", f"found (its own: place {one['rank']:.0f})")
    for axis, name, title in zip(axes[1:], (one["gold"], one["pred"]), titles, strict=True):
        axis.imshow(rows[0][places[0][name]]["image"], interpolation="nearest")
        axis.set_title(title, fontsize=8, color=RIGHT if one["rank"] == 1 else WRONG)
        axis.set_xticks([])
        axis.set_yticks([])
