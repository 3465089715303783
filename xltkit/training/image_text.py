"""Phases that train on pictures with captions, or on the text vectors of a CLIP."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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
from xltkit.training.phases import WEIGHTS_NAME, Part, Phase
from xltkit.training.supervised import Batch, Supervised

Pairs = tuple[Tensor, Tensor, Tensor]  # vectors of images and texts, and numbers of pictures


def info_nce(
    images: Tensor, texts: Tensor, scale: Tensor | float, numbers: Tensor, queue: Pairs | None
) -> Tensor:
    """The symmetric InfoNCE (pairs) of a batch (open_clip; Radford et al. 2021, figure 3).

    The loss of a pair is the mean of the two directions, ln(pairs) at chance. ``images`` and
    ``texts`` are vectors (pairs, width) of any length, whose cosines are multiplied by ``scale``.
    Pairs with equal ``numbers`` (two captions of one picture) are no negatives of one another,
    which CLIP itself does not mind. A ``queue`` has vectors of length 1 of earlier images (queue,
    width) and texts, and their numbers.
    """
    images = functional.normalize(images.float(), dim=-1)
    texts = functional.normalize(texts.float(), dim=-1)
    candidates = (images, texts, numbers)
    if queue is not None:
        candidates = tuple(torch.cat(pair) for pair in zip(candidates, queue, strict=True))
    all_images, all_texts, all_numbers = candidates
    # The right candidate of a pair is the one in its place; others of the same picture are hidden.
    gold = torch.arange(len(numbers), device=numbers.device)
    hidden = numbers[:, None] == all_numbers[None, :]
    hidden[gold, gold] = False

    def one_way(queries: Tensor, candidates: Tensor) -> Tensor:
        with torch.autocast(queries.device.type, enabled=False):  # cosines times 100 need fp32
            scores = (scale * queries @ candidates.T).masked_fill(hidden, -torch.inf)
        return functional.cross_entropy(scores, gold, reduction="none")

    return (one_way(texts, all_images) + one_way(images, all_texts)) / 2


class Memory(nn.Module):
    """The last pairs seen, newest first: negatives that cost no pass, kept in checkpoints, too."""

    def __init__(self, length: int, width: int):
        super().__init__()
        self.register_buffer("images", torch.zeros(length, width))
        self.register_buffer("texts", torch.zeros(length, width))
        self.register_buffer("numbers", torch.zeros(length, dtype=torch.long))
        self.register_buffer("filled", torch.tensor(0))

    def read(self) -> Pairs:
        """Images, texts and numbers of the pairs, as many as were added so far."""
        count = int(self.filled)
        return self.images[:count], self.texts[:count], self.numbers[:count]

    @torch.no_grad()
    def add(self, images: Tensor, texts: Tensor, numbers: Tensor) -> None:
        """Put pairs before the others; the oldest fall out."""
        images = functional.normalize(images.float(), dim=-1)
        texts = functional.normalize(texts.float(), dim=-1)
        buffers = (self.images, self.texts, self.numbers)
        for buffer, values in zip(buffers, (images, texts, numbers), strict=True):
            buffer.copy_(torch.cat([values, buffer])[: len(buffer)])
        self.filled.add_(len(numbers)).clamp_(max=len(self.numbers))


class Contrast(Supervised):
    """The objective of ``ImageText``: captions with features of their pictures."""

    def __init__(self, *inputs: Any):
        super().__init__(*inputs)
        phase = self.phase
        self.numbers: list[Tensor] = []  # of the picture of each row; equal pictures have one
        self.pictures: list[Any] = []  # of each row its features, or what its image is read from
        is_trained = phase.has_image_space and not phase.locked
        self.tower = vision.Tower(phase.tower) if is_trained else None
        distinct: dict[str, int] = {}
        for training_set in phase.training_sets:
            rows = training_rows(training_set)
            numbers = [distinct.setdefault(each, len(distinct)) for each in vision.contents(rows)]
            order = np.arange(len(rows))
            if training_set.shuffled and phase.has_image_space:
                # Every row has the picture of another; its captions and their order stay.
                random = np.random.default_rng(derive("shuffle", training_set.task))
                order = random.permutation(len(rows))
            self.numbers.append(torch.tensor(numbers)[order])
            if self.tower is not None:
                self.pictures.append(rows.select(order))
            elif phase.has_image_space:
                self.pictures.append(vision.features(phase.tower, rows, self.store)[order])
        # The width of the space of texts and pictures; a paraphrase's is as wide as theirs.
        is_kept = self.pictures and self.tower is None
        self.width = self.pictures[0].shape[1] if is_kept else vision.width(phase.tower)

    def heads(self) -> Mapping[str, Head]:
        # Features of a locked tower pass a linear layer.
        return {self.tasks[0].name: Head("joint", self.width, image_layer=self.phase.locked)}

    def prepare(self, model: Model) -> None:
        model.tower = self.tower
        if self.phase.queue:
            model.memory = Memory(self.phase.queue, self.width)

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The captions of a step with the features, or the pixels, of their pictures."""
        (batch,) = super().batches(step, parts)
        rows = batch.labels.numpy()
        inputs = batch.inputs | {"numbers": self.numbers[batch.training_set][rows]}
        if self.pictures:
            pictures = self.pictures[batch.training_set]
            if self.tower is None:
                inputs["pictures"] = torch.from_numpy(pictures[rows]).float()
            else:
                inputs["pictures"] = self.tower.pixels(pictures.select(rows)["image"][:])
        return [batch._replace(inputs=inputs)]

    def task_loss(self, model: Model, batch: Batch) -> Tensor:
        inputs = dict(batch.inputs)
        numbers = inputs.pop("numbers")
        pictures = inputs.pop("pictures", None)
        name = self.tasks[0].name
        parts = unwrapped(model)
        head = parts.heads[name]
        texts = model(name, **inputs)
        if pictures is None:
            # Each caption stands beside another one of its picture.
            texts, images = texts[0::2], texts[1::2]
        else:
            images = head.image(parts.tower(pictures) if parts.tower else pictures)
        memory = parts.memory
        loss = info_nce(images, texts, head.scale(), numbers, memory.read() if memory else None)
        if memory:
            memory.add(images, texts, numbers)
        return loss.sum()


