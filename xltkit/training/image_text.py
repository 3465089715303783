"""Phases that train on pictures with captions, or on the text vectors of a CLIP.

First the phases, then what they optimize: InfoNCE with pictures, and distillation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xltkit.keys import choose, derive
from xltkit.models import vision
from xltkit.models.encoder import Model, unwrapped
from xltkit.tasks import TrainingSet, get
from xltkit.tasks.base import IGNORED, Head
from xltkit.tasks.mlm import as_text
from xltkit.tasks.rows import training_rows
from xltkit.training.loop import Batch
from xltkit.training.phases import WEIGHTS_NAME, Part, Phase
from xltkit.training.supervised import Supervised


@dataclass(frozen=True)
class ImageText(Phase):
    """Contrastive training on captions and their pictures: CLIP, or LiT if the tower is locked.

    The loss is the symmetric InfoNCE of Radford et al. (2021, figure 3): each caption finds its
    picture, and each picture its caption, among those of the batch and of the queue. An image
    tower that is locked (Zhai et al. 2022) has its features computed once and kept, and costs as
    much as text alone. The text encoder is carried on; the head and a trained tower stay with the
    stage, for whoever scores it on captions.

    Attributes:
        captions: rows of a task of the type ``captions``. With ``shuffled`` training sets every
            picture gets the captions of another: the control for what the pictures do.
        tower: ``micro-vision``, ``pixels`` (no network), a Hub id, or a folder.
        locked: whether the tower stays as it is.
        queue: captions and pictures of earlier steps that count as negatives, too (cross-batch
            memory, Wang et al. 2020); their features are stale and get no gradient.
        against: ``image``, or ``paraphrase``: another caption of the same picture in its place,
            seen by the same encoder. The control for what contrast alone does.
    """

    captions: tuple[TrainingSet, ...] | Iterable[Part]
    languages: tuple[str, ...] = ("en",)
    tower: str = field(default="micro-vision", metadata=WEIGHTS_NAME)
    locked: bool = True
    queue: int = 0
    against: str = "image"

    def __post_init__(self) -> None:
        self._set_training_sets("captions")
        tasks = [training_set.task for training_set in self.captions]
        if len(set(tasks)) > 1 or not get(tasks[0]).type.needs_image_space:
            raise ValueError(
                f"ImageText is given {tasks}; it trains on one task of "
                "pictures with captions, as in ImageText(['captions'])."
            )
        choose("value of against", self.against, ("image", "paraphrase"))
        if self.tower == "micro-clip":  # the image tower in it, as with the Hub id of a CLIP
            object.__setattr__(self, "tower", "micro-vision")
        is_trainable = self.locked or self.tower != vision.PIXELS
        if self.accumulation > 1 or self.queue < 0 or not is_trainable:
            raise ValueError(
                f"accumulation is {self.accumulation}, queue {self.queue}, tower {self.tower!r}, "
                f"locked={self.locked}: negatives come from the whole batch, so leave accumulation "
                "1; a queue is 0 or longer; and plain pixels have nothing to train."
            )

    @property
    def base(self) -> ImageText:
        """The phase with the right pictures: its seeds are those of its controls."""
        captions = tuple(replace(part, shuffled=False) for part in self.captions)
        return replace(self, captions=captions, against="image")

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        return self.captions

    @property
    def has_image_space(self) -> bool:
        return self.against == "image"

    def task_type(self, training_set: TrainingSet) -> str:
        return "captions" if self.against == "image" else "paraphrases"

    def sources(self) -> dict[str, str]:
        """The fingerprint of the tower, which says how wide a paraphrase's space is, too."""
        return {"tower": vision.fingerprint(self.tower)}

    def image_tower(self, trained: Path) -> str:
        """The tower whose pictures the captions find, given the folder of the trained phase."""
        return self.tower if self.locked else str(trained / vision.TOWER)

    def objective(self, *inputs: Any, store: Path) -> Contrast:
        return Contrast(*inputs, phase=self, store=store)


