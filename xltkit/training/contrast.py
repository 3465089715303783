"""What ``ImageText`` and ``Distil`` optimise: InfoNCE with pictures, and a teacher's vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional

from xltkit.keys import derive
from xltkit.models import vision
from xltkit.models.encoder import Model
from xltkit.tasks.base import IGNORED, Head
from xltkit.tasks.captions import as_text
from xltkit.training.loop import Batch
from xltkit.training.supervised import Supervised

if TYPE_CHECKING:  # phases know what trains them, not the other way round
    from xltkit.training.phases_images import Distil, ImageText


def info_nce(
    images: Tensor, texts: Tensor, scale: Tensor | float, same: Tensor,
    more: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """The symmetric InfoNCE of each pair of a batch (open_clip; Radford et al. 2021, figure 3).

    Args:
        images: vectors (pairs, width), of any length.
        texts: vectors (pairs, width).
        scale: what cosines are multiplied by.
        same: a number for each pair; pairs with equal ones (two captions of one picture) are no
            negatives of one another, which CLIP itself does not mind.
        more: vectors of length 1 of earlier images (queue, width) and texts, and their numbers.

    Returns:
        a loss for each pair (pairs): the mean of the two directions, ln(pairs) at chance.
    """
    images, texts = (functional.normalize(v.float(), dim=-1) for v in (images, texts))
    others, numbers = (images, texts), same
    if more is not None:
        others = tuple(torch.cat([own, old]) for own, old in zip(others, more[:2], strict=True))
        numbers = torch.cat([same, more[2]])
    right = torch.arange(len(same), device=same.device)
    hidden = same[:, None] == numbers[None, :]
    hidden[right, right] = False
    losses = []
    for own, across in ((texts, others[0]), (images, others[1])):
        with torch.autocast(own.device.type, enabled=False):  # cosines times 100 need fp32
            scores = (scale * own @ across.T).masked_fill(hidden, -torch.inf)
        losses.append(functional.cross_entropy(scores, right, reduction="none"))
    return (losses[0] + losses[1]) / 2


class Memory(nn.Module):
    """The last pairs that were seen, newest first: negatives that cost no pass.

    Part of the state of training: a run that is killed goes on with the same negatives.
    """

    def __init__(self, length: int, width: int):
        super().__init__()
        for name in ("images", "texts"):
            self.register_buffer(name, torch.zeros(length, width))
        self.register_buffer("numbers", torch.zeros(length, dtype=torch.long))
        self.register_buffer("filled", torch.tensor(0))

    def read(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images, texts and numbers of what is there."""
        count = int(self.filled)
        return self.images[:count].clone(), self.texts[:count].clone(), self.numbers[:count].clone()

    @torch.no_grad()
    def add(self, images: Tensor, texts: Tensor, numbers: Tensor) -> None:
        """Put pairs before the others; the oldest fall out."""
        length = len(self.numbers)
        for kept, new in ((self.images, functional.normalize(images.detach().float(), dim=-1)),
                          (self.texts, functional.normalize(texts.detach().float(), dim=-1)),
                          (self.numbers, numbers)):  # fmt: skip
            kept.copy_(torch.cat([new, kept])[:length])
        self.filled.fill_(min(length, int(self.filled) + len(numbers)))


