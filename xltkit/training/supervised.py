"""What a phase optimises: the losses of its tasks, masked language modelling among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from xltkit.keys import derive
from xltkit.tasks.base import IGNORED, EncodedExample, Head, TaskType
from xltkit.tasks.labels import TYPES
from xltkit.tasks.schema import Task
from xltkit.training.batches import Plan
from xltkit.training.loop import Batch


class Encoded(NamedTuple):
    """The training rows of a training set as features."""

    task: Task
    features: Sequence[EncodedExample]


class Supervised:
    """The objective of a phase, and its batches.

    Args:
        training sets: the encoded training rows of each training set.
        plan: which examples make up which step.
        tokenizer: the encoder's.
        mask_rate: share of tokens that masked language modelling predicts.
        seed: of the masks.
    """

    def __init__(
        self, training_sets: Sequence[Encoded], plan: Plan, tokenizer: Any, seed: int,
        mask_rate: float = 0.15,
    ):  # fmt: skip
        self.training_sets, self.plan, self.tokenizer = training_sets, plan, tokenizer
        self.seed, self.mask_rate = derive(seed, "mask"), mask_rate

    def heads(self) -> Mapping[str, Head]:
        """The heads the phase trains: one per task, whatever the number of its languages."""
        return {p.task.name: TYPES[p.task.kind].head(p.task) for p in self.training_sets}

    def prepare(self, model: nn.Module) -> None:
        """Give the model whatever is trained beside its encoder and heads."""

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The examples of a step in ``parts`` parts."""
        training_set, epoch, examples = self.plan[step]
        task = self.training_sets[training_set].task
        if parts > 1 and TYPES[task.kind].whole_batch:
            raise ValueError(
                f"{task.name} takes its negatives from the batch, and each of {parts} parts would "
                "have fewer: use accumulation=1 and one process."
            )
        pieces = np.array_split(examples, parts)
        # A part without examples would leave a process waiting for the others: it repeats one,
        # and counts for nothing.
        return [
            self._batch(training_set, epoch, piece)
            if len(piece)
            else self._batch(training_set, epoch, examples[:1], empty=True)
            for piece in pieces
        ]

    def _batch(
        self, training_set: int, epoch: int, examples: np.ndarray, empty: bool = False
    ) -> Batch:
        task, features = self.training_sets[training_set]
        kind = TYPES[task.kind]
        chosen = [features[i] for i in examples]
        inputs = kind.collate(chosen, self.tokenizer, training=True)
        if kind.name == "text":
            key = derive(self.seed, training_set)
            inputs = kind.mask(inputs, self.tokenizer, examples, key, epoch, self.mask_rate)
        labels = inputs.pop("labels")
        if empty:
            labels = labels * 0 + IGNORED
        return Batch(training_set, inputs, labels, 0 if empty else kind.count(labels))

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss of a batch."""
        return self.kind(batch).loss(*self.scored(model, batch))

    def kind(self, batch: Batch) -> TaskType:
        """The kind of the task that a batch is of."""
        return TYPES[self.training_sets[batch.training_set].task.kind]

    def scored(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The scores of a batch and its labels; in language modelling of the masked tokens only."""
        name = self.training_sets[batch.training_set].task.name
        if self.kind(batch).name != "text":
            return model(name, **batch.inputs), batch.labels
        select = batch.labels != IGNORED
        return model(name, select=select, **batch.inputs), batch.labels[select]
