"""The search scorers: published vectors, hand-computed cases, properties, errors."""

import os
import random

import numpy as np
import pytest

from xltkit.tasks import retrieval_scorers as scorers
from xltkit.tasks.scorers import accuracy

# Tatoeba


def retrieval_accuracy(query, database):
    return accuracy(range(len(query)), scorers.nearest(query, database).tolist())


def test_nearest_by_hand():
    query = [[2.0, 0.1], [0.0, 3.0], [1.0, 1.0]]
    database = [[0.0, 1.0], [1.0, 1.1], [50.0, 0.0]]
    assert scorers.nearest(query, database).tolist() == [2, 0, 1]
    # Both English rows lie nearest to the first foreign row; the other way round all is well.
    english, foreign = [[1.0, 0.0], [0.9, 0.1]], [[1.0, 0.0], [0.0, 1.0]]
    assert retrieval_accuracy(english, foreign) == 50
    assert retrieval_accuracy(foreign, english) == 100


def test_nearest_is_the_search_written_out():
    generator = np.random.default_rng(4)
    query, database = generator.standard_normal((50, 6)), generator.standard_normal((40, 6))
    cosines = query @ (database / np.linalg.norm(database, axis=1, keepdims=True)).T
    assert scorers.nearest(query, database).tolist() == cosines.argmax(1).tolist()
    rescaled = query * generator.uniform(0.1, 10, (50, 1))
    assert retrieval_accuracy(query, rescaled) == 100
    assert retrieval_accuracy(np.roll(query, 1, axis=0), rescaled) == 0


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


# The best k of a stream


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


# BUCC


def test_margin_pairs_of_the_published_vector():
    x = [[1, 0, 0], [0, 1, 0], [0, 0.6, 0.8]]
    y = [[0.9, 0.1, 0], [0.1, 0.9, 0.2], [0, 0.2, 0.9]]
    expected = {(0, 0): 2.624357, (2, 2): 1.911258, (1, 1): 1.859771}
    pairs = scorers.margin_pairs(x, y)
    assert list(pairs) == list(expected) and pairs == pytest.approx(expected, abs=1e-6)


