"""The official scorers: published vectors, cases by hand, properties, the official scripts."""

import hashlib
import os
import random
import string
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import Dataset

from xltkit.tasks import scorers
from xltkit.tasks.retrieval import candidate_pairs
from xltkit.tasks.scorers import accuracy, answer_scores, chunks, normalized, set_f1

CASES = yaml.safe_load(Path(__file__).with_name("scorers.yaml").read_text(encoding="utf-8"))
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


@pytest.mark.parametrize(("rule", "text", "expected"), CASES["normalized"])
def test_normalized_answers(rule, text, expected):
    assert normalized(text, rule) == expected


@pytest.mark.parametrize(("golds", "pred", "rule", "f1", "em"), CASES["answers"])
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


@pytest.mark.parametrize(("gold", "pred", "f1", "precision", "recall"), CASES["f1"])
def test_f1_of_chunks_and_of_pairs(gold, pred, f1, precision, recall):
    gold, pred = (chunks([s.split()]) if isinstance(s, str) else set(s) for s in (gold, pred))
    expected = {"f1": f1, "precision": precision, "recall": recall}
    assert set_f1(gold, pred) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rule", ["chunks", "own_chunks"])
def test_chunks(rule):
    for sentences, expected in CASES[rule]:
        spans = chunks([tags.split() for tags in sentences], official=rule == "chunks")
        assert spans == set(map(tuple, expected)), sentences


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


# Retrieval


def test_nearest_is_the_search_written_out():
    # Both English rows lie nearest to the first foreign row; the other way round all is well.
    english, foreign = [[1.0, 0.0], [0.9, 0.1]], [[1.0, 0.0], [0.0, 1.0]]
    assert scorers.nearest(english, foreign).tolist() == [0, 0]
    assert scorers.nearest(foreign, english).tolist() == [0, 1]
    generator = np.random.default_rng(4)
    query, database = generator.standard_normal((50, 6)), generator.standard_normal((40, 6))
    cosines = query @ (database / np.linalg.norm(database, axis=1, keepdims=True)).T
    assert scorers.nearest(query, database).tolist() == cosines.argmax(1).tolist()
    rescaled = query * generator.uniform(0.1, 10, (50, 1))
    assert scorers.nearest(query, rescaled).tolist() == list(range(50))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ties_go_to_the_lowest_index(dtype):
    assert scorers.nearest([[1, 1]], [[1, 0], [0, 2], [0, 1]]).tolist() == [0]
    # Wide enough for a matrix product to give equal rows unequal last bits.
    generator = np.random.default_rng(5)
    database = generator.standard_normal((997, 384)).astype(dtype)
    database[generator.integers(0, 997, 500)] = database[generator.integers(0, 997, 500)]
    places = {}
    first = [places.setdefault(row.tobytes(), index) for index, row in enumerate(database)]
    assert len(places) < 997
    assert scorers.nearest(database, database).tolist() == first


@pytest.mark.parametrize("k", [1, 3, 20, 500])
@pytest.mark.parametrize("block", [1, 7, 50, 203, 1000])
def test_top_k_is_the_full_sort_however_the_candidates_are_cut(k, block):
    generator = np.random.default_rng(7)
    for levels in (2, 5, 10**6):  # from ties everywhere to none
        scores = generator.integers(-levels, levels, (11, 203)).astype(np.float32) / 7
        scores[0] = 0
        scores[1, ::3] = -np.inf
        top = scorers.TopK(k)
        for start in range(0, 203, block):
            top.add(scores[:, start : start + block])
            assert top.best()[0].shape == (11, min(k, top.count))
        best, indices = top.best()
        expected = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]
        assert indices.tolist() == expected.tolist()
        assert (best == np.take_along_axis(scores, expected, 1)).all()


def test_margin_pairs_of_the_published_vector():
    x = [[1, 0, 0], [0, 1, 0], [0, 0.6, 0.8]]
    y = [[0.9, 0.1, 0], [0.1, 0.9, 0.2], [0, 0.2, 0.9]]
    expected = {(0, 0): 2.624357, (2, 2): 1.911258, (1, 1): 1.859771}
    pairs = scorers.margin_pairs(x, y)
    assert list(pairs) == list(expected) and pairs == pytest.approx(expected, abs=1e-6)


