"""Black-box attacks on words: which to replace, at random or by trying and looking at the loss.

Places are drawn before the model is asked, the same ones for every model and every width of the
beam, and those of a weaker attack are among those of a stronger one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.random import Generator, default_rng

from xltkit.data.text import Row, replace_words, words
from xltkit.evaluation.attacked import Attack, AttackedModel, AttackResult, Prediction
from xltkit.keys import derive

Words = frozenset[str]
Edits = Mapping[int, str]  # new words by their index in the row
Places = Sequence[tuple[int, Sequence[str]]]  # indices of words, with what may replace each


class Variant(NamedTuple):
    """Words to replace in a row, and the model's prediction for the row with them replaced."""

    edits: Edits
    prediction: Prediction


@dataclass(frozen=True, kw_only=True)
class WordAttack(Attack):
    """An attack that changes some of the words, at random or by a search.

    Attributes:
        strength: share of the words that are changed, at least one word.
        beam: 0 changes each chosen word at random. From 1 on, place after place every proposal,
            and the word itself, is tried in each of the ``beam`` worst variants so far, until the
            prediction is wrong.
        candidates: changes proposed for a word.
        tries: random variants of an input, of which the worst counts, even if better than the
            input itself.
        seed: of the places and the changes.
    """

    strength: float = 0.2
    beam: int = 0
    candidates: int = 3
    tries: int = 1
    seed: int = 0

    version = 2  # 2: punctuation is no word of a tagging; letters are mistaken with their marks

    def proposals(self, word: str, language: str, random: Generator, seen: Words) -> list[str]:
        """All words that may replace a word; ``seen`` are those of the test set, in lower case."""
        raise NotImplementedError

    def run(
        self, model: AttackedModel, clean: Sequence[Prediction], rows: Sequence[Row], language: str
    ) -> list[AttackResult]:
        columns = model.type.texts
        seen = frozenset(word.text.lower() for row in rows for word in words(columns, row))
        places = [self.places(columns, start.row, language, seen) for start in clean]
        beams = [[Variant({}, start)] for start in clean]
        queries = [0] * len(clean)
        # All rows move from place to place together, so that the model reads full batches.
        for depth in range(max(map(len, places)) if self.beam else 1):
            edits: list[list[Edits]] = [[] for _ in clean]
            for i, beam in enumerate(beams):
                if not self.beam:
                    edits[i] = self._draws(places[i], language, clean[i].row["id"])
                elif depth < len(places[i]) and not model.is_fooled(beam[0].prediction):
                    place, options = places[i][depth]
                    edits[i] = [{**v.edits, place: word} for v in beam for word in options]
            edited = [
                [replace_words(columns, start.row, edit) for edit in row_edits]
                for start, row_edits in zip(clean, edits, strict=True)
            ]
            for i, predictions in enumerate(model.predict_variants(edited)):
                variants = list(map(Variant, edits[i], predictions))
                queries[i] += len(variants)
                if self.beam or not variants:
                    variants = [*beams[i], *variants]
                variants.sort(key=lambda variant: model.rank(variant.prediction), reverse=True)
                beams[i] = variants[: max(1, self.beam)]
        counts = [max(1, len(words(columns, start.row))) for start in clean]
        return [
            AttackResult(worst.prediction, len(worst.edits) / count, read)
            for (worst, *_), count, read in zip(beams, counts, queries, strict=True)
        ]

    def places(self, columns: Sequence[str], row: Row, language: str, seen: Words) -> Places:
        """The words of a row that are attacked, in order, and what may replace each."""
        row_words = words(columns, row)
        limit = word_limit(self.strength, len(row_words))
        key = (self.seed, language, row["id"])
        free = [i for i, word in enumerate(row_words) if not word.fixed]
        places: list[tuple[int, list[str]]] = []
        for i in _random("places", *key).permutation(free).astype(int).tolist():
            if len(places) == limit:
                break
            random = _random("proposals", *key, i)
            proposals = self.proposals(row_words[i].text, language, random, seen)
            order = random.permutation(len(proposals))[: self.candidates]
            if proposals:
                places.append((i, list(dict.fromkeys(proposals[k] for k in order))))
        return places

    def _draws(self, places: Places, language: str, row_id: str) -> list[Edits]:
        """Different random variants of a row, each with a change at every place."""
        draws: list[Edits] = []
        for number in range(self.tries):
            random = _random("try", self.seed, language, row_id, number)
            draw = {i: options[random.integers(len(options))] for i, options in places}
            if draw and draw not in draws:
                draws.append(draw)
        return draws


def word_limit(strength: float, count: int) -> int:
    """The number of words that an attack may change: a share, rounded up, at least one."""
    return max(1, math.ceil(round(strength * count, 9)))


def _random(*key: Any) -> Generator:
    return default_rng(derive(*key))
