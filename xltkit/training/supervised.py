"""The objective of most phases: batches, a pure function of the seed, and losses of tasks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from xltkit.keys import derive
from xltkit.models.checkpoints import load_tokenizer
from xltkit.models.encoder import Model
from xltkit.tasks import Task, TrainingSet, get
from xltkit.tasks.base import IGNORED, EncodedExample, Head
from xltkit.tasks.rows import fingerprint, training_rows

POOL = 50  # batches that are sorted by length together: enough to save padding, still shuffled


class Batch(NamedTuple):
    """Tensors of some examples. ``targets`` is the number of terms in the summed loss."""

    training_set: int
    inputs: dict[str, Tensor]
    labels: Tensor
    targets: int


def batch_stream(
    lengths: Sequence[int], batch_size: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """An endless stream of batches: the epoch and the numbers of the examples.

    An epoch has every example once, in batches of similar length and random order, one of which may
    be smaller.
    """
    lengths = np.asarray(lengths)
    for epoch in count():
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(lengths))
        batches = []
        for start in range(0, len(order), POOL * batch_size):
            pool = order[start : start + POOL * batch_size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        for i in random.permutation(len(batches)):
            yield epoch, batches[i]


def plan(
    lengths: Sequence[Sequence[int]], weights: list[float], steps: int, batch_size: int, seed: int
) -> list[tuple[int, int, np.ndarray]]:
    """For each step, the number of its training set, the epoch, and the numbers of its examples.

    ``lengths`` are the example lengths of each training set, ``weights`` its share of the steps.
    """
    random = np.random.default_rng(derive(seed, "mixing"))
    training_sets = random.choice(len(weights), size=steps, p=np.asarray(weights))
    streams = [
        batch_stream(of_set, batch_size, derive(seed, "order", number))
        for number, of_set in enumerate(lengths)
    ]
    return [(int(number), *next(streams[number])) for number in training_sets]


@lru_cache(maxsize=64)
def encode(
    part: TrainingSet, kind: str, encoder: str, max_length: int, augmentation: Any, files: str
) -> Sequence[EncodedExample]:
    """The rows of a training set as token ids, cached in a process.

    They are encoded as the task type ``kind``; an ``augmentation`` is a method of robust training
    that changes the rows first. ``files`` is their fingerprint: they may change within a session.
    """
    task = replace(get(part.task), kind=kind)
    tokenizer = load_tokenizer(encoder)
    rows = training_rows(part)
    if augmentation is not None:
        rows = augmentation.augment(task, rows)
    limit = min(max_length, tokenizer.model_max_length)
    return task.type.encode(rows, tokenizer, limit, training=True)


class Supervised:
    """The objective of a phase with every default resolved: its batches and their loss.

    ``encoder`` is the one whose tokenizer reads the training rows; ``store`` is the folder of the
    store, for what is computed once and kept.
    """

    def __init__(self, phase: Any, encoder: str, seed: int, store: Path):
        self.phase = phase
        self.seed = seed
        self.store = store
        self.tokenizer = load_tokenizer(encoder)
        # For each training set: its task, of the type that it is trained as, and its encoded rows.
        self.tasks: list[Task] = []
        self.examples: list[Sequence[EncodedExample]] = []
        for part in phase.training_sets:
            task = replace(get(part.task), kind=phase.task_type(part))
            # Plain text that a phase mixes in is not changed.
            is_augmented = phase.robust and phase.robust.augments and not task.type.masks_tokens
            robust = phase.robust if is_augmented else None
            about = (part, task.kind, encoder, phase.max_length, robust, fingerprint(part))
            self.tasks.append(task)
            self.examples.append(encode(*about))
        weights = phase.weights([len(training_rows(part)) for part in phase.training_sets])
        lengths = [[len(example) for example in examples] for examples in self.examples]
        self.plan = plan(lengths, weights, phase.steps, phase.batch_size, seed)

    def heads(self) -> Mapping[str, Head]:
        """The heads the phase trains: one per task, whatever the number of its languages."""
        return {task.name: task.type.head(task) for task in self.tasks}

    def prepare(self, model: Model) -> None:
        """Add what is trained besides encoder and heads to the model, and set its embeddings."""
        if self.phase.embeddings:
            self.phase.embeddings.initialize(model, self.tokenizer)

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The batches of a step, split into ``parts`` parts."""
        training_set, epoch, numbers = self.plan[step]
        task = self.tasks[training_set]
        if parts > 1 and task.type.in_batch_negatives:
            raise ValueError(
                f"{task.name} takes its negatives from the batch, and each of {parts} parts would "
                "have fewer: use accumulation=1 and one process."
            )
        batches = []
        for part in np.array_split(numbers, parts):
            # A part without examples would leave a process waiting for the others: it repeats one
            # example, without targets.
            indices = part if len(part) else numbers[:1]
            examples = [self.examples[training_set][i] for i in indices]
            is_text = task.type.masks_tokens  # which gets its labels by masking
            inputs = task.type.collate(examples, self.tokenizer, training=not is_text)
            if is_text:
                seed = derive(derive(self.seed, "mask"), training_set)
                rate = self.phase.mask_rate
                inputs = task.type.mask(inputs, self.tokenizer, indices, seed, epoch, rate)
            labels = inputs.pop("labels")
            if not len(part):
                labels = torch.full_like(labels, IGNORED)
            batches.append(Batch(training_set, inputs, labels, task.type.targets(labels)))
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
