"""Benchmark averages: of tasks, of groups of tasks, and of all tasks, with and without English."""

from __future__ import annotations

import pandas as pd

from xltkit.tasks import Suite, benchmark, get

NUMBERS = ["average", "without_english", "english", "gap"]


def averages(scores: pd.DataFrame, name: str = "xtreme") -> pd.DataFrame:
    """The averages of the benchmark ``xtreme`` or ``xtreme-r``, from a table as ``Results.scores``.

    A task's score is the unweighted mean over its languages, English included; for questions the
    mean of exact match and F1. Groups and benchmark are unweighted means over their tasks, so that
    a task with few languages counts as much as one with many (XTREME evaluate.py:286-319). Missing
    is missing: a number that would need a missing score is NaN, and ``missing`` names the tasks and
    languages. Scores of other tasks and languages are not used.

    Returns:
        For each arm and seed, a row per metric of a task with several (``level`` metric), per task,
        per group of tasks, and for the benchmark. ``average`` is the official number;
        ``without_english`` leaves English out of every task; ``gap`` is English minus that
        (XTREME's cross-lingual transfer gap), NaN where a task has no English; ``definition`` says
        whose the number is, or in what it departs: scores of a part of the items, and of other
        training sets, are not the benchmark's.

    Raises ValueError for an unknown benchmark, no score of its tasks, or two of the same thing.
    """
    whole = benchmark(name)
    used = scores[scores["task"].isin(whole.tasks)]
    if used.empty:
        raise ValueError(f"There is no score of a task of {name}: {', '.join(whole.tasks)}.")
    tables = []
    for (arm, seed), group in used.groupby(["arm", "seed"], observed=True, sort=False):
        table = _averages(group.set_index(["task", "metric", "language"])["value"], whole)
        departures = _departures(group)
        if departures:
            table["definition"] = f"not the benchmark's: {', '.join(departures)}"
        tables.append(table.assign(arm=arm, seed=seed))
    table = pd.concat(tables, ignore_index=True)
    return table[["arm", "seed", *table.columns[:-2]]]


def _departures(scores: pd.DataFrame) -> list[str]:
    """In what the scores are not those that the benchmark asks for, as far as the table says."""
    departures = []
    if "split" in scores and (scores["split"] != "test").any():
        departures.append("not of the test split")
    if "examples" in scores and (scores["examples"] > 0).any():
        departures.append("of a part of the test items")
    if "train_set" in scores:
        trained = scores.loc[scores["train_set"] != "-", ["task", "train_set"]]
        for task, train_set in dict(trained.to_numpy()).items():
            if train_set != (get(task).train_on or task):
                departures.append(f"{task} trained on {train_set}")
    return departures


def _averages(values: pd.Series, whole: Suite) -> pd.DataFrame:
    """The table of one arm and seed; ``values`` are indexed by task, metric and language."""
    rows = []
    numbers = pd.DataFrame(index=NUMBERS)  # of each task
    missing = {}  # the languages of each task that lack a metric
    for task, languages in whole.tasks.items():
        metrics = list(whole.metrics[task])
        wanted = pd.MultiIndex.from_product([[task], metrics, languages])
        scores = values.reindex(wanted).droplevel(0).unstack(0)[metrics]
        english = scores.reindex(["en"]).mean()
        others = scores.drop(index="en", errors="ignore").mean(skipna=False)
        columns = [scores.mean(skipna=False), others, english, english - others]
        by_metric = pd.concat(columns, axis=1, keys=NUMBERS).T
        for metric in metrics if len(metrics) > 1 else ():
            rows.append(("metric", task, metric, *by_metric[metric], _missing(scores[[metric]])))
        numbers[task] = by_metric.mean(axis=1, skipna=False)
        missing[task] = _missing(scores)
        rows.append(("task", task, " and ".join(metrics), *numbers[task], missing[task]))
    groups = [("group", *group) for group in whole.groups.items()]
    for level, name, members in [*groups, ("benchmark", whole.name, whole.tasks)]:
        means = numbers[list(members)].mean(axis=1, skipna=False)
        gaps = "; ".join(f"{task}: {missing[task]}" for task in members if missing[task])
        rows.append((level, name, "", *means, gaps))
    columns = ["level", "name", "metric", *NUMBERS, "missing"]
    table = pd.DataFrame(rows, columns=columns).assign(definition="official")
    if whole.is_own_average:
        ours = f"ours: the mean over its {len(whole.tasks)} tasks; the official script has none"
        table.loc[len(table) - 1, "definition"] = ours
    table.insert(0, "benchmark", whole.name)
    return table


def _missing(scores: pd.DataFrame) -> str:
    """The languages, rows of the table, that lack a metric."""
    languages = scores.index[scores.isna().any(axis=1)]
    if len(languages) == len(scores):
        return f"all {len(languages)} languages"
    return ", ".join(languages)
