"""Benchmark averages: of tasks, of groups of tasks, and of all tasks, with and without English."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from xltkit.tasks import get
from xltkit.tasks.suites.benchmarks import METRICS, Benchmark, benchmark

_NUMBERS = ["average", "without_english", "english", "gap"]
_OURS = "ours: the mean over its {} tasks; the official script can compute none"


def averages(
    scores: pd.DataFrame, name: str = "xtreme", by: Sequence[str] = ("arm", "seed")
) -> pd.DataFrame:
    """The averages of a benchmark, from tidy scores such as ``Results.scores``.

    A task's score is the unweighted mean over its languages, English included; for questions the
    mean of exact match and F1. Groups and benchmark are unweighted means over their tasks, so
    that a task with few languages counts as much as one with many (XTREME evaluate.py:286-319).

    Missing is missing: a number that would need a score that is not there is NaN, and ``missing``
    names the tasks and languages. Scores of other tasks and languages are not used.

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
        ValueError: for an unknown benchmark, a column that is not there, scores of another split
            than test, or two scores of the same thing.
    """
    whole = benchmark(name)
    by = [by] if isinstance(by, str) else list(by)
    keys = [*by, "task", "language", "metric"]
    _check(scores, keys)
    wanted = scores[scores["task"].isin(whole.tasks)]
    groups = wanted.groupby(by, observed=True, sort=False) if by else [((), wanted)]
    tables = []
    for key, group in groups:
        values = group.set_index(["task", "metric", "language"])["value"]
        table = _table(values, whole)
        if told := _departures(group):
            table["definition"] = told
        for at, (column, value) in enumerate(zip(by, key, strict=True)):
            table.insert(at, column, value)
        tables.append(table)
    if not tables:
        raise ValueError(
            f"There is no score of a task of {name}: it has {', '.join(whole.tasks)}; the table "
            f"has {', '.join(map(str, scores['task'].unique())) or 'no rows'}."
        )
    return pd.concat(tables, ignore_index=True)


def _departures(scores: pd.DataFrame) -> str:
    """In what the scores are not those that the benchmark asks for, as far as the table says."""
    told = []
    if "examples" in scores and (scores["examples"] > 0).any():
        told.append("of a part of the test items")
    if "train_set" in scores:
        usual = {t: get(t).train_on or t for t in scores["task"].unique()}
        other = scores[~scores["train_set"].isin(["-"])]
        trained = dict(zip(other["task"], other["train_set"], strict=True))
        told += [f"{t} trained on {s}" for t, s in trained.items() if s != usual[t]]
    return "not the benchmark's: " + ", ".join(told) if told else ""


def _check(scores: pd.DataFrame, keys: list[str]) -> None:
    if absent := [c for c in [*keys, "value"] if c not in scores.columns]:
        raise ValueError(f"No column {absent} in the scores; they have {list(scores.columns)}.")
    if "split" in scores and (other := sorted(set(scores["split"]) - {"test"})):
        raise ValueError(f"The scores are of {other}; a benchmark's average is of split 'test'.")
    if (twice := scores.duplicated(keys)).any():
        first = scores.loc[twice, keys].iloc[0].to_dict()
        raise ValueError(
            f"There are two scores of {first}. Keep one, or name the column that tells them apart "
            "in by=[...]."
        )


def _table(values: pd.Series, whole: Benchmark) -> pd.DataFrame:
    rows, tasks, missing = [], {}, {}
    for task, languages in whole.tasks.items():
        metrics = METRICS[task]
        index = pd.MultiIndex.from_product([[task], metrics, languages])
        table = values.reindex(index).droplevel(0).unstack(0)[list(metrics)].astype(float)
        by_metric = pd.DataFrame({metric: _numbers(table[metric]) for metric in metrics})
        for metric in metrics if len(metrics) > 1 else ():
            gone = _missing(table[[metric]])
            rows.append(_row("metric", task, metric, by_metric[metric], gone))
        tasks[task], missing[task] = by_metric.mean(axis=1, skipna=False), _missing(table)
        rows.append(_row("task", task, " and ".join(metrics), tasks[task], missing[task]))
    for level, parts in (("group", whole.groups), ("benchmark", {whole.name: whole.tasks})):
        for part, names in parts.items():
            mean = pd.DataFrame({task: tasks[task] for task in names}).mean(axis=1, skipna=False)
            gone = "; ".join(f"{task}: {missing[task]}" for task in names if missing[task])
            rows.append(_row(level, part, "", mean, gone))
    if whole.ours:
        rows[-1]["definition"] = _OURS.format(len(whole.tasks))
    out = pd.DataFrame(rows)
    out.insert(0, "benchmark", whole.name)
    return out


def _row(level: str, name: str, metric: str, numbers: pd.Series, missing: str) -> dict:
    about = {"level": level, "name": name, "metric": metric}
    return about | numbers.to_dict() | {"missing": missing, "definition": "official"}


def _numbers(scores: pd.Series) -> pd.Series:
    """Of the scores of one metric by language, NaN where missing."""
    english = scores.get("en", float("nan"))
    others = scores.drop("en", errors="ignore").mean(skipna=False)
    mean = scores.mean(skipna=False)
    return pd.Series([mean, others, english, english - others], index=_NUMBERS)


def _missing(table: pd.DataFrame) -> str:
    """The languages, rows of the table, that lack a metric."""
    gone = table.index[table.isna().any(axis=1)]
    return f"all {len(gone)} languages" if len(gone) == len(table) else ", ".join(gone)
