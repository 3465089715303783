"""Attacks as values: what is done to the words of a test set, in any of its languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from xltkit.data import lexicons
from xltkit.data.text import Row, typos, word_spans
from xltkit.keys import choose

Words = frozenset[str]
SENTENCE_ENDS = ".!?"  # before a blank
FULL_STOPS = "。！？।؟"  # whatever follows


class Attack:
    """A change of test inputs that should not change their labels.

    Attributes:
        version: raised when the attack changes what it does; it enters the key of a stage.
        access: ``black box`` (sees scores, or nothing) or ``white box`` (sees gradients).
        name: in tables and figures.
        strength: how much is changed: a share of the words, or a radius.
        beam: the width of the search, 0 without one.
    """

    version = 1
    access = "black box"
    name = ""
    strength: float
    beam = 0

    def sources(self) -> dict[str, str]:
        """Fingerprints of the files that are read, for the key of a stage."""
        return {}


@dataclass(frozen=True, kw_only=True)
class WordAttack(Attack):
    """An attack that changes some of the words, at random or by a search.

    Attributes:
        strength: share of the words that are changed, at least one word.
        beam: 0 changes each chosen word at random; from 1 on, a beam search of this width finds
            the changes that raise the model's loss most.
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

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1 or self.beam < 0 or min(self.candidates, self.tries) < 1:
            raise ValueError(
                f"strength is {self.strength}, beam {self.beam}, candidates {self.candidates}, "
                f"tries {self.tries}: strength is a share above 0 and up to 1, beam 0 or more, the "
                "others 1 or more."
            )

    def proposals(self, word: str, language: str, random: Generator, seen: Words) -> list[str]:
        """Words that may replace a word, at most ``candidates``.

        Args:
            word: as it stands in the text.
            language: of the text.
            random: draws them.
            seen: the words of the test set in this language, in lower case.
        """
        raise NotImplementedError

    def _sample(self, proposals: Sequence[str], random: Generator) -> list[str]:
        order = random.permutation(len(proposals))[: self.candidates]
        return [proposals[i] for i in order]


@dataclass(frozen=True, kw_only=True)
class Typos(WordAttack):
    """One slip of the finger in a word: letters swapped, left out, doubled or mistaken.

    A mistaken letter is a neighbor on the keyboard in Latin script; in others it is a letter of
    the same script that the test set itself uses, with the same marks if it has any. The first
    letter stays, and so do words of fewer than three letters, as most of Chinese and Japanese
    are here. What is another word of the test set is no typo.
    """

    name = "typos"

    def proposals(self, word: str, language: str, random: Generator, seen: Words) -> list[str]:
        slips = typos(word, random, seen)
        wrong = [slip for slip in slips if slip != word and slip.lower() not in seen]
        return self._sample(wrong, random)


@dataclass(frozen=True, kw_only=True)
class CodeMixing(WordAttack):
    """Words replaced by their translations into other languages (PolyGloss, Tan and Joty 2021).

    With a beam it is their attack, except that the places are drawn before the search; without, it
    is the random substitution that it has to be compared with.

    Attributes:
        source: of the translations (``xltkit.data.lexicons.translations``).
        languages: of the translations.
    """

    source: str = "microworld"
    languages: tuple[str, ...] = ("qbe", "qke", "qto")
    name = "code-mixing"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "languages", tuple(self.languages))

    def sources(self) -> dict[str, str]:
        return {"lexicon": lexicons.fingerprint(self.source)}

    def proposals(self, word: str, language: str, random: Generator, seen: Words) -> list[str]:
        table = lexicons.translations(self.source, language, self.languages)
        translations = lexicons.look_up(word, table)
        # Dictionaries hold names too, which are no change.
        return self._sample([other for other in translations if other != word], random)


