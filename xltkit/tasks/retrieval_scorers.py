"""Official scores (0 to 100) of the retrieval tasks: Tatoeba, BUCC, LAReQA and Mewsli-X.

The rules are those of google-research/xtreme at commit 838c13b; docstrings name script and lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence, Set

import numpy as np

Pair = tuple[Hashable, Hashable]  # a sentence of one side and one of the other


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The rows in float64, of length 1. Raises ValueError if one has no direction."""
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and norms.all()):
        raise ValueError("got a zero or non-finite vector; expected vectors with a direction")
    return vectors / norms


def nearest(query: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Index of the row of ``database`` with the highest cosine, for each row of ``query``.

    The search of Tatoeba: the queries are the English sentences and the database is the other
    language; no margin, no correction for hubs (XTREME third_party/evaluate_retrieval.py:780-811,
    utils_retrieve.py:331-339). Of equal rows the first wins.
    """
    database = _unit_rows(database)
    # Matrix products can differ in the last bit between columns that hold equal rows, so that
    # argmax alone would not settle ties; only the first of equal rows takes part.
    rows = np.sort(np.unique(database, axis=0, return_index=True)[1])
    return rows[(_unit_rows(query) @ database[rows].T).argmax(1)]


class TopK:
    """The best ``k`` candidates of each query, from scores that come in blocks of candidates.

    However they are cut into blocks, the ranking is that of ``argsort(kind="stable")[::-1]`` over
    all of them: of equal scores the later candidate comes first (XTREME
    third_party/utils_lareqa.py:381, which leaves ``kind`` open, as ``torch.topk`` does).
    """

    def __init__(self, k: int):
        self.k = k
        self.count = 0  # of the candidates so far
        # (queries, up to k) each, in the order of the candidates
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
        columns = _best_columns(scores, self.k)
        self._scores = np.take_along_axis(scores, columns, 1)
        self._indices = np.take_along_axis(indices, columns, 1)

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores and indices of the candidates, (queries, up to k) each, best first."""
        order = self._scores.argsort(1, kind="stable")[:, ::-1]
        return tuple(np.take_along_axis(a, order, 1) for a in (self._scores, self._indices))


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

    BUCC counts no pair with any other, gold or not (XTREME third_party/utils_retrieve.py:266-280),
    but searches every distinct sentence once (``:137-141``): drop their pairs after mining.
    """
    stripped = [sentence.strip() for sentence in sentences]
    count = Counter(stripped)
    return [row for row, sentence in enumerate(stripped) if count[sentence] == 1]


def margin_pairs(
    x: np.ndarray, y: np.ndarray, k: int = 4, block: int = 1024
) -> dict[tuple[int, int], float]:
    """Candidate translation pairs (row of ``x``, row of ``y``) and their margins, best first.

    The score of a pair is its cosine over the mean of two means: of the cosines of either side
    with its ``k`` nearest neighbors. Each row of ``x`` proposes the best of its neighbors, then
    each row of ``y``; pairs are taken from the highest score down while both sides are unused
    (XTREME third_party/utils_retrieve.py:131-229, retrieval "max", margin "ratio") and the score
    above 0. A margin of 0 / 0 is none. Equal scores go as in ``TopK``, then to the proposals of
    ``x``; the script leaves that open. Memory: ``block`` x ``block`` cosines.
    """
    forward, backward = _neighbors(_unit_rows(x), _unit_rows(y), k, block)
    x_means = forward[0].mean(1)
    y_means = backward[0].mean(1)
    best_y, y_scores = _best_by_margin(*forward, x_means, y_means)
    best_x, x_scores = _best_by_margin(*backward, y_means, x_means)
    rows = np.concatenate([np.arange(len(x)), best_x]).tolist()
    columns = np.concatenate([best_y, np.arange(len(y))]).tolist()
    scores = np.concatenate([y_scores, x_scores])
    # The script uses up both sides before it looks at the score; on the way down that is the same.
    used_x: set[int] = set()
    used_y: set[int] = set()
    pairs = {}
    for place in np.argsort(-scores, kind="stable"):
        i = rows[place]
        j = columns[place]
        if scores[place] > 0 and i not in used_x and j not in used_y:
            used_x.add(i)
            used_y.add(j)
            pairs[i, j] = float(scores[place])
    return pairs


def _neighbors(x: np.ndarray, y: np.ndarray, k: int, block: int) -> list[list[np.ndarray]]:
    """Cosines and indices of the nearest rows of y for each row of x, and the other way round."""
    forward = [TopK(k) for _ in range(0, len(x), block)]
    backward = [TopK(k) for _ in range(0, len(y), block)]
    for i, x_neighbors in enumerate(forward):
        for j, y_neighbors in enumerate(backward):
            cosines = x[i * block :][:block] @ y[j * block :][:block].T
            x_neighbors.add(cosines)
            y_neighbors.add(cosines.T)
    sides = ([neighbors.best() for neighbors in blocks] for blocks in (forward, backward))
    return [[np.concatenate(parts) for parts in zip(*side, strict=True)] for side in sides]


def _best_by_margin(
    cosines: np.ndarray, indices: np.ndarray, row_means: np.ndarray, neighbor_means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each row, which of its neighbors has the highest margin, and that margin."""
    with np.errstate(divide="ignore", invalid="ignore"):
        margins = cosines / ((row_means[:, None] + neighbor_means[indices]) / 2)
    margins = np.where(np.isnan(margins), -np.inf, margins)
    best = margins.argmax(1)[:, None]
    return tuple(np.take_along_axis(a, best, 1)[:, 0] for a in (indices, margins))


def best_threshold(scores: Mapping[Pair, float], gold: Set[Pair]) -> float:
    """The score from which on (``>=``) the pairs give the highest F1: found on dev, used on test.

    Going down from the highest score, midway between the pair that gives the (first) best F1 and
    the next one (XTREME third_party/utils_retrieve.py:232-263, ``bucc_optimize``); 0 if no pair
    is gold. If the best pair is the last, where the script stops with an ``IndexError``, its own.
    """
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


def mining_f1(gold: Set[Pair], pred: Set[Pair]) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` of BUCC over pairs (XTREME evaluate.py:87-98)."""
    correct = len(gold & pred)
    return {
        "f1": 200.0 * correct / (len(gold) + len(pred)),
        "precision": 100.0 * correct / len(pred) if pred else 0.0,
        "recall": 100.0 * correct / len(gold),
    }


# LAReQA and Mewsli-X: ranking


def average_precision(
    relevant: Collection[Hashable], ranking: Sequence[Hashable], k: int = 20
) -> float:
    """Average precision of one ranking at ``k``; LAReQA's mAP@20 is its mean.

    Precision at each rank with a relevant candidate, summed and divided by their number or ``k``,
    whichever is less (XTREME third_party/utils_lareqa.py:348-360). A repeated one counts once.
    """
    relevant = set(relevant)
    total = 0.0
    seen: set[Hashable] = set()
    for rank, candidate in enumerate(ranking[:k], 1):
        if candidate in relevant and candidate not in seen:
            seen.add(candidate)
            total += len(seen) / rank
    return 100.0 * total / min(len(relevant), k)


def reciprocal_rank(gold: Collection[Hashable], ranking: Sequence[Hashable], k: int = 20) -> float:
    """100 over the rank of the first of ``gold`` in the first ``k``, or 0 if none is among them.

    Its mean is MRR@20 of Mewsli-X (XTREME third_party/utils_mewslix.py:623-695; evaluate.py:112-115
    prints it as map@20).
    """
    ranks = (rank for rank, candidate in enumerate(ranking[:k], 1) if candidate in gold)
    return 100.0 / next(ranks, float("inf"))
