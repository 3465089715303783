"""Official scores of the retrieval tasks: Tatoeba, BUCC, LAReQA and Mewsli-X.

Pure functions over vectors, rankings and pairs of ids; every score is between 0 and 100. The
rules are those of google-research/xtreme at commit 838c13b; the docstrings name script and lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np

Pair = tuple[Hashable, Hashable]  # a sentence of one side and one of the other


def _unit_rows(vectors: np.ndarray, name: str) -> np.ndarray:
    """The rows in float64, of length 1. Raises ValueError if one has no direction."""
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2 or vectors.size == 0:
        raise ValueError(f"got {name} of shape {vectors.shape}; expected (rows, dimensions)")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and norms.all()):
        raise ValueError(f"got a zero or non-finite row in {name}; expected rows with a direction")
    return vectors / norms


def _two_sides(x: np.ndarray, y: np.ndarray, names: tuple[str, str]) -> tuple[np.ndarray, ...]:
    x, y = _unit_rows(x, names[0]), _unit_rows(y, names[1])
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"got {x.shape[1]} dimensions in {names[0]} and {y.shape[1]} in {names[1]}; expected "
            "the same number"
        )
    return x, y


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
    best = [
        (query[start : start + block] @ columns).argmax(1) for start in range(0, len(query), block)
    ]
    return rows[np.concatenate(best)]


class TopK:
    """The best ``k`` candidates of each query, from scores that come in blocks of candidates.

    Memory depends on ``k`` and the block, not on the number of candidates. However the candidates
    are cut into blocks, the ranking is that of ``argsort(kind="stable")[::-1]`` over all of them:
    of equal scores the later candidate comes first (XTREME third_party/utils_lareqa.py:381, which
    leaves ``kind`` open, as ``torch.topk`` does).
    """

    def __init__(self, k: int):
        self.k = k
        self.count = 0  # of the candidates so far
        # (queries, up to k), worst first: a later candidate stands behind its equals.
        self._scores: np.ndarray | None = None
        self._indices: np.ndarray | None = None

    def add(self, scores: np.ndarray) -> None:
        """Take in the scores (queries, candidates) of the next candidates."""
        if np.isnan(scores).any():
            raise ValueError("got scores that are not a number; expected numbers, to be ranked")
        indices = np.broadcast_to(np.arange(scores.shape[1]) + self.count, scores.shape)
        self.count += scores.shape[1]
        if self._scores is not None:
            scores = np.concatenate([self._scores, scores], 1)
            indices = np.concatenate([self._indices, indices], 1)
        best = _best_columns(scores, self.k)
        order = np.take_along_axis(scores, best, 1).argsort(1, kind="stable")
        best = np.take_along_axis(best, order, 1)
        self._scores = np.take_along_axis(scores, best, 1)
        self._indices = np.take_along_axis(indices, best, 1)

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores and indices of the candidates, (queries, up to k) each, best first."""
        return self._scores[:, ::-1], self._indices[:, ::-1]


def _best_columns(scores: np.ndarray, k: int) -> np.ndarray:
    """The columns of the k highest scores of each row, from left to right; of equals the last."""
    rows, width = scores.shape
    if width <= k:
        return np.broadcast_to(np.arange(width), scores.shape)
    backwards = scores[:, ::-1]
    least = np.partition(scores, -k, axis=1)[:, -k, None]
    above = backwards > least
    level = backwards == least
    # Equals fill the places that better ones leave.
    keep = above | (level & (level.cumsum(1) <= k - above.sum(1, keepdims=True)))
    return np.nonzero(keep[:, ::-1])[1].reshape(rows, k)


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
    x, y = _two_sides(x, y, ("x", "y"))
    forward, backward = _neighbours(x, y, k, block)
    means = tuple(cosines.mean(1) for cosines, _ in (forward, backward))
    best_y, scores_y = _best_by_margin(*forward, *means)
    best_x, scores_x = _best_by_margin(*backward, *means[::-1])
    rows = np.concatenate([np.arange(len(x)), best_x])
    columns = np.concatenate([best_y, np.arange(len(y))])
    scores = np.concatenate([scores_y, scores_x])
    # The script uses up both sides before it looks at the score; on the way down that is the same.
    used_x: set[int] = set()
    used_y: set[int] = set()
    pairs = {}
    for place in np.argsort(-scores, kind="stable"):
        i, j = int(rows[place]), int(columns[place])
        if scores[place] > 0 and i not in used_x and j not in used_y:
            used_x.add(i)
            used_y.add(j)
            pairs[i, j] = float(scores[place])
    return pairs


