"""Alignment by translation pairs: the literature's alternative to robust training.

It needs text in every language that is aligned, which robust training claims to do without;
whoever reports its scores reports ``Align.cost`` too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xltkit.keys import choose, derive
from xltkit.models.encoder import Model, unwrapped
from xltkit.tasks import TrainingSet
from xltkit.tasks.base import EncodedExample, TaskType, encoded
from xltkit.tasks.rows import count, training_rows
from xltkit.training.loop import Batch
from xltkit.training.supervised import Supervised

PREFIX = "pair/"  # of the names of the inputs that are translation pairs


@dataclass(frozen=True, kw_only=True)
class Align:
    """How the languages of translation pairs are brought together in a target phase.

    Beside the loss of the task, every step draws some pairs and adds ``weight`` times the mean
    squared distance of the pooled vectors of the two sides; gradients reach both (XeroAlign, Gritta
    and Iacobacci 2021; there the pairs are translations of the task's training data, here any).
    A sequence head pools as for its scores; other heads take the mean of the tokens.

    Attributes:
        pairs: sets of translations, such as ``TrainingSet("pairs", "qbe", 500)``.
        method: ``joint``, the one there is; it is part of the keys of stages.
        batch_size: pairs that a step draws; 0 means as many as it has examples.
    """

    pairs: tuple[TrainingSet, ...]
    method: str = "joint"
    weight: float = 1.0
    batch_size: int = 0

    version = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", tuple(self.pairs))
        choose("method of alignment", self.method, ["joint"])
        codes = [p.language for p in self.pairs]
        if not codes or len(set(codes)) < len(codes):
            raise ValueError(
                f"pairs are in {codes}; give some, and each language once, as in "
                "(TrainingSet('pairs', 'qbe'),)."
            )

    @property
    def cost(self) -> dict[str, int]:
        """The translation pairs used, by language."""
        return {p.language: count(p) for p in self.pairs}


class AlignedTask(Supervised):
    """The objective of a task, and the distance of translation pairs beside it.

    Args:
        inputs: of ``Supervised``.
        align: which pairs, and how.
        max_length: tokens of a sentence.

    Raises:
        ValueError: if a training set has no translations.
    """

    def __init__(self, *inputs: Any, align: Align, max_length: int):
        super().__init__(*inputs)
        self.align = align
        self.head = self.training_sets[0].task.name  # whose pooling is used
        self.text: list[EncodedExample] = []
        self.english: list[EncodedExample] = []
        for training_set in align.pairs:
            rows = training_rows(training_set)
            if "translation" not in rows.column_names:
                raise ValueError(f"{training_set.task} has no translations; align by 'pairs'.")
            for side, column in ((self.text, "text"), (self.english, "translation")):
                texts = rows[column][:]
                side += encoded(self.tokenizer(texts, truncation=True, max_length=max_length))

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The batches of a step with some pairs, drawn at random."""
        batches = super().batches(step, parts)
        random = np.random.default_rng(derive(self.seed, "pairs", step))
        examples = sum(len(batch.labels) for batch in batches if batch.targets)
        size = self.align.batch_size or examples
        targets = sum(batch.targets for batch in batches)
        indices = np.array_split(random.integers(len(self.text), size=size), parts)
        for i, drawn in enumerate(indices):
            if not len(drawn):
                continue
            pairs = [side[k] for side in (self.text, self.english) for k in drawn]
            inputs = dict(batches[i].inputs)
            for name, value in TaskType().collate(pairs, self.tokenizer, training=False).items():
                inputs[PREFIX + name] = value
            # The loop divides by the targets of the step; the mean over its pairs is wanted.
            inputs[PREFIX + "share"] = torch.tensor(targets / size)
            batches[i] = batches[i]._replace(inputs=inputs)
        return batches

    def __call__(self, model: Model, batch: Batch) -> Iterator[Tensor]:
        """The losses of the task, then that of the pairs."""
        inputs = {}
        pairs = {}
        for name, value in batch.inputs.items():
            if name.startswith(PREFIX):
                pairs[name.removeprefix(PREFIX)] = value
            else:
                inputs[name] = value
        losses = super().__call__(model, batch._replace(inputs=inputs))
        yield from (losses,) if isinstance(losses, Tensor) else losses
        if pairs:
            share = pairs.pop("share")
            text, english = unwrapped(model).pooled(self.head, **pairs).float().chunk(2)
            yield self.align.weight * share * (text - english).square().mean(1).sum()
