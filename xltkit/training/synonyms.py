"""Randomised smoothing by data augmentation (RS-DA): training on copies with synonyms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from xltkit.data import lexicons
from xltkit.data.text import replace_words, texts, word_spans, words
from xltkit.keys import derive
from xltkit.tasks.base import Task
from xltkit.training.robust import Robust


@dataclass(frozen=True, kw_only=True)
class SynonymSmoothing(Robust):
    """Training on ``copies`` of every row in which words are replaced by synonyms.

    As released (uclanlp/Robust-XLT, perturb.py): texts are split at single spaces, case counts,
    and a word with neighbours becomes one of them or stays, all equally likely; the clean row is
    not kept. The release draws without a seed. Two departures where it has no say: words of a gold
    answer stay, and other texts are split into words as in ``xltkit.data.text``.
    The steps of a phase stay what they are; the release trains as many epochs on ``copies`` times
    the rows, which ``Target(effort=copies)`` does.

    Attributes:
        source: of the synonyms (``xltkit.data.lexicons.synonyms``).
        copies: of every row; the release takes 3 for XNLI and 10 for PAWS-X.
        english_only: leave out neighbours that occur nowhere in the English rows themselves.
        empty: replace nothing: the control that has the copies and no synonyms.
        rate: 0 is as released; else each covered word is replaced with this probability.
        seed: of the copies, which are the same for all seeds of training.
    """

    source: str = "microworld-released"
    copies: int = 3
    english_only: bool = False
    empty: bool = False
    rate: float = 0.0
    seed: int = 0

    augments = True

    def __post_init__(self) -> None:
        if self.copies < 1 or not 0 <= self.rate <= 1:
            raise ValueError(
                f"copies is {self.copies} and rate {self.rate}; copies can be 1 or more, rate a "
                "share from 0 (as released) to 1."
            )

    def sources(self) -> dict[str, str]:
        return {"synonyms": lexicons.fingerprint(self.source)}

    def table(self, kind: str, rows: Dataset) -> lexicons.Lexicon:
        """The synonyms that are used for some rows."""
        table = {} if self.empty else lexicons.synonyms(self.source)
        if self.english_only and table:
            known = [text for row in rows for _, _, text in texts(kind, row)]
            table = lexicons.in_english(table, known)
        return table

    def augment(self, task: Task, rows: Dataset) -> Dataset:
        table = self.table(task.kind, rows)
        random = np.random.default_rng(derive("synonyms", task.name, self.seed))
        made = [
            self._copy(task.kind, row, table, random) | {"id": f"{row['id']}/{copy + 1}"}
            for row in rows
            for copy in range(self.copies)
        ]
        return Dataset.from_list(made, features=rows.features)

    def _copy(
        self,
        kind: str,
        row: Mapping[str, Any],
        table: lexicons.Lexicon,
        random: np.random.Generator,
    ) -> dict[str, Any]:
        if kind == "classification":
            said = {
                field: " ".join(self._drawn(w, table.get(w, ()), random) for w in text.split(" "))
                for field, _, text in texts(kind, row)
            }
            return {**row, **said}
        drawn = {
            i: self._drawn(word.text, table.get(word.text, ()), random)
            for i, word in enumerate(words(kind, row))
            if not word.fixed
        }
        return replace_words(kind, row, drawn)

    def _drawn(self, word: str, others: tuple[str, ...], random: np.random.Generator) -> str:
        if not others:
            return word
        if not self.rate:
            return (word, *others)[random.integers(len(others) + 1)]
        return others[random.integers(len(others))] if random.random() < self.rate else word


def coverage(kind: str, rows: Dataset, table: lexicons.Lexicon) -> float:
    """The share of words, per cent, that have a neighbour in a table.

    Words are what ``augment`` takes for them: of sentence pairs, all between spaces that is not
    mere punctuation, and ``movie.`` has no neighbour.
    """
    if kind == "classification":
        parts = (p for row in rows for _, _, text in texts(kind, row) for p in text.split(" "))
        found = [part in table for part in parts if word_spans(part)]
    else:
        found = [word.text in table for row in rows for word in words(kind, row)]
    return 100 * float(np.mean(found)) if found else 0.0
