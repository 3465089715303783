"""The retrieval scorers: published vectors, rules written out, cases by hand, official scripts."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from xltkit.tasks import scorers
from xltkit.tasks.retrieval import candidate_pairs
from xltkit.tasks.scorers import set_f1


def test_nearest_by_hand():
    query = [[2.0, 0.1], [0.0, 3.0], [1.0, 1.0]]
    database = [[0.0, 1.0], [1.0, 1.1], [50.0, 0.0]]
    assert scorers.nearest(query, database).tolist() == [2, 0, 1]
    # Both English rows lie nearest to the first foreign row; the other way round all is well.
    english, foreign = [[1.0, 0.0], [0.9, 0.1]], [[1.0, 0.0], [0.0, 1.0]]
    assert scorers.nearest(english, foreign).tolist() == [0, 0]
    assert scorers.nearest(foreign, english).tolist() == [0, 1]


def test_nearest_is_the_search_written_out():
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


@pytest.mark.parametrize(
    ("relevant", "ranking", "expected"),
    [
        ({0, 1, 2}, [0, 5, 1, 6], (1 + 2 / 3) / 3),
        ({0, 1, 2}, [9, 0, 5, 1], (1 / 2 + 2 / 4) / 3),
        (range(25), range(25), 1),
        ({0, 1}, [0, 0, 1], (1 + 2 / 3) / 2),
        (range(11), range(20), 1),
        ({0}, [1, 2], 0),
        ({7}, [1, 2, 7], 1 / 3),
        ({25}, range(30), 0),
        ({7}, [], 0),
    ],
)
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


@pytest.mark.parametrize(("function", "given", "message"), ERRORS)
def test_what_does_not_fit_is_named(function, given, message):
    with pytest.raises(ValueError, match=message):
        function(*given)


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


def test_average_precision_equals_the_official_one(official):
    average_precision = official("utils_lareqa").average_precision_at_k
    generator = random.Random(12)
    for _ in range(500):
        relevant = generator.sample(range(40), generator.randint(1, 30))
        ranking = generator.choices(range(40), k=generator.randint(0, 40))
        expected = 100 * average_precision(relevant, ranking, scorers.DEPTH)
        assert scorers.average_precision(relevant, ranking) == pytest.approx(expected, abs=1e-9)


def test_the_reciprocal_rank_equals_the_official_one(official):
    evaluate = official("utils_mewslix").evaluate
    generator = random.Random(13)
    for _ in range(300):
        gold = [str(generator.randint(0, 9)) for _ in range(generator.randint(1, 20))]
        rankings = [
            [str(generator.randint(0, 12)) for _ in range(generator.randint(0, 30))] for _ in gold
        ]
        expected = evaluate({i: [g] for i, g in enumerate(gold)}, dict(enumerate(rankings)), k=20)
        mean = np.mean(list(map(scorers.reciprocal_rank, gold, rankings)))
        assert mean == pytest.approx(100 * expected, abs=1e-9)


def test_the_threshold_equals_the_official_one(official):
    bucc_optimize = official("utils_retrieve", "faiss").bucc_optimize
    generator, compared = random.Random(14), 0
    for _ in range(1000):
        count = generator.randint(1, 25)
        scores = {(f"x{i}", f"y{i}"): generator.randint(1, 9) / 7 for i in range(count)}
        pairs = [(f"x{i}", f"y{i}") for i in range(35)]
        gold = set(generator.sample(pairs, generator.randint(1, 20)))
        try:
            expected = bucc_optimize(scores, {"\t".join(pair) for pair in gold})
        except IndexError:  # the best is the last
            assert scorers.best_threshold(scores, gold) == min(scores.values())
            continue
        assert scorers.best_threshold(scores, gold) == expected
        compared += 1
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
