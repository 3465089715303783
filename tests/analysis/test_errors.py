"""Scores by an attribute of the items, of effects planted in them."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from analysis.fakes import E, FakeResults, N, labelled
from datasets import Dataset

from xltkit.analysis import errors
from xltkit.analysis.errors import buckets


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
