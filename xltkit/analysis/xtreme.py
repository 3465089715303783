"""XTREME and XTREME-R: their averages, and prediction files for the official scorer.

Averages and formats are those of evaluate.py in google-research/xtreme at commit 838c13b (:286-319
and :31-71, file names :237-243, :271-275); the 2020 version reads the same files.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from xltkit.data.readers import PARAPHRASE_LABELS
from xltkit.files import is_litter, write
from xltkit.studies.results import Results
from xltkit.tasks import Suite, benchmark, get, load

NUMBERS = ["average", "without_english", "english", "gap"]


def averages(scores: pd.DataFrame, name: str = "xtreme") -> pd.DataFrame:
    """The averages of ``xtreme`` or ``xtreme-r``, from a table like ``Results.scores``.

    A task's score is the unweighted mean over its languages, English included; question answering
    averages exact match and F1. Groups and benchmark are unweighted means over their tasks. A
    number that would need a missing score is NaN, and ``missing`` names the tasks and languages.

    For each arm and seed there is a row per metric if a task has several (``level`` metric), per
    task, per group of tasks, and for the benchmark. ``average`` is the official number;
    ``without_english`` leaves English out of every task; ``gap`` is English minus that (XTREME's
    cross-lingual transfer gap), NaN if a task has no English; ``definition`` says whether the
    number is official, ours, or how it departs from the benchmark's (items or training sets).
    Raises ValueError for an unknown benchmark, no score on its tasks, or duplicate scores.
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
    """How the scores depart from those of the benchmark, as far as the table says."""
    departures = []
    if "split" in scores and not scores["split"].isin(["test", ""]).all():  # "": not known
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


# Each writer takes the predictions in one language and returns the text of the file.
def _lines(line: Callable[[str], Any], rows: pd.DataFrame) -> str:
    return "".join(f"{line(prediction)}\n" for prediction in rows["pred"])


def _tags(rows: pd.DataFrame) -> str:
    """One tag per line, and a blank line after each sentence."""
    return "".join(tags.replace(" ", "\n") + "\n\n" for tags in rows["pred"])


def _by_id(decode: Callable[[str], Any], rows: pd.DataFrame) -> str:
    """Predictions by example id: answers, or entity ids, best first."""
    return json.dumps(dict(zip(rows["example_id"], rows["pred"].map(decode), strict=True)))


def _mined_pairs(rows: pd.DataFrame) -> str:
    """The two ids of a pair per line; a sentence without a prediction is in no pair."""
    pairs = zip(rows["example_id"], rows["pred"], strict=True)
    return "".join(f"{key}\t{english}\n" for key, english in pairs if english)


def _retrieved(rows: pd.DataFrame) -> str:
    """For each English sentence, in alphabetical order, the index of the retrieved sentence.

    The published English files are sorted and the others are not (XTREME utils_preprocess.py:
    376-404), so the order comes from the test set. Indices count from 0, without the brackets of
    the official script, which can never equal a label.
    """
    test = load(get("tatoeba"), "test", rows["language"].iloc[0])
    index = {key: i for i, key in enumerate(test["id"])}
    english = dict(zip(test["id"], test["english"], strict=True))
    retrieved = dict(zip(rows["example_id"], rows["pred"], strict=True))
    order = sorted(index, key=lambda key: english[key].strip())
    return "".join(f"{index[retrieved[key]]}\n" for key in order)


# The folder and the suffix of a task's files, and their writer. LAReQA is missing: the official
# scorer has no reader for it.
FORMATS = {
    "xnli": ("xnli", "tsv", partial(_lines, str)),
    "paws-x": ("pawsx", "tsv", partial(_lines, PARAPHRASE_LABELS.index)),
    "xcopa": ("xcopa", "jsonl", partial(_lines, '{{"label": {}}}'.format)),
    "bucc": ("bucc2018", "tsv", _mined_pairs),
    "tatoeba": ("tatoeba", "tsv", _retrieved),
    "mewsli-x": ("mewslix", "json", partial(_by_id, json.loads)),
}
FORMATS |= {task: (task, "tsv", _tags) for task in ("udpos", "panx")}
FORMATS |= {task: (task, "json", partial(_by_id, str)) for task in ("xquad", "mlqa", "tydiqa")}


def write_submission(results: Results, folder: str | Path, *, arm: str, seed: int) -> pd.DataFrame:
    """Write the predictions of one arm and seed in the official format.

    Files are ``predictions/<official task>/test-<language>.<tsv, json or jsonl>`` in ``folder``,
    for the official scorer's ``--prediction_folder``. Languages that the study did not score get no
    file; the scorer stops at a task that lacks one, and skips a task that has no folder.

    Returns and prints, for each task of the suite, its official folder, the number of files and
    what is missing. Raises ValueError if there is nothing to write or predictions do not cover
    whole test splits, and FileExistsError if the folder is not empty: its files would be scored.
    """
    whole = benchmark(results.study.suite)
    folder = Path(folder)
    if folder.exists() and not all(is_litter(path.name) for path in folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; give a new folder.")
    chosen = f"arm == @arm and seed == @seed and task in {list(whole.tasks)}"
    scores = results.scores.query(chosen)
    if scores.empty or (scores["split"] != "test").any() or scores["examples"].any():
        raise ValueError(
            f"A submission needs tasks of {whole.name} scored with arm {arm!r} and seed {seed!r} "
            "on all test examples: run the study with split='test' and examples=0."
        )
    tables = dict(list(results.predictions.query(chosen).groupby(["task", "language"])))
    rows = []
    for task, languages in whole.tasks.items():
        official, suffix, text = FORMATS.get(task, ("-", "", None))
        written = [code for code in languages if text and (task, code) in tables]
        for code in written:
            path = folder / "predictions" / official / f"test-{code}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, text(tables[task, code]))
        missing = ", ".join(code for code in languages if code not in written)
        if not written:
            missing = f"all {len(languages)} languages" if text else "has no official format"
        rows.append((task, official, len(written), missing))
    table = pd.DataFrame(rows, columns=["task", "folder", "files", "missing"])
    print(f"{table['files'].sum()} files of predictions in {folder / 'predictions'}.")
    gaps = [f"{task}: {missing}" for task, _, _, missing in rows if missing]
    if gaps:
        print(f"Missing, so that {whole.name} has no average: {'; '.join(gaps)}.")
    return table
