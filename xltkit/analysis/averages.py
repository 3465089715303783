"""Benchmark averages: of tasks, of groups of tasks, and of all tasks, with and without English."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from xltkit.tasks import get
from xltkit.tasks.suites.benchmarks import METRICS, Benchmark, benchmark


def averages(
    scores: pd.DataFrame, name: str = "xtreme", by: Sequence[str] = ("arm", "seed")
) -> pd.DataFrame:
    """The averages of a benchmark, from tidy scores such as ``Results.scores``.

    A task's score is the unweighted mean over its languages, English included; for questions the
    mean of exact match and F1. Groups and benchmark are unweighted means over their tasks, so
    that a task with few languages counts as much as one with many (XTREME evaluate.py:286-319).

    Missing is missing: a number that would need a missing score is NaN, and ``missing`` names the
    tasks and languages. Scores of other tasks and languages are not used.

    Args:
        scores: columns task, language, metric, value (0 to 100) and those of ``by``.
        name: ``xtreme`` or ``xtreme-r``.
        by: columns to keep apart.

    Returns:
        For each group of ``by``, a row per metric of a task with several (``level`` metric), per
        task, per group of tasks, and for the benchmark. ``average`` is the official number;
        ``without_english`` leaves English out of every task; ``gap`` is English minus that
        (XTREME's cross-lingual transfer gap), NaN where a task has no English; ``definition``
        says whose the number is, or in what it departs: scores of a part of the items, and of other
        training sets, are not the benchmark's.

    Raises:
        ValueError: for an unknown benchmark, no score of its tasks, or two of the same thing.
    """
    whole = benchmark(name)
    used = scores[scores["task"].isin(whole.tasks)]
    if used.empty:
        raise ValueError(f"There is no score of a task of {name}: {', '.join(whole.tasks)}.")
    tables = []
    for key, group in used.groupby(list(by), observed=True, sort=False):
        table = _averages(group.set_index(["task", "metric", "language"])["value"], whole)
        if departures := _departures(group):
            table["definition"] = f"not the benchmark's: {', '.join(departures)}"
        about = pd.DataFrame([key] * len(table), columns=list(by))
        tables.append(pd.concat([about, table], axis=1))
    return pd.concat(tables, ignore_index=True)


def _departures(scores: pd.DataFrame) -> list[str]:
    """In what the scores are not those that the benchmark asks for, as far as the table says."""
    departures = []
    if "split" in scores and (scores["split"] != "test").any():
        departures.append("not of the test split")
    if "examples" in scores and (scores["examples"] > 0).any():
        departures.append("of a part of the test items")
    if "train_set" in scores:
        trained = scores[scores["train_set"] != "-"].drop_duplicates("task", keep="last")
        for task, train_set in zip(trained["task"], trained["train_set"], strict=True):
            if train_set != (get(task).train_on or task):
                departures.append(f"{task} trained on {train_set}")
    return departures


def _averages(values: pd.Series, whole: Benchmark) -> pd.DataFrame:
    """The table of one group of ``by``; ``values`` are indexed by task, metric and language."""
    rows = []
    tasks = {}
    gaps = {}
    for task, languages in whole.tasks.items():
        wanted = pd.MultiIndex.from_product([[task], METRICS[task], languages])
        scores = values.reindex(wanted).droplevel(0).unstack(0)[list(METRICS[task])]
        by_metric = _numbers(scores)
        if len(METRICS[task]) > 1:
            for metric in METRICS[task]:
                gap = _missing(scores[[metric]])
                rows.append(("metric", task, metric, *by_metric[metric], gap))
        tasks[task] = by_metric.mean(axis=1, skipna=False)
        gaps[task] = _missing(scores)
        rows.append(("task", task, " and ".join(METRICS[task]), *tasks[task], gaps[task]))
    groups = [("group", *group) for group in whole.groups.items()]
    for level, name, members in [*groups, ("benchmark", whole.name, whole.tasks)]:
        numbers = pd.DataFrame(tasks)[list(members)].mean(axis=1, skipna=False)
        missing = "; ".join(f"{task}: {gaps[task]}" for task in members if gaps[task])
        rows.append((level, name, "", *numbers, missing))
    columns = ["level", "name", "metric", *by_metric.index, "missing"]
    table = pd.DataFrame(rows, columns=columns).assign(definition="official")
    if whole.is_own_average:
        ours = f"ours: the mean over its {len(whole.tasks)} tasks; the official script has none"
        table.loc[len(table) - 1, "definition"] = ours
    table.insert(0, "benchmark", whole.name)
    return table


def _numbers(scores: pd.DataFrame) -> pd.DataFrame:
    """The averages of scores (languages x metrics), a row each; NaN where a score is missing."""
    english = scores.reindex(["en"]).mean()
    others = scores.drop(index="en", errors="ignore").mean(skipna=False)
    numbers = {"average": scores.mean(skipna=False), "without_english": others}
    return pd.DataFrame(numbers | {"english": english, "gap": english - others}).T


def _missing(scores: pd.DataFrame) -> str:
    """The languages, rows of the table, that lack a metric."""
    languages = scores.index[scores.isna().any(axis=1)]
    if len(languages) == len(scores):
        return f"all {len(languages)} languages"
    return ", ".join(languages)
