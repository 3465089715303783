"""Predictions as files that the official scorer of XTREME and XTREME-R reads.

The formats are those of the readers in evaluate.py of google-research/xtreme at commit 838c13b
(:31-71, names of files :237-243, :271-275); the 2020 version reads the same ones.
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
from xltkit.tasks import benchmark, get, load

# Every writer takes the predictions of one language, and returns the text of the file.


def _lines(line: Callable[[str], Any], rows: pd.DataFrame) -> str:
    """One prediction after another."""
    return "".join(f"{line(prediction)}\n" for prediction in rows["pred"])


def _tags(rows: pd.DataFrame) -> str:
    """One tag per line, and a blank line after each sentence."""
    return "".join(tags.replace(" ", "\n") + "\n\n" for tags in rows["pred"])


def _by_id(decode: Callable[[str], Any], rows: pd.DataFrame) -> str:
    """Predictions by the id of their example: answers, or ids of entities, best first."""
    return json.dumps(dict(zip(rows["example_id"], rows["pred"].map(decode), strict=True)))


def _mined_pairs(rows: pd.DataFrame) -> str:
    """The two ids of a pair per line; a sentence without a prediction is in no pair."""
    pairs = zip(rows["example_id"], rows["pred"], strict=True)
    return "".join(f"{key}\t{english}\n" for key, english in pairs if english)


def _retrieved(rows: pd.DataFrame) -> str:
    """For each English sentence, by alphabet, the index of a sentence of the other language.

    The published English files are sorted and the others are not (XTREME utils_preprocess.py:
    376-404), so the order comes from the test set. Indices count from 0. The script that should
    write them puts each in brackets, which can never equal a label; that is left out.
    """
    test = load(get("tatoeba"), "test", rows["language"].iloc[0])
    index = {key: i for i, key in enumerate(test["id"])}
    english = dict(zip(test["id"], test["english"], strict=True))
    retrieved = dict(zip(rows["example_id"], rows["pred"], strict=True))
    order = sorted(index, key=lambda key: english[key].strip())
    return "".join(f"{index[retrieved[key]]}\n" for key in order)


# The folder and the suffix of a task's files, and who writes them. LAReQA is not here: the official
# scorer has no reader for it.
FORMATS = {
    "xnli": ("xnli", "tsv", partial(_lines, str)),
    "paws-x": ("pawsx", "tsv", partial(_lines, PARAPHRASE_LABELS.index)),
    "xcopa": ("xcopa", "jsonl", partial(_lines, '{{"label": {}}}'.format)),
    "udpos": ("udpos", "tsv", _tags),
    "panx": ("panx", "tsv", _tags),
    "xquad": ("xquad", "json", partial(_by_id, str)),
    "mlqa": ("mlqa", "json", partial(_by_id, str)),
    "tydiqa": ("tydiqa", "json", partial(_by_id, str)),
    "bucc": ("bucc2018", "tsv", _mined_pairs),
    "tatoeba": ("tatoeba", "tsv", _retrieved),
    "mewsli-x": ("mewslix", "json", partial(_by_id, json.loads)),
}


def write_submission(results: Results, folder: str | Path, *, arm: str, seed: int) -> pd.DataFrame:
    """Write the predictions of one arm and seed in the official format.

    Files are ``predictions/<official task>/test-<language>.<tsv, json or jsonl>`` in ``folder``,
    for the official scorer's ``--prediction_folder``. Languages that the study did not score get no
    file; the scorer stops at a task that lacks one, and leaves out a task that has no folder.

    Returns:
        One row per task of the suite (``xtreme`` or ``xtreme-r``): its official folder, the number
        of files, and what is missing, which is also printed.

    Raises ValueError if there is nothing to write, or the predictions are not of whole test splits.
    FileExistsError if the folder holds anything: old files would be scored with the new ones.
    """
    whole = benchmark(results.study.suite)
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
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
        official, suffix, write = FORMATS.get(task, ("-", "", None))
        written = [code for code in languages if write and (task, code) in tables]
        for code in written:
            path = folder / "predictions" / official / f"test-{code}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write(tables[task, code]), encoding="utf-8", newline="\n")
        missing = ", ".join(code for code in languages if code not in written)
        if not written:
            missing = f"all {len(languages)} languages" if write else "has no official format"
        rows.append((task, official, len(written), missing))
    table = pd.DataFrame(rows, columns=["task", "folder", "files", "missing"])
    print(f"{table['files'].sum()} files of predictions in {folder / 'predictions'}.")
    gaps = [f"{task}: {missing}" for task, _, _, missing in rows if missing]
    if gaps:
        print(f"Missing, so that {whole.name} has no average: {'; '.join(gaps)}.")
    return table
