"""What every kind of task has to say: how it is encoded, batched, trained, predicted, scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import Tensor

from xltkit.tasks.schema import Task

IGNORED = -100  # torch's label for "no target here"


class EncodedExample(NamedTuple):
    """One unit of a batch, encoded.

    An example is one feature, but a long context is several windows. A feature is one token
    sequence, but a choice has one for each alternative.
    """

    example: int
    sequences: tuple[np.ndarray, ...]
    types: tuple[np.ndarray, ...] = ()
    target: Any = None
    meta: Any = None

    def __len__(self) -> int:
        return max(map(len, self.sequences))


class Head(NamedTuple):
    """The layer between the encoder and a label space: what it reads and how many scores it gives.

    ``reads`` is ``sequence`` (pooled), ``token``, ``vector`` (pooled, of length 1, times a scale),
    ``masked`` (the encoder's own language-model head), ``layers`` (no head: hidden states) or
    ``joint`` (pooled, in a space shared with pictures, whose features may pass an ``image_layer``).
    """

    reads: str
    size: int = 0
    image_layer: bool = False


def pad(sequences: Sequence[np.ndarray], value: int, multiple: int = 8) -> np.ndarray:
    """Sequences as the rows of a matrix, filled up with ``value``.

    The width is rounded up to a multiple, because every new shape costs memory allocations.
    """
    width = max(map(len, sequences))
    width = -(-width // multiple) * multiple
    out = np.full((len(sequences), width), value, dtype=np.int64)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = sequence
    return out


class Columns:
    """Rows in memory, read as the kinds read a ``Dataset``: ``rows[:]`` and ``rows["label"][:]``.

    A ``Dataset`` of a few rows takes longer to be made than a small encoder takes to read them,
    for it pickles and hashes itself.
    """

    def __init__(self, columns: Mapping[str, list[Any]]):
        self.columns = dict(columns)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """Rows with the same keys, of which there is at least one."""
        return cls({name: [row[name] for row in rows] for name in rows[0]})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, what: str | slice) -> Any:
        if isinstance(what, str):
            return self.columns[what]
        return {name: values[what] for name, values in self.columns.items()}


class TaskType:
    """A kind of task. The methods work on batches of features; none of them keeps state."""

    name: str
    frozen = False  # scored on hidden states, without any training
    whole_batch = False  # the loss is one of the batch: it cannot be computed in parts
    first = ""  # the column of the first of two texts, if it may be in another language
    also_reads = ""  # the split that is read beside the tested one
    unit_weight = 1.0  # of one distribution in the loss

    def head(self, task: Task) -> Head:
        """The head a task of this kind needs."""
        raise NotImplementedError

    def encode(
        self, task: Task, rows: Dataset | Columns, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        """Rows in canonical columns as features."""
        raise NotImplementedError

    def labels(self, features: Sequence[EncodedExample], width: int) -> Tensor:
        """The targets of a batch, ``IGNORED`` where there is none."""
        return torch.tensor([f.target for f in features])

    def collate(
        self, features: Sequence[EncodedExample], tokenizer: Any, training: bool
    ) -> dict[str, Tensor]:
        """Features as tensors: ``input_ids`` (sequences, width), masks, and ``labels``."""
        sequences = [s for f in features for s in f.sequences]
        ids = pad(sequences, tokenizer.pad_token_id)
        lengths = np.array([len(s) for s in sequences])
        batch = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy((np.arange(ids.shape[1]) < lengths[:, None]) * 1),
        }
        if features[0].types:
            types = pad([t for f in features for t in f.types], 0)
            batch["token_type_ids"] = torch.from_numpy(types)
        if training:
            batch["labels"] = self.labels(features, ids.shape[1])
        return batch

    def count(self, labels: Tensor) -> int:
        """The number of targets in a batch, by which the summed loss is divided."""
        return int((labels != IGNORED).sum())

    def units(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The distributions that a loss is over, as scores (units, classes), and their classes.

        The right class (units) is ``IGNORED`` where there is none. Units of a row lie together.
        """
        return logits.reshape(-1, logits.shape[-1]).float(), labels.reshape(-1)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row of a batch (rows): the sum over its units."""
        scores, right = self.units(logits, labels)
        each = torch.nn.functional.cross_entropy(
            scores, right, ignore_index=IGNORED, reduction="none"
        )
        return self.unit_weight * each.reshape(len(labels), -1).sum(1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The summed (not averaged) loss: the loop divides by the targets of the whole step."""
        return self.losses(logits, labels).sum()

    def outputs(self, logits: Tensor, features: Sequence[EncodedExample]) -> list[Any]:
        """What to keep of the logits for each feature: the smallest thing to decode from."""
        return list(logits.argmax(-1).cpu().numpy())

    def vote(self, ballots: Sequence[Any]) -> Any:
        """One output from several of the same feature: at every place what most of them say."""
        stacked = np.stack(ballots)
        classes = np.arange(stacked.max(initial=0) + 1)[:, None, None]
        return (
            (stacked.reshape(len(ballots), -1) == classes)
            .sum(1)
            .argmax(0)
            .reshape(stacked.shape[1:])
        )

    def predictions(
        self, task: Task, rows: Dataset, features: Sequence[EncodedExample], outputs: Sequence[Any]
    ) -> pd.DataFrame:
        """One row per example: ``example_id``, ``gold``, ``pred`` (strings), ``score`` (0 to 1).

        Where every label was scored, ``scores`` too (a float32 array: their log-probabilities).
        """
        raise NotImplementedError

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        """The scores (0 to 100) of the predictions in one language."""
        raise NotImplementedError

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """What each item adds to the task's own metric, so that items can be drawn again.

        Returns:
            ``item``, ``part``, ``top`` and ``bottom``: the metric is the sum of ``top`` over the
            sum of ``bottom``, and the mean of these ratios if there are several parts. Here: the
            mean of the scores of the items.
        """
        return terms_table(predictions["example_id"], 100.0 * predictions["score"])


def token_arrays(encoding: Any, row: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """One row of a tokenizer's output as an array of ids, and its token types if it has any."""
    ids = np.asarray(encoding["input_ids"][row], dtype=np.int32)
    if "token_type_ids" not in encoding:
        return ids, ()
    return ids, (np.asarray(encoding["token_type_ids"][row], dtype=np.int32),)


def features_of(encoding: Any) -> list[EncodedExample]:
    """One feature for each row of a tokenizer's output."""
    features = []
    for i in range(len(encoding["input_ids"])):
        ids, types = token_arrays(encoding, i)
        features.append(EncodedExample(i, (ids,), types))
    return features


def frame(
    ids: Sequence[str], gold: Sequence[str], pred: Sequence[str], score: Sequence[float],
    scores: Sequence[np.ndarray] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Predictions as the table that every kind returns; ``scores`` are those of all candidates."""
    table = pd.DataFrame({"example_id": ids, "gold": gold, "pred": pred, "score": score})
    return table if scores is None else table.assign(scores=pd.Series(list(scores), dtype=object))


def terms_table(
    item: Sequence[str], top: Sequence[float], bottom: Sequence[float] | float = 1.0,
    part: Sequence[str] | str = "",
) -> pd.DataFrame:  # fmt: skip
    """The table of ``TaskType.terms``; several rows of one item and part count together."""
    # As plain arrays: predictions of one language keep the index of the whole table.
    columns = {
        "item": np.asarray(item, dtype=object),
        "part": np.full(len(item), part, dtype=object)
        if isinstance(part, str)
        else np.asarray(part, object),
        "top": np.asarray(top, dtype=float),
        "bottom": np.broadcast_to(np.asarray(bottom, dtype=float), len(item)),
    }
    return pd.DataFrame(columns)
