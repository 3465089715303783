"""Black-box attacks: which words to replace, found by trying and looking at the loss.

Places are drawn before the model is asked, the same ones for every model and every width of the
beam, and those of a weaker attack are among those of a stronger one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xltkit.data.text import Row, is_valid, replace_words, words
from xltkit.evaluation.attacked_model import AttackedModel, AttackResult, Case, Prediction
from xltkit.evaluation.attacks import WordAttack
from xltkit.keys import derive

Edits = Mapping[int, str]  # new words by their index in the row


class Plan(NamedTuple):
    """Where a row may change.

    ``places`` are the indices of the words to attack, in the order they are attacked, each with
    the words that may replace it.
    """

    case: Case
    word_count: int
    places: Sequence[tuple[int, Sequence[str]]]


class Variant(NamedTuple):
    """A row with some words replaced, and the model's prediction for it."""

    edits: Edits
    prediction: Prediction


def word_limit(strength: float, count: int) -> int:
    """The number of words that an attack may change: a share, rounded up, at least one."""
    return max(1, math.ceil(round(strength * count, 9)))


def attack_words(
    model: AttackedModel,
    cases: Sequence[Case],
    language: str,
    vocabulary: frozenset[str],
    attack: WordAttack,
) -> list[AttackResult]:
    """The worst that replacing some words of each row does to the model.

    Args:
        model: under attack.
        cases: rows of one language.
        language: of the rows.
        vocabulary: the words of the test set in this language, in lower case.
        attack: proposes words. With ``beam`` 0 every place gets a proposal at random, ``tries``
            times over. Else place after place every proposal, and the word itself, is tried in
            each of the ``beam`` worst variants so far, until the prediction is wrong.
    """
    columns = model.type.texts
    plans = []
    for case in cases:
        places = attack_places(columns, case.row, language, vocabulary, attack)
        plans.append(Plan(case, len(words(columns, case.row)), places))
    if attack.beam:
        worst = _beam_search(model, plans, attack.beam)
    else:
        worst = _random_search(model, plans, language, attack)
    results = []
    for plan, (variant, queries) in zip(plans, worst, strict=True):
        new = replace_words(columns, plan.case.row, variant.edits)
        share = len(variant.edits) / plan.word_count if variant.edits else 0.0
        valid = is_valid(columns, new)
        results.append(AttackResult(variant.prediction, share, valid, queries, model.texts(new)))
    return results


def attack_places(
    columns: Sequence[str],
    row: Row,
    language: str,
    vocabulary: frozenset[str],
    attack: WordAttack,
) -> list[tuple[int, list[str]]]:
    """The words of a row that are attacked, in order, and what may replace each."""
    row_words = words(columns, row)
    limit = word_limit(attack.strength, len(row_words))
    key = (attack.seed, language, row["id"])
    free = [i for i, word in enumerate(row_words) if not word.fixed]
    places = []
    for i in _random("places", *key).permutation(free).astype(int).tolist():
        if len(places) == limit:
            break
        random = _random("proposals", *key, i)
        proposals = attack.proposals(row_words[i].text, language, random, vocabulary)
        if proposals:
            places.append((i, list(dict.fromkeys(proposals))))
    return places


def _random(*key: Any) -> np.random.Generator:
    return np.random.default_rng(derive(*key))


def _random_search(
    model: AttackedModel, plans: Sequence[Plan], language: str, attack: WordAttack
) -> list[tuple[Variant, int]]:
    """The worst of ``tries`` random variants of each row, even if better than the row itself.

    Returns:
        A variant for each row, and the number of variants that were read.
    """
    edits: list[list[Edits]] = []
    for plan in plans:
        draws: list[Edits] = []
        for number in range(attack.tries):
            random = _random("try", attack.seed, language, plan.case.row["id"], number)
            draw = {i: options[random.integers(len(options))] for i, options in plan.places}
            if draw and draw not in draws:
                draws.append(draw)
        edits.append(draws)
    results = []
    for plan, variants in zip(plans, _read(model, plans, edits), strict=True):
        worst = _ranked(model, variants or [Variant({}, plan.case.clean)])[0]
        results.append((worst, len(variants)))
    return results


def _beam_search(
    model: AttackedModel, plans: Sequence[Plan], width: int
) -> list[tuple[Variant, int]]:
    """The worst variant of each row that a beam finds.

    Returns:
        A variant for each row, and the number of variants that were read.
    """
    beams = [[Variant({}, plan.case.clean)] for plan in plans]
    queries = [0] * len(plans)
    # All rows move from place to place together, so that the model reads full batches.
    for depth in range(max((len(plan.places) for plan in plans), default=0)):
        edits: list[list[Edits]] = [[] for _ in plans]
        for i, (beam, plan) in enumerate(zip(beams, plans, strict=True)):
            if depth < len(plan.places) and not model.is_fooled(beam[0].prediction):
                place, options = plan.places[depth]
                edits[i] = [{**v.edits, place: word} for v in beam for word in options]
        for i, variants in enumerate(_read(model, plans, edits)):
            beams[i] = _ranked(model, [*beams[i], *variants])[:width]
            queries[i] += len(variants)
    return [(beam[0], count) for beam, count in zip(beams, queries, strict=True)]


def _read(
    model: AttackedModel, plans: Sequence[Plan], edits: Sequence[Sequence[Edits]]
) -> list[list[Variant]]:
    """Variants of each row with their predictions; the model reads all of them in one stream."""
    edited = []
    for plan, row_edits in zip(plans, edits, strict=True):
        edited += [replace_words(model.type.texts, plan.case.row, edit) for edit in row_edits]
    predictions = iter(model.predict(edited))
    return [[Variant(edit, next(predictions)) for edit in row_edits] for row_edits in edits]


def _ranked(model: AttackedModel, variants: Sequence[Variant]) -> list[Variant]:
    """Variants from the worst on; of equals, the earlier."""
    return sorted(variants, key=lambda variant: model.rank(variant.prediction), reverse=True)


def add_sentences(
    model: AttackedModel, cases: Sequence[Case], variants: Sequence[Sequence[Row]]
) -> list[AttackResult]:
    """The worst of some variants of each row that have a sentence more (Jia and Liang 2017).

    ``changed`` is the number of words added, as a share of those of the row.
    """
    columns = model.type.texts
    predictions = iter(model.predict([new for row_variants in variants for new in row_variants]))
    results = []
    for (row, clean), row_variants in zip(cases, variants, strict=True):
        tried = [next(predictions) for _ in row_variants] or [clean]
        worst = model.worst(tried)
        new = row_variants[worst] if row_variants else row
        share = len(words(columns, new)) / len(words(columns, row)) - 1
        valid = is_valid(columns, new)
        texts = model.texts(new)
        results.append(AttackResult(tried[worst], share, valid, len(row_variants), texts))
    return results
