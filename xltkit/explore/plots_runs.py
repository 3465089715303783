"""Figures of single runs and of what they trade: results in, axes out; see also ``plots``."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from xltkit.analysis.compare import per_seed
from xltkit.data.languages import CLASSES
from xltkit.explore.plots import BASELINE, FEWEST, _axes, _bar, _legend, _style
from xltkit.studies.results import Results

LINES = ("-", "-", "-", "--", ":", "-.")  # from the fourth arm on not by colour alone
LEVELS = {level: level for level in CLASSES} | {"not known": ""}


def _chosen(results: Results, task: str, arms: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The main scores of a task (all, unless named), and the arms (all, unless named)."""
    table, known = results.main, list(results.study.arms)
    if unknown := [arm for arm in arms if arm not in known]:
        raise ValueError(f"There is no arm {unknown}; the study has {known}.")
    if task and task not in set(table["task"]):
        raise ValueError(f"There is no task {task!r}; scored were {sorted(set(table['task']))}.")
    return (table[table["task"] == task] if task else table), list(arms) or known


def _points(table: pd.DataFrame, task: str) -> str:
    """What an axis of scores is called."""
    return f"{task}: {table['metric'].iloc[0]} (points" if task else "mean over tasks (points"


def seeds(results: Results, task: str = "", *, ax: Axes | None = None) -> Axes:
    """Every run as it came out, one row an arm, nothing averaged over seeds.

    A full dot is a run's mean over the transfer languages, an empty one its score in the source
    language; a cross marks a run that failed (``Results.degenerate``). Dots of one seed lie at
    the same height in every row. Means over tasks, unless one is named.
    """
    table, arms = _chosen(results, task, ())
    means = per_seed(table, ["arm"])
    runs = results.degenerate
    failed = runs[runs["degenerate"] & runs["task"].isin(table["task"])]
    failed = set(zip(failed["arm"], failed["seed"], strict=True))
    runs = sorted(means["seed"].unique())
    heights = dict(zip(runs, np.linspace(-0.25, 0.25, len(runs)) if len(runs) > 1 else [0.0],
                       strict=True))  # fmt: skip
    ax = _axes(ax, 6.5, 1.1 + 0.45 * len(arms))
    style = _style(arms, arms[0])
    for row, arm in enumerate(arms):
        for run in means[means["arm"] == arm].itertuples():
            y, colour = row + heights[run.seed], style[arm]["color"]
            face = colour if run.languages == "transfer" else "white"
            ax.plot(run.value, y, "o", color=colour, markerfacecolor=face, markersize=6)
            if (arm, run.seed) in failed:
                ax.plot(run.value, y, "x", color="#b3261e", markersize=9, markeredgewidth=1.8)
    labels = {"transfer": BASELINE, "source": "white"}
    for name, face in labels.items():
        ax.plot([], [], "o", color=BASELINE, markerfacecolor=face, label=name)
    if failed:
        ax.plot([], [], "x", color="#b3261e", markeredgewidth=1.8, label="degenerate")
    ax.set_yticks(range(len(arms)), arms)
    ax.set_ylim(len(arms) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"{_points(table, task)}), one dot a run")
    ax.set_ylabel("arm")
    _legend(ax, "")
    return ax


