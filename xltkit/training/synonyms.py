"""Randomized smoothing by data augmentation (RS-DA): training on copies with synonyms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from xltkit.data import lexicons
from xltkit.data.lexicons import Lexicon
from xltkit.data.text import replace_words, texts, word_spans, words
from xltkit.keys import derive
from xltkit.tasks.base import Task
from xltkit.training.robust import Robust


@dataclass(frozen=True, kw_only=True)
class SynonymSmoothing(Robust):
    """Training on ``copies`` of every row in which words are replaced by synonyms.

    As released (Huang et al. 2021; uclanlp/Robust-XLT, perturb.py): texts are split at single
    spaces, case counts, and a word with neighbors becomes one of them or stays, all equally likely;
    the clean row is not kept. Two departures where the release has no say: words of a gold answer
    stay, and the texts of other tasks are split into words as in ``xltkit.data.text``.
    The steps of a phase stay what they are; the release trains as many epochs on ``copies`` times
    the rows, which ``Target(effort=copies)`` does.

    Attributes:
        source: of the synonyms (``xltkit.data.lexicons.synonyms``).
        copies: of every row; the release takes 3 for XNLI and 10 for PAWS-X.
        english_only: leave out neighbors that occur nowhere in the English rows themselves.
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
            raise ValueError(f"{self}: copies can be 1 or more, rate a share from 0 to 1.")

    def sources(self) -> dict[str, str]:
        return {"synonyms": lexicons.fingerprint(self.source)}

    def augment(self, task: Task, rows: Dataset) -> Dataset:
        """The copies of some rows, instead of them."""
        table = self.table(task, rows)
        random = np.random.default_rng(derive("synonyms", task.name, self.seed))

        def draw(word: str) -> str:
            """The word or one of its synonyms."""
            others = table.get(word, ())
            if not others:
                return word
            if not self.rate:
                return (word, *others)[random.integers(len(others) + 1)]
            return others[random.integers(len(others))] if random.random() < self.rate else word

        columns = task.type.texts
        copies = []
        for row in rows:
            for number in range(1, self.copies + 1):
                if "text_a" in row:  # a sentence pair, as in the release
                    copy = dict(row)
                    for column, _, text in texts(columns, row):
                        copy[column] = " ".join(map(draw, text.split(" ")))
                else:
                    spans = enumerate(words(columns, row))
                    edits = {i: draw(word.text) for i, word in spans if not word.fixed}
                    copy = replace_words(columns, row, edits)
                copies.append(copy | {"id": f"{row['id']}/{number}"})
        return Dataset.from_list(copies, features=rows.features)

    def table(self, task: Task, rows: Dataset) -> Lexicon:
        """The synonyms that are used for some rows, by word."""
        if self.empty:
            return {}
        table = lexicons.synonyms(self.source)
        if self.english_only:
            clean = [text for row in rows for _, _, text in texts(task.type.texts, row)]
            table = lexicons.in_english(table, clean)
        return table

    def coverage(self, task: Task, rows: Dataset) -> float:
        """The share of words (per cent) that have a synonym.

        Words are what ``augment`` takes for words: in sentence pairs everything between spaces
        that is not mere punctuation, so that ``movie.`` has no synonym.
        """
        table = self.table(task, rows)
        columns = task.type.texts
        is_covered: list[bool] = []
        for row in rows:
            parts = [word.text for word in words(columns, row)]
            if "text_a" in row:
                parts = [part for _, _, text in texts(columns, row) for part in text.split(" ")]
                parts = [part for part in parts if word_spans(part)]
            is_covered += [part in table for part in parts]
        return 100 * float(np.mean(is_covered))
