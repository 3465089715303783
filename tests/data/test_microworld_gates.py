"""The validity gates: no labelled pair or choice can be solved by looking at a part of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from xltkit.data.microworld import generate as tasks
from xltkit.data.microworld import lexicon
from xltkit.data.microworld.languages import ENGLISH, LANGUAGES

PAIRS = ("nli", "paraphrase", "nli-large")
CONTRASTS = lexicon.CONTRASTS
CHOICES = ("choice", "continuation", "odd-one-out")
MARGIN = 3  # points above chance
TRAIN, TEST = 6000, 3000


def bag(texts, vocabulary):
    out = np.zeros((len(texts), len(vocabulary)))
    for row, words in zip(out, texts, strict=True):
        for word in words.split():
            if word in vocabulary:
                row[vocabulary[word]] += 1
    return out


def words_of(*columns):
    found = sorted({w for texts in columns for text in texts for w in text.split()})
    return {word: i for i, word in enumerate(found)}


def ridge(train, targets, test):
    """Scores of a linear model for every row of ``test``."""
    train, test = (np.hstack([x, np.ones((len(x), 1))]) for x in (train, test))
    weights = np.linalg.solve(train.T @ train + 10 * np.eye(train.shape[1]), train.T @ targets)
    return test @ weights


def common(first, second):
    return np.array(
        [[len(set(a.split()) & set(b.split()))] for a, b in zip(first, second, strict=True)]
    )


@pytest.fixture(scope="module")
def rows():
    return lambda task: (
        tasks.rows(task, "train", ENGLISH, TRAIN),
        tasks.rows(task, "test", ENGLISH, TEST),
    )


@pytest.mark.parametrize("task", PAIRS)
def test_no_part_of_a_pair_tells_its_label(task, rows):
    train, test = rows(task)
    known = words_of(train["text_a"], train["text_b"])
    features = {
        "first half": lambda r: bag(r["text_a"], known),
        "second half": lambda r: bag(r["text_b"], known),
        "bag of words": lambda r: bag(
            [f"{a} {b}" for a, b in zip(r["text_a"], r["text_b"], strict=True)], known
        ),
        "two bags": lambda r: np.hstack([bag(r[c], known) for c in ("text_a", "text_b")]),
        "overlap": lambda r: np.eye(30)[common(r["text_a"], r["text_b"])[:, 0]],
        "length": lambda r: np.array([[len(a.split()), len(b.split())] for a, b in
                                      zip(r["text_a"], r["text_b"], strict=True)]) / 10,
    }  # fmt: skip
    targets = np.eye(max(train["label"]) + 1)[train["label"][:]]
    chance = 100 * max(Counter(test["label"][:]).values()) / len(test)
    assert chance < 100 / targets.shape[1] + MARGIN
    for name, make in features.items():
        guess = ridge(make(train), targets, make(test)).argmax(1)
        score = 100 * np.mean(guess == test["label"][:])
        assert score < 100 / targets.shape[1] + MARGIN, (name, score)


@pytest.mark.parametrize("task", CHOICES)
def test_no_alternative_gives_itself_away(task, rows):
    train, test = rows(task)
    count = len(train[0]["choices"])
    choices = lambda r: [c for row in r["choices"] for c in row]  # noqa: E731
    premises = lambda r: [p for p in r["premise"] for _ in range(count)]  # noqa: E731
    known = words_of(choices(train))
    features = {
        "the alternative alone": lambda r: bag(choices(r), known),
        "overlap": lambda r: common(premises(r), choices(r)),
        "length": lambda r: np.array([[len(c.split())] for c in choices(r)]),
        "place": lambda r: np.tile(np.eye(count), (len(r), 1)),
    }
    right = np.array([i == row["label"] for row in train for i in range(count)], float)
    for name, make in features.items():
        # Ties are dealt out at random, or the first alternative would win them all.
        noise = 1e-9 * np.random.default_rng(0).normal(size=(len(test), count))
        scores = ridge(make(train), right, make(test)).reshape(-1, count) + noise
        score = 100 * np.mean(scores.argmax(1) == test["label"][:])
        assert score < 100 / count + MARGIN, (name, score)


def test_there_are_enough_causes():
    assert len(lexicon.CAUSES) >= 20
    assert len(set(lexicon.CAUSES.values())) == len(lexicon.CAUSES)


@pytest.mark.parametrize("code", LANGUAGES)
def test_answers_stand_where_they_say_and_never_at_one_place(code):
    for task in ("qa", "qa-large"):
        rows = tasks.rows(task, "test", LANGUAGES[code], 150)
        for row in rows:
            start, answer = row["starts"][0], row["answers"][0]
            assert row["context"][start : start + len(answer)] == answer
        places = np.array([row["starts"][0] / len(row["context"]) for row in rows])
        assert np.histogram(places, bins=4, range=(0, 1))[0].max() < 75  # of 150


def test_questions_need_the_question(rows):
    """Whoever answers with some word of the right kind has two or more to choose from."""
    _, test = rows("qa")
    contexts = Counter(row["question"].split()[0] for row in test)
    assert min(contexts.values()) > 0.05 * TEST  # who, what, where, how: none is rare
    names = [
        [w for w in row["context"].split() if w in lexicon.NAMES]
        for row in test
        if row["question"].startswith("who")
    ]
    assert np.mean([len(set(found)) for found in names]) > 2


def test_tags_are_spread():
    tagged = tasks.rows("pos", "test", ENGLISH, TEST)["tags"]
    share = Counter(t for tags in tagged for t in tags)
    assert len(share) == len(tasks.POS_TAGS) and max(share.values()) / sum(share.values()) < 0.3
    named = Counter(t for tags in tasks.rows("ner", "test", ENGLISH, TEST)["tags"] for t in tags)
    entities = [named[tasks.NER_TAGS.index(f"B-{e}")] for e in ("PER", "ORG", "LOC")]
    assert len(named) == len(tasks.NER_TAGS)
    assert max(entities) < 4 * min(entities)


def test_a_name_alone_does_not_tell_whose_it_is(rows):
    """The best guess for each word alone, learnt from training, misses many of the names."""
    train, test = rows("ner")
    seen = {}
    for row in train:
        for word, tag in zip(row["tokens"], row["tags"], strict=True):
            seen.setdefault(word, Counter())[tag] += 1
    names = [
        (word, tag)
        for row in test
        for word, tag in zip(row["tokens"], row["tags"], strict=True)
        if word in lexicon.SHARED_NAMES
    ]
    right = np.mean([seen[word].most_common(1)[0][0] == tag for word, tag in names])
    assert right < 0.5


def test_labels_are_what_the_words_say():
    for (said,), (then,), label in tasks.items("nli", "test", 300):
        first, second = ({t.concept for t in s.tokens(ENGLISH)} for s in (said, then))
        old, new = (
            next(w for w in words if w in lexicon.SYNONYMS or w in lexicon.SYNONYMS.values())
            for words in (first - second, second - first)
        )
        synonyms = lexicon.SYNONYMS.get(old) == new or lexicon.SYNONYMS.get(new) == old
        expected = 0 if synonyms else 2 if new in CONTRASTS[old] else 1
        assert label == expected, (old, new)


def test_a_paraphrase_has_the_same_giver_and_a_swap_another():
    givers = {*lexicon.TRANSFERS}
    for (said,), (then,), label in tasks.items("paraphrase", "test", 300):
        if said.clause.object is None:  # where things are: over, and from the other side under
            low = [
                c.subject.noun if c.place[0] in ("under", "behind") else c.place[1].noun
                for c in (said.clause, then.clause)
            ]
        else:
            low = [
                c.subject.noun if c.verb in givers else c.place[1].noun
                for c in (said.clause, then.clause)
            ]
        assert label == (low[0] == low[1])


def test_no_sentence_of_the_retrieval_test_was_ever_translated():
    pairs = {said for two in tasks.items("pairs", "train", tasks.MOST_PAIRS) for said in two}
    assert not pairs & {said for (said,) in tasks.items("retrieval", "test", 500)}


def test_documents_say_no_only_to_what_they_do_not_say():
    wrong = checked = 0
    for text in tasks.rows("text", "train", ENGLISH, 3000)["text"]:
        for sentence in text.split(" ? no .")[:-1]:
            checked += 1
            wrong += sentence.rsplit(" . ", 1)[-1].strip() in text.replace(
                f"{sentence.rsplit(' . ', 1)[-1]} ? no .", ""
            )
    assert checked > 200 and wrong / checked < 0.01
