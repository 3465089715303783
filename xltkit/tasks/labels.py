"""The kinds of tasks; here classification, choice, tagging and text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import Tensor

from xltkit.keys import hashed_uniform
from xltkit.tasks import scorers
from xltkit.tasks.base import (
    IGNORED,
    EncodedExample,
    Head,
    TaskType,
    frame,
    pad,
    terms_table,
    token_arrays,
)
from xltkit.tasks.captions import Captions, DistillationTexts, Paraphrases
from xltkit.tasks.retrieval import Mining, Ranking, Retrieval
from xltkit.tasks.schema import Task
from xltkit.tasks.span import Span


class Classification(TaskType):
    """Two texts, one label: inference, paraphrase."""

    name = "classification"
    first = "text_a"

    def head(self, task: Task) -> Head:
        return Head("sequence", len(task.labels))

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        table = rows[:]
        encoding = tokenizer(
            table["text_a"], table["text_b"], truncation=True, max_length=max_length
        )
        features = []
        for i, label in enumerate(table["label"]):
            ids, types = token_arrays(encoding, i)
            features.append(EncodedExample(i, (ids,), types, label))
        return features

    def outputs(self, logits: Tensor, features: Sequence[EncodedExample]) -> list[Any]:
        """The log-probabilities of the labels, float32: how sure a prediction was, and of what."""
        return list(torch.log_softmax(logits.float(), -1).cpu().numpy())

    def vote(self, ballots: Sequence[Any]) -> Any:
        """The logarithm of the share of votes; a hundredth of it is the mean probability."""
        probabilities = np.exp(np.stack(ballots))
        won = probabilities == probabilities.max(1, keepdims=True)
        return np.log(0.99 * won.mean(0) + 0.01 * probabilities.mean(0)).astype(np.float32)

    def predictions(
        self, task: Task, rows: Dataset, features: Sequence[EncodedExample], outputs: Sequence[Any]
    ) -> pd.DataFrame:
        gold = [self.named(task, label) for label in rows["label"][:]]
        pred = [self.named(task, int(scores.argmax())) for scores in outputs]
        right = [g == p for g, p in zip(gold, pred, strict=True)]
        return frame(rows["id"][:], gold, pred, right, outputs)

    def named(self, task: Task, label: int) -> str:
        """How a label stands in the table of predictions."""
        return task.labels[label]

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        gold, pred = predictions["gold"].tolist(), predictions["pred"].tolist()
        return {"accuracy": scorers.accuracy(gold, pred)}


class Choice(Classification):
    """A premise and two or more alternatives, of which one is right."""

    name = "choice"
    first = "premise"

    def head(self, task: Task) -> Head:
        return Head("sequence", 1)

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        table = rows[:]
        premises = [p for p, c in zip(table["premise"], table["choices"], strict=True) for _ in c]
        choices = [choice for row in table["choices"] for choice in row]
        encoding = tokenizer(premises, choices, truncation=True, max_length=max_length)
        arrays = iter([token_arrays(encoding, k) for k in range(len(choices))])
        features = []
        for i, row in enumerate(table["choices"]):
            mine = [next(arrays) for _ in row]
            types = tuple(t for _, pair in mine for t in pair)
            features.append(
                EncodedExample(i, tuple(ids for ids, _ in mine), types, table["label"][i])
            )
        return features

    def units(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return super().units(logits.reshape(len(labels), -1), labels)

    def outputs(self, logits: Tensor, features: Sequence[EncodedExample]) -> list[Any]:
        return super().outputs(logits.reshape(len(features), -1), features)

    def named(self, task: Task, label: int) -> str:
        return str(label)


class Tagging(TaskType):
    """One tag for each word; the first piece of a word carries it (XTREME run_tag.py)."""

    name = "tagging"

    def head(self, task: Task) -> Head:
        return Head("token", len(task.labels))

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        """A sentence that is too long becomes several features, cut between words."""
        first, last = special_ids(tokenizer)
        features = []
        pieces_of: dict[str, list[int]] = {}
        table = rows[:]
        for i, (words, tags) in enumerate(zip(table["tokens"], table["tags"], strict=True)):
            ids, targets = [], []
            for word, tag in zip(words, tags, strict=True):
                pieces = word_pieces(word, tokenizer, pieces_of)[: max_length - 2]
                if len(ids) + len(pieces) > max_length - 2:
                    features.append(_tagged(i, ids, targets, first, last))
                    ids, targets = [], []
                ids += pieces
                targets += [tag, *[IGNORED] * (len(pieces) - 1)]
            features.append(_tagged(i, ids, targets, first, last))
        return features

    def labels(self, features: Sequence[EncodedExample], width: int) -> Tensor:
        targets = pad([f.target for f in features], IGNORED, multiple=1)
        full = np.full((len(features), width), IGNORED)
        full[:, : targets.shape[1]] = targets
        return torch.from_numpy(full)

    def outputs(self, logits: Tensor, features: Sequence[EncodedExample]) -> list[Any]:
        best = logits.argmax(-1).cpu().numpy()
        return [
            row[: len(f.target)][f.target != IGNORED] for row, f in zip(best, features, strict=True)
        ]

    def predictions(
        self, task: Task, rows: Dataset, features: Sequence[EncodedExample], outputs: Sequence[Any]
    ) -> pd.DataFrame:
        tagged: list[list[str]] = [[] for _ in range(len(rows))]
        for feature, output in zip(features, outputs, strict=True):
            tagged[feature.example] += [task.labels[t] for t in output]
        gold = [[task.labels[t] for t in tags] for tags in rows["tags"][:]]
        right = [
            np.mean([g == p for g, p in zip(*pair, strict=True)] or [0.0])
            for pair in zip(gold, tagged, strict=True)
        ]
        return frame(
            rows["id"][:], [" ".join(g) for g in gold], [" ".join(p) for p in tagged], right
        )

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        gold = [tags.split() for tags in predictions["gold"]]
        pred = [tags.split() for tags in predictions["pred"]]
        entities = any(label.startswith("B-") for label in task.labels)
        chunk = scorers.ner_f1 if entities else scorers.pos_f1
        return {
            **chunk(gold, pred),
            "accuracy": scorers.token_accuracy(gold, pred),
            "majority": scorers.majority_floor(gold),
        }

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Of sentences: the numbers of chunks or of tags, of which the metric is made."""
        gold, pred = predictions["gold"], predictions["pred"]
        if task.metric == "accuracy":
            sizes = gold.str.split().str.len()
            return terms_table(
                predictions["example_id"], 100.0 * predictions["score"] * sizes, sizes
            )
        found = [scorers.chunk_counts(g, p) for g, p in zip(gold, pred, strict=True)]
        both, golds, preds = np.array(found).T
        return terms_table(predictions["example_id"], 200.0 * both, golds + preds)


