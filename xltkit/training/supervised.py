"""The losses of tasks, masked language modeling among them: what most phases optimize."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from xltkit.keys import derive
from xltkit.models.encoder import Model, load_tokenizer
from xltkit.tasks import Task, TrainingSet, get
from xltkit.tasks.base import IGNORED, EncodedExample, Head
from xltkit.tasks.rows import training_rows
from xltkit.training.batches import Plan
from xltkit.training.loop import Batch
from xltkit.training.robust import Robust


class EncodedTrainingSet(NamedTuple):
    """The training rows of a training set as token ids."""

    task: Task
    examples: Sequence[EncodedExample]


@lru_cache(maxsize=64)
def encode(
    training_set: TrainingSet,
    rows_fingerprint: str,
    kind: str,
    max_length: int,
    encoder: str,
    augmentation: Robust | None,
) -> EncodedTrainingSet:
    """The rows of a training set, encoded once for every stage of a process that trains on it.

    Args:
        training_set: which rows.
        rows_fingerprint: what they are now; files may change within a session.
        kind: the name of the task type that they are encoded as.
        max_length, encoder: tokens of a sequence, by whose tokenizer.
        augmentation: what changes the rows first, if anything does.
    """
    task = replace(get(training_set.task), kind=kind)
    tokenizer = load_tokenizer(encoder)
    rows = training_rows(training_set)
    if augmentation is not None:
        rows = augmentation.augment(task, rows)
    limit = min(max_length, tokenizer.model_max_length)
    return EncodedTrainingSet(task, task.type.encode(rows, tokenizer, limit, training=True))


class Supervised:
    """The objective of a phase, and its batches.

    Args:
        training_sets: the encoded training rows.
        plan: which examples make up which step.
        tokenizer: the encoder's.
        seed: of the masks of masked language modeling.
        mask_rate: share of tokens that it predicts.
        robust: how tasks are trained against small changes of their inputs, if they are.
    """

    def __init__(
        self,
        training_sets: Sequence[EncodedTrainingSet],
        plan: Plan,
        tokenizer: Any,
        seed: int,
        mask_rate: float = 0.15,
        robust: Robust | None = None,
    ):
        self.training_sets = training_sets
        self.plan = plan
        self.tokenizer = tokenizer
        self.seed = seed
        self.mask_rate = mask_rate
        self.robust = robust

    def heads(self) -> Mapping[str, Head]:
        """The heads the phase trains: one per task, whatever the number of its languages."""
        tasks = [training_set.task for training_set in self.training_sets]
        return {task.name: task.type.head(task) for task in tasks}

    def prepare(self, model: Model) -> None:
        """Give the model whatever is trained beside its encoder and heads."""

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The examples of a step in ``parts`` parts."""
        training_set, epoch, examples = self.plan[step]
        task = self.training_sets[training_set].task
        if parts > 1 and task.type.in_batch_negatives:
            raise ValueError(
                f"{task.name} takes its negatives from the batch, and each of {parts} parts would "
                "have fewer: use accumulation=1 and one process."
            )
        batches = []
        for piece in np.array_split(examples, parts):
            if len(piece):
                batches.append(self._batch(training_set, epoch, piece))
            else:
                # A part without examples would leave a process waiting for the others: it repeats
                # one, and counts for nothing.
                batch = self._batch(training_set, epoch, examples[:1])
                batches.append(batch._replace(labels=batch.labels * 0 + IGNORED, targets=0))
        return batches

    def _batch(self, training_set: int, epoch: int, indices: np.ndarray) -> Batch:
        """Some examples of a training set as tensors; text with some of its tokens masked."""
        task, examples = self.training_sets[training_set]
        inputs = task.type.collate([examples[i] for i in indices], self.tokenizer, training=True)
        if task.type.masks_tokens:
            seed = derive(derive(self.seed, "mask"), training_set)
            inputs = task.type.mask(inputs, self.tokenizer, indices, seed, epoch, self.mask_rate)
        labels = inputs.pop("labels")
        return Batch(training_set, inputs, labels, task.type.count(labels))

    def __call__(self, model: Model, batch: Batch) -> Tensor | Iterator[Tensor]:
        """The summed loss of a batch, or several (see ``loop.Objective``)."""
        task = self.training_sets[batch.training_set].task
        if self.robust is None or task.type.masks_tokens:
            return self.task_loss(model, batch)
        return self.robust.losses(self.task_loss, model, batch)

    def task_loss(self, model: Model, batch: Batch) -> Tensor:
        """The summed loss of a batch as it is, without robust training."""
        task = self.training_sets[batch.training_set].task
        if not task.type.masks_tokens:
            return task.type.losses(model(task.name, **batch.inputs), batch.labels).sum()
        # The language model scores the masked tokens only.
        is_masked = batch.labels != IGNORED
        scores = model(task.name, select=is_masked, **batch.inputs)
        return task.type.losses(scores, batch.labels[is_masked]).sum()
