"""Predictions of other tools: read from a file they give what the kit's own gave."""

import json

import pandas as pd
import pytest

import xltkit as xlt
from xltkit.analysis import consistency
from xltkit.tasks import get

ROW = {"item": "1", "language": "en", "seed": 0, "arm": "a", "gold": "entailment"}
WRONG = ROW | {"prediction": "neutral"}
SAME = ["arm", "seed", "task", "language", "metric", "value", "n", "chance", "main", "is_source"]
WRITERS = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "parquet": lambda table, path: table.to_parquet(path, index=False),
}


def written(path, rows):
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("task", "ending"), [("nli", "csv"), ("choice", "tsv"), ("pos", "jsonl"), ("qa", "parquet")]
)
def test_the_kits_own_predictions_come_back(looked_at, tmp_path, task, ending):
    names = {"example_id": "item", "pred": "prediction"}
    own = looked_at.predictions.query("task == @task").rename(columns=names)
    path = tmp_path / f"predictions.{ending}"
    WRITERS[ending](own[["item", "language", "seed", "arm", "gold", "prediction"]], path)
    given = xlt.read_predictions(path, task)
    scores = looked_at.scores.query("task == @task")
    pd.testing.assert_frame_equal(
        given.scores[SAME].reset_index(drop=True), scores[SAME].reset_index(drop=True)
    )
    both = xlt.compare(given, next(iter(given.study.arms)), method="both")
    assert both["n_examples"].gt(0).all()
    xlt.plots.dots(given, task)
    assert xlt.protocol(given).startswith(f"{task}: seeds")
    if get(task).type.is_comparable:
        assert consistency(given)["agreement"].between(0, 100).all()


def test_two_models_on_the_same_items(tmp_path):
    """Of 40 items one model has 30 right, and the other 20 of these."""
    rows = []
    for arm, right in {"a": 20, "b": 30}.items():
        for i in range(40):
            pred = "entailment" if i < right else "neutral"
            rows.append(ROW | {"item": i, "arm": arm, "language": "de", "prediction": pred})
    results = xlt.read_predictions(written(tmp_path / "p.csv", rows), "nli")
    row = xlt.compare(results, "a", method="examples").iloc[0]
    assert row["difference"] == 25 and row["languages"] == "transfer"
    # A paired difference that is 1 in ten of forty items, and else 0.
    error = 100 * (0.25 * 0.75 / 39) ** 0.5
    assert row["low"] == pytest.approx(25 - 1.96 * error, abs=0.01)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([ROW], "lacks.*prediction"),
        ([WRONG | {"gold": "yes"}], "1 gold labels.*'yes'.*entailment"),
        ([WRONG, WRONG], "two predictions of"),
        ([WRONG, WRONG | {"arm": "b"}, WRONG | {"item": 2}], "item '2' in 'en' from 1 of 2 runs"),
        ([WRONG | {"language": "xx"}], "no language 'xx'"),
        ([WRONG | {"prediction": "2"}], "No prediction in .*'2'.*entailment"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, rows, says):
    with pytest.raises(ValueError, match=says):
        _ = xlt.read_predictions(written(tmp_path / "p.csv", rows), "nli").scores


def test_what_is_no_label_is_wrong_and_counted(tmp_path):
    half = [ROW | {"prediction": "maybe"}, ROW | {"item": 2, "prediction": ROW["gold"]}]
    with pytest.warns(UserWarning, match="1 predictions .*'maybe'"):
        given = xlt.read_predictions(path := written(tmp_path / "p.csv", half), "nli")
    assert given.main["value"].tolist() == [50]
    answers = {json.dumps(["in Rome", "Rome"]): "Rome", "Rome": "in Rome", "[sic]": "sic"}
    rows = [ROW | {"item": g, "gold": g, "prediction": p} for g, p in answers.items()]
    scores = xlt.read_predictions(written(tmp_path / "q.csv", rows), "qa").predictions["score"]
    assert scores.tolist() == [1, pytest.approx(2 / 3), 1]
    with pytest.raises(ValueError, match=r"retrieval.*classification"):
        xlt.read_predictions(path, "retrieval")
    with pytest.raises(ValueError, match=r"xlsx.*csv"):
        xlt.read_predictions(tmp_path / "p.xlsx", "nli")
    with pytest.raises(ValueError, match="2 words have 1 tags"):
        tags = written(tmp_path / "t.csv", [ROW | {"gold": "NOUN VERB", "prediction": "NOUN"}])
        xlt.read_predictions(tags, "pos")
