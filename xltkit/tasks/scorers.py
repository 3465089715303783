"""Official scores of the benchmark tasks (0 to 100), as pure functions over plain lists.

The rules are those of the scripts behind the published numbers, at commit 838c13b of
google-research/xtreme; the docstrings name script and lines. Lists that differ in length raise
``ValueError``: the official scripts pair them with ``zip``, which truncates the longer one.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence, Set
from itertools import chain
from operator import itemgetter

import numpy as np

NEIGHBORS = 4  # nearest neighbors of a sentence, from which margins are computed
BLOCK = 1024  # sentences of either side that are compared at a time
DEPTH = 20  # how far down a ranking is scored


def accuracy(gold: Sequence, pred: Sequence) -> float:
    """Share of positions where ``gold == pred`` (XTREME evaluate.py:81-84)."""
    return 100.0 * sum(g == p for g, p in zip(gold, pred, strict=True)) / len(gold)


def set_f1(gold: Set, pred: Set) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` of a set; if nothing is in common, all are 0.

    For BUCC over pairs (XTREME evaluate.py:87-98), and for PAN-X and UDPOS over ``chunks``
    (evaluate.py:74-78): entities, not strict, or runs of equal parts of speech, for which the
    accuracy of tags is the alternative metric (evaluate.py:204).
    """
    correct = len(gold & pred)
    return {
        "f1": 200.0 * correct / (len(gold) + len(pred)) if correct else 0.0,
        "precision": 100.0 * correct / len(pred) if correct else 0.0,
        "recall": 100.0 * correct / len(gold) if correct else 0.0,
    }


_ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")

# The MLQA script takes whatever its Python calls punctuation, so its scores change with the
# Python version. The set is frozen at Unicode 14 (Python 3.11): Python 3.12 and 3.13 add the two
# blocks left out here and nothing else. There is no punctuation beyond the first two planes.
_ADDED_LATER = {*map(chr, range(0x11B00, 0x11B0A)), *map(chr, range(0x11F43, 0x11F50))}
_PUNCTUATION = {c for c in map(chr, range(0x20000)) if unicodedata.category(c).startswith("P")}
MLQA_PUNCTUATION = frozenset(_PUNCTUATION - _ADDED_LATER).union(string.punctuation)
_DELETE_PUNCTUATION = str.maketrans(dict.fromkeys(MLQA_PUNCTUATION))
_DELETE_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)

