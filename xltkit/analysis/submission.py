"""Predictions as files that the official scorer of XTREME and XTREME-R reads.

The formats are those of the readers in evaluate.py of google-research/xtreme at commit 838c13b
(:31-71, names of files :237-243, :271-275); the 2020 version reads the same ones. What the scorer
does not read (sentences, questions, contexts) is not written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pandas as pd

from xltkit.data import loading as data
from xltkit.data.readers import PARAPHRASE_LABELS
from xltkit.tasks import get
from xltkit.tasks.suites.benchmarks import Benchmark
from xltkit.tasks.suites.benchmarks import benchmark as find_benchmark

Column = str  # "pred" or "gold"


class Predicted(Protocol):
    """What a submission is made of: ``Results`` of a study."""

    predictions: pd.DataFrame
    study: Any


def _labels(rows: pd.DataFrame, column: Column, language: str) -> str:
    """One label a line."""
    return "".join(f"{label}\n" for label in rows[column])


def _paraphrase(rows: pd.DataFrame, column: Column, language: str) -> str:
    """One label a line: 1 for a paraphrase, 0 for none."""
    return "".join(f"{PARAPHRASE_LABELS.index(label)}\n" for label in rows[column])


def _choices(rows: pd.DataFrame, column: Column, language: str) -> str:
    """One JSON object a line, with the index of the alternative."""
    return "".join(json.dumps({"label": int(label)}) + "\n" for label in rows[column])


def _tags(rows: pd.DataFrame, column: Column, language: str) -> str:
    """One tag a line, and a blank line after each sentence."""
    return "".join("".join(f"{t}\n" for t in tags.split()) + "\n" for tags in rows[column])


def _answers(rows: pd.DataFrame, column: Column, language: str) -> str:
    """Predictions: answer by id. Gold: the questions of SQuAD's JSON, with texts of answers."""
    if column == "pred":
        return json.dumps(dict(zip(rows["example_id"], rows["pred"], strict=True)))
    questions = [
        {"id": key, "answers": [{"text": text} for text in json.loads(texts)]}
        for key, texts in zip(rows["example_id"], rows["gold"], strict=True)
    ]
    return json.dumps({"data": [{"paragraphs": [{"qas": questions}]}]})


def _pairs(rows: pd.DataFrame, column: Column, language: str) -> str:
    """The two ids of a pair in a line; a sentence with nothing in the column is in no pair."""
    pairs = zip(rows["example_id"], rows[column], strict=True)
    return "".join(f"{key}\t{english}\n" for key, english in pairs if english)


def _found(rows: pd.DataFrame, column: Column, language: str) -> str:
    """For each English sentence, by alphabet, the index of a sentence of the other language.

    The published English files are sorted and the others are not (XTREME utils_preprocess.py:
    376-404), so the order comes from the test set. Indices count from 0. The script that should
    write them puts each in brackets, which can never equal a label; that is left out.
    """
    test = data.load(get("tatoeba"), "test", language)
    index = {key: i for i, key in enumerate(test["id"])}
    found = dict(zip(rows["example_id"], rows[column], strict=True))
    if found.keys() != index.keys():
        raise ValueError(
            f"tatoeba in {language!r} has {len(index)} test rows, and the predictions are of "
            f"{len(found)}, not all the same. Run the study again on the data that is there now."
        )
    english = dict(zip(test["id"], test["english"], strict=True))
    order = sorted(index, key=lambda key: english[key].strip())
    return "".join(f"{index[found[key]]}\n" for key in order)


def _rankings(rows: pd.DataFrame, column: Column, language: str) -> str:
    """Ids by mention, JSON lists: predictions best first, gold a list of one.

    The kit scores no split without labels, so this takes the owners' labels of Mewsli-X's test.
    """
    lists = rows[column].map(json.loads)
    return json.dumps(dict(zip(rows["example_id"], lists, strict=True)))


class Format(NamedTuple):
    """How the official scorer wants the predictions of a task."""

    folder: str
    suffix: str
    write: Callable[[pd.DataFrame, Column, str], str]


# LAReQA is not here: the official scorer has no reader for it.
FORMATS: dict[str, Format] = {
    "xnli": Format("xnli", "tsv", _labels),
    "paws-x": Format("pawsx", "tsv", _paraphrase),
    "xcopa": Format("xcopa", "jsonl", _choices),
    "udpos": Format("udpos", "tsv", _tags),
    "panx": Format("panx", "tsv", _tags),
    "xquad": Format("xquad", "json", _answers),
    "mlqa": Format("mlqa", "json", _answers),
    "tydiqa": Format("tydiqa", "json", _answers),
    "bucc": Format("bucc2018", "tsv", _pairs),
    "tatoeba": Format("tatoeba", "tsv", _found),
    "mewsli-x": Format("mewslix", "json", _rankings),
}


