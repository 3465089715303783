"""Alignment with translation pairs: the literature's alternative to robust training."""

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
from xltkit.training.supervised import Batch, Supervised


@dataclass(frozen=True, kw_only=True)
class Align:
    """Alignment of languages with translation pairs in a target phase.

    Every step also draws some pairs and adds to the task loss ``weight`` times the mean squared
    distance between the pooled vectors of the two sides; gradients flow to both (XeroAlign, Gritta
    and Iacobacci 2021, whose pairs are translations of the task's training data; here, any pairs).
    A sequence head pools as for its scores; other heads take the mean over tokens.
    """

    pairs: tuple[TrainingSet, ...]  # such as ``TrainingSet("pairs", "qbe", 500)``
    method: str = "joint"  # the only one; part of the keys of stages
    weight: float = 1.0
    batch_size: int = 0  # pairs per step; 0 means as many as there are examples

    version = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", tuple(self.pairs))
        choose("method of alignment", self.method, ["joint"])
        codes = [pair.language for pair in self.pairs]
        if not codes or len(set(codes)) < len(codes):
            raise ValueError(
                f"pairs are in {codes}; give each language once: (TrainingSet('pairs', 'qbe'),)."
            )

    @property
    def cost(self) -> dict[str, int]:
        """The number of translation pairs by language; robust training claims to need none."""
        return {pair.language: count(pair) for pair in self.pairs}


class AlignedTask(Supervised):
    """The objective of a task plus the distance between translation pairs."""

    def __init__(self, *inputs: Any):
        super().__init__(*inputs)
        self.align = self.phase.align
        self.text: list[EncodedExample] = []
        self.english: list[EncodedExample] = []
        options = {"truncation": True, "max_length": self.phase.max_length}
        for training_set in self.align.pairs:
            rows = training_rows(training_set)
            if "translation" not in rows.column_names:
                raise ValueError(f"{training_set.task} has no translations; align with 'pairs'.")
            self.text += encoded(self.tokenizer(rows["text"][:], **options))
            self.english += encoded(self.tokenizer(rows["translation"][:], **options))

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The batches of a step, each with some of the drawn ``pairs`` among its inputs."""
        batches = super().batches(step, parts)
        random = np.random.default_rng(derive(self.seed, "pairs", step))
        targets = sum(batch.targets for batch in batches)
        size = self.align.batch_size or len(self.plan[step][2])
        indices = random.integers(len(self.text), size=size)
        for i, drawn in enumerate(np.array_split(indices, parts)):
            if len(drawn):
                sides = [side[k] for side in (self.text, self.english) for k in drawn]
                pairs = TaskType().collate(sides, self.tokenizer, training=False)
                # The loop divides by the targets of the step; this loss is a mean over its pairs.
                pairs["share"] = torch.tensor(targets / size)
                batches[i] = batches[i]._replace(inputs=batches[i].inputs | {"pairs": pairs})
        return batches

    def __call__(self, model: Model, batch: Batch) -> Iterator[Tensor]:
        """The losses of the task, then that of the pairs."""
        inputs = dict(batch.inputs)
        pairs = dict(inputs.pop("pairs", {}))
        losses = super().__call__(model, batch._replace(inputs=inputs))
        yield from (losses,) if isinstance(losses, Tensor) else losses
        if pairs:
            share = pairs.pop("share")
            text, english = unwrapped(model).pooled(self.tasks[0].name, **pairs).float().chunk(2)
            yield self.align.weight * share * (text - english).square().mean(1).sum()
