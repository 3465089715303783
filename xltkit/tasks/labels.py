"""One label per row: classification of pairs and sentences, and multiple choice."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xltkit.tasks import base
from xltkit.tasks.base import IGNORED, Examples, Faults, Rows, Task


class Classification(base.TaskType):
    """Two texts, one label: inference, paraphrase."""

    columns = ("id", "text_a", "text_b", "label")
    texts = ("text_a", "text_b")
    gold = "label"
    crossed_text = "text_a"
    is_attackable = True
    is_comparable = True
    is_mixable = True

    def encode(
        self, rows: Rows, tokenizer: Any, max_length: int, training: bool, words: bool = False
    ) -> Examples:
        texts = [rows[column][:] for column in self.texts]
        examples = base.encoded(tokenizer(*texts, truncation=True, max_length=max_length), words)
        return [replace(e, target=t) for e, t in zip(examples, rows["label"][:], strict=True)]

    def outputs(self, logits: Tensor, examples: Examples) -> list[Any]:
        """The log-probabilities of the labels (float32)."""
        return list(torch.log_softmax(logits.float(), -1).cpu().numpy())

    def vote(self, outputs: Sequence[Any]) -> Any:
        """The logarithm of the share of votes; a hundredth of it is the mean probability."""
        probabilities = np.exp(np.stack(outputs))
        votes = probabilities == probabilities.max(1, keepdims=True)
        share = 0.99 * votes.mean(0) + 0.01 * probabilities.mean(0)
        return np.log(share).astype(np.float32)

    def predictions(self, task: Task, rows: Rows, examples: Examples, outputs: Any) -> pd.DataFrame:
        sides = (rows["label"][:], [int(log_probs.argmax()) for log_probs in outputs])
        # The alternatives of a choice have no names.
        gold, pred = ([task.labels[i] if task.labels else str(i) for i in side] for side in sides)
        return base.predictions_table(rows["id"][:], gold, pred, log_probs=list(outputs))


class Sentence(Classification):
    """One text, one label: topic, intent, sentiment."""

    columns = ("id", "text", "label")
    texts = ("text",)
    crossed_text = ""


class Choice(Classification):
    """A premise and two or more alternatives, of which one is right."""

    columns = ("id", "premise", "choices", "label")
    texts = ("premise", "choices")
    crossed_text = "premise"
    head_size = 1
    is_mixable = False
    rows_version = 2  # rows may differ in the number of alternatives

    def faults(self, task: Task, table: pd.DataFrame) -> Faults:
        yield from super().faults(task, table)
        sizes = table["choices"].str.len()
        yield "choices", sizes < 2, "two alternatives or more"
        yield "label", ~table["label"].between(0, sizes - 1), "0 to the number of its choices - 1"

    def encode(
        self, rows: Rows, tokenizer: Any, max_length: int, training: bool, words: bool = False
    ) -> Examples:
        """One sequence for each alternative."""
        table = rows[:]
        lists = table["choices"]
        premises = [p for p, choices in zip(table["premise"], lists, strict=True) for _ in choices]
        choices = list(chain.from_iterable(lists))
        encoding = tokenizer(premises, choices, truncation=True, max_length=max_length)
        sequences = iter(base.encoded(encoding, words))
        return [
            base.joined(i, list(islice(sequences, len(lists[i]))), label)
            for i, label in enumerate(table["label"])
        ]

    def labels(self, examples: Examples) -> Tensor:
        """The right alternative is at the first sequence of a row, which marks where rows begin."""
        rows = ((e.target, *[IGNORED] * (len(e.sequences) - 1)) for e in examples)
        return torch.tensor(list(chain.from_iterable(rows)))

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        is_first = labels != IGNORED
        is_first[0] = True  # even of a row without a target
        sizes = is_first.cumsum(0).unique(return_counts=True)[1]
        return super().losses(_by_row(logits, sizes.tolist()), labels[is_first])

    def outputs(self, logits: Tensor, examples: Examples) -> list[Any]:
        sizes = [len(example.sequences) for example in examples]
        rows = super().outputs(_by_row(logits, sizes), examples)
        return [row[:size] for row, size in zip(rows, sizes, strict=True)]


def _by_row(logits: Tensor, sizes: Sequence[int]) -> Tensor:
    """Scores (rows, alternatives); rows with fewer alternatives are padded with impossible ones."""
    parts = logits.flatten().split(sizes)
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=float("-inf"))