@dataclass(frozen=True)
class Distil(Phase):
    """Learn the vectors of a CLIP's text tower (Multilingual-CLIP, Carlsson et al. 2022).

    The loss is the mean squared distance of the pooled states, after a linear layer, from the
    teacher's vector, not brought to length 1. No picture is looked at. Of translation pairs the
    student reads the text and the teacher its English translation; of captions and plain text
    both read the same.

    Attributes:
        texts: rows of a task of the type ``captions`` or ``text``.
        teacher: ``micro-clip``, the folder of a stage of ``ImageText``, or a Hub id. Of a stage
            whose tower was locked the student learns the texts, and finds no pictures.
    """

    texts: tuple[TrainingSet, ...] | Iterable[Part]
    languages: tuple[str, ...] = ("en",)
    teacher: str = field(default="micro-clip", metadata=WEIGHTS_NAME)

    locked = False  # no image tower takes part

    def __post_init__(self) -> None:
        self._set_training_sets("texts")
        wrong = [part.task for part in self.texts if not get(part.task).type.has_plain_text]
        if wrong:
            raise ValueError(
                f"Distil is given {wrong}; it trains on captions, text or translation pairs, as in "
                "Distil(['captions'])."
            )

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        return self.texts

    @property
    def has_image_space(self) -> bool:
        """True; raises ValueError if no pictures lie in the space of its teacher."""
        return bool(self.image_tower(Path()))

    def task_type(self, training_set: TrainingSet) -> str:
        return "distillation"

    def sources(self) -> dict[str, str]:
        return {"teacher": vision.fingerprint(self.teacher)}

    def image_tower(self, trained: Path) -> str:
        """The tower whose pictures the texts find: the teacher's."""
        return vision.tower_of(self.teacher)

    def objective(self, *inputs: Any, store: Path) -> Distillation:
        return Distillation(*inputs, phase=self, store=store)