@dataclass(frozen=True, kw_only=True)
class Distractor(WordAttack):
    """A sentence that resembles the question and does not answer it, put into the context.

    The idea of AddSent (Jia and Liang 2017), for any language: the sentence is one of another
    context of the test set, of all without a gold answer the one that shares most words with the
    question, each word weighted by how few sentences have it; of ``tries`` sentences the worst
    counts. ``strength``, ``beam``, ``candidates`` and ``seed`` play no part.

    Attributes:
        at: ``end`` or ``start`` of the context.
    """

    at: str = "end"
    strength: float = 1.0
    name = "distractor"

    def __post_init__(self) -> None:
        super().__post_init__()
        choose("value of at", self.at, ("end", "start"))

    def variants(self, rows: Sequence[Row], corpus: Sequence[Row]) -> list[list[dict[str, Any]]]:
        """For every row, the row with each of ``tries`` sentences of the contexts of a corpus."""
        sentences = list(dict.fromkeys(s for row in corpus for s in _sentences(row["context"])))
        containing: dict[str, list[int]] = {}  # the numbers of the sentences that have a word
        for i, sentence in enumerate(sentences):
            for word in _lower_words(sentence):
                containing.setdefault(word, []).append(i)
        variants = []
        for row in rows:
            overlap = np.zeros(len(sentences))
            for word in _lower_words(row["question"]):
                if word in containing:
                    overlap[containing[word]] += 1 / len(containing[word])
            answers = [answer.casefold() for answer in row["answers"]]
            row_variants: list[dict[str, Any]] = []
            for i in np.argsort(-overlap, kind="stable"):
                sentence = sentences[i]
                is_answer = any(answer in sentence.casefold() for answer in answers)
                if sentence not in row["context"] and not is_answer:
                    row_variants.append(self._insert(row, sentence))
                if len(row_variants) == self.tries:
                    break
            variants.append(row_variants)
        return variants

    def _insert(self, row: Row, sentence: str) -> dict[str, Any]:
        if self.at == "end":
            return {**row, "context": f"{row['context']} {sentence}"}
        starts = [start + len(sentence) + 1 for start in row["starts"]]
        return {**row, "context": f"{sentence} {row['context']}", "starts": starts}


def _sentences(context: str) -> list[str]:
    sentences = []
    start = 0
    for i, character in enumerate(context):
        before_blank = not context[i + 1 : i + 2].strip()
        if character in FULL_STOPS or (character in SENTENCE_ENDS and before_blank):
            sentences.append(context[start : i + 1].strip())
            start = i + 1
    sentences.append(context[start:].strip())
    return [sentence for sentence in sentences if len(sentence) > 1]


def _lower_words(text: str) -> list[str]:
    """The different words of a text in lower case, in the order of the text."""
    return list(dict.fromkeys(text[start:end].lower() for start, end in word_spans(text)))


@dataclass(frozen=True, kw_only=True)
class TokenFlip(WordAttack):
    """Words flipped by the gradient of the loss (HotFlip, Ebrahimi et al. 2018, on word pieces).

    Only words that are one token are flipped, into other words of the encoder's vocabulary in the
    same script. Nothing keeps the meaning: it shows how far the model's own vocabulary can take
    it. Flips are greedy; ``beam``, ``candidates``, ``tries`` and ``seed`` play no part.
    """

    access = "white box"
    name = "token flips"


@dataclass(frozen=True, kw_only=True)
class EmbeddingPGD(Attack):
    """The worst shift of the word embeddings in a ball, by steps of ascent (Madry et al. 2018).

    It changes no text: a reference for what attacks on words could reach at most.

    Attributes:
        radius: of the ball round a sequence (``xltkit.training.robust.Ball``), the ``strength``.
        steps: of ascent, of which the worst counts.
        step: the size of one, in radii.
        norm: ``l2`` or ``linf``.
    """

    radius: float = 0.1
    steps: int = 5
    step: float = 0.5
    norm: str = "l2"

    access = "white box"
    name = "embeddings"

    def __post_init__(self) -> None:
        choose("norm", self.norm, ("l2", "linf"))
        if self.steps < 1 or self.radius <= 0:
            raise ValueError(
                f"steps is {self.steps} and radius {self.radius}: steps can be 1 or more, the "
                "radius above 0."
            )

    @property
    def strength(self) -> float:
        return self.radius