# What MLQA deletes as an article. Hindi and Chinese have none: their pattern never matches.
MLQA_ARTICLES = {
    "ar": re.compile("ال"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "en": _ENGLISH_ARTICLES,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "hi": re.compile("(?!)"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "zh": re.compile("(?!)"),
}
_IDEOGRAPH = re.compile("([\u4e00-\u9fa5])")


def normalized(text: str, language: str = "") -> str:
    """An answer in lower case without punctuation, articles and extra whitespace.

    Without a language, by the English rule of SQuAD v1.1, which XTREME applies to every language of
    XQuAD and TyDiQA (third_party/evaluate_squad.py:26-90): only ASCII punctuation and English
    articles are removed. With one, by its rule in MLQA (mlqa_evaluation_v1.py:21-83, in XTREME
    third_party/evaluate_mlqa.py): every Chinese ideograph becomes a token, and Arabic "ال" a space,
    even inside words (the official branch for the start of a word can never match).
    """
    deleted = _DELETE_PUNCTUATION if language else _DELETE_ASCII_PUNCTUATION
    articles = MLQA_ARTICLES[language] if language else _ENGLISH_ARTICLES
    text = articles.sub(" ", text.lower().translate(deleted))
    if language == "zh":
        text = _IDEOGRAPH.sub(r" \1 ", text)
    return " ".join(text.split())


def answer_scores(golds: Sequence[str], pred: str, language: str = "") -> dict[str, float]:
    """Token ``f1`` and exact match (``em``) of a question, each for the best of its gold answers.

    Without a language, as for XQuAD and TyDiQA (XTREME third_party/evaluate_squad.py:61-90); with
    one, as for MLQA (mlqa_evaluation_v1.py:86-135). Tokens are split on whitespace, so F1 is close
    to exact match in Chinese and Thai. If both texts are empty once normalized, EM is 100, F1 0.
    """
    f1 = em = 0.0
    pred = normalized(pred, language)
    pred_tokens = pred.split()
    for gold in golds:
        gold = normalized(gold, language)
        gold_tokens = gold.split()
        common = (Counter(gold_tokens) & Counter(pred_tokens)).total()
        if common:
            f1 = max(f1, 2 * common / (len(gold_tokens) + len(pred_tokens)))
        em = max(em, float(gold == pred))
    return {"f1": 100.0 * f1, "em": 100.0 * em}


def chunks(
    tags_by_sentence: Sequence[Sequence[str]], official: bool = True
) -> set[tuple[str, int, int]]:
    """Chunks of all sentences as (type, first, last), by the rule of seqeval 0.0.12.

    XTREME was scored with its ``get_entities``; positions count an ``O`` after each sentence. The
    first character of a tag is its prefix and the text after the last ``-`` its type, even without
    a prefix: a run of equal part-of-speech tags is one chunk, but tags that begin with ``B``, ``E``
    or ``S`` (SYM, SCONJ) are always single. The rule is not strict: ``I-LOC`` can open a chunk.
    seqeval 1.x cuts the first character off a tag without a prefix: CCONJ and SCONJ are one type.
    If not ``official``, a prefix is B, I, E or S before a hyphen, and the type is the rest; a tag
    without a prefix is its own type, except O.
    """
    spans = set()
    first = 0
    before = type_before = "O"
    # The O after every sentence keeps a chunk from crossing into the next one.
    for position, tag in enumerate(chain.from_iterable((*tags, "O") for tags in tags_by_sentence)):
        now = tag[0]
        type_now = tag.rsplit("-", 1)[-1]
        if not official:
            has_prefix = now in "BIES" and tag[1:2] == "-"
            now = now if has_prefix or tag == "O" else "I"
            type_now = tag[2:] if has_prefix else tag
        changed = type_now != type_before
        if before in "ES" or (before in "BI" and now in "BSO") or (before not in "O." and changed):
            spans.add((type_before, first, position - 1))
        # After E-PER, a tag such as X-PER opens nothing but is closed anyway, as a chunk that
        # begins where the last one began. That is odd, but it is the rule.
        if now in "BS" or (before in "ESO" and now in "EI") or (now not in "O." and changed):
            first = position
        before = now
        type_before = type_now
    return spans


# Retrieval


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
    language; no margin, no hubness correction (XTREME third_party/evaluate_retrieval.py:780-811,
    utils_retrieve.py:331-339). Among equal rows, the first wins.
    """
    database = _unit_rows(database) + 0.0  # -0.0 is another pattern of bits than 0.0
    # Matrix products can differ in the last bit between columns that hold equal rows, so that
    # argmax alone would not settle ties; only the first of equal rows takes part.
    first: dict[bytes, int] = {}
    for i, row in enumerate(database):
        first.setdefault(row.tobytes(), i)
    rows = np.array(list(first.values()))
    return rows[(_unit_rows(query) @ database[rows].T).argmax(1)]


class TopK:
    """The best ``k`` candidates of each query, from scores that come in blocks of candidates.

    However they are cut into blocks, the ranking is that of ``argsort(kind="stable")[::-1]`` over
    all of them: among equal scores, the later candidate comes first (XTREME
    third_party/utils_lareqa.py:381, which leaves ``kind`` open, as ``torch.topk`` does).
    """

    def __init__(self, k: int):
        self.k = k
        self.count = 0  # of the candidates so far
        # (queries, up to k) each, in the order of the candidates
        self._scores: np.ndarray | None = None
        self._indices: np.ndarray | None = None

    def add(self, scores: np.ndarray) -> None:
        """Add the scores (queries, candidates) of the next candidates."""
        if np.isnan(scores).any():
            raise ValueError("got scores that are not a number; expected numbers, to be ranked")
        indices = np.broadcast_to(np.arange(scores.shape[1]) + self.count, scores.shape)
        self.count += scores.shape[1]
        if self._scores is not None:
            scores = np.concatenate([self._scores, scores], 1)
            indices = np.concatenate([self._indices, indices], 1)
        if scores.shape[1] > self.k:
            backwards = scores[:, ::-1]  # among equals, the last ones stay
            least = np.partition(scores, -self.k, axis=1)[:, -self.k, None]
            above = backwards > least
            level = backwards == least
            # Equal scores fill the places that better ones leave.
            keep = above | (level & (level.cumsum(1) <= self.k - above.sum(1, keepdims=True)))
            columns = np.nonzero(keep[:, ::-1])[1].reshape(-1, self.k)
            scores, indices = (np.take_along_axis(a, columns, 1) for a in (scores, indices))
        self._scores = scores
        self._indices = indices

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores and indices of the candidates, (queries, up to k) each, best first."""
        order = self._scores.argsort(1, kind="stable")[:, ::-1]
        return tuple(np.take_along_axis(a, order, 1) for a in (self._scores, self._indices))


def margin_pairs(x: np.ndarray, y: np.ndarray) -> dict[tuple[int, int], float]:
    """Candidate translation pairs (row of ``x``, row of ``y``) of BUCC, with margins, best first.

    The score of a pair is its cosine over the mean of two means: the mean cosine of either side
    with its nearest ``NEIGHBORS``. Each row of ``x`` proposes the best of its neighbors, then
    each row of ``y``; pairs are taken from the highest score down while both sides are unused
    (XTREME third_party/utils_retrieve.py:131-229, retrieval "max", margin "ratio") and the score
    is above 0. A margin of 0 / 0 gives no pair. Ties are broken as in ``TopK``, then in favor of
    the proposals of ``x``; the script leaves that open.
    """
    x = _unit_rows(x)
    y = _unit_rows(y)
    tops = [[TopK(NEIGHBORS) for _ in range(0, len(side), BLOCK)] for side in (x, y)]
    for i, of_x in enumerate(tops[0]):
        for j, of_y in enumerate(tops[1]):
            cosines = x[i * BLOCK :][:BLOCK] @ y[j * BLOCK :][:BLOCK].T
            of_x.add(cosines)
            of_y.add(cosines.T)
    neighbors = []  # cosines and indices, (rows, NEIGHBORS) each, of either side
    for blocks in tops:
        parts = zip(*(block.best() for block in blocks), strict=True)
        neighbors.append([np.concatenate(part) for part in parts])
    means = [cosines.mean(1) for cosines, _ in neighbors]
    proposals = []
    for side, (cosines, indices) in enumerate(neighbors):
        with np.errstate(divide="ignore", invalid="ignore"):
            margins = cosines / ((means[side][:, None] + means[1 - side][indices]) / 2)
        margins = np.where(np.isnan(margins), -np.inf, margins)
        rows = np.arange(len(margins))
        best = margins.argmax(1)
        pair = (rows, indices[rows, best])
        proposals += zip(margins[rows, best], pair[side], pair[1 - side], strict=True)
    # The script uses up both sides before it checks the score; in descending order it is the same.
    used_x: set[int] = set()
    used_y: set[int] = set()
    pairs = {}
    for score, i, j in sorted(proposals, key=itemgetter(0), reverse=True):
        if score > 0 and i not in used_x and j not in used_y:
            used_x.add(i)
            used_y.add(j)
            pairs[int(i), int(j)] = float(score)
    return pairs


def best_threshold(scores: Mapping[Hashable, float], gold: Set[Hashable]) -> float:
    """The threshold (``>=``) at which the pairs give the highest F1: found on dev, used on test.

    Going down from the highest score, it is midway between the pair that gives the (first) best F1
    and the next one (XTREME third_party/utils_retrieve.py:232-263, ``bucc_optimize``); 0 if no pair
    is gold. If the best pair is the last, where the script fails with an IndexError, its own score.
    """
    items = sorted(scores.items(), key=lambda item: -item[1])
    threshold = best = 0.0
    correct = 0
    for count, (pair, score) in enumerate(items, 1):
        correct += pair in gold
        if not correct:
            continue
        precision = correct / count
        recall = correct / len(gold)
        # Rounded as in the script: if two places are tied, rounding decides.
        f1 = 2 * precision * recall / (precision + recall)
        if f1 > best:
            following = items[count][1] if count < len(items) else score
            threshold = (score + following) / 2
            best = f1
    return threshold


def average_precision(relevant: Collection[Hashable], ranking: Sequence[Hashable]) -> float:
    """Average precision of one ranking at ``DEPTH``; LAReQA's mAP@20 is its mean.

    Precision at each rank with a relevant candidate, summed and divided by the number of relevant
    ones or ``DEPTH``, whichever is less (XTREME third_party/utils_lareqa.py:348-360). Repeated
    candidates count once.
    """
    relevant = set(relevant)
    total = 0.0
    seen: set[Hashable] = set()
    for rank, candidate in enumerate(ranking[:DEPTH], 1):
        if candidate in relevant and candidate not in seen:
            seen.add(candidate)
            total += len(seen) / rank
    return 100.0 * total / min(len(relevant), DEPTH)


def reciprocal_rank(gold: Collection[Hashable], ranking: Sequence[Hashable]) -> float:
    """100 over the rank of the first ``gold`` candidate in the top ``DEPTH``; 0 if there is none.

    Its mean is MRR@20 of Mewsli-X (XTREME third_party/utils_mewslix.py:623-695; evaluate.py:112-115
    prints it as map@20).
    """
    ranks = (rank for rank, candidate in enumerate(ranking[:DEPTH], 1) if candidate in gold)
    return 100.0 / next(ranks, float("inf"))
