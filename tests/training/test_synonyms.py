"""Training rows with synonyms: what the release does, to the letter."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import Dataset

from xltkit.data.text import is_valid, words
from xltkit.tasks import get, load
from xltkit.training.robust import SynonymSmoothing


def write(path, table):
    path.write_text(json.dumps(table), encoding="utf-8")
    return str(path)


def pair(first, second="x"):
    return Dataset.from_list([{"id": "0", "text_a": first, "text_b": second, "label": 1}])


def test_a_word_with_k_neighbors_changes_with_probability_k_of_k_plus_1(tmp_path):
    table = {f"w{k}": [f"w{k}n{i}" for i in range(k)] for k in range(1, 9)}
    method = SynonymSmoothing(source=write(tmp_path / "t.json", table), copies=2000)
    copies = method.augment(get("nli"), pair(" ".join([*table, "other"])))["text_a"][:]
    columns = list(zip(*(text.split(" ") for text in copies), strict=True))
    for (word, neighbors), seen in zip(table.items(), columns, strict=False):
        k = len(neighbors)
        counts = np.array([seen.count(option) for option in [word, *neighbors]])
        assert counts.sum() == len(seen)
        expected = len(seen) / (k + 1)
        # Chi-square with k degrees of freedom: 4.5 standard deviations above its mean.
        assert ((counts - expected) ** 2 / expected).sum() < k + 4.5 * np.sqrt(2 * k)
    assert set(columns[-1]) == {"other"}


def test_a_rate_is_the_probability_of_a_change(tmp_path):
    source = write(tmp_path / "t.json", {"good": ["fine", "nice"]})
    method = SynonymSmoothing(source=source, copies=2000, rate=0.1)
    copies = method.augment(get("nli"), pair("good"))
    assert np.mean([text != "good" for text in copies["text_a"]]) == pytest.approx(0.1, abs=0.03)
    assert set(copies["label"]) == {1} and len(set(copies["id"])) == 2000


def test_tokens_are_what_stands_between_single_spaces(tmp_path):
    path = write(tmp_path / "t.json", {"movie": ["film"]})
    method = SynonymSmoothing(source=path, rate=1.0, copies=1)
    (copy,) = method.augment(get("nli"), pair("Movie movie. movie  movie", "a\tmovie"))
    assert copy["text_a"] == "Movie movie. film  film" and copy["text_b"] == "a\tmovie"


def test_both_texts_are_perturbed_independently():
    method = SynonymSmoothing(source="microworld", copies=400)
    copies = method.augment(get("nli"), pair("red", "red"))
    pairs = list(zip(copies["text_a"][:], copies["text_b"][:], strict=True))
    for both in [(a, b) for a in ("red", "scarlet") for b in ("red", "scarlet")]:
        assert pairs.count(both) / 400 == pytest.approx(0.25, abs=0.08)


def test_coverage_counts_what_can_change(tmp_path):
    method = SynonymSmoothing(source=write(tmp_path / "t.json", {"movie": ["film"]}))
    rows = pair("a movie , movie. Movie", ". x")
    assert method.coverage(get("nli"), rows) == pytest.approx(100 / 5)
    tagged = Dataset.from_list([{"id": "0", "tokens": ["movie", "."], "tags": [0, 1]}])
    assert method.coverage(get("pos"), tagged) == 100
    assert SynonymSmoothing(empty=True).coverage(get("nli"), rows) == 0


@pytest.mark.parametrize(
    ("task", "column", "word"),
    [
        ("qa", "context", "buys"),
        ("choice", "choices", "yawns"),
        ("pos", "tokens", "buys"),
        ("linking", "text", "joins"),
    ],
)
def test_rows_of_other_types_stay_sound(tmp_path, task, column, word):
    task = get(task)
    clean = load(task, "train", "en", 200).select(range(200))
    method = SynonymSmoothing(source=write(tmp_path / "t.json", {word: ["obtains"]}), rate=1.0)
    copies = method.augment(task, clean)
    assert all(is_valid(task.type.texts, row) for row in copies)
    assert str(copies[column][:]).count("obtains") == 3 * str(clean[column][:]).count(word) > 0
    assert word not in str(copies[column][:])
    for name in {"answers", "tags", "label", "key"} & set(clean.column_names):
        assert copies[name][::3] == clean[name][:]


@pytest.mark.parametrize("task", ["nli", "qa"])
def test_copies_are_seeded_and_the_control_changes_nothing(task):
    task = get(task)
    rows = load(task, "train", "en", 20).select(range(20))
    one, same, other = (SynonymSmoothing(seed=s).augment(task, rows) for s in (0, 0, 1))
    assert one[:] == same[:] and one[:] != other[:]
    assert len(one) == 60 and one.features == rows.features
    control = SynonymSmoothing(empty=True, copies=2).augment(task, rows)
    assert control.remove_columns("id")[::2] == rows.remove_columns("id")[:]


def test_the_filter_leaves_no_word_that_the_rows_have_not():
    task = get("nli")
    clean = load(task, "train", "en").select(range(1000))

    def vocabulary(rows):
        return {word.text for row in rows for word in words(task.type.texts, row)}

    released = SynonymSmoothing(copies=1).augment(task, clean)
    filtered = SynonymSmoothing(copies=1, english_only=True).augment(task, clean)
    assert len(vocabulary(released) - vocabulary(clean)) > 10
    assert not vocabulary(filtered) - vocabulary(clean)
    assert filtered["text_a"][:] != clean["text_a"][:]
