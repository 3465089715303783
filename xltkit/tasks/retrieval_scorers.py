"""Official scores of the search tasks: Tatoeba, BUCC, LAReQA and Mewsli-X.

Pure functions over vectors, rankings and pairs of ids; every score is between 0 and 100. The
rules are those of google-research/xtreme at commit 838c13b; the docstrings name script and lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from statistics import fmean

import numpy as np

from xltkit.tasks.scorers import accuracy

Pair = tuple[Hashable, Hashable]  # a sentence of one side and one of the other


def _unit_rows(vectors: np.ndarray, name: str) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2 or vectors.size == 0:
        raise ValueError(f"got {name} of shape {vectors.shape}; expected (rows, dimensions)")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and norms.all()):
        raise ValueError(f"got a zero or non-finite row in {name}; expected rows with a direction")
    return vectors / norms


def _two_sides(x: np.ndarray, y: np.ndarray, names: tuple[str, str]) -> tuple[np.ndarray, ...]:
    x, y = (_unit_rows(side, name) for side, name in zip((x, y), names, strict=True))
    if x.shape[1] != y.shape[1]:
        given = f"{x.shape[1]} dimensions in {names[0]} and {y.shape[1]} in {names[1]}"
        raise ValueError(f"got {given}; expected the same number")
    return x, y


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"got {name}={value}; expected at least 1")


def nearest(query: np.ndarray, database: np.ndarray, block: int = 1024) -> np.ndarray:
    """Index of the row of ``database`` with the highest cosine, for each row of ``query``.

    The search of Tatoeba: the queries are the English sentences and the database is the other
    language; no margin, no correction for hubs (XTREME third_party/evaluate_retrieval.py:780-811,
    utils_retrieve.py:331-339). Of equal rows the first wins. ``block`` bounds the memory used.
    """
    query, database = _two_sides(query, database, ("query", "database"))
    # Matrix products can differ in the last bit between columns that hold equal rows, so that
    # argmax alone would not settle ties; only the first of equal rows takes part.
    rows = np.sort(np.unique(database, axis=0, return_index=True)[1])
    columns = database[rows].T
    starts = range(0, len(query), block)
    return rows[np.concatenate([(query[at : at + block] @ columns).argmax(1) for at in starts])]


def retrieval_accuracy(query: np.ndarray, database: np.ndarray, block: int = 1024) -> float:
    """Share of queries, 0 to 100, whose :func:`nearest` row has their own index (Tatoeba)."""
    if len(query) != len(database):
        given = f"{len(query)} rows in query and {len(database)} in database"
        raise ValueError(f"got {given}; expected the same number: row i translates row i")
    return accuracy(range(len(query)), nearest(query, database, block).tolist())


class TopK:
    """The best ``k`` candidates of each query, from scores that come in blocks of candidates.

    Memory depends on ``k`` and the block, not on the number of candidates. However the candidates
    are cut into blocks, and in whatever order these come, the ranking is that of
    ``argsort(kind="stable")[::-1]`` over all of them: of equal scores the candidate with the
    higher index comes first (XTREME third_party/utils_lareqa.py:381, which leaves ``kind`` open).

    Attributes:
        scores: (queries, up to k), best first; ``None`` before the first block.
    """

    def __init__(self, k: int):
        _at_least_one("k", k)
        self.k = k
        self.scores: np.ndarray | None = None
        self._indices: np.ndarray | None = None

    def add(self, scores: np.ndarray, first_index: int) -> None:
        """Take in the scores (queries, candidates) of the candidates from ``first_index`` on."""
        scores = np.asarray(scores)
        queries = scores.shape[:1] if self.scores is None else self.scores.shape[:1]
        if scores.ndim != 2 or scores.shape[:1] != queries or np.isnan(scores).any():
            wanted = f"({queries[0] if queries else 'queries'}, candidates), without NaN"
            raise ValueError(f"got scores of shape {scores.shape}; expected {wanted}")
        if self.scores is None or self.scores.shape[1] < self.k:
            self.scores, self._indices = self._merged(scores, first_index, slice(None))
            return
        # Late in a long stream, a block changes the ranking of few queries.
        rows = np.flatnonzero((scores >= self.scores[:, -1:]).any(1))
        better = self._merged(scores[rows], first_index, rows)
        self.scores = self.scores.astype(better[0].dtype, copy=False)
        self.scores[rows], self._indices[rows] = better

    def _merged(
        self, scores: np.ndarray, first_index: int, rows: np.ndarray | slice
    ) -> tuple[np.ndarray, np.ndarray]:
        columns = _best_columns(scores, self.k)
        scores, indices = np.take_along_axis(scores, columns, 1), columns + first_index
        if self.scores is not None:
            scores = np.concatenate([self.scores[rows], scores], 1)
            indices = np.concatenate([self._indices[rows], indices], 1)
        order = np.lexsort((indices, scores), axis=1)[:, ::-1][:, : self.k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(indices, order, 1)

    def ranking(self) -> np.ndarray:
        """Indices of the candidates, (queries, up to k), best first."""
        if self._indices is None:
            raise ValueError("got no scores; call add(scores, first_index) first")
        return self._indices.copy()


def _best_columns(scores: np.ndarray, k: int) -> np.ndarray:
    """The columns of the k highest scores of each row, in any order; of equals the later ones."""
    rows, width = scores.shape
    if width <= k:
        return np.broadcast_to(np.arange(width), scores.shape)
    backwards = scores[:, ::-1]
    least = np.partition(scores, -k, axis=1)[:, -k, None]
    above, level = backwards > least, backwards == least
    keep = above | (level & (level.cumsum(1) <= k - above.sum(1, keepdims=True)))
    return width - 1 - np.nonzero(keep)[1].reshape(rows, k)


# BUCC: mining


def unrepeated(sentences: Sequence[str]) -> list[int]:
    """Rows of the sentences that occur once, white space at the ends aside.

    BUCC counts no pair with a sentence that occurs more than once in its text, gold or not
    (XTREME third_party/utils_retrieve.py:266-280, ``read_sent2id``). The search still sees every
    distinct sentence, the repeated ones once (``:137-141``): drop their pairs after mining.
    """
    stripped = [sentence.strip() for sentence in sentences]
    count = Counter(stripped)
    return [row for row, sentence in enumerate(stripped) if count[sentence] == 1]


def margin_pairs(
    x: np.ndarray, y: np.ndarray, k: int = 4, block: int = 1024
) -> dict[tuple[int, int], float]:
    """Candidate translation pairs (row of ``x``, row of ``y``) and their margins, best first.

    The score of a pair is its cosine over the mean of two means: of the cosines of either side
    with its ``k`` nearest neighbours. Each row of ``x`` proposes the best of its neighbours, then
    each row of ``y``; pairs are taken from the highest score down while both sides are unused
    (XTREME third_party/utils_retrieve.py:131-229, retrieval "max", margin "ratio") and the score
    above 0. A margin of 0 / 0 is none.

    Memory: a block of ``block`` x ``block`` cosines, and ``k`` neighbours of every row. Equal
    scores go as in :class:`TopK`, then to the proposals of ``x``; the script leaves that open.
    """
    _at_least_one("k", k)
    x, y = _two_sides(x, y, ("x", "y"))
    forward, backward = _neighbours(x, y, k, block)
    means = tuple(cosines.mean(1) for cosines, _ in (forward, backward))
    best_y, scores_y = _best_by_margin(*forward, *means)
    best_x, scores_x = _best_by_margin(*backward, *means[::-1])
    rows = np.concatenate([np.arange(len(x)), best_x])
    columns = np.concatenate([best_y, np.arange(len(y))])
    scores = np.concatenate([scores_y, scores_x])
    # The script uses up both sides before it looks at the score; on the way down that is the same.
    used_x, used_y, taken = set(), set(), {}
    for at in np.argsort(-scores, kind="stable"):
        i, j = int(rows[at]), int(columns[at])
        if scores[at] > 0 and i not in used_x and j not in used_y:
            used_x.add(i)
            used_y.add(j)
            taken[i, j] = float(scores[at])
    return taken


def _neighbours(x: np.ndarray, y: np.ndarray, k: int, block: int) -> list[tuple[np.ndarray, ...]]:
    """Cosines and indices of the nearest rows of y for each row of x, and the other way round."""
    _at_least_one("block", block)
    forward = [TopK(k) for _ in range(0, len(x), block)]
    backward = [TopK(k) for _ in range(0, len(y), block)]
    for i, of_x in enumerate(forward):
        for j, of_y in enumerate(backward):
            cosines = x[i * block :][:block] @ y[j * block :][:block].T
            of_x.add(cosines, j * block)
            of_y.add(cosines.T, i * block)
    return [
        (np.concatenate([t.scores for t in side]), np.concatenate([t.ranking() for t in side]))
        for side in (forward, backward)
    ]


def _best_by_margin(
    cosines: np.ndarray, indices: np.ndarray, own: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each row, which of its neighbours has the highest margin, and that margin."""
    with np.errstate(divide="ignore", invalid="ignore"):
        margins = cosines / ((own[:, None] + others[indices]) / 2)
    margins = np.where(np.isnan(margins), -np.inf, margins)
    rows, best = np.arange(len(indices)), margins.argmax(1)
    return indices[rows, best], margins[rows, best]


