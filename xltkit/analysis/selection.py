"""What selecting the best arm for each task gains, and how much of that is luck.

Phang et al. 2020 report the best intermediate task for each target. The best of ten noisy scores
is high even if all ten arms are equal. Here, arms are also selected on other test items and other
seeds than those they are scored on.
"""

import hashlib
from itertools import product

import numpy as np
import pandas as pd

from xltkit.analysis.intervals import difference
from xltkit.analysis.items import metric_terms, ratio
from xltkit.keys import choose
from xltkit.studies.results import Results
from xltkit.tasks import get

IN_SAMPLE = "in-sample"
CROSS_VALIDATED = "cross-validated"


def select_arms(results: Results, baseline: str) -> pd.DataFrame:
    """What the best arm of each task gains over the baseline, by selection rule.

    ``fixed`` selects one arm for all tasks, the best on average; ``best`` the best for each task.
    Both select on the very items and seeds that are scored (``in-sample``), and on the other half
    of the items and the other seeds, if any (``cross-validated``, for each seed and half in turn).
    The luck of the selection is at most the difference: with half of the data, truly better arms
    are also missed more often. Both rules see labels in the transfer languages, so they are an
    ``oracle``; ``source`` selects for each task by the source language alone, cross-validated. A
    task that cannot tell arms apart there (such as retrieval, which is untrained) takes the arm
    that is best there on average over the other tasks.

    One row per ``rule``, ``scored`` (in-sample, cross-validated) and task, and their mean over
    tasks (``task`` is ``all``): the ``difference`` from the baseline in points in the transfer
    languages, with its t interval over seeds, and the ``arms`` selected. Raises ValueError if the
    baseline is not an arm, there are fewer than two others, or nothing transfers.
    """
    arms = results.arms
    choose("baseline", baseline, arms)
    if len(arms) < 3:
        raise ValueError(f"The arms are {arms}: selection takes two or more beside the baseline.")
    gains = _gains(results, baseline)
    rules = [*product(("fixed", "best"), (IN_SAMPLE, CROSS_VALIDATED))]
    if "source" in gains.index.unique("languages"):
        rules.append(("source", CROSS_VALIDATED))
    rows = []
    for rule, scored in rules:
        selected = _select(gains, rule, scored)
        by_seed = selected.groupby(["seed", "task"], sort=False)["gain"].mean().unstack()
        by_seed["all"] = by_seed.mean(axis=1)
        for task, values in by_seed.items():
            names = ", ".join(selected.loc[selected["task"] == task, "arm"].unique())
            row = {"rule": rule, "scored": scored, "task": task} | difference(values)
            rows.append(row | {"arms": names, "oracle": rule != "source"})
    return pd.DataFrame(rows)


def _gains(results: Results, baseline: str) -> pd.DataFrame:
    """Gains over the baseline on each half of the items: means over languages, source separate.

    Rows are ``seed``, ``task``, ``half`` and ``languages`` (source or transfer), columns the arms.
    """
    terms = metric_terms(results)
    # An item is in the same half for every arm, seed and language.
    terms["half"] = [hashlib.sha256(item.encode()).digest()[0] % 2 for item in terms["item"]]
    keys = ["arm", "seed", "task", "language", "half"]
    sums = terms.groupby([*keys, "part"])[["numerator", "denominator"]].sum()
    metric = pd.Series(ratio(sums["numerator"], sums["denominator"]), sums.index, name="value")
    table = metric.groupby(keys).mean().reset_index()
    is_source = table["language"] == results.study.source
    if is_source.all():
        raise ValueError(f"The study scored {results.study.source!r} alone: nothing transfers.")
    # Untrained retrieval from English to English finds the query itself, in every arm.
    untrained = table["task"].map(lambda name: get(name).type.is_untrained)
    table["languages"] = np.where(is_source, "source", "transfer")
    index = ["seed", "task", "half", "languages"]
    means = table[~(is_source & untrained)].pivot_table("value", index, "arm")
    return means.drop(columns=baseline).sub(means[baseline], axis=0)


def _select(gains: pd.DataFrame, rule: str, scored: str) -> pd.DataFrame:
    """The ``arm`` selected by a rule for each seed, half and task; its ``gain`` in transfer."""
    transfer = gains.xs("transfer", level="languages")
    visible = gains.xs("source", level="languages") if rule == "source" else transfer
    tasks = transfer.index.unique("task")
    seeds = gains.index.unique("seed")
    rows = []
    for seed, half in product(seeds, (0, 1)):
        seen = visible
        if scored == CROSS_VALIDATED:
            seen = seen.xs(1 - half, level="half")
            if len(seeds) > 1:
                seen = seen.drop(seed, level="seed")
        by_task = seen.groupby("task").mean()
        on_average = by_task.mean()
        best = by_task.reindex(tasks).fillna(on_average).idxmax(axis=1)
        for task in tasks:
            arm = on_average.idxmax() if rule == "fixed" else best[task]
            rows.append((seed, task, arm, transfer.loc[(seed, task, half), arm]))
    return pd.DataFrame(rows, columns=["seed", "task", "arm", "gain"])
