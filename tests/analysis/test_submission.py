"""Submissions: a miniature of every task in all its languages, its files, and its scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from xltkit.analysis import submission
from xltkit.analysis.averages import averages
from xltkit.analysis.submission import FORMATS, write_submission
from xltkit.tasks import get
from xltkit.tasks.suites.benchmarks import BENCHMARKS

RIGHT_NLI = [("entailment", "entailment"), ("neutral", "neutral")]
# Of every task, the (gold, prediction) of each example, and what English has instead if anything.
MINIATURE = {
    "xnli": ([("entailment", "entailment"), ("neutral", "contradiction")], RIGHT_NLI),
    "paws-x": ([("paraphrase", "paraphrase"), ("different", "different"),
                ("different", "paraphrase"), ("different", "different")], None),
    "xcopa": ([("0", "1"), ("1", "1"), ("0", "0")], None),
    "udpos": ([("NOUN NOUN VERB DET NOUN PUNCT", "NOUN VERB VERB DET NOUN PUNCT")],
              [("CCONJ SCONJ NOUN", "SCONJ CCONJ NOUN")]),
    "panx": ([("B-PER I-PER O B-LOC", "B-PER B-PER O B-LOC")],
             [("B-PER I-PER O B-LOC", "B-PER I-PER O I-LOC"), ("O", "O")]),
    "xquad": ([(["the cat sat"], "a cat"), (["dog", "the cat"], "Cat!")], None),
    "mlqa": ([(["北京大学"], "北京")], None),
    "tydiqa": ([(["der Hund"], "Hund")], None),
    "bucc": ([("en-1", "en-1"), ("en-2", "en-4"), ("", "en-3"), ("", "")], None),
    # The English sentences below say which is result where; three of four are right.
    "tatoeba": ([(0, 0), (1, 1), (2, 2), (3, 0)], None),
    "lareqa": ([("right", "right")], None),
    "mewsli-x": ([("Q1", ["Q9", "Q1"]), ("Q2", ["Q2"]), ("Q3", [])], None),
}  # fmt: skip
ENGLISH = ["Zebras run.", "a cat", "Birds sing. ", "a cat"]  # sorted: 2, 0, 1, 3
# By hand: what XTREME makes of it. UDPOS of English is a third; PAN-X of English is all right.
EXPECTED = {
    "xnli": (14 * 50 + 100) / 15,
    "paws-x": 75,
    "udpos": (32 * 60 + 100 / 3) / 33,
    "panx": (39 * 40 + 100) / 40,
    "xquad": ((200 / 3 + 100) / 2 + 50) / 2,
    "mlqa": (200 / 3 / 7 + 0) / 2,  # tokens are characters in Chinese alone
    "tydiqa": (200 / 3 + 0) / 2,
    "bucc": 40,  # three pairs result, two gold, one right
    "tatoeba": 75,
}


def predicted(task, language, pairs):
    ids = [f"{language}-{i}" for i in range(len(pairs))]
    table = pd.DataFrame(pairs, columns=["gold", "pred"]).assign(example_id=ids)
    if task == "tatoeba":
        table["gold"], table["pred"] = (table[c].map(ids.__getitem__) for c in ("gold", "pred"))
    if task in ("xquad", "mlqa", "tydiqa"):
        table["gold"] = table["gold"].map(json.dumps)
    if task == "mewsli-x":
        table["gold"] = table["gold"].map(lambda entity: json.dumps([entity]))
        table["pred"] = table["pred"].map(json.dumps)
        table["score"] = [1 / 2, 1.0, 0.0]  # reciprocal ranks
    return table.assign(task=task, language=language, arm="a", seed=3)


def miniature(name="xtreme"):
    tables = []
    for task, languages in BENCHMARKS[name].tasks.items():
        pairs, english = MINIATURE[task]
        for code in languages:
            tables.append(predicted(task, code, english or pairs if code == "en" else pairs))
    predictions = pd.concat(tables, ignore_index=True)
    return SimpleNamespace(predictions=predictions, scores=scored(predictions))


def scored(predictions):
    """The scores that the kit's own scorers give, as the tidy table."""
    rows = []
    for (name, language), table in predictions.groupby(["task", "language"], sort=False):
        task = get(name)
        metrics = {"map@20": 50.0}
        if name != "lareqa":
            metrics = task.type.metrics(task, table, language)
        rows += [(name, language, metric, value) for metric, value in metrics.items()]
    table = pd.DataFrame(rows, columns=["task", "language", "metric", "value"])
    return table.assign(arm="a", seed=3, split="test", examples=0)


