"""Attacks: what is done to the words of a test set, in any of its languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xltkit.data import lexicons
from xltkit.data.text import typos, word_spans

ENDS = ".!?。！？।؟"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A change of test inputs that should not change their labels.

    Attributes:
        strength: share of the words that are changed, at least one.
        beam: 0 changes each chosen word at random; from 1 on, the changes that hurt the model
            most are searched for, with so many alternatives kept.
        candidates: changes proposed for a word.
        tries: random variants of an input, of which the worst counts.
        seed: of the places and the changes.
    """

    strength: float = 0.2
    beam: int = 0
    candidates: int = 3
    tries: int = 1
    seed: int = 0

    version = 2  # 2: punctuation is no word of a tagging; letters are mistaken with their marks
    access = "black box"
    name = ""

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1 or self.beam < 0 or min(self.candidates, self.tries) < 1:
            raise ValueError(
                f"strength is {self.strength}, beam {self.beam}, candidates {self.candidates}, "
                f"tries {self.tries}: strength is a share above 0 and up to 1, beam 0 or more, the "
                "others 1 or more."
            )

    def sources(self) -> dict[str, str]:
        """Fingerprints of the files that are read, for the key of a stage."""
        return {}

    def proposals(
        self, word: str, language: str, random: np.random.Generator, vocabulary: frozenset[str]
    ) -> list[str]:
        """Words that may stand for a word, at most ``candidates``.

        Args:
            word: as it stands in the text.
            language: of the text.
            random: draws them.
            vocabulary: the words of the test set in this language, in lower case.
        """
        raise NotImplementedError

    def _some(self, found: Sequence[str], random: np.random.Generator) -> list[str]:
        order = random.permutation(len(found))[: self.candidates]
        return [found[i] for i in order]


@dataclass(frozen=True, kw_only=True)
class Typos(Attack):
    """One slip of the finger in a word: letters swapped, left out, doubled or mistaken.

    A mistaken letter is a neighbour on the keyboard in Latin script; in others it is a letter of
    the same script that the test set itself uses, with the same marks if it has any. Marks stay
    with their letters, the first letter stays, and so do words of fewer than three letters; those
    of Chinese and Japanese have one. What is another word of the test set is no
    typo.
    """

    name = "typos"

    def proposals(
        self, word: str, language: str, random: np.random.Generator, vocabulary: frozenset[str]
    ) -> list[str]:
        slips = typos(word, random, vocabulary)
        kept = [slip for slip in slips if slip != word and slip.lower() not in vocabulary]
        return self._some(kept, random)


@dataclass(frozen=True, kw_only=True)
class CodeMixing(Attack):
    """Words replaced by their counterparts in other languages (PolyGloss, Tan and Joty 2021).

    Searched with a beam it is their attack but for the choice of places, which here are drawn
    first; without, it is the random substitution that it has to be compared with.

    Attributes:
        source: of the counterparts (``xltkit.data.lexicons.counterparts``).
        languages: they are in.
    """

    source: str = "microworld"
    languages: tuple[str, ...] = ("qbe", "qke", "qto")
    name = "code-mixing"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "languages", tuple(self.languages))

    def sources(self) -> dict[str, str]:
        return {"lexicon": lexicons.fingerprint(self.source)}

    def proposals(
        self, word: str, language: str, random: np.random.Generator, vocabulary: frozenset[str]
    ) -> list[str]:
        table = lexicons.counterparts(self.source, language, self.languages)
        found = lexicons.look_up(word, table)  # dictionaries hold names, too: no change
        return self._some([other for other in found if other != word], random)


@dataclass(frozen=True, kw_only=True)
class Distractor(Attack):
    """A sentence that resembles the question and does not answer it, put into the context.

    The idea of AddSent (Jia and Liang 2017), for any language: the sentence is one of another
    context of the test set, of all that hold no gold answer the one that shares most words with
    the question, each word weighed by how few sentences have it; of ``tries`` such the worst
    counts. ``strength`` plays no part.

    Attributes:
        at: ``end`` or ``start`` of the context.
    """

    at: str = "end"
    strength: float = 1.0
    name = "distractor"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at not in ("end", "start"):
            raise ValueError(f"at is {self.at!r}; it can be 'end' or 'start'.")

    def variants(self, rows: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
        """For every row of a test set of questions, itself with each of ``tries`` sentences."""
        sentences = list(dict.fromkeys(s for row in rows for s in _sentences(row["context"])))
        holds: dict[str, list[int]] = {}
        for i, sentence in enumerate(sentences):
            for word in _lower(sentence):
                holds.setdefault(word, []).append(i)
        found = []
        for row in rows:
            alike = np.zeros(len(sentences))
            golds = [answer.casefold() for answer in row["answers"]]
            for word in _lower(row["question"]):
                alike[holds.get(word, [])] += 1 / len(holds.get(word, [1]))
            usable = (
                sentences[i]
                for i in np.argsort(-alike, kind="stable")
                if sentences[i] not in row["context"]
                and not any(gold in sentences[i].casefold() for gold in golds)
            )
            found.append(
                [self._put(row, s) for s, _ in zip(usable, range(self.tries), strict=False)]
            )
        return found

    def _put(self, row: Mapping[str, Any], sentence: str) -> dict[str, Any]:
        if self.at == "end":
            return {**row, "context": f"{row['context']} {sentence}"}
        moved = [start + len(sentence) + 1 for start in row["starts"]]
        return {**row, "context": f"{sentence} {row['context']}", "starts": moved}


def _sentences(context: str) -> list[str]:
    found, start = [], 0
    for i, character in enumerate(context):
        if character in ENDS and (character in ENDS[3:] or not context[i + 1 : i + 2].strip()):
            found.append(context[start : i + 1].strip())
            start = i + 1
    return [s for s in [*found, context[start:].strip()] if len(s) > 1]


def _lower(text: str) -> set[str]:
    return {text[a:b].lower() for a, b in word_spans(text)}


@dataclass(frozen=True, kw_only=True)
class TokenFlip(Attack):
    """Words flipped by the gradient of the loss (HotFlip, Ebrahimi et al. 2018, on word pieces).

    Only words that are one token are flipped, into others of the encoder's vocabulary, in the
    same script and of letters alone. Nothing keeps the meaning: how far the model's own vocabulary
    can take it. Flips are greedy; ``beam``, ``candidates`` and ``tries`` play no part.
    """

    access = "white box"
    name = "token flips"


@dataclass(frozen=True, kw_only=True)
class EmbeddingPGD:
    """The worst shift of the word embeddings in a ball, by steps of ascent (Madry et al. 2018).

    No text: a reference. ``radius`` (of a sequence, the ``strength`` in reports) and ``norm`` are
    those of ``xltkit.training.robust.Ball``; a step goes ``step`` times the radius, and of the
    ``steps`` the worst counts.
    """

    radius: float = 0.1
    steps: int = 5
    step: float = 0.5
    norm: str = "l2"

    version = 1
    access = "white box"
    name = "embeddings"
    beam = 0

    def __post_init__(self) -> None:
        if self.norm not in ("l2", "linf") or self.steps < 1 or self.radius <= 0:
            raise ValueError(
                f"norm is {self.norm!r}, steps {self.steps}, radius {self.radius}: norm can be "
                "'l2' or 'linf', steps 1 or more, the radius above 0."
            )

    @property
    def strength(self) -> float:
        """The radius."""
        return self.radius

    def sources(self) -> dict[str, str]:
        return {}