def margins_written_out(x, y, k):
    x, y = (np.asarray(v) / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    cosines = [[float(a @ b) for b in y] for a in x]
    columns = list(zip(*cosines, strict=True))
    near = [sorted(range(len(y)), key=lambda j, row=row: (-row[j], -j))[:k] for row in cosines]
    back = [sorted(range(len(x)), key=lambda i, c=c: (-c[i], -i))[:k] for c in columns]
    mean = [sum(row[j] for j in js) / len(js) for row, js in zip(cosines, near, strict=True)]
    mean_back = [sum(c[i] for i in rows) / len(rows) for c, rows in zip(columns, back, strict=True)]

    def margin(i, j):
        return cosines[i][j] / ((mean[i] + mean_back[j]) / 2)

    proposals = [max((margin(i, j), i, j) for j in js) for i, js in enumerate(near)]
    proposals += [max((margin(i, j), i, j) for i in rows) for j, rows in enumerate(back)]
    used_x, used_y, taken = set(), set(), {}
    for score, i, j in sorted(proposals, key=lambda p: -p[0]):
        if i not in used_x and j not in used_y:
            used_x.add(i)
            used_y.add(j)
            if score > 0:
                taken[i, j] = score
    return taken


@pytest.mark.parametrize("block", [1, 5, 1024])
@pytest.mark.parametrize(("k", "rows"), [(4, (25, 20)), (1, (11, 30)), (4, (3, 30))])
def test_margin_pairs_are_the_rule_written_out(k, rows, block):
    generator = np.random.default_rng(8)
    for _ in range(3):
        x, y = (generator.standard_normal((n, 5)) for n in rows)
        found, expected = scorers.margin_pairs(x, y, k, block), margins_written_out(x, y, k)
        assert list(found) == list(expected) and found == pytest.approx(expected, abs=1e-9)


def test_only_margins_above_0_are_pairs():
    # Row 1 of x points away from both rows of y; both rows of y are nearest to row 0.
    x, y = [[1.0, 0.1], [-1.0, 0.05]], [[1.0, 0.0], [1.0, 0.3]]
    assert list(scorers.margin_pairs(x, y, k=1)) == [(0, 0)]
    # A cosine of 0 over a mean of 0 is no margin, and must not be taken for one.
    assert scorers.margin_pairs([[1.0, 0.0]], [[0.0, 1.0]]) == {}


def test_sentences_that_repeat_are_left_out():
    assert scorers.unrepeated(["a", "b", "a ", "c", "\tb", "d"]) == [3, 5]
    assert scorers.unrepeated([]) == []


@pytest.mark.parametrize(
    ("scores", "gold", "expected"),
    [
        ([("a", 3.0), ("b", 2.0), ("x", 1.0)], "ab", 1.5),
        ([("x", 1.0), ("a", 3.0), ("b", 2.0)], "ab", 1.5),  # in any order
        ([("a", 3.0), ("x", 2.0), ("b", 1.0)], "ab", 1.0),  # the last: the script stops here
        ([("a", 3.0), ("x", 2.0), ("y", 1.0)], "ab", 2.5),
        ([("a", 3.0)], "a", 3.0),
        ([("x", 3.0), ("y", 2.0)], "ab", 0.0),
        ([], "a", 0.0),
        ([("a", 2.0), ("x", 2.0), ("y", 1.0)], "a", 2.0),
    ],
)
def test_best_threshold(scores, gold, expected):
    scores = {(name, name): score for name, score in scores}
    threshold = scorers.best_threshold(scores, {(name, name) for name in gold})
    assert threshold == expected


def test_the_best_threshold_gives_the_best_f1_there_is():
    generator = random.Random(10)
    for _ in range(200):
        scores = {(i, i): generator.random() for i in range(generator.randint(1, 12))}
        gold = {(i, i) for i in generator.sample(range(15), generator.randint(1, 9))}
        reached, *possible = (
            scorers.mining_f1(gold, {pair for pair, score in scores.items() if score >= least})
            for least in (scorers.best_threshold(scores, gold), *scores.values())
        )
        assert reached["f1"] == max(p["f1"] for p in possible)


@pytest.mark.parametrize(
    ("gold", "pred", "f1", "precision", "recall"),
    [
        (["ab", "cd"], ["ab", "ef"], 50, 50, 50),
        (["ab", "cd"], ["ab"], 200 / 3, 100, 50),
        (["ab"], ["ba"], 0, 0, 0),
        (["ab"], [], 0, 0, 0),
        (["ab", "ab"], ["ab"], 100, 100, 100),
    ],
)
def test_mining_f1(gold, pred, f1, precision, recall):
    scores = scorers.mining_f1(set(map(tuple, gold)), set(map(tuple, pred)))
    expected = {"f1": f1, "precision": precision, "recall": recall}
    assert scores == pytest.approx(expected, abs=1e-9)


# LAReQA and Mewsli-X


@pytest.mark.parametrize(
    ("relevant", "ranking", "k", "expected"),
    [
        ({0, 1, 2}, [0, 5, 1, 6, 2], 3, (1 + 2 / 3) / 3),
        ({0, 1, 2}, [9, 0, 5, 1], 20, (1 / 2 + 2 / 4) / 3),
        (range(25), range(20), 20, 1),
        ({0}, [0, 0], 2, 1),
        ({0, 1}, [0, 0, 1], 20, (1 + 2 / 3) / 2),
        (range(11), range(20), 20, 1),
        ({0}, [1, 2], 20, 0),
        ({7}, [1, 2, 7], 20, 1 / 3),
        ({7}, [1, 2, 7], 2, 0),
        ({7}, [], 20, 0),
    ],
)
def test_average_precision(relevant, ranking, k, expected):
    for kind in (list, np.array):
        found = scorers.average_precision(relevant, kind(ranking), k)
        assert found == pytest.approx(100 * expected, abs=1e-9)


def test_with_one_relevant_candidate_average_precision_is_the_reciprocal_rank():
    generator = random.Random(11)
    for _ in range(300):
        ranking = generator.choices(range(30), k=25)
        reciprocal = scorers.reciprocal_rank([3], ranking)
        assert scorers.average_precision({3}, ranking) == pytest.approx(reciprocal, abs=1e-9)
        several = scorers.average_precision(generator.sample(range(30), 12), ranking)
        assert 0 <= several <= 100


def mean_reciprocal_rank(gold, rankings):
    """Of the queries of ``gold``; one without a ranking counts 0."""
    ranks = [scorers.reciprocal_rank([right], rankings.get(q, ())) for q, right in gold.items()]
    return sum(ranks) / len(ranks)


@pytest.mark.parametrize(
    ("rankings", "expected"),
    [
        ({"a": ["Q9", "Q1"], "b": ["Q2"]}, 50),
        ({"a": ["Q1"] * 2, "b": ["Q0"] * 20 + ["Q2"]}, 100 / 3),
    ],
)
def test_a_query_without_a_ranking_counts_nothing(rankings, expected):
    gold = {"a": "Q1", "b": "Q2", "c": "Q3"}
    assert mean_reciprocal_rank(gold, rankings) == pytest.approx(expected, abs=1e-9)


# What does not fit is named

PAIR = np.ones((2, 3))
ERRORS = [
    (scorers.nearest, (PAIR, np.zeros((1, 3))), "zero or non-finite vector"),
    (scorers.nearest, (np.full((1, 3), np.nan), PAIR), "zero or non-finite vector"),
    (scorers.margin_pairs, (PAIR, np.zeros((4, 3))), "zero or non-finite vector"),
    (scorers.TopK(2).add, (np.array([[1.0], [np.nan]]),), "scores that are not a number"),
]


@pytest.mark.parametrize(("function", "given", "message"), ERRORS)
def test_what_does_not_fit_is_named(function, given, message):
    with pytest.raises(ValueError, match=message):
        function(*given)


# The official scorers themselves, where there is a checkout of google-research/xtreme


@pytest.fixture
def official(monkeypatch):
    if "XTREME_HOME" not in os.environ:
        pytest.skip("XTREME_HOME names no checkout")
    monkeypatch.syspath_prepend(os.environ["XTREME_HOME"])

    def load(module, *needed):
        for name in needed:
            pytest.importorskip(name)
        return pytest.importorskip(f"third_party.{module}", exc_type=ImportError)

    return load


def test_average_precision_equals_the_official_one(official):
    theirs = official("utils_lareqa").average_precision_at_k
    generator = random.Random(12)
    for _ in range(500):
        relevant = generator.sample(range(40), generator.randint(1, 30))
        ranking = generator.choices(range(40), k=generator.randint(0, 40))
        k = generator.randint(1, 30)
        expected = 100 * theirs(relevant, ranking, k)
        assert scorers.average_precision(relevant, ranking, k) == pytest.approx(expected, abs=1e-9)


def test_the_reciprocal_rank_equals_the_official_one(official):
    theirs = official("utils_mewslix").evaluate
    generator = random.Random(13)
    for _ in range(300):
        gold = {i: str(generator.randint(0, 9)) for i in range(generator.randint(1, 20))}
        rankings = {
            i: [str(generator.randint(0, 12)) for _ in range(generator.randint(0, 30))]
            for i in range(20)
            if generator.random() < 0.8
        }
        expected = 100 * theirs({i: [g] for i, g in gold.items()}, rankings, k=20)
        assert mean_reciprocal_rank(gold, rankings) == pytest.approx(expected, abs=1e-9)


def test_the_threshold_equals_the_official_one(official):
    theirs = official("utils_retrieve", "faiss").bucc_optimize
    generator, compared = random.Random(14), 0
    for _ in range(1000):
        count = generator.randint(1, 25)
        scores = {(f"x{i}", f"y{i}"): generator.randint(1, 9) / 7 for i in range(count)}
        pairs = [(f"x{i}", f"y{i}") for i in range(35)]
        gold = set(generator.sample(pairs, generator.randint(1, 20)))
        try:
            expected = theirs(scores, {"\t".join(pair) for pair in gold})
        except IndexError:  # the best is the last
            assert scorers.best_threshold(scores, gold) == min(scores.values())
            continue
        assert scorers.best_threshold(scores, gold) == expected
        compared += 1
    assert 300 < compared < 1000


def test_mining_equals_the_official_one(official, tmp_path):
    module = official("utils_retrieve", "faiss")
    generator = np.random.default_rng(15)
    files = [tmp_path / name for name in ("x.txt", "y.txt", "pairs.tsv", "x.id", "y.id")]
    for rows in ((60, 45), (30, 80), (3, 3)):
        # Sentences repeat, and then their vectors do.
        numbers = [generator.integers(0, 0.8 * n, n) for n in rows]
        vectors = generator.standard_normal((100, 8)).astype(np.float32)
        x, y = (
            vectors[n] + np.float32(0.2) * side for n, side in zip(numbers, (0, 1), strict=True)
        )
        texts = [[f"sentence {i}" for i in n] for n in numbers]
        for side, text, ids in zip(texts, files[:2], files[3:], strict=True):
            text.write_text("".join(f"{t}\n" for t in side))
            ids.write_text("".join(f"{i}\n" for i in range(len(side))))
        module.mine_bitext(x.copy(), y.copy(), str(files[0]), str(files[1]), str(files[2]))
        expected = module.read_candidate2score(*map(str, (files[2], *files[:2], *files[3:])))
        distinct = [[side.index(t) for t in dict.fromkeys(side)] for side in texts]
        once = [set(scorers.unrepeated(side)) for side in texts]
        found = {
            (str(distinct[0][i]), str(distinct[1][j])): score
            for (i, j), score in scorers.margin_pairs(x[distinct[0]], y[distinct[1]]).items()
            if distinct[0][i] in once[0] and distinct[1][j] in once[1]
        }
        assert found == pytest.approx(expected, abs=1e-5)  # theirs are of 32 bits
        assert list(found) == list(expected)
