"""The official scorers: the published vectors, hand-computed cases, properties, errors."""

import hashlib
import random
import string
from importlib.metadata import version

import pytest

from xltkit.tasks import scorers
from xltkit.tasks.scorers import accuracy, answers, chunk_f1, chunks, normalized, token_accuracy

UD_TAGS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X _".split()
NER_TAGS = "O B-PER I-PER B-LOC I-LOC B-ORG I-ORG".split()
# Every prefix the rule knows and one that it does not, types with a hyphen, and odd outsiders.
ODD_TAGS = [
    *(f"{prefix}-{kind}" for prefix in "BIESOX." for kind in ("PER", "LOC", "A-B", "O")),
    *("O", ".", "E", "S", "B", "I", "-", "X-", "ES", "BE", "OTHER"),
]
TAG_SETS = pytest.mark.parametrize("tags", [UD_TAGS, NER_TAGS, ODD_TAGS], ids=["ud", "ner", "odd"])
WORDS = (
    "the a an The der Die das el la un las của những là cái البيت ال بال 北京大学 在1989年 घर वह "
    "state U.S.A. — « » ، 。 ! ? \" ' - _ + $ 東京 東 de to İstanbul ß Σας x\u3000y \u2028 \u1680"
).split(" ")


def random_text(generator):
    glue = [" ", "  ", "", "\t"]
    count = generator.randint(0, 6)
    return "".join(generator.choice(WORDS) + generator.choice(glue) for _ in range(count))


def random_pair(generator, tags, sentences=4):
    """Gold tags of some sentences, and the same with a third of them drawn anew."""
    golds = [generator.choices(tags, k=generator.randint(0, 8)) for _ in range(sentences)]
    preds = [[generator.choice(tags) if generator.random() < 0.3 else t for t in g] for g in golds]
    return golds, preds


# Answers: what is published, and what one counts by hand

NORMALIZED = [
    ("", 'The  U.S.A. — a "state"', "usa — state"),
    ("", "वह, घर।", "वह घर।"),
    ("", "der Hund", "der hund"),
    ("", "theatre an' a", "theatre"),
    ("", "the", ""),
    ("en", 'The  U.S.A. — a "state"', "usa state"),
    ("es", "La casa de los niños", "casa de niños"),
    ("de", "Der Hund, die Katze", "hund katze"),
    ("vi", "Những cái của nó", "nó"),
    ("hi", "वह, घर।", "वह घर"),
    ("zh", "在1989年，北京 大学", "在 1989 年 北 京 大 学"),
    ("ar", "بالقاهرة", "ب قاهرة"),
    ("ar", "سوال", "سو"),
    ("de", "der Hund", "hund"),
    ("zh", "the A 北", "the a 北"),
    ("zh", "\u4dffa\u4e00b\u9fa5c\u9fa6d", "\u4dffa \u4e00 b \u9fa5 c\u9fa6d"),
]


@pytest.mark.parametrize(("rule", "text", "expected"), NORMALIZED)
def test_normalized_answers(rule, text, expected):
    assert normalized(text, rule) == expected


@pytest.mark.parametrize(
    ("golds", "pred", "rule", "f1", "em"),
    [
        (["北京"], "北京大学", "", 0, 0),
        (["the"], "a", "", 0, 100),
        (["the cat sat"], "a cat", "", 200 / 3, 0),
        (["cat cat"], "cat dog", "", 50, 0),
        (["dog", "The cat!"], "cat", "", 100, 100),
        (["cat"], "", "", 0, 0),
        (["the"], None, "", 0, 0),
        (["北京"], "北京大学", "zh", 200 / 3, 0),
        (["北京"], "北京。", "zh", 100, 100),
    ],
)
def test_one_question(golds, pred, rule, f1, em):
    assert scorers.answer_f1(golds, pred, rule) == pytest.approx(f1, abs=1e-9)
    assert scorers.answer_em(golds, pred, rule) == em


def test_answers_count_over_all_questions():
    scores = answers([["the cat sat"], ["dog"], ["bird"]], ["cat", "dog", None])
    assert scores == pytest.approx({"f1": (200 / 3 + 100) / 3, "em": 100 / 3}, abs=1e-9)
    scores = answers([["北京"], ["年"]], ["北京大学", None], "zh")
    assert scores == pytest.approx({"f1": 100 / 3, "em": 0}, abs=1e-9)