@pytest.fixture
def english(monkeypatch):
    """The test sets of Tatoeba, as far as a submission needs them: ids and English sentences."""

    def load(task, split, language):
        assert (task.name, split) == ("tatoeba", "test")
        return {"id": [f"{language}-{i}" for i in range(4)], "english": ENGLISH}

    monkeypatch.setattr(submission, "load", load)


def test_the_miniature_scores_what_was_computed_by_hand():
    table = averages(miniature().scores)
    result = table[table["level"] == "task"].set_index("name")["average"].to_dict()
    assert result == pytest.approx(EXPECTED, abs=1e-9)
    whole = table[table["level"] == "benchmark"].squeeze(axis=0)
    assert whole["average"] == pytest.approx(sum(EXPECTED.values()) / 9, abs=1e-9)


def test_the_files_are_in_the_official_format(english, tmp_path, capsys):
    table = write_submission(miniature(), tmp_path, arm="a", seed=3, labels=True)
    assert (table["missing"] == "").all() and table["files"].sum() == 162
    assert "162 files" in capsys.readouterr().out
    files = {
        "predictions/xnli/test-sw.tsv": "entailment\ncontradiction\n",
        "labels/xnli/test-sw.tsv": "entailment\nneutral\n",
        "predictions/pawsx/test-ko.tsv": "1\n0\n1\n0\n",
        "labels/pawsx/test-ko.tsv": "1\n0\n0\n0\n",
        "predictions/udpos/test-yo.tsv": "NOUN\nVERB\nVERB\nDET\nNOUN\nPUNCT\n\n",
        "labels/panx/test-en.tsv": "B-PER\nI-PER\nO\nB-LOC\n\nO\n\n",
        "predictions/bucc2018/test-de.tsv": "de-0\ten-1\nde-1\ten-4\nde-2\ten-3\n",
        "labels/bucc2018/test-de.tsv": "de-0\ten-1\nde-1\ten-2\n",
        # English sentences by alphabet: Birds, Zebras, a cat, a cat; the last is taken for row 0.
        "predictions/tatoeba/test-jv.tsv": "2\n0\n1\n0\n",
        "labels/tatoeba/test-jv.tsv": "2\n0\n1\n3\n",
    }
    for path, text in files.items():
        assert (tmp_path / path).read_bytes() == text.encode()
    answers = json.loads((tmp_path / "predictions/mlqa/test-zh.json").read_text())
    assert answers == {"zh-0": "北京"}
    labels = json.loads((tmp_path / "labels/xquad/test-th.json").read_text())["data"]
    (questions,) = [p["qas"] for article in labels for p in article["paragraphs"]]
    assert questions[1] == {"id": "th-1", "answers": [{"text": "dog"}, {"text": "the cat"}]}


def test_xtreme_r_has_formats_of_its_own(english, tmp_path):
    table = write_submission(miniature("xtreme-r"), tmp_path, arm="a", seed=3,
                             benchmark="xtreme-r", labels=True)  # fmt: skip
    assert (tmp_path / "predictions/xcopa/test-qu.jsonl").read_text() == (
        '{"label": 1}\n{"label": 1}\n{"label": 0}\n'
    )
    result = json.loads((tmp_path / "predictions/mewslix/test-fa.json").read_text())
    assert result == {"fa-0": ["Q9", "Q1"], "fa-1": ["Q2"], "fa-2": []}
    gold = json.loads((tmp_path / "labels/mewslix/test-fa.json").read_text())
    assert gold == {"fa-0": ["Q1"], "fa-1": ["Q2"], "fa-2": ["Q3"]}
    missing = table.set_index("task")["missing"]
    assert missing["lareqa"] == "has no official format" and missing.drop("lareqa").eq("").all()


