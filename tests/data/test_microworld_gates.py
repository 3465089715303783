"""The validity gates: no labelled pair or choice can be solved by looking at a part of it."""

from collections import Counter, defaultdict
from itertools import chain

import numpy as np
import pytest

from xltkit.data.microworld import generate, lexicon
from xltkit.data.microworld.languages import ENGLISH, LANGUAGES

MARGIN = 3  # points above chance
SIZES = {"train": 6000, "test": 3000}


def read(task, split):
    return generate.rows(task, split, ENGLISH, SIZES[split])[:]


def bags(known):
    """What counts, in each of some texts, the words of the known ones."""
    places = {word: i for i, word in enumerate(sorted({w for t in known for w in t.split()}))}

    def bag(texts):
        counts = np.zeros((len(texts), len(places)))
        for row, text in zip(counts, texts, strict=True):
            np.add.at(row, [places[word] for word in text.split() if word in places], 1)
        return counts

    return bag


def lengths(texts):
    return np.array([[len(text.split())] for text in texts])


def common(first, second):
    pairs = zip(first, second, strict=True)
    return np.array([[len(set(a.split()) & set(b.split()))] for a, b in pairs])


def guesses(features, train, targets, test):
    """For each feature, the scores that a linear model gives every row of ``test``."""
    tested = features(test)
    for name, values in features(train).items():
        known, new = (np.hstack([x, np.ones((len(x), 1))]) for x in (values, tested[name]))
        penalty = 10 * np.eye(known.shape[1])
        yield name, new @ np.linalg.solve(known.T @ known + penalty, known.T @ targets)


@pytest.mark.parametrize("task", ["nli", "paraphrase", "nli-large"])
def test_no_part_of_a_pair_tells_its_label(task):
    train, test = (read(task, split) for split in SIZES)
    bag = bags(train["text_a"] + train["text_b"])

    def features(rows):
        first, second = rows["text_a"], rows["text_b"]
        return {
            "first half": bag(first),
            "second half": bag(second),
            "bag of words": bag(first) + bag(second),
            "two bags": np.hstack([bag(first), bag(second)]),
            "overlap": np.eye(30)[common(first, second)[:, 0]],
            "length": np.hstack([lengths(first), lengths(second)]) / 10,
        }

    targets = np.eye(max(train["label"]) + 1)[train["label"]]
    chance = 100 / targets.shape[1]
    assert 100 * max(Counter(test["label"]).values()) / SIZES["test"] < chance + MARGIN
    for name, scores in guesses(features, train, targets, test):
        score = 100 * np.mean(scores.argmax(1) == test["label"])
        assert score < chance + MARGIN, (name, score)


@pytest.mark.parametrize("task", ["choice", "continuation", "odd-one-out"])
def test_no_alternative_gives_itself_away(task):
    train, test = (read(task, split) for split in SIZES)
    count = len(train["choices"][0])
    bag = bags(chain(*train["choices"]))

    def features(rows):
        choices = list(chain(*rows["choices"]))
        premises = [text for text in rows["premise"] for _ in range(count)]
        return {
            "the alternative alone": bag(choices),
            "overlap": common(premises, choices),
            "length": lengths(choices),
            "place": np.tile(np.eye(count), (len(rows["label"]), 1)),
        }

    right = np.eye(count)[train["label"]].ravel()
    # Ties are dealt out at random, or the first alternative would win them all.
    noise = 1e-9 * np.random.default_rng(0).normal(size=(SIZES["test"], count))
    for name, scores in guesses(features, train, right, test):
        chosen = (scores.reshape(-1, count) + noise).argmax(1)
        score = 100 * np.mean(chosen == test["label"])
        assert score < 100 / count + MARGIN, (name, score)
    assert len(set(lexicon.CAUSES.values())) == len(lexicon.CAUSES) >= 20


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("task", ["qa", "qa-large"])
def test_answers_stand_where_they_say_and_never_at_one_place(task, code):
    rows = generate.rows(task, "test", LANGUAGES[code], 150)
    for row in rows:
        (start,), (answer,) = row["starts"], row["answers"]
        assert row["context"][start : start + len(answer)] == answer
    places = np.array([row["starts"][0] / len(row["context"]) for row in rows])
    assert np.histogram(places, bins=4, range=(0, 1))[0].max() < 75  # of 150


def test_questions_need_the_question():
    """Whoever answers with some word of the right kind has two or more to choose from."""
    test = read("qa", "test")
    asked = np.array([question.split()[0] for question in test["question"]])
    rarest = min(Counter(asked).values())  # of who, what, where and how
    assert rarest > 0.05 * SIZES["test"]
    names = [len(set(context.split()) & set(lexicon.NAMES)) for context in test["context"]]
    assert np.mean(np.array(names)[asked == "who"]) > 2


def test_tags_are_spread_and_a_name_alone_does_not_tell_whose_it_is():
    pos = Counter(tag for tags in read("pos", "test")["tags"] for tag in tags)
    assert len(pos) == len(generate.POS_TAGS) and max(pos.values()) / pos.total() < 0.3
    tables = [read("ner", split) for split in SIZES]
    words = [zip(chain(*rows["tokens"]), chain(*rows["tags"]), strict=True) for rows in tables]
    train, test = map(list, words)
    ner = Counter(tag for _, tag in test)
    entities = [ner[generate.NER_TAGS.index(f"B-{entity}")] for entity in ("PER", "ORG", "LOC")]
    assert len(ner) == len(generate.NER_TAGS) and max(entities) < 4 * min(entities)
    # The best guess for each word alone, learned from training, misses many of the names.
    tags = defaultdict(Counter)
    for word, tag in train:
        tags[word][tag] += 1
    names = [(word, tag) for word, tag in test if word in lexicon.SHARED_NAMES]
    assert np.mean([tags[word].most_common(1)[0][0] == tag for word, tag in names]) < 0.5


def test_labels_are_what_the_words_say():
    pairs = lexicon.SYNONYMS | {other: word for word, other in lexicon.SYNONYMS.items()}
    for (premise,), (hypothesis,), label in generate.items("nli", "test", 300):
        first, second = ({t.concept for t in s.tokens(ENGLISH)} for s in (premise, hypothesis))
        (old,) = {word for word in first - second if word in pairs}
        (new,) = {word for word in second - first if word in pairs}
        expected = 0 if pairs[old] == new else 2 if new in lexicon.CONTRASTS[old] else 1
        assert label == expected, (old, new)


def test_a_paraphrase_has_the_same_giver_and_a_swap_another():
    for (one,), (other,), label in generate.items("paraphrase", "test", 300):
        # Who gives or, where things are, what is the lower one.
        parties = [
            clause.subject.noun
            if clause.verb in lexicon.TRANSFERS or clause.place[0] in ("under", "behind")
            else clause.place[1].noun
            for clause in (one.clause, other.clause)
        ]
        assert label == (parties[0] == parties[1])


def test_no_sentence_of_the_retrieval_test_was_ever_translated():
    pairs = generate.items("pairs", "train", generate.MOST_PAIRS)
    translated = {sentence for pair in pairs for sentence in pair}
    assert not translated & {sentence for (sentence,) in generate.items("retrieval", "test", 500)}


def test_documents_say_no_only_to_what_they_do_not_say():
    wrong = []
    for text in generate.rows("text", "train", ENGLISH, 3000)["text"]:
        for before in text.split(" ? no .")[:-1]:
            doubted = before.rsplit(" . ", 1)[-1]
            wrong.append(doubted.strip() in text.replace(f"{doubted} ? no .", ""))
    assert len(wrong) > 200 and np.mean(wrong) < 0.01