def write_submission(
    results: Predicted, folder: str | Path, *, arm: str, seed: int, benchmark: str = "xtreme",
    labels: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Write the predictions of one arm and seed in the official format.

    Files are ``predictions/<official task>/test-<language>.<tsv, json or jsonl>`` in ``folder``.
    Languages that the study did not score get no file; the official scorer stops at a task that
    lacks one, and leaves out a task that has no folder.

    Args:
        results: of a study over tasks of the benchmark, on all examples of their test splits. In
            BUCC ``example_id`` is a sentence of the other language, ``pred`` and ``gold`` the
            English ones or empty; in Mewsli-X ``pred`` is a JSON list, best first.
        folder: new or empty.
        arm: whose predictions.
        seed: of which run.
        benchmark: ``xtreme`` or ``xtreme-r``.
        labels: also write the gold labels, into ``labels/``: with both, the official scorer can
            be run on the spot (``--prediction_folder``, ``--label_folder``, ``--xtreme_version``).

    Returns:
        One row per task: its official folder, the number of files and of examples, and what is
        missing, which is also printed.

    Raises:
        ValueError: if there is nothing to write, or the predictions are not of whole test splits.
        FileExistsError: if the folder holds anything: old files would be scored with the new ones.
    """
    whole, folder = find_benchmark(benchmark), Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; give a new folder.")
    chosen = _chosen(results, whole, arm, seed)
    rows = []
    for task, languages in whole.tasks.items():
        kept = {code: r for code, r in chosen[chosen["task"] == task].groupby("language")}
        there = [code for code in languages if code in kept and task in FORMATS]
        for code in there:
            for column in ("pred", "gold") if labels else ("pred",):
                _write(folder, FORMATS[task], kept[code], column, code)
        rows.append(
            {
                "task": task,
                "folder": FORMATS[task].folder if there else "-",
                "files": len(there),
                "examples": sum(len(kept[code]) for code in there),
                "missing": _missing(task, there, languages),
            }
        )
    table = pd.DataFrame(rows)
    gone = [f"{r['task']}: {r['missing']}" for r in rows if r["missing"]]
    print(
        f"{table['files'].sum()} files of predictions in {folder / 'predictions'}. "
        + (f"Missing, so that {benchmark} has no average: {'; '.join(gone)}." if gone else "")
    )
    return table


def _chosen(results: Predicted, whole: Benchmark, arm: str, seed: int) -> pd.DataFrame:
    """The predictions to write, once it is sure that they are what a submission needs."""
    for cell in results.study.runs:
        phase = cell.stage.phase
        if cell.task in whole.tasks and (phase.split != "test" or phase.examples):
            given = f"{phase.examples or 'all'} examples of the split {phase.split!r}"
            raise ValueError(
                f"{cell.task} was scored on {given}; a submission needs all of 'test'. Run the "
                "study with split='test' and examples=0."
            )
    table = results.predictions
    known = table[["arm", "seed"]].drop_duplicates().itertuples(index=False, name=None)
    table = table[(table["arm"] == arm) & (table["seed"] == seed)]
    if table.empty:
        raise ValueError(f"No predictions of arm {arm!r}, seed {seed!r}; there are {[*known]}.")
    tasks = list(table["task"].unique())
    table = table[table["task"].isin(whole.tasks)]
    if table.empty:
        raise ValueError(
            f"{whole.name} has the tasks {', '.join(whole.tasks)}; the predictions are of "
            f"{', '.join(tasks)}."
        )
    key = ["task", "language", "example_id", "gold"]
    if (twice := table.duplicated(key)).any():
        first = table.loc[twice, key[:3]].iloc[0].to_dict()
        raise ValueError(f"There are two predictions for {first}; was a target given twice?")
    return table


def _write(folder: Path, form: Format, rows: pd.DataFrame, column: Column, language: str) -> None:
    side = {"pred": "predictions", "gold": "labels"}[column]
    path = folder / side / form.folder / f"test-{language}.{form.suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(form.write(rows, column, language), encoding="utf-8", newline="\n")


def _missing(task: str, there: Sequence[str], languages: Sequence[str]) -> str:
    if task not in FORMATS:
        return "has no official format"
    gone = [code for code in languages if code not in there]
    return f"all {len(gone)} languages" if not there else ", ".join(gone)