def margins_written_out(x, y, k):
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    cosines = x @ y.T
    of_x, of_y = (np.sort(c)[:, -k:].mean(1) for c in (cosines, cosines.T))
    near_x, near_y = (np.argsort(-c)[:, :k] for c in (cosines, cosines.T))
    margins = 2 * cosines / (of_x[:, None] + of_y)
    proposals = [max((margins[i, j], i, j) for j in near_x[i]) for i in range(len(x))]
    proposals += [max((margins[i, j], i, j) for i in near_y[j]) for j in range(len(y))]
    taken = {}
    for score, i, j in sorted(proposals, key=lambda p: -p[0]):
        if score > 0 and not any(i == one or j == other for one, other in taken):
            taken[i, j] = score
    return taken


@pytest.mark.parametrize("block", [1, 5, 1024])
@pytest.mark.parametrize(("k", "rows"), [(4, (25, 20)), (1, (11, 30)), (4, (3, 30))])
def test_margin_pairs_are_the_rule_written_out(k, rows, block, monkeypatch):
    monkeypatch.setattr(scorers, "NEIGHBORS", k)
    monkeypatch.setattr(scorers, "BLOCK", block)
    generator = np.random.default_rng(8)
    for _ in range(3):
        x, y = (generator.standard_normal((n, 5)) for n in rows)
        pairs, expected = scorers.margin_pairs(x, y), margins_written_out(x, y, k)
        assert list(pairs) == list(expected) and pairs == pytest.approx(expected, abs=1e-9)


def test_only_margins_above_0_are_pairs(monkeypatch):
    monkeypatch.setattr(scorers, "NEIGHBORS", 1)
    # Row 1 of x points away from both rows of y; both rows of y are nearest to row 0.
    x, y = [[1.0, 0.1], [-1.0, 0.05]], [[1.0, 0.0], [1.0, 0.3]]
    assert list(scorers.margin_pairs(x, y)) == [(0, 0)]
    # A cosine of 0 over a mean of 0 is no margin, and must not be taken for one.
    assert scorers.margin_pairs([[1.0, 0.0]], [[0.0, 1.0]]) == {}


@pytest.mark.parametrize(("scores", "gold", "expected"), CASES["thresholds"])
def test_best_threshold(scores, gold, expected):
    assert scorers.best_threshold(dict(scores), set(gold)) == expected


def test_the_best_threshold_gives_the_best_f1_there_is():
    generator = random.Random(10)
    for _ in range(200):
        scores = {i: generator.random() for i in range(generator.randint(1, 12))}
        gold = set(generator.sample(range(15), generator.randint(1, 9)))
        thresholds = [scorers.best_threshold(scores, gold), *scores.values()]
        mined = [{pair for pair, score in scores.items() if score >= t} for t in thresholds]
        reached, *possible = (set_f1(gold, pairs)["f1"] for pairs in mined)
        assert reached == max(possible)


PRECISIONS = [
    ({0, 1, 2}, [0, 5, 1, 6], (1 + 2 / 3) / 3),
    ({0, 1, 2}, [9, 0, 5, 1], (1 / 2 + 2 / 4) / 3),
    (range(25), range(25), 1),
    ({0, 1}, [0, 0, 1], (1 + 2 / 3) / 2),
    (range(11), range(20), 1),
    ({0}, [1, 2], 0),
    ({7}, [1, 2, 7], 1 / 3),
    ({25}, range(30), 0),
    ({7}, [], 0),
]


@pytest.mark.parametrize(("relevant", "ranking", "expected"), PRECISIONS)
def test_average_precision(relevant, ranking, expected):
    score = scorers.average_precision(relevant, ranking)
    assert score == pytest.approx(100 * expected, abs=1e-9)
    if len(relevant) == 1:
        assert scorers.reciprocal_rank(relevant, ranking) == pytest.approx(score)