def test_mlqa_punctuation_is_frozen():
    points = "".join(sorted(scorers.MLQA_PUNCTUATION))
    assert len(points) == 828
    digest = hashlib.sha256(points.encode()).hexdigest()
    assert digest == "b507e43b11b67ae632de5592a4abf69db84bf3ebceaf8b5a4602993aaba6122c"


def test_mlqa_in_english_differs_from_squad_only_by_unicode_punctuation():
    generator = random.Random(0)
    beyond_ascii = scorers.MLQA_PUNCTUATION - set(string.punctuation)
    differing = 0
    for _ in range(500):
        text = random_text(generator)
        stripped = "".join(character for character in text if character not in beyond_ascii)
        assert normalized(text, "en") == normalized(stripped)
        differing += normalized(text, "en") != normalized(text)
    assert differing > 0


@pytest.mark.parametrize("rule", ["", *scorers.MLQA_ARTICLES])
def test_answer_scores_have_the_properties_of_f1(rule):
    generator = random.Random(1)
    f1 = scorers.answer_f1
    for _ in range(300):
        one, other = random_text(generator), random_text(generator)
        score = f1([one], other, rule)
        assert score == f1([other], one, rule)
        assert 0 <= score <= 100
        assert scorers.answer_em([one], one, rule) == 100
        assert f1([one], one, rule) == (100 if normalized(one, rule) else 0)
        assert f1([one, other], other, rule) >= score


# Labels and tags: what is published, and what one counts by hand

CHUNK_F1 = [  # gold, predicted; F1, and precision and recall of entities
    ("B-PER I-PER O B-LOC", "I-PER I-PER O B-LOC", 100, 100, 100),
    ("B-PER I-PER O B-LOC", "B-PER I-PER O I-LOC", 100, 100, 100),
    ("B-PER I-PER O B-LOC", "B-PER B-PER O B-LOC", 40, 100 / 3, 50),
    ("B-PER I-PER O B-LOC", "B-PER I-LOC O B-LOC", 40, 100 / 3, 50),
    ("B-PER I-PER O B-LOC", "O O O O", 0, 0, 0),
    ("O O", "O O", 0, 0, 0),
    ("NOUN NOUN", "NOUN VERB", 0, None, None),
    ("SYM SYM", "SYM NOUN", 50, None, None),
    ("DET CCONJ NOUN", "DET SCONJ NOUN", 200 / 3, None, None),
    ("NOUN NOUN VERB", "NOUN NOUN VERB", 100, None, None),
    ("CCONJ SCONJ NOUN", "SCONJ CCONJ NOUN", 100 / 3, None, None),
    ("NOUN NOUN VERB DET NOUN PUNCT", "NOUN VERB VERB DET NOUN PUNCT", 60, None, None),
]
CHUNKS = [
    (["NOUN NOUN VERB"], {("NOUN", 0, 1), ("VERB", 2, 2)}),
    (["SCONJ SCONJ"], {("SCONJ", 0, 0), ("SCONJ", 1, 1)}),
    (["NOUN", "NOUN"], {("NOUN", 0, 0), ("NOUN", 2, 2)}),
    (["NOUN", "", "NOUN"], {("NOUN", 0, 0), ("NOUN", 3, 3)}),
    (["X _ X"], {("X", 0, 0), ("_", 1, 1), ("X", 2, 2)}),
    (["B-A-PER I-PER O"], {("PER", 0, 1)}),
    (["B-PER B-PER I-LOC"], {("PER", 0, 0), ("PER", 1, 1), ("LOC", 2, 2)}),
    (["I-PER B-PER I-PER S-PER"], {("PER", 0, 0), ("PER", 1, 2), ("PER", 3, 3)}),
    (["S-PER I-PER S-PER E-PER"], {("PER", i, i) for i in range(4)}),
    (["B-PER .-LOC X-LOC O"], {("PER", 0, 0), ("LOC", 0, 2)}),
    (["E-PER X-PER O"], {("PER", 0, 0), ("PER", 0, 1)}),
    (["O OTHER ."], set()),
]
ACCURACY = [
    (accuracy, ["1", "2", "4"], ["1", "2", "3"], 66.66666666666666),
    (accuracy, ["neutral"], ["neutral"], 100.0),
    (accuracy, [0, 1, 2, 2], [1, 0, 2, 2], 50.0),
    (accuracy, ["1"], [1], 0.0),
    (token_accuracy, "NOUN NOUN VERB DET NOUN PUNCT", "NOUN VERB VERB DET NOUN PUNCT", 500 / 6),
    (token_accuracy, "CCONJ SCONJ NOUN", "SCONJ CCONJ NOUN", 100 / 3),
    # Tokens count, and not sentences.
    (token_accuracy, [["X"], [], ["X", "X", "X"]], [["X"], [], ["_"] * 3], 25),
]