def _tagged(
    example: int, ids: list[int], targets: list[int], first: int, last: int
) -> EncodedExample:
    sequence = np.array([first, *ids, last], dtype=np.int32)
    target = np.array([IGNORED, *targets, IGNORED], dtype=np.int64)
    return EncodedExample(example, (sequence,), (), target)


def special_ids(tokenizer: Any) -> tuple[int, int]:
    """The ids that a tokenizer puts at the start and the end of a sequence."""
    ids = tokenizer("")["input_ids"]
    if len(ids) != 2:
        raise ValueError(f"The tokenizer puts {len(ids)} special tokens round a text, not 2.")
    return ids[0], ids[1]


def word_pieces(word: str, tokenizer: Any, known: dict[str, list[int]]) -> list[int]:
    """The pieces of a word; a word that the tokenizer drops (a stray control character) is unk."""
    if word not in known:
        pieces = tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"]
        known[word] = list(pieces) or [tokenizer.unk_token_id]
    return known[word]


class Text(TaskType):
    """Plain text, or translation pairs read together: masked language modelling.

    Of the tokens chosen (``rate``), 80 % become the mask, 10 % a random token, 10 % stay
    (Devlin et al. 2019, section 3.1).
    """

    name = "text"

    def head(self, task: Task) -> Head:
        return Head("masked")

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        table = rows[:]
        texts = [table["text"]] + ([table["translation"]] if "translation" in table else [])
        encoding = tokenizer(*texts, truncation=True, max_length=max_length)
        features = []
        for i in range(len(rows)):
            ids, types = token_arrays(encoding, i)
            features.append(EncodedExample(i, (ids,), types))
        return features

    def mask(
        self, batch: dict[str, Tensor], tokenizer: Any, examples: np.ndarray, seed: int,
        epoch: int, rate: float,
    ) -> dict[str, Tensor]:  # fmt: skip
        """The batch with tokens masked, as a pure function of (seed, epoch, example, position)."""
        ids = batch["input_ids"].numpy()
        draw = hashed_uniform(seed, epoch, examples, ids.shape[1])
        special = np.isin(ids, tokenizer.all_special_ids)
        chosen = (draw < rate) & ~special
        share = draw / rate  # uniform in [0, 1) over the chosen tokens: which of the three
        masked = ids.copy()
        masked[chosen & (share < 0.8)] = tokenizer.mask_token_id
        swap = chosen & (share >= 0.9)
        other = hashed_uniform(seed + 1, epoch, examples, ids.shape[1]) * len(tokenizer)
        masked[swap] = other.astype(np.int64)[swap]
        labels = np.where(chosen, ids, IGNORED)
        return batch | {"input_ids": torch.from_numpy(masked), "labels": torch.from_numpy(labels)}

    def labels(self, features: Sequence[EncodedExample], width: int) -> Tensor:
        return torch.full((len(features), width), IGNORED)


TYPES: dict[str, TaskType] = {
    kind.name: kind
    for kind in (
        Classification(), Choice(), Tagging(), Span(), Retrieval(), Mining(), Ranking(), Text(),
        Captions(), Paraphrases(), DistillationTexts(),
    )
}  # fmt: skip
# Kinds that predict each item by itself: they can be attacked, and asked under noise.
JUDGED = ("classification", "choice", "tagging", "span")
