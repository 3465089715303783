"""What picking the best arm for each task is worth, and how much of that is luck.

The English-intermediate-training paper reports its headline with the best intermediate task picked
for each target (Phang et al. 2020). The best of ten noisy numbers is high even if all ten arms are
the same. Here arms are picked on one half of the test items and on other seeds than they are scored
on, and the naive figure stands beside it.
"""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import pandas as pd

from xltkit.analysis.intervals import t_interval
from xltkit.studies.results import Results
from xltkit.tasks import get

KEYS = ["arm", "seed", "task", "language"]


def _half(example: str) -> int:
    """In which half an item lies: the same for every arm, seed and language."""
    return hashlib.sha256(example.encode()).digest()[0] % 2


def halves(results: Results) -> pd.DataFrame:
    """The main metric on either half of the test items.

    Returns:
        One row per arm, seed, task, language and ``half`` (0 or 1), with ``value`` in points.
    """
    table = results.predictions
    known = {example: _half(example) for example in table["example_id"].unique()}
    rows = []
    for key, group in table.groupby([*KEYS, table["example_id"].map(known)], sort=False):
        task = get(key[2])
        scores = task.type.metrics(task, group, key[3])
        rows.append((*key, scores[task.metric]))
    return pd.DataFrame(rows, columns=[*KEYS, "half", "value"])


def gains(results: Results, baseline: str) -> pd.DataFrame:
    """Each arm minus the baseline by half: means over languages, the source apart.

    Returns:
        One row per arm, seed, task, half and ``languages`` (``source`` or ``transfer``).
    """
    arms = list(results.study.arms)
    if baseline not in arms or len(arms) < 3:
        raise ValueError(
            f"baseline is {baseline!r}; the study has the arms {arms}. To pick among arms there "
            "must be two or more beside the baseline."
        )
    table = halves(results)
    source = table["language"] == results.study.source
    if source.all():
        raise ValueError(f"The study scored {results.study.source!r} alone: nothing transfers.")
    # Searching English by English, a frozen encoder finds itself in every arm.
    frozen = table["task"].map(lambda name: get(name).type.is_untrained)
    table = table[~(source & frozen)]
    table = table.assign(languages=np.where(source[table.index], "source", "transfer"))
    means = table.groupby(["arm", "seed", "task", "half", "languages"])["value"].mean().unstack(0)
    return means.drop(columns=baseline).sub(means[baseline], axis=0).stack().rename("gain")


def picked(results: Results, baseline: str) -> pd.DataFrame:
    """What the best arm of each task gains over the baseline, by how it was picked.

    ``fixed``: one arm for all tasks, the best on average. ``best``: the best of each task. Both on
    the very items and seeds they are scored on (``naive``), and on the other half of the items and
    the other seeds (``honest``, for each seed and half in turn). The difference is at most the luck
    of the pick: picking with half of the data also misses more of what is truly better. With a
    single seed only the items differ. Both rules look at labels of the transfer languages and are
    an ``oracle``; ``source`` picks for each task by the source language alone, honestly, which
    anyone can do. A task that cannot tell arms apart there (it has no source language, or nothing
    to learn in it, as retrieval) takes the arm that is best there on average over the others.

    Returns:
        One row per ``rule`` (fixed, best, source), ``scored`` (naive, honest) and task, and their
        mean over tasks (``task`` is ``all``): ``gain`` in points in the transfer languages with
        the t interval over seeds, and the ``arms`` picked.
    """
    table = gains(results, baseline).rename_axis(["seed", "task", "half", "languages", "arm"])
    grid = table.unstack("arm")
    rows = []
    for rule, scored in [
        ("fixed", "naive"), ("fixed", "honest"), ("best", "naive"), ("best", "honest"),
        ("source", "honest"),
    ]:  # fmt: skip
        if rule == "source" and "source" not in grid.index.unique("languages"):
            continue
        seeds, arms = _scored(grid, rule, scored == "naive")
        for task in [*seeds.columns, "all"]:
            values = seeds.mean(axis=1) if task == "all" else seeds[task]
            low, high = t_interval(values)
            names = "" if task == "all" else ", ".join(dict.fromkeys(arms[task]))
            rows.append((rule, scored, task, values.mean(), low, high, names, rule != "source"))
    columns = ["rule", "scored", "task", "gain", "low", "high", "arms", "oracle"]
    return pd.DataFrame(rows, columns=columns)


def _scored(
    grid: pd.DataFrame, rule: str, naive: bool
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Gains in the transfer languages (seed x task) of the arms a rule picks; and these arms."""
    looked = "source" if rule == "source" else "transfer"
    scored = grid.xs("transfer", level="languages")
    seeds = sorted(grid.index.unique("seed"))
    arms: dict[str, list[str]] = {}
    rows = {}
    for seed, half in product(seeds, (0, 1)):
        seen = grid.xs(looked, level="languages")
        if not naive:
            seen = seen.xs(1 - half, level="half")
            seen = seen.drop(seed, level="seed") if len(seeds) > 1 else seen
        means = seen.groupby("task").mean()
        overall = means.mean()
        means = means.reindex(scored.index.unique("task"))
        best = (means * 0).fillna(0) + overall if rule == "fixed" else means.fillna(overall)
        best = best.idxmax(axis=1)
        rows[seed, half] = {t: scored.loc[(seed, t, half), arm] for t, arm in best.items()}
        for task, arm in best.items():
            arms.setdefault(task, []).append(arm)
    return pd.DataFrame.from_dict(rows, orient="index").groupby(level=0).mean(), arms