def _neighbours(x: np.ndarray, y: np.ndarray, k: int, block: int) -> list[tuple[np.ndarray, ...]]:
    """Cosines and indices of the nearest rows of y for each row of x, and the other way round."""
    forward = [TopK(k) for _ in range(0, len(x), block)]
    backward = [TopK(k) for _ in range(0, len(y), block)]
    for i, x_neighbours in enumerate(forward):
        for j, y_neighbours in enumerate(backward):
            cosines = x[i * block :][:block] @ y[j * block :][:block].T
            x_neighbours.add(cosines)
            y_neighbours.add(cosines.T)
    sides = []
    for blocks in (forward, backward):
        cosines, indices = zip(*(neighbours.best() for neighbours in blocks), strict=True)
        sides.append((np.concatenate(cosines), np.concatenate(indices)))
    return sides


def _best_by_margin(
    cosines: np.ndarray, indices: np.ndarray, row_means: np.ndarray, neighbour_means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each row, which of its neighbours has the highest margin, and that margin."""
    with np.errstate(divide="ignore", invalid="ignore"):
        margins = cosines / ((row_means[:, None] + neighbour_means[indices]) / 2)
    margins = np.where(np.isnan(margins), -np.inf, margins)
    rows = np.arange(len(indices))
    best = margins.argmax(1)
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
    threshold = best = 0.0
    correct = 0
    for count, (pair, score) in enumerate(items, 1):
        correct += pair in gold
        precision = correct / count
        recall = correct / len(gold)
        # Rounded as in the script: where two places are level, rounding decides.
        f1 = 2 * precision * recall / (precision + recall) if correct else 0.0
        if f1 > best:
            following = items[count][1] if count < len(items) else score
            threshold = (score + following) / 2
            best = f1
    return threshold


def mined(scores: Mapping[Pair, float], threshold: float) -> set[Pair]:
    """The pairs that score ``threshold`` or more (XTREME utils_retrieve.py:252-263)."""
    return {pair for pair, score in scores.items() if score >= threshold}


def mining_f1(gold: Collection[Pair], pred: Collection[Pair]) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` of BUCC, 0 to 100, over sets of pairs.

    All three are 0 when nothing is found (XTREME evaluate.py:87-98).
    """
    gold = _gold_pairs(gold)
    pred = set(pred)
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
    relevant = set(relevant)
    if not relevant:
        raise ValueError("got 0 relevant candidates; expected at least 1: precision is undefined")
    total = 0.0
    seen: set[Hashable] = set()
    for rank, candidate in enumerate(ranking[:k], 1):
        if candidate in relevant and candidate not in seen:
            seen.add(candidate)
            total += len(seen) / rank
    return 100.0 * total / min(len(relevant), k)


def reciprocal_rank(gold: Hashable, ranking: Sequence[Hashable], k: int = 20) -> float:
    """100 over the rank of ``gold`` in the first ``k``, or 0 if it is not among them.

    Its mean over queries is MRR@20 of Mewsli-X (XTREME third_party/utils_mewslix.py:623-695), which
    evaluate.py:112-115 prints as map@20.
    """
    ranks = (rank for rank, candidate in enumerate(ranking[:k], 1) if candidate == gold)
    return 100.0 / next(ranks, float("inf"))