@pytest.mark.parametrize(("score", "gold", "pred", "expected"), ACCURACY)
def test_accuracy(score, gold, pred, expected):
    gold, pred = ([side.split()] if isinstance(side, str) else side for side in (gold, pred))
    assert score(gold, pred) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("gold", "pred", "f1", "precision", "recall"), CHUNK_F1)
def test_chunk_f1(gold, pred, f1, precision, recall):
    scores = chunk_f1([gold.split()], [pred.split()])
    assert scores["f1"] == pytest.approx(f1, abs=1e-9)
    if precision is not None:
        assert scores["precision"] == pytest.approx(precision, abs=1e-9)
        assert scores["recall"] == pytest.approx(recall, abs=1e-9)


@pytest.mark.parametrize(("sentences", "expected"), CHUNKS)
def test_chunks(sentences, expected):
    assert chunks([tags.split() for tags in sentences]) == expected


def test_majority_floor_is_the_accuracy_of_one_tag():
    golds = [["NOUN", "VERB"], ["NOUN", "DET", "NOUN"]]
    everywhere = [["NOUN"] * len(tags) for tags in golds]
    assert scorers.majority_floor(golds) == token_accuracy(golds, everywhere) == 60


@TAG_SETS
def test_chunk_f1_has_the_properties_of_f1(tags):
    generator = random.Random(2)
    for _ in range(300):
        golds, preds = random_pair(generator, tags)
        scores, swapped = chunk_f1(golds, preds), chunk_f1(preds, golds)
        assert scores["f1"] == swapped["f1"]
        assert (scores["precision"], scores["recall"]) == (swapped["recall"], swapped["precision"])
        low, high = sorted((scores["precision"], scores["recall"]))
        assert 0 <= low and high <= 100
        # F1 is a mean of the two: it lies between them, but for rounding.
        assert low - 1e-9 <= scores["f1"] <= high + 1e-9
        assert set(chunk_f1(golds, golds).values()) == {100.0 if chunks(golds) else 0.0}


@TAG_SETS
def test_chunks_equal_those_of_seqeval(tags):
    metrics = pytest.importorskip("seqeval.metrics")
    if version("seqeval") != "0.0.12":
        pytest.skip("XTREME was scored with seqeval 0.0.12, and later versions differ")
    from seqeval.metrics.sequence_labeling import get_entities

    generator = random.Random(3)
    for _ in range(1500):
        golds, preds = random_pair(generator, tags, sentences=generator.randint(1, 5))
        assert chunks(golds) == set(get_entities(golds))
        expected = {
            "f1": 100 * metrics.f1_score(golds, preds),
            "precision": 100 * metrics.precision_score(golds, preds),
            "recall": 100 * metrics.recall_score(golds, preds),
        }
        assert chunk_f1(golds, preds) == pytest.approx(expected, abs=1e-9)


# What cannot be scored

ERRORS = [
    (chunk_f1, [], [], "got 0 gold and 0 predicted sentences; expected the same number of each"),
    (chunk_f1, [["X"], ["X"]], [["X"]], "got 2 gold and 1 predicted sentences"),
    (chunk_f1, [["X"], ["X", "X"]], [["X"], ["X"]], "2 gold and 1 predicted tags in sentence 1"),
    (accuracy, [], [], "got 0 gold and 0 predicted labels"),
    (accuracy, [1, 2], [1, 2, 3], "got 2 gold and 3 predicted labels"),
    (answers, [], [], "got 0 gold and 0 predicted answers"),
    (answers, [["a"]], ["a", "b"], "got 1 gold and 2 predicted answers"),
    (answers, [[]], ["text"], "expected a list of at least 1 text"),
    (answers, ["text"], ["text"], "expected a list of at least 1 text"),
    (normalized, "text", "fr", "no rule of MLQA for 'fr'.*Allowed: ar, de, en, es, hi, vi, zh"),
]


@pytest.mark.parametrize(("score", "golds", "preds", "message"), ERRORS)
def test_what_does_not_fit_is_named(score, golds, preds, message):
    with pytest.raises(ValueError, match=message):
        score(golds, preds)
