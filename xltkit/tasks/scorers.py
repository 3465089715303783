"""Official scores of the benchmark tasks, as pure functions over plain lists.

Every score is between 0 and 100. The rules are those of the scripts behind the published
numbers, at commit 838c13b of google-research/xtreme; the docstrings name script and lines. Gold
comes first, predictions second. Lists that are empty or differ in length raise ``ValueError``:
the official scripts pair them with ``zip`` and would silently score the shorter one.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence, Sized
from functools import lru_cache, partial
from itertools import chain
from operator import eq
from statistics import fmean

Tags = Sequence[Sequence[str]]  # one sequence of tags for each sentence


def _check_lengths(golds: Sized, preds: Sized, what: str, least: int = 1) -> None:
    if len(golds) != len(preds) or len(golds) < least:
        given = f"{len(golds)} gold and {len(preds)} predicted {what}"
        raise ValueError(f"got {given}; expected the same number of each, at least {least}")


def _percent(part: float, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0


def accuracy(gold: Sequence, pred: Sequence) -> float:
    """Share of positions where ``gold == pred``, 0 to 100 (XTREME evaluate.py:81-84)."""
    _check_lengths(gold, pred, "labels")
    return _percent(sum(g == p for g, p in zip(gold, pred, strict=True)), len(gold))


_DELETE_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")

# The MLQA script takes whatever its Python calls punctuation, so its scores change with the
# Python version. The set is frozen at Unicode 14 (Python 3.11): Python 3.12 and 3.13 add the two
# blocks left out here and nothing else. There is no punctuation beyond the first two planes.
_ADDED_LATER = {*map(chr, range(0x11B00, 0x11B0A)), *map(chr, range(0x11F43, 0x11F50))}
_PUNCTUATION = {c for c in map(chr, range(0x20000)) if unicodedata.category(c).startswith("P")}
MLQA_PUNCTUATION = frozenset(_PUNCTUATION - _ADDED_LATER).union(string.punctuation)
_DELETE_PUNCTUATION = dict.fromkeys(map(ord, MLQA_PUNCTUATION))

# What MLQA deletes as an article. Hindi and Chinese have none: their pattern never matches.
_MLQA_ARTICLES = {
    "ar": re.compile("ال"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "en": _ENGLISH_ARTICLES,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "hi": re.compile("(?!)"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "zh": re.compile("(?!)"),
}
MLQA_LANGUAGES = tuple(_MLQA_ARTICLES)
_IDEOGRAPH = re.compile("([\u4e00-\u9fa5])")


def squad_normalise(text: str) -> str:
    """Lower-case and delete ASCII punctuation, English articles and extra white space.

    The English rule of SQuAD v1.1, which XTREME applies to every language of XQuAD and TyDiQA
    (XTREME third_party/evaluate_squad.py:26-90): other punctuation and articles stay.
    """
    text = text.lower().translate(_DELETE_ASCII_PUNCTUATION)
    return " ".join(_ENGLISH_ARTICLES.sub(" ", text).split())


def mlqa_normalise(text: str, language: str) -> str:
    """Lower-case and delete punctuation, the articles of ``language`` and extra white space.

    The rule of MLQA mlqa_evaluation_v1.py:21-83, copied in XTREME third_party/evaluate_mlqa.py.
    Every Chinese ideograph becomes a token of its own. Arabic "ال" becomes a space wherever it
    stands, inside words too: the branch of the official expression that looks for the start of
    a word can never match. An unknown language raises ``ValueError``.
    """
    if language not in _MLQA_ARTICLES:
        raise ValueError(f"got language {language!r}; expected one of {', '.join(MLQA_LANGUAGES)}")
    text = _MLQA_ARTICLES[language].sub(" ", text.lower().translate(_DELETE_PUNCTUATION))
    if language == "zh":
        text = _IDEOGRAPH.sub(r" \1 ", text)
    return " ".join(text.split())


def _token_f1(gold: str, pred: str) -> float:
    # The tokens of two normalised texts as bags. Two empty texts score 0, as officially.
    gold_tokens, pred_tokens = gold.split(), pred.split()
    common = sum((Counter(gold_tokens) & Counter(pred_tokens)).values())
    return 2 * common / (len(gold_tokens) + len(pred_tokens)) if common else 0.0


def _best(score: Callable, normalise: Callable, golds: Sequence[str], pred: str | None) -> float:
    # A bare string would be read as a list of one-character answers and score near zero.
    if isinstance(golds, str) or len(golds) == 0:
        raise ValueError(f"got gold answers {golds!r}; expected a list of at least 1 text")
    normalised = [normalise(text) for text in golds]
    return 0.0 if pred is None else 100.0 * max(score(gold, normalise(pred)) for gold in normalised)


def squad_f1(gold_texts: Sequence[str], pred: str | None) -> float:
    """Best token F1 of ``pred`` over the gold answers of one question, 0 to 100.

    ``None`` is a question without an answer and scores 0 (XTREME evaluate_squad.py:74-79).
    """
    return _best(_token_f1, squad_normalise, gold_texts, pred)


def squad_em(gold_texts: Sequence[str], pred: str | None) -> float:
    """100 if ``pred`` equals a gold answer after :func:`squad_normalise`, otherwise 0."""
    return _best(eq, squad_normalise, gold_texts, pred)


def mlqa_f1(gold_texts: Sequence[str], pred: str | None, language: str) -> float:
    """Best token F1 of one question as :func:`squad_f1`, with :func:`mlqa_normalise`."""
    return _best(_token_f1, partial(mlqa_normalise, language=language), gold_texts, pred)


def mlqa_em(gold_texts: Sequence[str], pred: str | None, language: str) -> float:
    """100 if ``pred`` equals a gold answer after :func:`mlqa_normalise`, otherwise 0."""
    return _best(eq, partial(mlqa_normalise, language=language), gold_texts, pred)


def squad(golds: Sequence[Sequence[str]], preds: Sequence[str | None]) -> dict[str, float]:
    """Mean ``f1`` and ``em`` over questions, 0 to 100: XQuAD and TyDiQA, in every language.

    Mirrors XTREME third_party/evaluate_squad.py:61-90. Tokens are split on white space, so F1 is
    close to exact match in Chinese and Thai. Two texts empty once normalised: EM 100, F1 0.
    """
    _check_lengths(golds, preds, "answers")
    return {"f1": fmean(map(squad_f1, golds, preds)), "em": fmean(map(squad_em, golds, preds))}


def mlqa(golds: Sequence[Sequence[str]], preds: Sequence[str | None], language: str) -> dict:
    """Mean ``f1`` and ``em`` over the questions of MLQA in ``language``, 0 to 100.

    Mirrors MLQA mlqa_evaluation_v1.py:86-135. An unknown language raises ``ValueError``.
    """
    _check_lengths(golds, preds, "answers")
    f1, em = partial(mlqa_f1, language=language), partial(mlqa_em, language=language)
    return {"f1": fmean(map(f1, golds, preds)), "em": fmean(map(em, golds, preds))}


def _check_sentences(golds: Tags, preds: Tags) -> None:
    _check_lengths(golds, preds, "sentences")
    for number, (gold, pred) in enumerate(zip(golds, preds, strict=True)):
        _check_lengths(gold, pred, f"tags in sentence {number}", least=0)
        if isinstance(gold, str) or isinstance(pred, str) or not (all(gold) and all(pred)):
            raise ValueError(f"got {gold!r}, {pred!r}; expected lists of tags, none of them empty")


def chunks(tags_by_sentence: Tags) -> set[tuple[str, int, int]]:
    """Chunks of all sentences as (type, first, last), by the rule of seqeval 0.0.12.

    Mirrors ``get_entities`` of that version, the one XTREME was scored with; positions count an
    ``O`` after each sentence. The first character of a tag is its prefix and the text after the
    last ``-`` its type, also for tags without a prefix: a run of equal part-of-speech tags is
    one chunk, but tags beginning with ``B``, ``E`` or ``S`` (SYM, SCONJ) are always single. The
    rule is not strict: ``I-LOC`` can open a chunk. seqeval 1.x cuts the first character off a
    tag without a prefix, and so takes CCONJ and SCONJ for the same type.
    """
    found = set()
    first, before, type_before = 0, "O", "O"
    # The O after every sentence keeps a chunk from crossing into the next one.
    for position, tag in enumerate(chain.from_iterable((*tags, "O") for tags in tags_by_sentence)):
        now, type_now = tag[0], tag.rsplit("-", 1)[-1]
        changed = type_now != type_before
        if before in "ES" or (before in "BI" and now in "BSO") or (before not in "O." and changed):
            found.add((type_before, first, position - 1))
        # After E-PER, a tag such as X-PER opens nothing and is closed all the same, as a chunk
        # that begins where the last one began. That is odd, and it is the rule.
        if now in "BS" or (before in "ESO" and now in "EI") or (now not in "O." and changed):
            first = position
        before, type_before = now, type_now
    return found


@lru_cache(maxsize=1 << 16)
def _chunks_of(tags: str) -> frozenset[tuple[str, int, int]]:
    return frozenset(chunks([tags.split()]))


def chunk_counts(gold: str, pred: str) -> tuple[int, int, int]:
    """Of one sentence, its tags parted by blanks: chunks right, gold and predicted.

    Their sums over sentences give :func:`chunk_f1`, since no chunk crosses a sentence's end.
    """
    golds, preds = _chunks_of(gold), _chunks_of(pred)
    return len(golds & preds), len(golds), len(preds)


def chunk_f1(golds: Tags, preds: Tags) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` of PAN-X and UDPOS, 0 to 100 (XTREME evaluate.py:74-78).

    Micro average over :func:`chunks`: over entities, not strict, or over runs of equal parts of
    speech, of which :func:`token_accuracy` is the other reading (evaluate.py:204). All three are 0
    when nobody marks a chunk.
    """
    _check_sentences(golds, preds)
    gold, pred = chunks(golds), chunks(preds)
    correct = len(gold & pred)
    return {
        "f1": _percent(2 * correct, len(gold) + len(pred)),
        "precision": _percent(correct, len(pred)),
        "recall": _percent(correct, len(gold)),
    }


def token_accuracy(golds: Tags, preds: Tags) -> float:
    """Share of correct tags among the tokens of all sentences, 0 to 100."""
    _check_sentences(golds, preds)
    return accuracy(list(chain.from_iterable(golds)), list(chain.from_iterable(preds)))


def majority_floor(golds: Tags) -> float:
    """Token accuracy, 0 to 100, of predicting the most frequent gold tag everywhere."""
    counts = Counter(chain.from_iterable(golds))
    if not counts:
        raise ValueError(f"got 0 tags in {len(golds)} sentences; expected at least 1 tag")
    return _percent(max(counts.values()), counts.total())
