"""Black-box attacks: which words to replace, by trying and looking at the loss.

Places are drawn before the model is asked, the same ones for every model and every width of beam,
and those of a weaker attack are among those of a stronger one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xltkit.data.text import is_valid, replace_words, words
from xltkit.evaluation.attacked_model import AttackedModel, AttackResult, Prediction, Row
from xltkit.evaluation.attacks import Attack
from xltkit.keys import derive

Edits = Mapping[int, str]


class Places(NamedTuple):
    """Where a row may change: the number of its words, and what can stand at some of them."""

    count: int
    proposals: Sequence[tuple[int, Sequence[str]]]


class State(NamedTuple):
    """A row with some words replaced, and what the model makes of it."""

    edits: Edits
    prediction: Prediction


def flips(strength: float, count: int) -> int:
    """The number of words that an attack may change: a share, rounded up, at least one."""
    return max(1, math.ceil(round(strength * count, 9)))


def attack_words(
    model: AttackedModel, rows: Sequence[Row], clean: Sequence[Prediction], language: str,
    vocabulary: frozenset[str], attack: Attack,
) -> list[AttackResult]:  # fmt: skip
    """The worst that replacing some words of each row does to the model.

    Args:
        model: the model, asked about rows.
        rows: of one language, in canonical columns.
        clean: what the model makes of them as they are.
        language: of the rows.
        vocabulary: the words of the test set in this language, in lower case.
        attack: proposes words. With ``beam`` 0 every place gets a proposal at random, ``tries``
            times over. Else place after place every proposal, and the word itself, is tried in
            each of the ``beam`` worst rows so far, until the prediction is wrong.
    """
    plans = [places(model, row, language, vocabulary, attack) for row in rows]
    search = _beamed if attack.beam else _drawn
    states, queries = search(model, rows, clean, plans, language, attack)
    found = []
    for row, plan, state, asked in zip(rows, plans, states, queries, strict=True):
        new, share = replace_words(model.type.name, row, state.edits), 0.0
        if state.edits:
            share = len(state.edits) / plan.count
        sound = is_valid(model.type.name, new)
        found.append(AttackResult(state.prediction, share, sound, asked, model.texts(new)))
    return found


def places(
    model: AttackedModel, row: Row, language: str, vocabulary: frozenset[str], attack: Attack
) -> Places:
    """The places of a row that are attacked, in the order they are, and what can stand there."""
    there = words(model.type.name, row)
    order = [i for i, word in enumerate(there) if not word.fixed]
    key = (attack.seed, language, row["id"])
    order = _random("places", *key).permutation(order).astype(int).tolist()
    most, found = flips(attack.strength, len(there)), []
    for at in order:
        if len(found) == most:
            break
        random = _random("proposals", *key, at)
        proposed = attack.proposals(there[at].text, language, random, vocabulary)
        if proposed:
            found.append((at, list(dict.fromkeys(proposed))))
    return Places(len(there), found)


def _random(*key: Any) -> np.random.Generator:
    return np.random.default_rng(derive(*key))


def _drawn(
    model: AttackedModel, rows: Sequence[Row], clean: Sequence[Prediction], plans: Sequence[Places],
    language: str, attack: Attack,
) -> tuple[list[State], list[int]]:  # fmt: skip
    """The worst of ``tries`` random draws for each row, whether or not it is worse than none."""
    drawn: list[list[Edits]] = []
    for row, plan in zip(rows, plans, strict=True):
        mine: list[Edits] = []
        for number in range(attack.tries):
            random = _random("try", attack.seed, language, row["id"], number)
            edits = {at: words[random.integers(len(words))] for at, words in plan.proposals}
            if edits and edits not in mine:
                mine.append(edits)
        drawn.append(mine)
    verdicts = iter(_judged(model, rows, drawn))
    states = []
    for before, mine in zip(clean, drawn, strict=True):
        tried = [State(edits, next(verdicts)) for edits in mine] or [State({}, before)]
        states.append(_ranked(model, tried)[0])
    return states, [len(mine) for mine in drawn]


def _beamed(
    model: AttackedModel, rows: Sequence[Row], clean: Sequence[Prediction], plans: Sequence[Places],
    language: str, attack: Attack,
) -> tuple[list[State], list[int]]:  # fmt: skip
    """The worst that a beam finds for each row; all rows move from place to place together."""
    beams = [[State({}, before)] for before in clean]
    queries = [0] * len(rows)
    for depth in range(max((len(plan.proposals) for plan in plans), default=0)):
        grown: list[list[Edits]] = [[] for _ in rows]
        for beam, plan, mine in zip(beams, plans, grown, strict=True):
            if depth < len(plan.proposals) and not model.is_fooled(beam[0].prediction):
                at, options = plan.proposals[depth]
                mine += [{**state.edits, at: word} for state in beam for word in options]
        verdicts = iter(_judged(model, rows, grown))
        for i, mine in enumerate(grown):
            new = [State(edits, next(verdicts)) for edits in mine]
            beams[i] = _ranked(model, [*beams[i], *new])[: attack.beam]
            queries[i] += len(mine)
    return [beam[0] for beam in beams], queries


def _judged(
    model: AttackedModel, rows: Sequence[Row], edits: Sequence[Sequence[Edits]]
) -> list[Prediction]:
    """Verdicts on the edited rows, those of a row together."""
    pairs = zip(rows, edits, strict=True)
    return model.predict(
        [replace_words(model.type.name, row, one) for row, mine in pairs for one in mine]
    )


def _ranked(model: AttackedModel, states: Sequence[State]) -> list[State]:
    """States from the worst on; of equals, the earlier."""
    worst = lambda state: (model.is_fooled(state.prediction), state.prediction.loss)  # noqa: E731
    return sorted(states, key=worst, reverse=True)  # stable: equals keep their order


def distract(
    model: AttackedModel,
    rows: Sequence[Row],
    clean: Sequence[Prediction],
    variants: Sequence[Sequence[Row]],
) -> list[AttackResult]:
    """The worst of some variants of each row that hold a sentence more (Jia and Liang 2017).

    ``changed`` is the number of words added, as a share of those there were.
    """
    verdicts = iter(model.predict([variant for mine in variants for variant in mine]))
    name, found = model.type.name, []
    for row, before, mine in zip(rows, clean, variants, strict=True):
        said = [next(verdicts) for _ in mine] or [before]
        at = model.worst(said)
        new = mine[at] if mine else row
        share = len(words(name, new)) / len(words(name, row)) - 1
        found.append(
            AttackResult(said[at], share, is_valid(name, new), len(mine), model.texts(new))
        )
    return found
