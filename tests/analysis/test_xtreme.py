"""XTREME's averages and submissions: published rows, cases by hand, and the official scorer."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from xltkit.analysis import xtreme
from xltkit.analysis.xtreme import FORMATS, averages, write_submission
from xltkit.tasks import SUITES, TASKS, get

CASES = yaml.safe_load(Path(__file__).with_name("xtreme.yaml").read_text(encoding="utf-8"))
XLM_R_LARGE = CASES["xlm_r_large"]
MBERT = CASES["mbert"]


def rows(task, metric, by_language, **columns):
    table = pd.DataFrame({"language": list(by_language), "value": list(by_language.values())})
    return table.assign(**{"task": task, "metric": metric, "arm": "a", "seed": 0} | columns)


def level_scores(numbers, name, **columns):
    """Every language of a task has the task's number."""
    tables = [
        rows(task, metric, dict.fromkeys(SUITES[name].tasks[task], value), **columns)
        for task, metrics in numbers.items()
        for metric, value in metrics.items()
    ]
    return pd.concat(tables, ignore_index=True)


SCORES = level_scores({task: numbers for task, (numbers, _) in XLM_R_LARGE.items()}, "xtreme")


def one(table, level, name, metric=None):
    result = table[(table["level"] == level) & (table["name"] == name)]
    return (result if metric is None else result[result["metric"] == metric]).squeeze(axis=0)