class Distillation(Supervised):
    """The objective of ``Distil``: the squared distance from the teacher's vectors."""

    def __init__(self, *inputs: Any):
        super().__init__(*inputs)
        self.targets = []  # of each training set the vectors (texts, width) of its texts
        for training_set in self.phase.training_sets:
            rows = as_text(training_rows(training_set))
            texts = rows["translation" if "translation" in rows.column_names else "text"][:]
            self.targets.append(vision.teacher_vectors(self.phase.teacher, texts, self.store))

    def heads(self) -> Mapping[str, Head]:
        return {self.tasks[0].name: Head("joint", self.targets[0].shape[1])}

    def task_loss(self, model: Model, batch: Batch) -> Tensor:
        """The summed loss of a batch; that of a text is the mean over the width."""
        counts = batch.labels != IGNORED  # a part without examples repeats one
        rows = batch.labels.clamp(min=0).cpu().numpy()
        vectors = model(self.tasks[0].name, **batch.inputs).float()
        targets = torch.from_numpy(self.targets[batch.training_set][rows]).to(vectors)
        return ((vectors - targets).square().mean(1) * counts).sum()


@dataclass(frozen=True)
class ImageText(Phase):
    """Contrastive training on captions and their pictures: CLIP, or LiT if the tower is locked.

    The loss is the symmetric InfoNCE of Radford et al. (2021, figure 3): each caption finds its
    picture, and each picture its caption, among those of the batch and of the queue. An image
    tower that is locked (Zhai et al. 2022) has its features computed once and kept, and costs as
    much as text alone. The text encoder is carried on; the head and a trained tower stay with the
    stage, for whoever scores it on captions.

    There are two controls: for what the pictures do, ``shuffled`` training sets, where every
    picture gets the captions of another; for what contrast alone does, ``against="paraphrase"``,
    another caption of the same picture in its place, seen by the same encoder.
    """

    captions: tuple[TrainingSet, ...] | Iterable[Part]  # of a task of the type ``captions``
    languages: tuple[str, ...] = ("en",)
    # ``micro-vision``, ``pixels`` (no network), a Hub id, or a folder.
    tower: str = field(default="micro-vision", metadata=WEIGHTS_NAME)
    locked: bool = True  # whether the tower stays as it is
    # Pairs of earlier steps that are negatives, too, stale and without gradient (Wang et al. 2020).
    queue: int = 0
    against: str = "image"

    trained = ("captions",)
    objective_class = Contrast

    def __post_init__(self) -> None:
        super().__post_init__()
        tasks = [training_set.task for training_set in self.captions]
        if len(set(tasks)) > 1 or not get(tasks[0]).type.needs_image_space:
            raise ValueError(
                f"ImageText is given {tasks}; it trains on one task of pictures with captions, as "
                "in ImageText(['captions'])."
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
    def base(self) -> Phase:  # its controls have its seeds
        captions = tuple(replace(part, shuffled=False) for part in self.captions)
        return replace(self, captions=captions, against="image")

    @property
    def has_image_space(self) -> bool:
        return self.against == "image"

    def task_type(self, training_set: TrainingSet) -> str:
        return "captions" if self.has_image_space else "paraphrases"

    def sources(self) -> dict[str, str]:
        # The tower says how wide a paraphrase's space is, too.
        return {"tower": vision.fingerprint(self.tower)}

    def image_tower(self, trained: Path) -> str:
        """The tower whose pictures the captions find, given the folder of the trained phase."""
        return self.tower if self.locked else str(trained / vision.TOWER)


@dataclass(frozen=True)
class Distil(Phase):
    """Learn the vectors of a CLIP's text tower (Multilingual-CLIP, Carlsson et al. 2022).

    The loss is the mean squared distance of the pooled states, after a linear layer, from the
    teacher's vector of any length. No picture is looked at. Of translation pairs the student reads
    the text and the teacher its English translation; of all else both read the same.
    """

    texts: tuple[TrainingSet, ...] | Iterable[Part]  # of types ``captions`` and ``text``
    languages: tuple[str, ...] = ("en",)
    # ``micro-clip``, a Hub id, or the folder of a stage of ``ImageText``; if its tower was locked,
    # the student learns the texts and finds no pictures.
    teacher: str = field(default="micro-clip", metadata=WEIGHTS_NAME)

    locked = False  # no image tower takes part
    trained = ("texts",)
    objective_class = Distillation

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [part.task for part in self.texts if not get(part.task).type.has_plain_text]
        if wrong:
            raise ValueError(
                f"Distil is given {wrong}; it trains on captions, text or translation pairs, as in "
                "Distil(['captions'])."
            )

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
