"""Tables of words, and training rows perturbed by them: what the release does, to the letter."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import Dataset

from xltkit.data import lexicons
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.data.text import is_valid, words
from xltkit.tasks import get, load
from xltkit.training.synonyms import SynonymSmoothing, coverage


def write(path, table):
    path.write_text(json.dumps(table), encoding="utf-8")
    return str(path)


def pair(first, second="x"):
    return Dataset.from_list([{"id": "0", "text_a": first, "text_b": second, "label": 1}])


@pytest.mark.parametrize("code", LANGUAGES)
def test_synonyms_are_inflected_and_go_both_ways(code):
    table = lexicons.synonyms("microworld", code)
    assert all(word in table[other] for word, others in table.items() for other in others)
    bought, purchased = (LANGUAGES[code].form(verb, ("3sg",)) for verb in ("buy", "purchase"))
    assert table[bought] == (purchased,)


@pytest.mark.parametrize("code", ["en", "qbe", "qto"])
def test_the_dictionary_knows_every_word_form_of_real_sentences(code):
    known = lexicons.counterparts("microworld", code, ("qke",))
    same = {lexicons._said(concept, e, "qke") for concept, e in lexicons._inflected()}
    said = {
        w.text
        for task in ("nli", "qa")
        for row in load(get(task), "test", code).select(range(200))
        for w in words(get(task).kind, row)
    }
    assert not said - set(known) - same


def test_look_up_restores_capitals_where_words_begin_with_them():
    table = {"red": ("scarlet", "ბა"), "US": ("we",)}
    assert lexicons.look_up("Red", table) == ("Scarlet", "ბა")
    assert lexicons.look_up("RED", table) == ("SCARLET", "ბა")
    assert lexicons.look_up("US", table) == ("we",)
    assert lexicons.look_up("green", table) == ()


def test_a_word_with_k_neighbours_changes_with_probability_k_of_k_plus_1(tmp_path):
    table = {f"w{k}": [f"w{k}n{i}" for i in range(k)] for k in range(1, 9)}
    method = SynonymSmoothing(source=write(tmp_path / "t.json", table), copies=4000)
    made = method.augment(get("nli"), pair(" ".join([*table, "other"])))["text_a"][:]
    columns = list(zip(*(line.split(" ") for line in made), strict=True))
    for word, seen in zip(table, columns, strict=False):
        k, options = len(table[word]), [word, *table[word]]
        counts = np.array([seen.count(option) for option in options])
        assert counts.sum() == len(seen)
        expected = len(seen) / (k + 1)
        # Chi-square with k degrees of freedom: 4.5 standard deviations above its mean.
        assert ((counts - expected) ** 2 / expected).sum() < k + 4.5 * np.sqrt(2 * k)
    assert set(columns[-1]) == {"other"}


def test_tokens_are_what_stands_between_single_spaces(tmp_path):
    path = write(tmp_path / "t.json", {"movie": ["film"]})
    method = SynonymSmoothing(source=path, rate=1.0, copies=1)
    made = method.augment(get("nli"), pair("Movie movie. movie  movie", "a\tmovie"))
    assert made["text_a"][0] == "Movie movie. film  film" and made["text_b"][0] == "a\tmovie"


def test_both_texts_are_perturbed_independently():
    method = SynonymSmoothing(source="microworld", copies=400)
    made = method.augment(get("nli"), pair("red", "red"))
    pairs = list(zip(made["text_a"][:], made["text_b"][:], strict=True))
    for both in [(a, b) for a in ("red", "scarlet") for b in ("red", "scarlet")]:
        assert pairs.count(both) / 400 == pytest.approx(0.25, abs=0.08)


def test_coverage_counts_what_can_change(tmp_path):
    table = {"movie": ("film",)}
    said = pair("a movie , movie. Movie", ". x")
    assert coverage("classification", said, table) == pytest.approx(100 / 5)
    tagged = Dataset.from_list([{"id": "0", "tokens": ["movie", "."], "tags": [0, 1]}])
    assert coverage("tagging", tagged, table) == 100


@pytest.mark.parametrize(
    ("task", "column", "word"),
    [
        ("qa", "context", "buys"),
        ("choice", "choices", "yawns"),
        ("pos", "tokens", "buys"),
        ("linking", "text", "joins"),
    ],
)
def test_rows_of_other_kinds_stay_sound(tmp_path, task, column, word):
    clean = load(get(task), "train", "en", 400).select(range(400))
    method = SynonymSmoothing(source=write(tmp_path / "t.json", {word: ["obtains"]}), rate=1.0)
    made = method.augment(get(task), clean)
    assert all(is_valid(get(task).kind, row) for row in made)
    assert str(made[column][:]).count("obtains") == 3 * str(clean[column][:]).count(word) > 0
    assert word not in str(made[column][:])
    for name in {"answers", "tags", "label", "key"} & set(clean.column_names):
        assert made[name][::3] == clean[name][:]


def test_the_filter_leaves_no_word_that_the_rows_have_not():
    clean = load(get("nli"), "train", "en").select(range(1000))

    def said(rows):
        return {w.text for row in rows for w in words("classification", row)}

    released, filtered = (
        SynonymSmoothing(copies=1, english_only=only).augment(get("nli"), clean)
        for only in (False, True)
    )
    assert len(said(released) - said(clean)) > 10 and not said(filtered) - said(clean)
    assert filtered["text_a"][:] != clean["text_a"][:]
