"""Predictions as files that the official scorer of XTREME and XTREME-R reads.

The formats are those of the readers in evaluate.py of google-research/xtreme at commit 838c13b
(:31-71, names of files :237-243, :271-275); the 2020 version reads the same ones. What the scorer
does not read (sentences, questions, contexts) is not written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from xltkit.data.readers import PARAPHRASE_LABELS
from xltkit.studies.results import Results
from xltkit.tasks import get, load
from xltkit.tasks.suites.benchmarks import benchmark as find_benchmark

# Every writer takes the predictions of one language, the column to write ("pred" or "gold") and the
# language, and returns the text of the file.


def _lines(line: Callable[[str], Any], rows: pd.DataFrame, column: str, language: str) -> str:
    """One prediction after another."""
    return "".join(f"{line(value)}\n" for value in rows[column])


def _tags(rows: pd.DataFrame, column: str, language: str) -> str:
    """One tag per line, and a blank line after each sentence."""
    return "".join(tags.replace(" ", "\n") + "\n\n" for tags in rows[column])


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
    english = dict(zip(test["id"], test["english"], strict=True))
    retrieved = dict(zip(rows["example_id"], rows[column], strict=True))
    order = sorted(index, key=lambda key: english[key].strip())
    return "".join(f"{index[retrieved[key]]}\n" for key in order)


def _rankings(rows: pd.DataFrame, column: str, language: str) -> str:
    """Ids by mention, JSON lists: predictions best first, gold a list of one."""
    lists = rows[column].map(json.loads)
    return json.dumps(dict(zip(rows["example_id"], lists, strict=True)))


# The folder and the suffix of a task's files, and who writes them. LAReQA is not here: the official
# scorer has no reader for it.
FORMATS = {
    "xnli": ("xnli", "tsv", partial(_lines, str)),
    "paws-x": ("pawsx", "tsv", partial(_lines, PARAPHRASE_LABELS.index)),
    "xcopa": ("xcopa", "jsonl", partial(_lines, '{{"label": {}}}'.format)),
    "udpos": ("udpos", "tsv", _tags),
    "panx": ("panx", "tsv", _tags),
    "xquad": ("xquad", "json", _answers),
    "mlqa": ("mlqa", "json", _answers),
    "tydiqa": ("tydiqa", "json", _answers),
    "bucc": ("bucc2018", "tsv", _mined_pairs),
    "tatoeba": ("tatoeba", "tsv", _retrieved),
    "mewsli-x": ("mewslix", "json", _rankings),
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
    lacks one, and leaves out a task that has no folder. With ``labels`` the gold labels are written
    into ``labels/``, too: then the official scorer can be run on the spot
    (``--prediction_folder``, ``--label_folder``, ``--xtreme_version``).

    Returns:
        One row per task of the ``benchmark`` (``xtreme`` or ``xtreme-r``): its official folder, the
        number of files, and what is missing, which is also printed.

    Raises:
        ValueError: if there is nothing to write, or the predictions are not of whole test splits.
        FileExistsError: if the folder holds anything: old files would be scored with the new ones.
    """
    whole = find_benchmark(benchmark)
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; give a new folder.")
    chosen = f"arm == @arm and seed == @seed and task in {list(whole.tasks)}"
    scores = results.scores.query(chosen)
    if scores.empty or (scores["split"] != "test").any() or scores["examples"].any():
        raise ValueError(
            f"A submission needs tasks of {benchmark} scored with arm {arm!r} and seed {seed!r} on "
            "all test examples: run the study with split='test' and examples=0."
        )
    columns = {"predictions": "pred"} | ({"labels": "gold"} if labels else {})
    tables = dict(list(results.predictions.query(chosen).groupby(["task", "language"])))
    rows = []
    for task, languages in whole.tasks.items():
        official, suffix, write = FORMATS.get(task, ("-", "", None))
        written = [code for code in languages if write and (task, code) in tables]
        for code in written:
            for part, column in columns.items():
                path = folder / part / official / f"test-{code}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                text = write(tables[task, code], column, code)
                path.write_text(text, encoding="utf-8", newline="\n")
        missing = ", ".join(code for code in languages if code not in written)
        if not written:
            missing = f"all {len(languages)} languages" if write else "has no official format"
        rows.append((task, official, len(written), missing))
    table = pd.DataFrame(rows, columns=["task", "folder", "files", "missing"])
    print(f"{table['files'].sum()} files of predictions in {folder / 'predictions'}.")
    gaps = [f"{task}: {missing}" for task, _, _, missing in rows if missing]
    if gaps:
        print(f"Missing, so that {benchmark} has no average: {'; '.join(gaps)}.")
    return table
