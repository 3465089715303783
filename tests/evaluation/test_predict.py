"""One stream for all languages gives what one language at a time gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xltkit.data.microworld import generate as micro
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.evaluation.predict import predict
from xltkit.models import device
from xltkit.models import encoder as models
from xltkit.models.encoder import batches_by_length
from xltkit.tasks import get
from xltkit.tasks.base import EncodedExample


def features(lengths, sequences=1):
    return [EncodedExample(i, (np.zeros(n),) * sequences) for i, n in enumerate(lengths)]


def test_batches_stay_within_the_budget_and_lose_nothing():
    lengths = np.random.default_rng(0).integers(1, 90, size=500)
    batches = list(batches_by_length(features(lengths), 512))
    assert sorted(i for b in batches for i in b) == list(range(500))
    assert all(max(lengths[b]) * len(b) <= 512 for b in batches)
    assert max(lengths[batches[0]]) == max(lengths)  # the largest first: memory fails at once
    padded = sum(max(lengths[b]) * len(b) for b in batches)
    assert padded / sum(lengths) < 1.1


def test_a_feature_longer_than_the_budget_gets_a_batch_of_its_own():
    assert list(batches_by_length(features([100, 90, 2]), 64)) == [[0], [1], [2]]
    choices = list(batches_by_length(features([10] * 4, sequences=2), 40))
    assert [len(b) for b in choices] == [2, 2]


@pytest.mark.parametrize("name", ["nli", "choice", "pos", "qa", "retrieval"])
def test_all_languages_at_once_equal_one_at_a_time(tiny, tokenizer, name, monkeypatch):
    monkeypatch.setattr(device, "precision", lambda: "no")
    task = get(name)
    heads = {} if task.type.reads_layers else {name: task.type.head(task)}
    torch.manual_seed(0)
    model = models.Model(tiny, heads)
    rows = {c: micro.rows(name, "test", LANGUAGES[c], 25) for c in ("en", "qad", "qto")}
    together, scores = predict(model, task, name, rows, tokenizer)
    for code, mine in rows.items():
        alone, score = predict(model, task, name, {code: mine}, tokenizer)
        part = together[together["language"] == code].reset_index(drop=True)
        assert part["example_id"].tolist() == alone["example_id"].tolist() == mine["id"][:]
        assert part["pred"].tolist() == alone["pred"].tolist()
        assert ("log_probs" in part) == (task.kind in ("classification", "choice"))
        if "log_probs" in part:
            wide, width = np.stack(part["log_probs"]), len(task.labels) or 2
            assert wide.shape == (25, width) and wide.dtype == np.float32
            assert wide == pytest.approx(np.stack(alone["log_probs"]), abs=1e-4)
        expected = scores[scores["language"] == code]["value"].tolist()
        assert score["value"].tolist() == pytest.approx(expected)