def info_nce(
    images: Tensor,
    texts: Tensor,
    scale: Tensor | float,
    picture_ids: Tensor,
    queue: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """The symmetric InfoNCE of each pair of a batch (open_clip; Radford et al. 2021, figure 3).

    Args:
        images, texts: vectors (pairs, width), of any length.
        scale: what cosines are multiplied by.
        picture_ids: a number for each pair; pairs with equal ones (two captions of one picture)
            are no negatives of one another, which CLIP itself does not mind.
        queue: vectors of length 1 of earlier images (queue, width) and texts, and their numbers.

    Returns:
        a loss for each pair (pairs): the mean of the two directions, ln(pairs) at chance.
    """
    images = functional.normalize(images.float(), dim=-1)
    texts = functional.normalize(texts.float(), dim=-1)
    all_images, all_texts, all_ids = images, texts, picture_ids
    if queue is not None:
        all_images = torch.cat([images, queue[0]])
        all_texts = torch.cat([texts, queue[1]])
        all_ids = torch.cat([picture_ids, queue[2]])
    # The right candidate of a pair is the one in its place; others of the same picture are hidden.
    gold = torch.arange(len(picture_ids), device=picture_ids.device)
    hidden = picture_ids[:, None] == all_ids[None, :]
    hidden[gold, gold] = False

    def one_way(queries: Tensor, candidates: Tensor) -> Tensor:
        with torch.autocast(queries.device.type, enabled=False):  # cosines times 100 need fp32
            scores = (scale * queries @ candidates.T).masked_fill(hidden, -torch.inf)
        return functional.cross_entropy(scores, gold, reduction="none")

    return (one_way(texts, all_images) + one_way(images, all_texts)) / 2


class Memory(nn.Module):
    """The last pairs that were seen, newest first: negatives that cost no pass.

    Part of the state of training: a run that is killed goes on with the same negatives.
    """

    def __init__(self, length: int, width: int):
        super().__init__()
        self.register_buffer("images", torch.zeros(length, width))
        self.register_buffer("texts", torch.zeros(length, width))
        self.register_buffer("numbers", torch.zeros(length, dtype=torch.long))
        self.register_buffer("filled", torch.tensor(0))

    def read(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images, texts and numbers of the pairs, as many as were added so far."""
        count = int(self.filled)
        return self.images[:count].clone(), self.texts[:count].clone(), self.numbers[:count].clone()

    @torch.no_grad()
    def add(self, images: Tensor, texts: Tensor, numbers: Tensor) -> None:
        """Put pairs before the others; the oldest fall out."""
        length = len(self.numbers)
        images = functional.normalize(images.detach().float(), dim=-1)
        texts = functional.normalize(texts.detach().float(), dim=-1)
        self.images.copy_(torch.cat([images, self.images])[:length])
        self.texts.copy_(torch.cat([texts, self.texts])[:length])
        self.numbers.copy_(torch.cat([numbers, self.numbers])[:length])
        self.filled.fill_(min(length, int(self.filled) + len(numbers)))


class Contrast(Supervised):
    """The objective of ``ImageText``: captions with features of their pictures, kept in the store.

    ``inputs`` are those of ``Supervised``.
    """

    def __init__(self, *inputs: Any, phase: ImageText, store: Path):
        super().__init__(*inputs)
        self.phase = phase
        uses_pictures = phase.against == "image"
        self.numbers: list[Tensor] = []  # of the picture of each row; equal pictures have one
        self.pictures: list[Any] = []  # of each row its features, or what its image is read from
        distinct: dict[str, int] = {}
        for training_set in phase.training_sets:
            rows = training_rows(training_set)
            numbers = [distinct.setdefault(each, len(distinct)) for each in vision.contents(rows)]
            order = np.arange(len(rows))
            if training_set.shuffled and uses_pictures:
                # Every row has the picture of another; its captions and their order stay.
                seed = derive("shuffle", training_set.task)
                order = np.random.default_rng(seed).permutation(len(rows))
            self.numbers.append(torch.tensor(numbers)[order])
            if uses_pictures and phase.locked:
                self.pictures.append(vision.features(phase.tower, rows, store)[order])
            elif uses_pictures:
                self.pictures.append(rows.select(order))
        is_trained = uses_pictures and not phase.locked
        self.tower = vision.Tower(phase.tower) if is_trained else None

    @cached_property
    def width(self) -> int:
        """The width of the space that texts and pictures share."""
        if self.pictures and self.tower is None:
            return self.pictures[0].shape[1]
        # The paraphrase's space is as wide as the pictures' would be.
        return vision.width(self.phase.tower)

    def heads(self) -> Mapping[str, Head]:
        # Features of a locked tower pass a linear layer.
        head = Head("joint", self.width, image_layer=self.phase.locked)
        return {self.training_sets[0].task.name: head}

    def prepare(self, model: Model) -> None:
        if self.tower is not None:
            model.tower = self.tower
        if self.phase.queue:
            model.memory = Memory(self.phase.queue, self.width)

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The captions of a step with the features, or the pixels, of their pictures."""
        (batch,) = super().batches(step, parts)
        i = batch.training_set
        rows = batch.labels.numpy()
        inputs = batch.inputs | {"numbers": self.numbers[i][rows]}
        if self.tower is not None:
            images = self.pictures[i].select(rows)["image"][:]
            inputs["pictures"] = self.tower.pixels(images)
        elif self.pictures:
            inputs["pictures"] = torch.from_numpy(self.pictures[i][rows]).float()
        return [batch._replace(inputs=inputs)]

    def task_loss(self, model: Model, batch: Batch) -> Tensor:
        inputs = dict(batch.inputs)
        numbers = inputs.pop("numbers")
        pictures = inputs.pop("pictures", None)
        name = self.training_sets[0].task.name
        towers = unwrapped(model)
        head = towers.heads[name]
        texts = model(name, **inputs)
        if pictures is None:
            # Each caption stands beside another one of its picture.
            images = texts[1::2]
            texts = texts[0::2]
        elif towers.tower is None:
            images = head.image(pictures)
        else:
            images = head.image(towers.tower(pictures))
        memory = towers.memory
        queue = memory.read() if memory else None
        loss = info_nce(images, texts, head.scale(), numbers, queue)
        if memory:
            memory.add(images, texts, numbers)
        return loss.sum()


class Distillation(Supervised):
    """The objective of ``Distil``: the squared distance from the teacher's vectors.

    ``inputs`` are those of ``Supervised``; the vectors are kept in the store.
    """

    def __init__(self, *inputs: Any, phase: Distil, store: Path):
        super().__init__(*inputs)
        self.phase = phase
        self.targets = []
        for training_set in phase.training_sets:
            rows = as_text(training_rows(training_set))
            column = "translation" if "translation" in rows.column_names else "text"
            self.targets.append(vision.teacher_vectors(phase.teacher, rows[column][:], store))

    def heads(self) -> Mapping[str, Head]:
        return {self.training_sets[0].task.name: Head("joint", self.targets[0].shape[1])}

    def task_loss(self, model: Model, batch: Batch) -> Tensor:
        """The summed loss of a batch: of each text the mean over the width (Carlsson et al.)."""
        counts = batch.labels != IGNORED  # a part without examples repeats one
        rows = batch.labels.clamp(min=0).cpu().numpy()
        vectors = model(self.training_sets[0].task.name, **batch.inputs).float()
        targets = torch.from_numpy(self.targets[batch.training_set][rows]).to(vectors)
        return ((vectors - targets).square().mean(1) * counts).sum()
