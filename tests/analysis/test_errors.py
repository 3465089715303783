"""Errors shared with the source language, and the items they are in: by hand, and planted."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from analysis.fakes import C, E, FakeResults, N, labelled
from datasets import Dataset

from xltkit.analysis import errors
from xltkit.analysis.errors import buckets, error_overlap


def test_overlap_of_six_items_by_hand():
    golds = [E, E, N, N, C, C]
    en = [E, E, N, N, E, E]  # right in the first four
    de = [E, E, N, C, C, E]  # right in 0, 1, 2 and 4; says the same in 0, 1, 2 and 5
    row = error_overlap(FakeResults(labelled(golds, {"en": en, "de": de}))).iloc[0]
    assert row["kept"] == pytest.approx(75) and row["gained"] == pytest.approx(50)
    assert row["agreement"] == pytest.approx(400 / 6)
    # P(E) 4/6 and 3/6, P(N) 2/6 and 1/6, P(C) 0 and 2/6
    expected = (12 + 2) / 36
    assert row["expected"] == pytest.approx(100 * expected)
    assert row["kappa"] == pytest.approx((4 / 6 - expected) / (1 - expected))
    assert (row["n"], row["seeds"], row["language"]) == (6, 1, "de")
    assert row[["right", "right_in_source"]].tolist() == pytest.approx([400 / 6, 400 / 6])


def test_seeds_are_paired_with_themselves_and_averaged():
    first = labelled([E, N], {"en": [E, N], "de": [E, N]})
    second = labelled([E, N], {"en": [E, E], "de": [N, N]}, seed=1)
    mean = error_overlap(FakeResults(pd.concat([first, second]))).iloc[0]
    # kept 100 and 0; gained: nothing was wrong in the first seed, 100 in the second
    assert mean["kept"] == 50 and mean["gained"] == 100 and mean["seeds"] == 2


def test_permuted_predictions_agree_by_chance_alone():
    random = np.random.default_rng(0)
    golds = random.choice([E, N, C], 3000, p=[0.6, 0.3, 0.1])
    en = np.where(random.random(3000) < 0.8, golds, E)
    results = FakeResults(labelled(golds, {"en": en, "de": random.permutation(en), "fr": en}))
    rows = error_overlap(results).set_index("language")
    assert abs(rows.loc["de", "kappa"]) < 0.05
    assert rows.loc["de", "agreement"] == pytest.approx(rows.loc["de", "expected"], abs=3)
    assert rows.loc["fr", "kappa"] == 1 and rows.loc["fr", "agreement"] == 100
    assert rows.loc["fr", ["kept", "gained"]].tolist() == [100, 0]


@pytest.fixture
def test_set(monkeypatch):
    """A test set of items 0, 1, ... whose first texts have 10, 11, ... characters."""

    def load(task, split, language, examples):
        texts = {"id": [*map(str, range(200))], "text_a": ["x" * (10 + i) for i in range(200)]}
        return Dataset.from_dict(texts)

    monkeypatch.setattr(errors, "load", load)


def test_a_planted_effect_is_found_in_the_bucket_it_was_planted_in(test_set):
    """Long inputs fail in German and nowhere else."""
    predictions = {"en": [E] * 200, "de": [E] * 150 + [N] * 50}
    tables = [labelled([E] * 200, predictions, seed=seed) for seed in (0, 1)]
    results = FakeResults(pd.concat(tables))
    table = buckets(results, "nli", lambda row: len(row["text_a"]))
    rows = table.set_index(["language", "bucket"])
    assert rows.loc["de", "value"].tolist() == [100, 100, 100, 0]
    assert rows.loc["en", "value"].eq(100).all()
    assert rows["n"].eq(50).all()  # the two seeds of an item count once
    # Wilson: 50 of 50 is 50 / (50 + 1.96^2) at the lower end
    assert rows.loc["de", "low"].iloc[0] == pytest.approx(100 * 50 / 53.8415, abs=1e-3)
    assert rows.loc["de", "high"].iloc[3] < 10
    named = buckets(results, "nli", lambda row: "short" if len(row["text_a"]) < 160 else "long")
    german = named[named["language"] == "de"].set_index("bucket")
    assert german["value"].to_dict() == {"long": 0, "short": 100}


def test_items_that_the_test_set_has_not_are_an_error(test_set):
    table = labelled([json.dumps(["a"])], {"en": ["a"]}, task="qa").assign(example_id="other")
    with pytest.raises(ValueError, match="The test split of qa does not hold all items"):
        buckets(FakeResults(table), "qa", lambda row: 1)
