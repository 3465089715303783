"""Official scores of the benchmark tasks (0 to 100), as pure functions over plain lists.

The rules are those of the scripts behind the published numbers, at commit 838c13b of
google-research/xtreme; the docstrings name script and lines. Lists that differ in length raise
``ValueError``: the official scripts pair them with ``zip``, which cuts the longer one.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence, Set
from functools import lru_cache
from itertools import chain


def accuracy(gold: Sequence, pred: Sequence) -> float:
    """Share of positions where ``gold == pred`` (XTREME evaluate.py:81-84)."""
    return 100.0 * sum(g == p for g, p in zip(gold, pred, strict=True)) / len(gold)


def set_f1(gold: Set, pred: Set) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` of a set; without anything in common all are 0.

    Of BUCC over pairs (XTREME evaluate.py:87-98), and of PAN-X and UDPOS over ``chunks``
    (evaluate.py:74-78): entities, not strict, or runs of equal parts of speech, of which the
    accuracy of tags is the other reading (evaluate.py:204).
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
    """An answer in lower case without punctuation, articles and extra white space.

    Without a language, by the English rule of SQuAD v1.1, which XTREME applies to every language of
    XQuAD and TyDiQA (third_party/evaluate_squad.py:26-90): only ASCII punctuation and English
    articles go. With one, by its rule in MLQA (mlqa_evaluation_v1.py:21-83, in XTREME
    third_party/evaluate_mlqa.py): every Chinese ideograph becomes a token, and Arabic "ال" a space,
    inside words too (the official branch for the start of a word can never match).
    """
    deleted = _DELETE_PUNCTUATION if language else _DELETE_ASCII_PUNCTUATION
    articles = MLQA_ARTICLES[language] if language else _ENGLISH_ARTICLES
    text = articles.sub(" ", text.lower().translate(deleted))
    if language == "zh":
        text = _IDEOGRAPH.sub(r" \1 ", text)
    return " ".join(text.split())


def answer_scores(golds: Sequence[str], pred: str, language: str = "") -> dict[str, float]:
    """Token ``f1`` and exact match (``em``) of a question, each with the best of its gold answers.

    Without a language those of XQuAD and TyDiQA (XTREME third_party/evaluate_squad.py:61-90), with
    one those of MLQA (mlqa_evaluation_v1.py:86-135). Tokens are split on white space, so F1 is
    close to exact match in Chinese and Thai. Two texts empty once normalized: EM 100, F1 0.
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


def chunks(tags_by_sentence: Sequence[Sequence[str]]) -> set[tuple[str, int, int]]:
    """Chunks of all sentences as (type, first, last), by the rule of seqeval 0.0.12.

    XTREME was scored with its ``get_entities``; positions count an ``O`` after each sentence. The
    first character of a tag is its prefix and the text after the last ``-`` its type, also without
    a prefix: a run of equal part-of-speech tags is one chunk, but tags that begin with ``B``, ``E``
    or ``S`` (SYM, SCONJ) are always single. The rule is not strict: ``I-LOC`` can open a chunk.
    seqeval 1.x cuts the first character off a tag without a prefix: CCONJ and SCONJ are one type.
    """
    spans = set()
    first = 0
    before = type_before = "O"
    # The O after every sentence keeps a chunk from crossing into the next one.
    for position, tag in enumerate(chain.from_iterable((*tags, "O") for tags in tags_by_sentence)):
        now = tag[0]
        type_now = tag.rsplit("-", 1)[-1]
        changed = type_now != type_before
        if before in "ES" or (before in "BI" and now in "BSO") or (before not in "O." and changed):
            spans.add((type_before, first, position - 1))
        # After E-PER, a tag such as X-PER opens nothing and is closed all the same, as a chunk
        # that begins where the last one began. That is odd, and it is the rule.
        if now in "BS" or (before in "ESO" and now in "EI") or (now not in "O." and changed):
            first = position
        before = now
        type_before = type_now
    return spans


@lru_cache(maxsize=1 << 16)
def chunk_counts(gold: str, pred: str) -> tuple[int, int, int]:
    """Of one sentence, its tags parted by blanks: chunks right, gold and predicted.

    Their sums over sentences give the F1 of all, since no chunk crosses a sentence's end.
    """
    golds = chunks([gold.split()])
    preds = chunks([pred.split()])
    return len(golds & preds), len(golds), len(preds)