class Contrast(Supervised):
    """The objective of ``ImageText``, and its batches: captions and what is known of the pictures.

    Args:
        phase: of the training sets that ``Supervised`` is given.
        rows: the pictures of each training set.
        store: where features are kept.
    """

    def __init__(self, *supervised: Any, phase: ImageText, rows: Sequence[Dataset], store: Path):
        super().__init__(*supervised)
        self.phase, self.rows = phase, rows
        digests = [vision.contents(r) for r in rows]
        numbers = {d: i for i, d in enumerate(dict.fromkeys(d for own in digests for d in own))}
        self.numbers = [torch.tensor([numbers[d] for d in own]) for own in digests]
        self.seen = phase.against == "image"
        self.tower = None if phase.locked or not self.seen else vision.Tower(phase.tower)
        # Shuffled, every row has the picture of another; its captions and their order stay.
        self.at = [
            np.random.default_rng(derive("shuffle", p.task)).permutation(len(r))
            if p.shuffled and self.seen
            else np.arange(len(r))
            for p, r in zip(phase.training_sets, rows, strict=True)
        ]
        self.features: list[np.ndarray] = []
        if self.seen and phase.locked:
            self.features = [vision.features(phase.tower, r, store) for r in rows]

    @cached_property
    def width(self) -> int:
        """The width of the space that texts and pictures share."""
        if self.features:
            return self.features[0].shape[1]
        # The paraphrase's space is as wide as the pictures' would be.
        return vision.width(self.tower or self.phase.tower)

    def heads(self) -> Mapping[str, Head]:
        """One head for the phase, whatever the number of its languages."""
        return {self.training_sets[0].task.name: joint_head(self.phase, self.width)}

    def prepare(self, model: Model) -> None:
        """Give the model the tower that is trained with it, and the memory of the queue."""
        if self.tower is not None:
            model.tower = self.tower
        if self.phase.queue:
            model.memory = Memory(self.phase.queue, self.width)

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The captions of a step with the features, or the pixels, of their pictures."""
        (batch,) = super().batches(step, parts)
        at = self.at[batch.training_set][batch.labels.numpy()]
        more = {"numbers": self.numbers[batch.training_set][at]}
        if self.features:
            more["pictures"] = torch.from_numpy(self.features[batch.training_set][at]).float()
        elif self.tower is not None:
            images = self.rows[batch.training_set].select(at.tolist())["image"][:]
            more["pictures"] = self.tower.pixels(images)
        return [batch._replace(inputs=batch.inputs | more)]

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss of a batch."""
        inputs = dict(batch.inputs)
        numbers, pictures = inputs.pop("numbers"), inputs.pop("pictures", None)
        name, plain = self.training_sets[0].task.name, getattr(model, "module", model)
        head, texts = plain.heads[name], model(name, **inputs)
        if pictures is None:
            texts, images = texts[0::2], texts[1::2]
        else:
            features = pictures if plain.tower is None else plain.tower(pictures)
            images = head.image(features)
        memory = plain.memory
        loss = info_nce(images, texts, head.scale(), numbers, memory.read() if memory else None)
        if memory:
            memory.add(images, texts, numbers)
        return loss.sum()


def joint_head(phase: ImageText | Distil, width: int) -> Head:
    """The head of a phase: features of a locked tower have a linear layer of their own."""
    return Head("joint", width, image_layer=getattr(phase, "locked", False))


class Distillation(Supervised):
    """The objective of ``Distil``: the squared distance from the teacher's vectors.

    Args:
        phase: of the training sets that ``Supervised`` is given.
        rows: the texts of each training set.
        store: where the teacher's vectors are kept.
    """

    def __init__(self, *supervised: Any, phase: Distil, rows: Sequence[Dataset], store: Path):
        super().__init__(*supervised)
        self.phase, self.wanted = phase, []
        for training_set in map(as_text, rows):
            read = "translation" if "translation" in training_set.column_names else "text"
            self.wanted.append(vision.teacher_vectors(phase.teacher, training_set[read][:], store))

    def heads(self) -> Mapping[str, Head]:
        """One head, whatever the texts."""
        return {self.training_sets[0].task.name: joint_head(self.phase, self.wanted[0].shape[1])}

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss of a batch: of each text the mean over the width (Carlsson et al.)."""
        there = batch.labels != IGNORED  # a part without examples repeats one
        at = batch.labels.clamp(min=0).cpu().numpy()
        wanted = torch.from_numpy(self.wanted[batch.training_set][at])
        given = model(self.training_sets[0].task.name, **batch.inputs).float()
        return ((given - wanted.to(given)).square().mean(1) * there).sum()
