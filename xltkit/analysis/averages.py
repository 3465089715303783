"""Benchmark averages: of tasks, of groups of tasks, and of all tasks, with and without English."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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
        ValueError: for an unknown benchmark, a missing column, scores of another split than test,
            or two scores of the same thing.
    """
    whole = benchmark(name)
    by = list(by)
    _check(scores, [*by, "task", "language", "metric"])
    used = scores[scores["task"].isin(whole.tasks)]
    if used.empty:
        raise ValueError(
            f"There is no score of a task of {name}: it has {', '.join(whole.tasks)}; the table "
            f"has {', '.join(map(str, scores['task'].unique())) or 'no rows'}."
        )
    tables = []
    for key, group in used.groupby(by, observed=True, sort=False):
        table = _averages(group.set_index(["task", "metric", "language"])["value"], whole)
        if departures := _departures(group):
            table["definition"] = f"not the benchmark's: {', '.join(departures)}"
        for place, (column, value) in enumerate(zip(by, key, strict=True)):
            table.insert(place, column, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _check(scores: pd.DataFrame, keys: list[str]) -> None:
    if missing := [name for name in [*keys, "value"] if name not in scores.columns]:
        raise ValueError(f"No column {missing} in the scores; they have {list(scores.columns)}.")
    if "split" in scores and (scores["split"] != "test").any():
        splits = sorted(set(scores["split"]) - {"test"})
        raise ValueError(f"The scores are of {splits}; a benchmark's average is of split 'test'.")
    repeated = scores.duplicated(keys)
    if repeated.any():
        raise ValueError(
            f"There are two scores of {scores.loc[repeated, keys].iloc[0].to_dict()}. Keep one, or "
            "name the column that tells them apart in by=[...]."
        )


def _departures(scores: pd.DataFrame) -> list[str]:
    """In what the scores are not those that the benchmark asks for, as far as the table says."""
    departures = []
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
    missing = {}
    for task, languages in whole.tasks.items():
        metrics = METRICS[task]
        index = pd.MultiIndex.from_product([[task], metrics, languages])
        scores = values.reindex(index).droplevel(0).unstack(0)[list(metrics)].astype(float)
        by_metric = scores.apply(_numbers)
        if len(metrics) > 1:
            for name in metrics:
                rows.append(_row("metric", task, name, by_metric[name], _missing(scores[[name]])))
        tasks[task] = by_metric.mean(axis=1, skipna=False)
        missing[task] = _missing(scores)
        rows.append(_row("task", task, " and ".join(metrics), tasks[task], missing[task]))
    groups = [("group", name, members) for name, members in whole.groups.items()]
    for level, name, members in [*groups, ("benchmark", whole.name, whole.tasks)]:
        numbers = pd.DataFrame(tasks)[list(members)].mean(axis=1, skipna=False)
        gaps = [f"{task}: {missing[task]}" for task in members if missing[task]]
        rows.append(_row(level, name, "", numbers, "; ".join(gaps)))
    if whole.is_own_average:
        mean = f"the mean over its {len(whole.tasks)} tasks"
        rows[-1]["definition"] = f"ours: {mean}; the official script can compute none"
    table = pd.DataFrame(rows)
    table.insert(0, "benchmark", whole.name)
    return table


def _row(level: str, name: str, metric: str, numbers: pd.Series, missing: str) -> dict:
    about = {"level": level, "name": name, "metric": metric}
    return about | numbers.to_dict() | {"missing": missing, "definition": "official"}


def _numbers(scores: pd.Series) -> pd.Series:
    """The averages of the scores of one metric by language, NaN where one is missing."""
    english = scores.get("en", np.nan)
    others = scores.drop("en", errors="ignore").mean(skipna=False)
    numbers = {"average": scores.mean(skipna=False), "without_english": others}
    return pd.Series(numbers | {"english": english, "gap": english - others})


def _missing(scores: pd.DataFrame) -> str:
    """The languages, rows of the table, that lack a metric."""
    languages = scores.index[scores.isna().any(axis=1)]
    if len(languages) == len(scores):
        return f"all {len(languages)} languages"
    return ", ".join(languages)
