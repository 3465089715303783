"""What a phase optimises: the losses of its tasks, masked language modelling among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from xltkit.keys import derive
from xltkit.tasks.base import IGNORED, Feature, Head, Kind
from xltkit.tasks.labels import KINDS
from xltkit.tasks.schema import Task
from xltkit.training.batches import Plan
from xltkit.training.loop import Batch


class Encoded(NamedTuple):
    """The training rows of a portion as features."""

    task: Task
    features: Sequence[Feature]


class Supervised:
    """The objective of a phase, and its batches.

    Args:
        portions: the encoded training rows of each portion.
        plan: which examples make up which step.
        tokenizer: the encoder's.
        mask_rate: share of tokens that masked language modelling predicts.
        seed: of the masks.
    """

    def __init__(
        self, portions: Sequence[Encoded], plan: Plan, tokenizer: Any, seed: int,
        mask_rate: float = 0.15,
    ):  # fmt: skip
        self.portions, self.plan, self.tokenizer = portions, plan, tokenizer
        self.seed, self.mask_rate = derive(seed, "mask"), mask_rate

    def heads(self) -> Mapping[str, Head]:
        """The heads the phase trains: one per task, whatever the number of its languages."""
        return {p.task.name: KINDS[p.task.kind].head(p.task) for p in self.portions}

    def prepare(self, model: nn.Module) -> None:
        """Give the model whatever is trained beside its encoder and heads."""

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The examples of a step in ``parts`` parts."""
        portion, epoch, examples = self.plan[step]
        task = self.portions[portion].task
        if parts > 1 and KINDS[task.kind].whole_batch:
            raise ValueError(
                f"{task.name} takes its negatives from the batch, and each of {parts} parts would "
                "have fewer: use accumulation=1 and one process."
            )
        pieces = np.array_split(examples, parts)
        # A part without examples would leave a process waiting for the others: it repeats one,
        # and counts for nothing.
        return [
            self._batch(portion, epoch, piece)
            if len(piece)
            else self._batch(portion, epoch, examples[:1], empty=True)
            for piece in pieces
        ]

    def _batch(self, portion: int, epoch: int, examples: np.ndarray, empty: bool = False) -> Batch:
        task, features = self.portions[portion]
        kind = KINDS[task.kind]
        chosen = [features[i] for i in examples]
        inputs = kind.collate(chosen, self.tokenizer, training=True)
        if kind.name == "text":
            key = derive(self.seed, portion)
            inputs = kind.mask(inputs, self.tokenizer, examples, key, epoch, self.mask_rate)
        labels = inputs.pop("labels")
        if empty:
            labels = labels * 0 + IGNORED
        return Batch(portion, inputs, labels, 0 if empty else kind.count(labels))

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss of a batch."""
        return self.kind(batch).loss(*self.scored(model, batch))

    def kind(self, batch: Batch) -> Kind:
        """The kind of the task that a batch is of."""
        return KINDS[self.portions[batch.portion].task.kind]

    def scored(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The scores of a batch and its labels; in language modelling of the masked tokens only."""
        name = self.portions[batch.portion].task.name
        if self.kind(batch).name != "text":
            return model(name, **batch.inputs), batch.labels
        select = batch.labels != IGNORED
        return model(name, select=select, **batch.inputs), batch.labels[select]