def gap(
    results: Results, task: str = "", *, arms: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """How far each language lies below the source, against the text it was pretrained on.

    Gib of CC-100, the text of XLM-R (``languages``), on a logarithmic axis; 0 stands at its left
    end. Languages whose amount is not known, as those of the microworld, stand by class. A dot is
    the mean over seeds and tasks (unless one is named), the bar its 95 % t interval over seeds,
    the label the language's code. The first arm alone is drawn, unless others are named.
    """
    table, arms = _chosen(results, task, arms or list(results.study.arms)[:1])
    source = table[table["is_source"]].set_index(["arm", "seed", "task"])["value"]
    others = table[~table["is_source"]].join(source.rename("own"), on=["arm", "seed", "task"])
    others = others.assign(gap=others["own"] - others["value"]).dropna(subset="gap")
    if others.empty:
        raise ValueError(f"No task has scores in the source {results.study.source!r} and others.")
    known = others["pretraining_gib"].notna().all()
    place = _sizes(others) if known else _classes(others)
    ax = _axes(ax, 7, 4)
    style = _style(arms, arms[0])
    pale = 0.35 if len(place) > 25 else 1.0  # the bars of fifty languages would hide their names
    for a, arm in enumerate(arms):
        mine = others[others["arm"] == arm]
        for code, values in mine.groupby("language"):
            each = values.groupby("seed")["gap"].mean()
            x = place[code] + (a - (len(arms) - 1) / 2) * 0.04
            ax.plot([x, x], _bar(each), color=style[arm]["color"], linewidth=1.2, alpha=pale)
            ax.plot(x, each.mean(), linestyle="", markersize=6, **style[arm])
            if a == len(arms) - 1:
                ax.annotate(code, (x, each.mean()), xytext=(6, 3), textcoords="offset points",
                            fontsize="x-small", color="#444444")  # fmt: skip
        ax.plot([], [], linestyle="", label=arm, **style[arm])
    ax.axhline(0, color=BASELINE, linewidth=1)
    _name_sizes(ax, others, place) if known else _name_classes(ax, place)
    ax.set_ylabel(f"source minus language, {_points(table, task)})")
    if len(arms) > 1:
        _legend(ax)
    return ax


def _sizes(table: pd.DataFrame) -> dict[str, float]:
    """Languages by the logarithm of their amount of text; none stands a step left of the least."""
    sizes = table.groupby("language")["pretraining_gib"].first()
    least = sizes[sizes > 0].min() if (sizes > 0).any() else 1.0
    return np.log10(sizes.where(sizes > 0, least / 4)).to_dict()


def _name_sizes(ax: Axes, table: pd.DataFrame, place: dict[str, float]) -> None:
    sizes = table.groupby("language")["pretraining_gib"].first()
    ticks = [t for t in (0.1, 0.3, 1, 3, 10, 30, 100, 300)
             if sizes[sizes > 0].min() / 2 < t < 2 * sizes.max()]  # fmt: skip
    named = dict(zip(np.log10(ticks), map("{:g}".format, ticks), strict=True))
    if (sizes == 0).any():
        named = {place[sizes.idxmin()]: "0"} | named
    ax.set_xticks(list(named), list(named.values()))
    ax.set_xlabel("text in pretraining (GiB of CC-100)")


def _classes(table: pd.DataFrame) -> dict[str, float]:
    """Languages side by side in their class, in the order of the table."""
    place = {}
    for at, level in enumerate(LEVELS):
        codes = table.loc[table["resource"] == LEVELS[level], "language"].unique()
        spread = np.linspace(-0.3, 0.3, len(codes)) if len(codes) > 1 else np.zeros(len(codes))
        place |= dict(zip(codes, at + spread, strict=True))
    return place


def _name_classes(ax: Axes, place: dict[str, float]) -> None:
    ax.set_xticks(range(len(LEVELS)), list(LEVELS))
    ax.set_xlim(-0.5, len(CLASSES) - 0.5 + (max(place.values()) > len(CLASSES) - 0.5))
    ax.grid(axis="x", visible=False)
    ax.set_xlabel("text in pretraining (class)")


def curve(
    results: Results, task: str = "", phase: str = "target", *, arms: Sequence[str] = (),
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """The training loss by step, one line an arm: means over seeds with their 95 % t band.

    With fewer than three seeds every run is a line. Losses are means over the steps since the last
    one logged.

    Args:
        results: of a study.
        task: whose runs; the first for which there was such a phase, unless named.
        phase: the kind of phase, such as ``target`` or ``intermediate``; of several of the kind
            in one recipe, the last.
        arms: which to draw; all, unless named. More than three bands are hard to tell apart.
        ax: where to draw; a new figure, unless given.

    Raises:
        ValueError: if no arm has such a phase.
    """
    _, arms = _chosen(results, task, arms)
    logs = _logs(results, task, phase)
    task = task or logs["task"].iloc[0]
    logs = logs[logs["task"] == task]
    ax = _axes(ax, 6.5, 3.8)
    style = _style(arms, arms[0])
    for a, arm in enumerate(arms):
        grid = logs[logs["arm"] == arm].pivot_table(index="step", columns="seed", values="loss")
        if grid.empty:  # the arm has no such phase
            continue
        look = {"color": style[arm]["color"], "linestyle": LINES[a % len(LINES)]}
        if grid.shape[1] < FEWEST:
            ax.plot(grid.index, grid, linewidth=1.4, **look)
        else:
            low, high = np.array([_bar(row) for row in grid.to_numpy()]).T
            ax.fill_between(grid.index, low, high, color=look["color"], alpha=0.18, linewidth=0)
            ax.plot(grid.index, grid.mean(axis=1), linewidth=1.8, **look)
        ax.plot([], [], label=arm, linewidth=1.8, **look)
    ax.set_xlabel("step")
    whose = f", {task}" if phase == "target" else ""  # all tasks share an earlier phase
    ax.set_ylabel(f"{phase} phase{whose}: loss (nats)")
    _legend(ax)
    return ax


def _logs(results: Results, task: str, phase: str) -> pd.DataFrame:
    """The lines that stages of a kind wrote while they trained."""
    tables, kinds = [], set()
    for cell in results.study.runs:
        if task not in ("", cell.task):
            continue
        named = {type(s.phase).__name__.lower(): s for s in reversed(cell.stage.chain[1:])}
        kinds |= set(named)
        if (stage := named.get(phase)) is None:
            continue
        lines = (results.store.path(stage.key) / "log.jsonl").read_text().splitlines()
        table = pd.DataFrame(map(json.loads, lines))[["step", "loss"]]
        tables.append(table.assign(arm=cell.arm, seed=cell.seed, task=cell.task))
    if not tables:
        raise ValueError(
            f"There is no phase {phase!r} in the runs of {task or 'any task'}; it has "
            f"{', '.join(sorted(kinds)) or 'no training at all'}."
        )
    return pd.concat(tables, ignore_index=True)


def plane(results: Results, task: str = "", *, ax: Axes | None = None) -> Axes:
    """The score in the source language (x) and the mean of the others (y), one marker an arm.

    What an arm gains where the labels are, and where they are not. Bars are 95 % t intervals over
    seeds, of means over tasks (unless one is named); with fewer than three seeds every run is a
    marker. On the dotted line nothing is lost in transfer. ``plots_attack.plane`` is the like for
    scores without and under attack.
    """
    table, arms = _chosen(results, task, ())
    both = table.groupby("task")["is_source"].nunique()
    table = table[table["task"].isin(both.index[both == 2])]
    if table.empty:
        raise ValueError(f"No task has scores in the source {results.study.source!r} and others.")
    means = per_seed(table, ["arm"]).pivot(index=["arm", "seed"], columns="languages")["value"]
    ax = _axes(ax, 5.6, 4)
    style = _style(arms, arms[0])
    for arm in arms:
        x, y = means.loc[arm, "source"], means.loc[arm, "transfer"]
        shown = (x, y) if len(x) < FEWEST else ([x.mean()], [y.mean()])
        ax.plot(*shown, linestyle="", markersize=8, label=arm, **style[arm])
        ax.plot(_bar(x), [y.mean()] * 2, color=style[arm]["color"], linewidth=1.4)
        ax.plot([x.mean()] * 2, _bar(y), color=style[arm]["color"], linewidth=1.4)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    if top >= left:  # else the line would be far outside
        ax.axline((50, 50), slope=1, color=BASELINE, linestyle=":", linewidth=1.2)
        ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.set_xlabel(f"source language, {_points(table, task)})")
    ax.set_ylabel("transfer languages, mean (points)")
    _legend(ax)
    return ax