PAIR = np.ones((2, 3))
ERRORS = [
    (scorers.nearest, (PAIR, np.zeros((1, 3))), "zero or non-finite vector"),
    (scorers.margin_pairs, (np.full((1, 3), np.nan), PAIR), "zero or non-finite vector"),
    (scorers.TopK(2).add, (np.array([[1.0], [np.nan]]),), "scores that are not a number"),
]


@pytest.mark.parametrize(("function", "inputs", "message"), ERRORS)
def test_what_does_not_fit_is_named(function, inputs, message):
    with pytest.raises(ValueError, match=message):
        function(*inputs)


@pytest.fixture
def official(monkeypatch):
    """Modules of google-research/xtreme, where there is a checkout."""
    if "XTREME_HOME" not in os.environ:
        pytest.skip("XTREME_HOME names no checkout")
    monkeypatch.syspath_prepend(os.environ["XTREME_HOME"])

    def load(module, *needed):
        for name in needed:
            pytest.importorskip(name)
        return pytest.importorskip(f"third_party.{module}", exc_type=ImportError)

    return load


def test_scores_of_rankings_equal_the_official_ones(official):
    average_precision = official("utils_lareqa").average_precision_at_k
    mewslix = official("utils_mewslix").evaluate
    generator = random.Random(12)
    for _ in range(500):
        relevant = generator.sample(range(40), generator.randint(1, 30))
        ranking = generator.choices(range(40), k=generator.randint(0, 40))
        expected = 100 * average_precision(relevant, ranking, scorers.DEPTH)
        assert scorers.average_precision(relevant, ranking) == pytest.approx(expected, abs=1e-9)
        expected = 100 * mewslix({0: [str(relevant[0])]}, {0: list(map(str, ranking))}, k=20)
        assert scorers.reciprocal_rank(relevant[:1], ranking) == pytest.approx(expected, abs=1e-9)


def test_the_threshold_equals_the_official_one(official):
    bucc_optimize = official("utils_retrieve", "faiss").bucc_optimize
    generator = random.Random(14)
    compared = 0
    for _ in range(1000):
        pairs = [(f"x{i}", f"y{i}") for i in range(35)]
        scores = {pair: generator.randint(1, 9) / 7 for pair in pairs[: generator.randint(1, 25)]}
        gold = set(generator.sample(pairs, generator.randint(1, 20)))
        try:
            expected = bucc_optimize(scores, {"\t".join(pair) for pair in gold})
            compared += 1
        except IndexError:  # the best is the last
            expected = min(scores.values())
        assert scorers.best_threshold(scores, gold) == expected
    assert 300 < compared < 1000


def test_mining_equals_the_official_one(official, tmp_path):
    module = official("utils_retrieve", "faiss")
    generator = np.random.default_rng(15)
    files = [str(tmp_path / name) for name in ("x.txt", "y.txt", "pairs.tsv", "x.id", "y.id")]
    for sizes in ((60, 45), (30, 80), (3, 3)):
        # Sentences repeat, and then their vectors do.
        numbers = [generator.integers(0, 0.8 * size, size) for size in sizes]
        directions = generator.standard_normal((100, 8)).astype(np.float32)
        x, y = directions[numbers[0]], directions[numbers[1]] + np.float32(0.2)
        texts = [[f"sentence {i}" for i in side] for side in numbers]
        ids = [[f"x{i}" for i in range(len(x))], [f"y{i}" for i in range(len(y))]]
        for lines, file in zip((*texts, *ids), (*files[:2], *files[3:]), strict=True):
            Path(file).write_text("".join(f"{line}\n" for line in lines))
        module.mine_bitext(x.copy(), y.copy(), *files[:3])
        expected = module.read_candidate2score(files[2], *files[:2], *files[3:])
        columns = {"id": [*ids[0], *ids[1]], "text": [*texts[0], *texts[1]]}
        columns["side"] = ["text"] * len(x) + ["english"] * len(y)
        pairs = candidate_pairs(Dataset.from_dict(columns), np.concatenate([x, y]))
        assert pairs == pytest.approx(expected, abs=1e-5)  # theirs are of 32 bits
        assert list(pairs) == list(expected)
