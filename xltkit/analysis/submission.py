"""Predictions as files that the official scorer of XTREME and XTREME-R reads.

The formats are those of the readers in evaluate.py of google-research/xtreme at commit 838c13b
(:31-71, names of files :237-243, :271-275); the 2020 version reads the same ones. What the scorer
does not read (sentences, questions, contexts) is not written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from xltkit.data.readers import PARAPHRASE_LABELS
from xltkit.studies.results import Results
from xltkit.tasks import get, load
from xltkit.tasks.suites.benchmarks import Benchmark
from xltkit.tasks.suites.benchmarks import benchmark as find_benchmark

# Every writer takes the predictions of one language, the column to write ("pred" or "gold") and the
# language, and returns the text of the file.


def _labels(rows: pd.DataFrame, column: str, language: str) -> str:
    """One label per line."""
    return "".join(f"{label}\n" for label in rows[column])


def _paraphrase(rows: pd.DataFrame, column: str, language: str) -> str:
    """One label per line: 1 for a paraphrase, 0 for none."""
    return "".join(f"{PARAPHRASE_LABELS.index(label)}\n" for label in rows[column])


def _choices(rows: pd.DataFrame, column: str, language: str) -> str:
    """One JSON object per line, with the index of the alternative."""
    return "".join(json.dumps({"label": int(label)}) + "\n" for label in rows[column])


def _tags(rows: pd.DataFrame, column: str, language: str) -> str:
    """One tag per line, and a blank line after each sentence."""
    sentences = [tags.split() for tags in rows[column]]
    return "".join("\n".join([*tags, "", ""]) for tags in sentences)


def _answers(rows: pd.DataFrame, column: str, language: str) -> str:
    """Predictions: answer by id. Gold: the questions of SQuAD's JSON, with texts of answers."""
    if column == "pred":
        return json.dumps(dict(zip(rows["example_id"], rows["pred"], strict=True)))
    questions = []
    for key, texts in zip(rows["example_id"], rows["gold"], strict=True):
        answers = [{"text": text} for text in json.loads(texts)]
        questions.append({"id": key, "answers": answers})
    return json.dumps({"data": [{"paragraphs": [{"qas": questions}]}]})


def _mined_pairs(rows: pd.DataFrame, column: str, language: str) -> str:
    """The two ids of a pair per line; a sentence with nothing in the column is in no pair."""
    pairs = zip(rows["example_id"], rows[column], strict=True)
    return "".join(f"{key}\t{english}\n" for key, english in pairs if english)


def _retrieved(rows: pd.DataFrame, column: str, language: str) -> str:
    """For each English sentence, by alphabet, the index of a sentence of the other language.

    The published English files are sorted and the others are not (XTREME utils_preprocess.py:
    376-404), so the order comes from the test set. Indices count from 0. The script that should
    write them puts each in brackets, which can never equal a label; that is left out.
    """
    test = load(get("tatoeba"), "test", language)
    index = {key: i for i, key in enumerate(test["id"])}
    retrieved = dict(zip(rows["example_id"], rows[column], strict=True))
    if retrieved.keys() != index.keys():
        raise ValueError(
            f"tatoeba in {language!r} has {len(index)} test rows, and the predictions are of "
            f"{len(retrieved)}, not all the same. Run the study again on the present data."
        )
    english = dict(zip(test["id"], test["english"], strict=True))
    order = sorted(index, key=lambda key: english[key].strip())
    return "".join(f"{index[retrieved[key]]}\n" for key in order)


def _rankings(rows: pd.DataFrame, column: str, language: str) -> str:
    """Ids by mention, JSON lists: predictions best first, gold a list of one.

    The kit scores no split without labels, so this takes the owners' labels of Mewsli-X's test.
    """
    lists = rows[column].map(json.loads)
    return json.dumps(dict(zip(rows["example_id"], lists, strict=True)))


class Format(NamedTuple):
    """How the official scorer wants the predictions of a task."""

    folder: str
    suffix: str
    write: Callable[[pd.DataFrame, str, str], str]


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
    "bucc": Format("bucc2018", "tsv", _mined_pairs),
    "tatoeba": Format("tatoeba", "tsv", _retrieved),
    "mewsli-x": Format("mewslix", "json", _rankings),
}


def write_submission(
    results: Results,
    folder: str | Path,
    *,
    arm: str,
    seed: int,
    benchmark: str = "xtreme",
    labels: bool = False,
) -> pd.DataFrame:
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
    whole = find_benchmark(benchmark)
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; give a new folder.")
    predictions = _predictions(results, whole, arm, seed)
    rows = []
    for task, languages in whole.tasks.items():
        tables = dict(list(predictions[predictions["task"] == task].groupby("language")))
        written = [code for code in languages if code in tables and task in FORMATS]
        for code in written:
            _write(folder / "predictions", task, tables[code], "pred", code)
            if labels:
                _write(folder / "labels", task, tables[code], "gold", code)
        absent = [code for code in languages if code not in written]
        missing = ", ".join(absent) if written else f"all {len(absent)} languages"
        row = {
            "task": task,
            "folder": FORMATS[task].folder if written else "-",
            "files": len(written),
            "examples": sum(len(tables[code]) for code in written),
            "missing": missing if task in FORMATS else "has no official format",
        }
        rows.append(row)
    table = pd.DataFrame(rows)
    print(f"{table['files'].sum()} files of predictions in {folder / 'predictions'}.")
    gaps = [f"{row['task']}: {row['missing']}" for row in rows if row["missing"]]
    if gaps:
        print(f"Missing, so that {benchmark} has no average: {'; '.join(gaps)}.")
    return table


def _predictions(results: Results, whole: Benchmark, arm: str, seed: int) -> pd.DataFrame:
    """The predictions to write, once it is sure that they are what a submission needs."""
    for run in results.study.runs:
        phase = run.stage.phase
        if run.task in whole.tasks and (phase.split != "test" or phase.examples):
            raise ValueError(
                f"{run.task} was scored on {phase.examples or 'all'} examples of the split "
                f"{phase.split!r}; a submission needs all of 'test'. Run the study with "
                "split='test' and examples=0."
            )
    table = results.predictions
    chosen = table[(table["arm"] == arm) & (table["seed"] == seed)]
    if chosen.empty:
        pairs = table[["arm", "seed"]].drop_duplicates().itertuples(index=False, name=None)
        raise ValueError(f"No predictions of arm {arm!r}, seed {seed!r}; there are {[*pairs]}.")
    table = chosen[chosen["task"].isin(whole.tasks)]
    if table.empty:
        raise ValueError(
            f"{whole.name} has the tasks {', '.join(whole.tasks)}; the predictions are of "
            f"{', '.join(chosen['task'].unique())}."
        )
    repeated = table.duplicated(["task", "language", "example_id", "gold"])
    if repeated.any():
        item = table.loc[repeated, ["task", "language", "example_id"]].iloc[0].to_dict()
        raise ValueError(f"There are two predictions for {item}; was a target given twice?")
    return table


def _write(folder: Path, task: str, rows: pd.DataFrame, column: str, language: str) -> None:
    form = FORMATS[task]
    path = folder / form.folder / f"test-{language}.{form.suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(form.write(rows, column, language), encoding="utf-8", newline="\n")
