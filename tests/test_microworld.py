"""The microworld: languages derived as their table says, tasks that cannot be solved by a trick."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from xltkit.microworld import lexicon, tasks
from xltkit.microworld.grammar import Clause, Phrase, gloss, sentence, text
from xltkit.microworld.languages import ENGLISH, LANGUAGES, MicroLanguage, language

GIVE = Clause(
    Phrase("Anna"), "give", Phrase("ball", "the", adjectives=("red",)), ("to", Phrase("Ben"))
)


def test_english_is_english():
    assert text(sentence(GIVE, ENGLISH), ENGLISH) == "Anna gives the red ball to Ben ."
    asked = Clause(Phrase("Anna"), "see", Phrase("cup", number="two"), asked="how")
    assert text(sentence(asked, ENGLISH), ENGLISH) == "how many cups does Anna see ?"
    owned = Clause(Phrase("ball", "the", owner="Anna"), "is", predicate="red", asked="which")
    assert text(sentence(owned, ENGLISH), ENGLISH) == "what colour is the ball of Anna ?"


def test_order_and_case_follow_the_table():
    final = MicroLanguage("qaa", "X", "Kessic", "high", 1.0, order="sov", marking=True)
    concepts = [t.concept for t in sentence(GIVE, final)]
    assert concepts == ["Anna", "Ben", "to", "the", "ball", "red", "give", "."]
    assert text(sentence(GIVE, final), final) == "Anna Ben'esh to the ballot red givei ."


def test_cognates_are_nested():
    words = [w for w in lexicon.TAGS if w not in lexicon.NAMES + lexicon.PUNCTUATION]
    kept = {
        code: {w for w in words if LANGUAGES[code].form(w) == w} for code in ("qad", "qbe", "qke")
    }
    assert kept["qke"] < kept["qbe"] < kept["qad"] < set(words)
    for code, share in (("qad", 0.75), ("qbe", 0.5), ("qke", 0.35)):
        assert abs(len(kept[code]) / len(words) - share) < 0.08


def test_families_share_most_of_their_own_words():
    words = [w for w in lexicon.TAGS if w not in lexicon.NAMES + lexicon.PUNCTUATION]
    high, low, other = (LANGUAGES[c] for c in ("qke", "qku", "qto"))
    own = [w for w in words if high.form(w) != w]
    shared = np.mean([high.form(w) == low.form(w) for w in own])
    assert 0.75 < shared < 0.98
    assert not any(high.form(w) == other.form(w) for w in own)


def test_another_script_shares_no_letter_but_the_names():
    rows = tasks.rows("retrieval", "test", LANGUAGES["qto"], 200)["text"]
    words = {w for row in rows for w in row.split()} - set(".,?")
    latin = {w.split("'")[0] for w in words if any("a" <= c.lower() <= "z" for c in w)}
    assert latin <= set(lexicon.NAMES)


def test_every_row_of_the_table():
    assert len(LANGUAGES) == 13
    assert (
        Counter((lang.family, lang.resource) for lang in LANGUAGES.values()).most_common(1)[0][1]
        == 1
    )
    assert all("qaa" <= code <= "qtz" for code in LANGUAGES if code != "en")
    forms = [tuple(lang.form(w) for w in lexicon.TAGS) for lang in LANGUAGES.values()]
    assert len(set(forms)) == 13
    with pytest.raises(ValueError, match="qad"):
        language("de")


@pytest.mark.parametrize("task", tasks.GENERATORS)
def test_splits_share_no_item_and_come_out_the_same(task):
    splits = {s: set(tasks.items(task, s, 400)) for s in ("train", "validation", "test")}
    assert [len(s) for s in splits.values()] == [400] * 3
    assert not splits["train"] & splits["test"] and not splits["train"] & splits["validation"]
    assert not splits["validation"] & splits["test"]
    tasks.items.cache_clear()
    assert set(tasks.items(task, "test", 400)) == splits["test"]


@pytest.mark.parametrize("task", ["nli", "qa", "choice", "pos", "retrieval"])
def test_test_sets_are_parallel(task):
    english, far = (tasks.rows(task, "test", LANGUAGES[c], 100) for c in ("en", "qte"))
    assert english["id"][:] == far["id"][:]
    if "label" in english.column_names:
        assert english["label"][:] == far["label"][:]


@pytest.mark.parametrize("code", LANGUAGES)
def test_answers_stand_where_they_say(code):
    rows = tasks.rows("qa", "test", LANGUAGES[code], 150)
    for row in rows:
        start, answer = row["starts"][0], row["answers"][0]
        assert row["context"][start : start + len(answer)] == answer
    places = [row["starts"][0] / len(row["context"]) for row in rows]
    assert np.std(places) > 0.2  # never at one place


def overlap(rows):
    return [len(set(r["text_a"].split()) & set(r["text_b"].split())) for r in rows]


def bag(texts, vocabulary):
    out = np.zeros((len(texts), len(vocabulary)))
    for row, words in zip(out, texts, strict=True):
        for word in words.split():
            if word in vocabulary:
                row[vocabulary[word]] += 1
    return out


def linear_baseline(train, test, labels_train, labels_test):
    """Accuracy of ridge regression on one-hot labels: what a bag of words can tell."""
    train, test = (np.hstack([x, np.ones((len(x), 1))]) for x in (train, test))
    targets = np.eye(max(labels_train) + 1)[labels_train]
    weights = np.linalg.solve(train.T @ train + 10 * np.eye(train.shape[1]), train.T @ targets)
    return 100 * np.mean((test @ weights).argmax(1) == labels_test)


def test_no_part_of_an_inference_item_tells_its_label():
    train = tasks.rows("nli", "train", ENGLISH, 6000)
    test = tasks.rows("nli", "test", ENGLISH, 3000)
    vocabulary = {
        w: i for i, w in enumerate(sorted({w for r in train["text_a"] for w in r.split()}))
    }
    features = {
        "premise": lambda rows: bag(rows["text_a"], vocabulary),
        "hypothesis": lambda rows: bag(rows["text_b"], vocabulary),
        "both": lambda rows: np.hstack([bag(rows[c], vocabulary) for c in ("text_a", "text_b")]),
        "overlap": lambda rows: np.eye(20)[overlap(rows)],
        "length": lambda rows: np.array([[len(r["text_a"]), len(r["text_b"])] for r in rows]) / 50,
    }
    chance = 100 * max(Counter(test["label"]).values()) / len(test)
    for name, make in features.items():
        score = linear_baseline(make(train), make(test), train["label"][:], test["label"][:])
        assert score < max(chance, 100 / 3) + 3, name


def test_no_part_of_a_choice_item_tells_its_label():
    train = tasks.rows("choice", "train", ENGLISH, 6000)
    test = tasks.rows("choice", "test", ENGLISH, 3000)
    texts = lambda rows: [c for r in rows for c in r["choices"]]  # noqa: E731
    right = lambda rows: np.array([i == r["label"] for r in rows for i in (0, 1)]).astype(int)  # noqa: E731
    vocabulary = {w: i for i, w in enumerate(sorted({w for t in texts(train) for w in t.split()}))}
    score = linear_baseline(
        bag(texts(train), vocabulary), bag(texts(test), vocabulary), right(train), right(test)
    )
    assert score < 53
    assert abs(np.mean(test["label"]) - 0.5) < 0.03
    assert len(lexicon.CAUSES) >= 20 and len(set(lexicon.CAUSES.values())) == len(lexicon.CAUSES)


def test_plain_text_is_not_parallel():
    first, second = (
        tasks.rows("text", "train", LANGUAGES[code], 50)["text"][:] for code in ("en", "qad")
    )
    names = [
        [{w for w in row.split() if w in lexicon.NAMES} for row in rows] for rows in (first, second)
    ]
    assert sum(a == b for a, b in zip(*names, strict=True)) < 5


def test_a_gloss_is_a_table_with_languages_and_directions():
    out = gloss([(LANGUAGES[c], sentence(GIVE, LANGUAGES[c])) for c in ("en", "qto")])
    assert out.count("<tr>") == 2 and 'lang="qto" dir="auto"' in out
    assert "give.3SG" in out and "ball.ACC" not in out.split("<tr>")[1]