def best_threshold(scores: Mapping[Pair, float], gold: Collection[Pair]) -> float:
    """The score from which on the pairs give the highest F1: found on dev, used on test.

    Going down from the highest score, midway between the pair that gives the (first) best F1 and
    the next one (XTREME third_party/utils_retrieve.py:232-249, ``bucc_optimize``); 0 if no pair
    is gold. If the best pair is the last, where the script stops with an ``IndexError``, its own
    score: :func:`mined` takes what is equal.
    """
    gold = _gold_pairs(gold)
    items = sorted(scores.items(), key=lambda item: -item[1])
    threshold, best, correct = 0.0, 0.0, 0
    for taken, (pair, score) in enumerate(items, 1):
        correct += pair in gold
        precision, recall = correct / taken, correct / len(gold)
        # Rounded as in the script: where two places are level, rounding decides.
        f1 = 2 * precision * recall / (precision + recall) if correct else 0.0
        if f1 > best:
            following = items[taken][1] if taken < len(items) else score
            threshold, best = (score + following) / 2, f1
    return threshold


def mined(scores: Mapping[Pair, float], threshold: float) -> set[Pair]:
    """The pairs that score ``threshold`` or more (XTREME utils_retrieve.py:252-263)."""
    return {pair for pair, score in scores.items() if score >= threshold}


