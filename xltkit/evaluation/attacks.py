"""The attacks: what may be done to the words of a test set, in any of its languages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from xltkit.data import lexicons
from xltkit.data.text import Row, typos, word_spans, words
from xltkit.evaluation.attacked import Attack, AttackedModel, AttackResult, Prediction
from xltkit.evaluation.gradient import EmbeddingPGD, TokenFlip
from xltkit.evaluation.search import WordAttack, Words

__all__ = ["Attack", "CodeMixing", "Distractor", "EmbeddingPGD", "TokenFlip", "Typos"]

SENTENCE_END = re.compile(r"(?<=[。！？।؟])|(?<=[.!?])(?=\s|\Z)")


@dataclass(frozen=True, kw_only=True)
class Typos(WordAttack):
    """One typing error in a word: letters swapped, dropped, doubled or replaced.

    A mistaken letter is a neighbor on the keyboard in Latin script; in others it is a letter of
    the same script that the test set itself uses, with the same marks if it has any. The first
    letter stays, and so do words of fewer than three letters, as most of Chinese and Japanese
    are here. What is another word of the test set is no typo.
    """

    name = "typos"

    def proposals(self, word: str, language: str, random: Generator, seen: Words) -> list[str]:
        return typos(word, random, seen)


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
        # Dictionaries hold names too, which are no change.
        return [other for other in lexicons.look_up(word, table) if other != word]


@dataclass(frozen=True, kw_only=True)
class Distractor(WordAttack):
    """A sentence that resembles the question and does not answer it, put into the context.

    The idea of AddSent (Jia and Liang 2017), for any language: the sentence is one of another
    context of the test set, of all without a gold answer the one that shares most words with the
    question, each word weighted by how few sentences have it; of ``tries`` sentences the worst
    counts. ``changed`` is the number of words added, as a share of those of the row.
    ``strength``, ``beam``, ``candidates`` and ``seed`` play no part.

    Attributes:
        at: ``end`` or ``start`` of the context.
    """

    at: str = "end"
    strength: float = 1.0
    name = "distractor"

    def run(
        self, model: AttackedModel, clean: Sequence[Prediction], rows: Sequence[Row], language: str
    ) -> list[AttackResult]:
        columns = model.type.texts
        if "context" not in columns:
            raise ValueError(f"{model.task.name} has no context, which a distractor needs.")
        variants = self.variants([start.row for start in clean], rows)
        results = []
        for start, tried in zip(clean, model.predict_variants(variants), strict=True):
            worst = max(tried, key=model.rank, default=start)
            share = len(words(columns, worst.row)) / len(words(columns, start.row)) - 1
            results.append(AttackResult(worst, share, len(tried)))
        return results

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
    sentences = [part.strip() for part in SENTENCE_END.split(context)]
    return [sentence for sentence in sentences if len(sentence) > 1]


def _lower_words(text: str) -> list[str]:
    """The different words of a text in lower case, in the order of the text."""
    return list(dict.fromkeys(text[start:end].lower() for start, end in word_spans(text)))
