"""Test sets predicted in one stream, in crossed pairs of languages, and under smoothing noise."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

from xltkit.data.microworld import generate as micro
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.evaluation.attacks import Typos
from xltkit.evaluation.predict import encode, predict, predict_pairs
from xltkit.models import device
from xltkit.models import encoder as models
from xltkit.models.encoder import batches_by_length
from xltkit.studies.results import Results
from xltkit.studies.stages import Recipe
from xltkit.studies.store import Store
from xltkit.studies.study import study
from xltkit.tasks import TYPES, get
from xltkit.tasks.base import EncodedExample
from xltkit.training.robust import RandomPerturbation

CODES = ["en", "qas"]
TASKS = ["nli", "choice", "qa-small", "pos", "retrieval"]


@pytest.fixture(scope="module")
def results(tiny, tmp_path_factory):
    """One barely trained model for each task."""
    store = Store(tmp_path_factory.mktemp("scoring") / "store")
    arms = {"a": Recipe(tiny)}
    return study(arms, TASKS, [0], languages=CODES, steps=5, examples=30).run(store)


def part(results, tasks):
    """The results of some tasks alone."""
    runs = tuple(run for run in results.study.runs if run.task in tasks)
    return Results(replace(results.study, runs=runs), results.store)


def batches(lengths, tokens, sequences=1):
    examples = [EncodedExample(i, (np.zeros(n),) * sequences) for i, n in enumerate(lengths)]
    return list(batches_by_length(examples, tokens))


def test_batches_stay_within_the_budget_and_lose_nothing():
    lengths = np.random.default_rng(0).integers(1, 90, size=500)
    parts = batches(lengths, 512)
    assert sorted(i for part in parts for i in part) == list(range(500))
    assert max(lengths[parts[0]]) == max(lengths)  # the largest first: memory fails at once
    padded = [max(lengths[part]) * len(part) for part in parts]
    assert max(padded) <= 512 and sum(padded) / sum(lengths) < 1.1
    # One that is longer than the budget gets a batch of its own.
    assert batches([100, 90, 2], 64) == [[0], [1], [2]]
    assert batches([10] * 4, 40, sequences=2) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("name", ["nli", "choice", "pos", "qa", "retrieval"])
def test_all_languages_at_once_equal_one_at_a_time(tiny, tokenizer, name, monkeypatch):
    monkeypatch.setattr(device, "precision", lambda: "no")
    task = get(name)
    heads = {} if task.type.reads_layers else {name: task.type.head(task)}
    torch.manual_seed(0)
    model = models.Model(tiny, heads)
    rows = {c: micro.rows(name, "test", LANGUAGES[c], 25) for c in ("en", "qad", "qto")}
    together, scores = predict(model, task, name, rows, tokenizer)
    for code, of_code in rows.items():
        alone, score = predict(model, task, name, {code: of_code}, tokenizer)
        part = together[together["language"] == code].reset_index(drop=True)
        assert part["example_id"].tolist() == alone["example_id"].tolist() == of_code["id"][:]
        assert part["pred"].tolist() == alone["pred"].tolist()
        assert ("log_probs" in part) == (task.kind in ("classification", "choice"))
        if "log_probs" in part:
            wide = np.stack(part["log_probs"])
            assert wide.shape == (25, len(task.labels) or 2) and wide.dtype == np.float32
            assert wide == pytest.approx(np.stack(alone["log_probs"]), abs=1e-4)
            assert np.exp(wide).sum(axis=1) == pytest.approx(1, abs=1e-5)
        expected = scores[scores["language"] == code]["value"].tolist()
        assert score["value"].tolist() == pytest.approx(expected)


def test_rows_are_encoded_once_and_forgotten_with_their_encoding(tokenizer):
    rows = Dataset.from_dict(micro.rows("pos", "test", LANGUAGES["en"], 5)[:])
    task_type = get("pos").type
    assert encode(task_type, rows, tokenizer, 96) is encode(task_type, rows, tokenizer, 96)
    assert encode(task_type, rows, tokenizer, 96) is not encode(task_type, rows, tokenizer, 8)
    block = weakref.ref(rows)
    del rows
    gc.collect()
    assert block() is None


def test_mixed_puts_every_first_text_before_every_second():
    def rows(code, ids):
        texts = {f"text_{side}": [f"{code} {side} {i}" for i in ids] for side in "ab"}
        return Dataset.from_dict({"id": list(ids), **texts, "label": [0] * len(ids)})

    joined = {}

    def predicting(pairs):
        joined.update({name: pair[:] for name, pair in pairs.items()})
        return pd.DataFrame({"language": list(pairs)}), pd.DataFrame({"language": list(pairs)})

    parallel = {"de": rows("de", "123"), "fr": rows("fr", "32")}
    predictions, _ = predict_pairs(predicting, get("nli"), parallel)
    assert joined["de+fr"]["text_a"] == ["de a 2", "de a 3"]
    assert joined["de+fr"]["text_b"] == ["fr b 2", "fr b 3"]
    assert joined["fr+de"]["id"] == ["2", "3"]
    pairs = predictions[["language", "other"]].agg("+".join, axis=1)
    assert list(pairs) == ["de+de", "de+fr", "fr+de", "fr+fr"]
    with pytest.raises(ValueError, match="not parallel"):
        predict_pairs(predicting, get("nli"), {"de": rows("de", "1"), "fr": rows("fr", "2")})


def test_the_diagonal_of_the_matrix_is_the_plain_score(results):
    names = ["nli", "choice", "qa-small"]
    mixed = part(results, names).rescore({"mixed": {"mixed": True}})["mixed"]
    matrix = mixed.main.set_index(["task", "language", "other"])["value"]
    plain = results.main.set_index(["task", "language"])["value"]
    assert len(matrix) == 4 * len(names)
    for name in names:
        for code in CODES:
            assert matrix[name, code, code] == pytest.approx(plain[name, code])
    assert set(mixed.predictions.columns) >= {"language", "other", "example_id", "score"}


def test_votes_without_noise_change_nothing(results):
    still, loud = ({"smoothing": RandomPerturbation(radius=radius)} for radius in (0.0, 3.0))
    smoothed = part(results, TASKS[:-1]).rescore({"still": still, "loud": loud})
    main = results.main[results.main["task"] != "retrieval"]
    assert smoothed["still"].main["value"].tolist() == main["value"].tolist()
    for name in ("pos", "qa-small"):  # five steps do not teach the others to tell labels apart
        tables = [r.predictions.set_index("task").loc[name] for r in (smoothed["loud"], results)]
        assert tables[0]["pred"].tolist() != tables[1]["pred"].tolist()


def test_votes_are_counted():
    tags = TYPES["tagging"].vote([np.array([1, 2]), np.array([1, 0]), np.array([3, 0])])
    assert tags.tolist() == [1, 0]
    assert TYPES["span"].vote([(1.0, 4, 5), (9.0, 2, 2), (3.0, 4, 5)]) == (2.0, 4, 5)
    sure, unsure = np.log([0.99, 0.01]), np.log([0.4, 0.6])
    assert TYPES["choice"].vote([sure, unsure, unsure]).argmax() == 1  # though the mean says 0


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("pos", {"mixed": True}, "mixed is for classification, choice, span"),
        ("retrieval", {"attack": Typos()}, "attack is for classification"),
        ("retrieval", {"smoothing": RandomPerturbation()}, "smoothing is for classification"),
        ("nli", {"attack": Typos(), "mixed": True}, "one way at a time"),
    ],
)
def test_a_way_of_scoring_that_does_not_fit_is_refused(results, task, change, message):
    with pytest.raises(ValueError, match=message):
        part(results, [task]).rescore({"other": change})