def mining_f1(gold: Collection[Pair], pred: Collection[Pair]) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` of BUCC, 0 to 100, over sets of pairs.

    All three are 0 when nothing is found (XTREME evaluate.py:87-98).
    """
    gold, pred = _gold_pairs(gold), set(pred)
    correct = len(gold & pred)
    return {
        "f1": 200.0 * correct / (len(gold) + len(pred)),
        "precision": 100.0 * correct / len(pred) if pred else 0.0,
        "recall": 100.0 * correct / len(gold),
    }


def _gold_pairs(gold: Collection[Pair]) -> set[Pair]:
    if not gold:
        raise ValueError("got 0 gold pairs; expected at least 1: nothing can be scored without")
    return set(gold)


# LAReQA and Mewsli-X: ranking


def average_precision(
    relevant: Collection[Hashable], ranking: Sequence[Hashable], k: int = 20
) -> float:
    """Average precision of one ranking at ``k``, 0 to 100; LAReQA's mAP@20 is its mean.

    Precision at each rank with a relevant candidate, summed and divided by the number of relevant
    candidates or ``k``, whichever is less (XTREME third_party/utils_lareqa.py:348-360). A
    candidate that is repeated counts once and takes up its ranks all the same.
    """
    _at_least_one("k", k)
    relevant = set(relevant)
    if not relevant:
        raise ValueError("got 0 relevant candidates; expected at least 1: precision is undefined")
    total, seen = 0.0, set()
    for rank, candidate in enumerate(ranking[:k], 1):
        if candidate in relevant and candidate not in seen:
            seen.add(candidate)
            total += len(seen) / rank
    return 100.0 * total / min(len(relevant), k)


def reciprocal_rank(gold: Hashable, ranking: Sequence[Hashable], k: int = 20) -> float:
    """100 over the rank of ``gold`` in the first ``k``, or 0 if it is not among them."""
    _at_least_one("k", k)
    return next((100.0 / rank for rank, c in enumerate(ranking[:k], 1) if c == gold), 0.0)


def mean_reciprocal_rank(
    gold: Mapping[Hashable, Hashable], rankings: Mapping[Hashable, Sequence], k: int = 20
) -> float:
    """Mean of :func:`reciprocal_rank` over the queries of ``gold``: MRR@20 of Mewsli-X, 0 to 100.

    Both are by query; one without a ranking counts 0, and a ranking without gold does not count
    (XTREME third_party/utils_mewslix.py:623-695). evaluate.py:112-115 prints it as map@20.
    """
    if not gold:
        raise ValueError("got 0 queries; expected at least 1")
    return fmean(
        reciprocal_rank(right, rankings.get(query, ()), k) for query, right in gold.items()
    )
