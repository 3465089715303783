"""The official scorers: published vectors, cases counted by hand, properties."""

import hashlib
import random
import string
from importlib.metadata import version

import pytest

from xltkit.tasks import scorers
from xltkit.tasks.scorers import accuracy, answer_scores, chunks, normalized, set_f1

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
    ("zh", "the A 北", "the a 北"),
    ("zh", "\u4dffa\u4e00b\u9fa5c\u9fa6d", "\u4dffa \u4e00 b \u9fa5 c\u9fa6d"),
]


@pytest.mark.parametrize(("rule", "text", "expected"), NORMALIZED)
def test_normalized_answers(rule, text, expected):
    assert normalized(text, rule) == expected


ANSWERS = [
    (["北京"], "北京大学", "", 0, 0),
    (["the"], "a", "", 0, 100),
    (["the cat sat"], "a cat", "", 200 / 3, 0),
    (["cat cat"], "cat dog", "", 50, 0),
    (["dog", "The cat!"], "cat", "", 100, 100),
    (["cat"], "", "", 0, 0),
    (["北京"], "北京大学", "zh", 200 / 3, 0),
    (["北京"], "北京。", "zh", 100, 100),
]


@pytest.mark.parametrize(("golds", "pred", "rule", "f1", "em"), ANSWERS)
def test_scores_of_one_answer(golds, pred, rule, f1, em):
    assert answer_scores(golds, pred, rule) == pytest.approx({"f1": f1, "em": em}, abs=1e-9)


def test_mlqa_punctuation_is_frozen():
    points = "".join(sorted(scorers.MLQA_PUNCTUATION))
    digest = hashlib.sha256(points.encode()).hexdigest()
    assert digest == "b507e43b11b67ae632de5592a4abf69db84bf3ebceaf8b5a4602993aaba6122c"


def test_mlqa_in_english_differs_from_squad_only_by_unicode_punctuation():
    generator = random.Random(0)
    beyond_ascii = str.maketrans(dict.fromkeys(scorers.MLQA_PUNCTUATION - set(string.punctuation)))
    texts = [random_text(generator) for _ in range(500)]
    by_mlqa = [normalized(text, "en") for text in texts]
    assert by_mlqa == [normalized(text.translate(beyond_ascii)) for text in texts]
    assert by_mlqa != [normalized(text) for text in texts]


@pytest.mark.parametrize("rule", ["", *scorers.MLQA_ARTICLES])
def test_answer_scores_have_the_properties_of_f1(rule):
    generator = random.Random(1)
    for _ in range(300):
        one, other = random_text(generator), random_text(generator)
        score = answer_scores([one], other, rule)["f1"]
        assert score == answer_scores([other], one, rule)["f1"]
        assert 0 <= score <= answer_scores([one, other], other, rule)["f1"] <= 100
        f1 = 100 if normalized(one, rule) else 0
        assert answer_scores([one], one, rule) == {"f1": f1, "em": 100}


def test_accuracy_is_a_share_of_equal_values():
    assert accuracy(["1", "2", "4"], ["1", "2", "3"]) == pytest.approx(200 / 3)
    assert accuracy([0, 1, 2, 2], [1, 0, 2, 2]) == 50
    assert accuracy(["1"], [1]) == 0
    with pytest.raises(ValueError, match="zip"):
        accuracy([1, 2], [1, 2, 3])


SET_F1 = [  # gold, predicted; F1, and precision and recall of entities
    ("B-PER I-PER O B-LOC", "I-PER I-PER O B-LOC", 100, 100, 100),
    ("B-PER I-PER O B-LOC", "B-PER I-PER O I-LOC", 100, 100, 100),
    ("B-PER I-PER O B-LOC", "B-PER B-PER O B-LOC", 40, 100 / 3, 50),
    ("B-PER I-PER O B-LOC", "B-PER I-LOC O B-LOC", 40, 100 / 3, 50),
    ("B-PER I-PER O B-LOC", "O O O O", 0, 0, 0),
    ("O O", "O O", 0, 0, 0),
    ("NOUN NOUN", "NOUN VERB", 0, 0, 0),
    ("SYM SYM", "SYM NOUN", 50, 50, 50),
    ("DET CCONJ NOUN", "DET SCONJ NOUN", 200 / 3, 200 / 3, 200 / 3),
    ("NOUN NOUN VERB", "NOUN NOUN VERB", 100, 100, 100),
    ("CCONJ SCONJ NOUN", "SCONJ CCONJ NOUN", 100 / 3, 100 / 3, 100 / 3),
    ("NOUN NOUN VERB DET NOUN PUNCT", "NOUN VERB VERB DET NOUN PUNCT", 60, 60, 60),
    # Pairs of BUCC.
    ({"ab", "cd"}, {"ab", "ef"}, 50, 50, 50),
    ({"ab", "cd"}, {"ab"}, 200 / 3, 100, 50),
    ({"ab"}, {"ba"}, 0, 0, 0),
    ({"ab"}, set(), 0, 0, 0),
]


@pytest.mark.parametrize(("gold", "pred", "f1", "precision", "recall"), SET_F1)
def test_f1_of_chunks_and_of_pairs(gold, pred, f1, precision, recall):
    gold, pred = (chunks([s.split()]) if isinstance(s, str) else s for s in (gold, pred))
    expected = {"f1": f1, "precision": precision, "recall": recall}
    assert set_f1(gold, pred) == pytest.approx(expected, abs=1e-9)


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


@pytest.mark.parametrize(("sentences", "expected"), CHUNKS)
def test_chunks(sentences, expected):
    assert chunks([tags.split() for tags in sentences]) == expected


@TAG_SETS
def test_f1_lies_between_precision_and_recall_and_is_symmetric(tags):
    generator = random.Random(2)
    for _ in range(300):
        golds, preds = random_pair(generator, tags)
        gold, pred = chunks(golds), chunks(preds)
        scores = set_f1(gold, pred)
        swapped = set_f1(pred, gold)
        assert (swapped["precision"], swapped["recall"]) == (scores["recall"], scores["precision"])
        low, high = sorted((scores["precision"], scores["recall"]))
        assert low - 1e-9 <= scores["f1"] == swapped["f1"] <= high + 1e-9  # but for rounding
        assert set(set_f1(gold, gold).values()) == {100.0 if gold else 0.0}


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
        assert set_f1(chunks(golds), chunks(preds)) == pytest.approx(expected, abs=1e-9)
