"""The losses of tasks, masked language modeling among them: what most phases optimize."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xltkit.keys import derive
from xltkit.models.encoder import Model, load_tokenizer
from xltkit.tasks import Task, TrainingSet, get
from xltkit.tasks.base import IGNORED, EncodedExample, Head
from xltkit.tasks.rows import fingerprint, training_rows
from xltkit.training.batches import Batch, Plan
from xltkit.training.robust import Robust


@lru_cache(maxsize=64)
def encode(
    training_set: TrainingSet,
    kind: str,
    encoder: str,
    max_length: int,
    augmentation: Robust | None,
    rows_fingerprint: str,
) -> Sequence[EncodedExample]:
    """The rows of a training set as token ids, for every stage of a process that trains on it.

    Args:
        training_set, kind: which rows, and the name of the task type that they are encoded as.
        encoder, max_length: whose tokenizer, and how many tokens of a sequence.
        augmentation: what changes the rows first, if anything does.
        rows_fingerprint: what the rows are now; files may change within a session.
    """
    task = replace(get(training_set.task), kind=kind)
    tokenizer = load_tokenizer(encoder)
    rows = training_rows(training_set)
    if augmentation is not None:
        rows = augmentation.augment(task, rows)
    limit = min(max_length, tokenizer.model_max_length)
    return task.type.encode(rows, tokenizer, limit, training=True)


class Supervised:
    """The objective of a phase: its batches, and their loss.

    Args:
        phase: with every default resolved.
        encoder: whose tokenizer reads the training rows.
        seed: of their order, and of whatever else is drawn.
        store: the folder of the store, for what is computed once and kept.
    """

    def __init__(self, phase: Any, encoder: str, seed: int, store: Path):
        self.phase = phase
        self.seed = seed
        self.store = store
        self.tokenizer = load_tokenizer(encoder)
        # Of each training set: its task, of the type that it is trained as, and its rows encoded.
        self.tasks: list[Task] = []
        self.examples: list[Sequence[EncodedExample]] = []
        for part in phase.training_sets:
            task = replace(get(part.task), kind=phase.task_type(part))
            # Text that a phase mixes in stays as it is.
            is_augmented = phase.robust and phase.robust.augments and not task.type.masks_tokens
            augmentation = phase.robust if is_augmented else None
            about = (part, task.kind, encoder, phase.max_length, augmentation, fingerprint(part))
            self.tasks.append(task)
            self.examples.append(encode(*about))
        weights = phase.weights([len(training_rows(part)) for part in phase.training_sets])
        lengths = [[len(example) for example in examples] for examples in self.examples]
        self.plan = Plan(lengths, weights, phase.steps, phase.batch_size, seed)

    def heads(self) -> Mapping[str, Head]:
        """The heads the phase trains: one per task, whatever the number of its languages."""
        return {task.name: task.type.head(task) for task in self.tasks}

    def prepare(self, model: Model) -> None:
        """Give the model whatever is trained beside its encoder and heads."""

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The examples of a step in ``parts`` parts."""
        training_set, epoch, numbers = self.plan[step]
        task = self.tasks[training_set]
        if parts > 1 and task.type.in_batch_negatives:
            raise ValueError(
                f"{task.name} takes its negatives from the batch, and each of {parts} parts would "
                "have fewer: use accumulation=1 and one process."
            )
        batches = []
        for part in np.array_split(numbers, parts):
            # A part without examples would leave a process waiting for the others: it repeats
            # one, and counts for nothing.
            indices = part if len(part) else numbers[:1]
            examples = [self.examples[training_set][i] for i in indices]
            is_text = task.type.masks_tokens  # which gets its labels as it is masked
            inputs = task.type.collate(examples, self.tokenizer, training=not is_text)
            if is_text:
                seed = derive(derive(self.seed, "mask"), training_set)
                rate = self.phase.mask_rate
                inputs = task.type.mask(inputs, self.tokenizer, indices, seed, epoch, rate)
            labels = inputs.pop("labels")
            if not len(part):
                labels = torch.full_like(labels, IGNORED)
            targets = int((labels != IGNORED).sum() * task.type.unit_weight)
            batches.append(Batch(training_set, inputs, labels, targets))
        return batches

    def __call__(self, model: Model, batch: Batch) -> Tensor | Iterator[Tensor]:
        """The summed loss of a batch, or several, each backpropagated before the next."""
        if self.phase.robust is None or self.tasks[batch.training_set].type.masks_tokens:
            return self.task_loss(model, batch)
        return self.phase.robust.losses(self.task_loss, model, batch)

    def task_loss(self, model: Model, batch: Batch) -> Tensor:
        """The summed loss of a batch as it is, without robust training."""
        task = self.tasks[batch.training_set]
        inputs = batch.inputs
        labels = batch.labels
        if task.type.masks_tokens:  # the language model scores the masked tokens only
            is_masked = labels != IGNORED
            inputs = inputs | {"select": is_masked}
            labels = labels[is_masked]
        return task.type.losses(model(task.name, **inputs), labels).sum()