def test_the_average_of_xlm_r_large_on_xtreme():
    table = averages(SCORES)
    averaged = table.set_index(["level", "name", "metric"])["average"].to_dict()
    assert one(table, "benchmark", "xtreme")["definition"] == "official"
    groups = {"classification": 82.8, "tagging": 69.6, "qa": 62.05, "retrieval": 61.65}
    expected = {("group", name, ""): average for name, average in groups.items()}
    expected |= {("task", "xnli", "accuracy"): 79.2, ("task", "xquad", "em and f1"): 68.7}
    expected |= {("metric", "xquad", "em"): 60.8, ("benchmark", "xtreme", ""): 68.25}
    assert {key: averaged[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    # Tasks without English have no gap and count whole.
    for level, name in (("task", "tatoeba"), ("group", "retrieval"), ("benchmark", "xtreme")):
        row = one(table, level, name)
        assert pd.isna(row["english"]) and pd.isna(row["gap"]) and row["missing"] == ""
        assert row["without_english"] == pytest.approx(row["average"], abs=1e-9)


def test_published_gaps_and_a_question_task_is_the_mean_of_its_two_metrics():
    gap = one(averages(rows("paws-x", "accuracy", MBERT["paws-x"])), "task", "paws-x")["gap"]
    assert gap == pytest.approx(14.05, abs=0.005)
    scores = pd.concat([rows("xquad", metric, MBERT[f"xquad_{metric}"]) for metric in ("f1", "em")])
    table = averages(scores)
    assert one(table, "metric", "xquad", "em")["gap"] == pytest.approx(25.03, abs=0.005)
    result = one(table, "task", "xquad")  # XTREME has no Romanian
    assert result["average"] == pytest.approx((709.8 / 11 + 543.9 / 11) / 2, abs=1e-9)
    assert result["gap"] == pytest.approx((25.03 + 20.87) / 2, abs=1e-9)
    result = one(averages(scores, "xtreme-r"), "task", "xquad")
    assert result["average"] == pytest.approx((782.5 / 12 + 603.8 / 12) / 2, abs=1e-9)


def test_what_is_missing_is_named_and_nothing_is_averaged_over_the_rest():
    gone = "task == 'udpos' and language in ['sw', 'ur', 'yo'] or task == 'panx'"
    scores = SCORES.query(f"not ({gone} or task == 'xnli' and language == 'en')")
    unknown = scores.eval("task == 'mlqa' and language == 'vi' and metric == 'em'")
    table = averages(scores.assign(value=scores["value"].mask(unknown)))
    assert one(table, "task", "udpos")["missing"] == "ur, yo"
    assert one(table, "task", "panx")["missing"] == "all 40 languages"
    assert one(table, "task", "mlqa")["missing"] == "vi"
    assert one(table, "metric", "mlqa", "f1")["average"] == pytest.approx(71.6, abs=1e-9)
    assert (table["average"].isna() == (table["missing"] != "")).all()
    # Without English nothing that XNLI needs is missing.
    assert one(table, "task", "xnli")["without_english"] == pytest.approx(79.2)
    whole = one(table, "benchmark", "xtreme")
    assert pd.isna(whole["average"]) and pd.isna(whole["without_english"])
    assert whole["missing"] == "xnli: en; udpos: ur, yo; panx: all 40 languages; mlqa: vi"
    assert one(table, "group", "retrieval")["average"] == pytest.approx(61.65, abs=1e-9)


def test_the_average_of_xtreme_r_is_ours_and_says_so():
    tasks = list(SUITES["xtreme-r"].tasks)
    metrics = SUITES["xtreme-r"].metrics
    numbers = {task: dict.fromkeys(metrics[task], 10.0 * i) for i, task in enumerate(tasks)}
    table = averages(level_scores(numbers, "xtreme-r"), "xtreme-r")
    whole = one(table, "benchmark", "xtreme-r")
    assert whole["average"] == pytest.approx(45, abs=1e-9)
    assert whole["definition"].startswith("ours: the mean over its 10 tasks")
    assert (table["definition"] == "official").sum() == len(table) - 1
    assert one(table, "group", "multi_choice")["average"] == 10.0 * tasks.index("xcopa")


def test_seeds_stay_apart_and_departures_are_named():
    scores = level_scores({"bucc": {"f1": 10.0}}, "xtreme", split="test")
    others = scores.assign(value=20.0, seed=1, split="validation")
    table = one(averages(pd.concat([scores, others])), "task", "bucc")
    assert table["average"].tolist() == [10, 20] and table["seed"].tolist() == [0, 1]
    definitions = ["official", "not the benchmark's: not of the test split"]
    assert table["definition"].tolist() == definitions


def test_bad_input_is_named():
    score = rows("bucc", "f1", {"de": 1.0})
    with pytest.raises(ValueError, match="Allowed: xtreme, xtreme-r"):
        averages(score, "xtrem")
    with pytest.raises(ValueError, match="no score of a task of xtreme"):
        averages(score.assign(task="nli"))
    with pytest.raises(ValueError, match="non-unique"):
        averages(pd.concat([score] * 2))


def test_the_benchmarks_are_the_official_ones():
    xtreme = [count for _, count in XLM_R_LARGE.values()]
    xtreme_r = [15, 11, 38, 48, 12, 7, 9, 41, 11, 11]
    for name, counts, languages in (("xtreme", xtreme, 40), ("xtreme-r", xtreme_r, 50)):
        tasks = SUITES[name].tasks
        assert [len(codes) for codes in tasks.values()] == counts
        assert len({code for codes in tasks.values() for code in codes}) == languages
        for task in tasks:  # the table has every language, whether or not its data is available
            assert set(tasks[task]) <= set(TASKS[task].test.languages)
            assert TASKS[task].metric in SUITES[name].metrics[task]


# Submissions

SENTENCES = ["Zebras run.", "a cat", "Birds sing. ", "a cat"]  # sorted: 2, 0, 1, 3
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


def predictions(task, language):
    gold, pred = (CASES["english"] if language == "en" else {}).get(task, CASES["miniature"][task])
    ids = [f"{language}-{i}" for i in range(len(gold))]
    table = pd.DataFrame({"example_id": ids, "gold": gold, "pred": pred})
    if task == "tatoeba":
        table[["gold", "pred"]] = table[["gold", "pred"]].map(ids.__getitem__)
    if task in ("xquad", "mlqa", "tydiqa", "mewsli-x"):
        table["gold"] = table["gold"].map(json.dumps)
    if task == "mewsli-x":
        table["pred"] = table["pred"].map(json.dumps)
        table["score"] = [1 / 2, 1.0, 0.0]  # reciprocal ranks
    return table.assign(task=task, language=language, arm="a", seed=3)


def miniature(name="xtreme"):
    """Results, with the scores that the kit's own scorers give."""
    tables = []
    rows = []
    for task_name, languages in SUITES[name].tasks.items():
        task = get(task_name)
        for code in languages:
            table = predictions(task_name, code)
            tables.append(table)
            metrics = {"map@20": 50.0}
            if task_name != "lareqa":
                metrics = task.type.metrics(task, table, code)
            rows += [(task_name, code, metric, value) for metric, value in metrics.items()]
    scores = pd.DataFrame(rows, columns=["task", "language", "metric", "value"])
    scores = scores.assign(arm="a", seed=3, split="test", examples=0)
    study = SimpleNamespace(suite=name)
    return SimpleNamespace(predictions=pd.concat(tables), scores=scores, study=study)


@pytest.fixture
def write(monkeypatch, tmp_path):
    """``write_submission``, with the test sets of Tatoeba that it needs."""

    def load(task, split, language):
        assert (task.name, split) == ("tatoeba", "test")
        return {"id": [f"{language}-{i}" for i in range(4)], "english": SENTENCES}

    monkeypatch.setattr(xtreme, "load", load)
    return lambda results, folder=tmp_path: write_submission(results, folder, arm="a", seed=3)


def test_the_miniature_scores_what_was_computed_by_hand():
    averaged = averages(miniature().scores).set_index(["level", "name"])["average"]
    assert averaged.loc["task"].to_dict() == pytest.approx(EXPECTED, abs=1e-9)
    whole = averaged["benchmark", "xtreme"]
    assert whole == pytest.approx(sum(EXPECTED.values()) / 9, abs=1e-9)


@pytest.mark.parametrize(("name", "files"), CASES["files"].items())
def test_the_files_are_in_the_official_format(write, tmp_path, capsys, name, files):
    table = write(miniature(name)).set_index("task")
    for path, text in files.items():
        assert (tmp_path / "predictions" / path).read_bytes() == text.encode()
    assert f"{table['files'].sum()} files" in capsys.readouterr().out
    gaps = {} if name == "xtreme" else {"lareqa": "has no official format"}
    assert table.loc[table["missing"] != "", "missing"].to_dict() == gaps


def test_what_is_missing_is_named_and_no_file_is_invented(write, tmp_path, capsys):
    results = miniature()
    gone = "task == 'panx' or task == 'udpos' and language == 'yo'"
    results.predictions = results.predictions.query(f"not ({gone})")
    missing = write(results).set_index("task")["missing"]
    assert missing["panx"] == "all 40 languages" and missing["udpos"] == "yo"
    assert "udpos: yo; panx: all 40 languages" in capsys.readouterr().out
    assert not (tmp_path / "predictions/panx").exists()
    assert len(list((tmp_path / "predictions/udpos").iterdir())) == 32
    with pytest.raises(FileExistsError, match="give a new folder"):
        write(results)


def test_what_is_no_submission_is_refused(write):
    results = miniature()
    scores = results.scores
    changes = {"arm": "b", "seed": 0, "examples": 20, "split": "validation", "task": "nli"}
    for column, value in changes.items():
        results.scores = scores.assign(**{column: value})
        with pytest.raises(ValueError, match=r"of xtreme .*'a' and seed 3 .*split='test'"):
            write(results)
    results.study.suite = "microworld"
    with pytest.raises(ValueError, match="Allowed: xtreme, xtreme-r"):
        write(results)


# The official scorer itself, where there is a checkout of google-research/xtreme


def write_labels(write, results, folder):
    """Gold labels in the official format: that of predictions, but for answers to questions."""
    table = results.predictions
    gold = SimpleNamespace(**vars(results) | {"predictions": table.assign(pred=table["gold"])})
    write(gold, folder)
    for (task, code), part in table.groupby(["task", "language"]):
        if get(task).kind == "span":
            questions = [
                {"id": key, "answers": [{"text": text} for text in json.loads(texts)]}
                for key, texts in zip(part["example_id"], part["gold"], strict=True)
            ]
            text = json.dumps({"data": [{"paragraphs": [{"qas": questions}]}]})
            (folder / "predictions" / task / f"test-{code}.json").write_text(text)


@pytest.mark.skipif("XTREME_HOME" not in os.environ, reason="XTREME_HOME names no checkout")
@pytest.mark.skipif(not find_spec("seqeval"), reason="the official scorer needs seqeval==0.0.12")
@pytest.mark.parametrize("name", ["xtreme", "xtreme-r"])
def test_the_official_scorer_agrees_with_the_averages(write, tmp_path, name):
    results = miniature(name)
    write(results, tmp_path / "ours")
    write_labels(write, results, tmp_path / "gold")
    report = tmp_path / "report.json"
    command = [sys.executable, "evaluate.py", "--xtreme_version", name, "--output_file", report]
    command += ["--prediction_folder", tmp_path / "ours" / "predictions"]
    command += ["--label_folder", tmp_path / "gold" / "predictions"]
    subprocess.run(command, cwd=Path(os.environ["XTREME_HOME"]), check=True, capture_output=True)
    report = json.loads(report.read_text())
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