def test_what_is_missing_is_named_and_no_file_is_invented(english, tmp_path, capsys):
    results = miniature()
    table = results.predictions
    gone = (table["task"] == "panx") | (table["task"] == "udpos") & table["language"].isin(["yo"])
    results.predictions = table[~gone]
    missing = write_submission(results, tmp_path, arm="a", seed=3).set_index("task")["missing"]
    assert missing["panx"] == "all 40 languages" and missing["udpos"] == "yo"
    assert "udpos: yo; panx: all 40 languages" in capsys.readouterr().out
    assert not (tmp_path / "predictions/panx").exists() and not (tmp_path / "labels").exists()
    with pytest.raises(FileExistsError, match="give a new folder"):
        write_submission(results, tmp_path, arm="a", seed=3)
    assert len(list((tmp_path / "predictions/udpos").iterdir())) == 32


@pytest.mark.parametrize(
    ("options", "scores", "message"),
    [
        ({"arm": "b"}, {}, "arm 'b' and seed 3"),
        ({"seed": 0}, {}, "seed 0"),
        ({"benchmark": "xtrem"}, {}, "Allowed: xtreme, xtreme-r"),
        ({}, {"examples": 20}, "examples=0"),
        ({}, {"split": "validation"}, "split='test'"),
        ({}, {"task": "nli"}, "tasks of xtreme"),
    ],
)
def test_what_is_no_submission_is_refused(tmp_path, options, scores, message):
    results = miniature()
    results.scores = results.scores.assign(**scores)
    with pytest.raises(ValueError, match=message):
        write_submission(results, tmp_path, **{"arm": "a", "seed": 3} | options)


# The official scorer itself, where there is a checkout of google-research/xtreme


def official(home, folder, name):
    """What evaluate.py writes about the files in a folder."""
    report = folder / "report.json"
    options = {"prediction_folder": folder / "predictions", "label_folder": folder / "labels",
               "xtreme_version": name, "output_file": report}  # fmt: skip
    command = [sys.executable, "evaluate.py"]
    for option, value in options.items():
        command += [f"--{option}", str(value)]
    subprocess.run(command, cwd=home, check=True, capture_output=True)
    return json.loads(report.read_text())


@pytest.mark.skipif("XTREME_HOME" not in os.environ, reason="XTREME_HOME names no checkout")
@pytest.mark.skipif(not find_spec("seqeval"), reason="the official scorer needs seqeval==0.0.12")
@pytest.mark.parametrize("name", ["xtreme", "xtreme-r"])
def test_the_official_scorer_agrees_with_the_averages(english, tmp_path, name):
    results = miniature(name)
    write_submission(results, tmp_path, arm="a", seed=3, benchmark=name, labels=True)
    report = official(Path(os.environ["XTREME_HOME"]), tmp_path, name)
    table = averages(results.scores, name)
    theirs = {"em": "exact_match", "mrr@20": "map@20"}
    compared = 0
    for row in table.itertuples():
        folder = FORMATS[row.name][0] if row.name in FORMATS else None
        match row.level:
            case "metric":
                expected = report[folder][f"avg_{theirs.get(row.metric, row.metric)}"]
            case "task" if folder:
                expected = report[folder]["avg_metric"]
            case "group":
                expected = report[row.name]
            case "benchmark" if name == "xtreme":
                expected = report["all_task"]
            case _:
                continue  # LAReQA and the average of XTREME-R, of which they have none
        assert row.average == pytest.approx(expected, abs=1e-9), row.name
        compared += 1
    assert compared == {"xtreme": 6 + 9 + 4 + 1, "xtreme-r": 6 + 9 + 5}[name]
