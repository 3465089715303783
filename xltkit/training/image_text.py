"""Phases that train on captioned pictures, or on the text vectors of a CLIP model."""

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

Pairs = tuple[Tensor, Tensor, Tensor]  # image vectors, text vectors, numbers of pictures


def info_nce(
    images: Tensor, texts: Tensor, scale: Tensor | float, numbers: Tensor, queue: Pairs | None
) -> Tensor:
    """The symmetric InfoNCE loss (pairs) of a batch (open_clip; Radford et al. 2021, figure 3).

    The loss of a pair is the mean of both directions, ln(pairs) at chance. ``images`` and ``texts``
    are vectors (pairs, width) of any length, whose cosines are multiplied by ``scale``. Pairs with
    equal ``numbers`` (two captions of one picture) are not negatives of each other, unlike in
    CLIP. A ``queue`` has unit vectors of earlier images (queue, width) and texts, and their
    numbers.
    """
    images = functional.normalize(images.float(), dim=-1)
    texts = functional.normalize(texts.float(), dim=-1)
    candidates = (images, texts, numbers)
    if queue is not None:
        candidates = tuple(torch.cat(pair) for pair in zip(candidates, queue, strict=True))
    all_images, all_texts, all_numbers = candidates
    # The positive of a query is in its own place; others of the same picture are masked.
    gold = torch.arange(len(numbers), device=numbers.device)
    hidden = numbers[:, None] == all_numbers[None, :]
    hidden[gold, gold] = False

    def one_way(queries: Tensor, candidates: Tensor) -> Tensor:
        with torch.autocast(queries.device.type, enabled=False):  # cosines times 100 need fp32
            scores = (scale * queries @ candidates.T).masked_fill(hidden, -torch.inf)
        return functional.cross_entropy(scores, gold, reduction="none")

    return (one_way(texts, all_images) + one_way(images, all_texts)) / 2


class Memory(nn.Module):
    """The last pairs, newest first: negatives that need no forward pass; saved in checkpoints."""

    def __init__(self, length: int, width: int):
        super().__init__()
        self.register_buffer("images", torch.zeros(length, width))
        self.register_buffer("texts", torch.zeros(length, width))
        self.register_buffer("numbers", torch.zeros(length, dtype=torch.long))
        self.register_buffer("filled", torch.tensor(0))

    def read(self) -> Pairs:
        """Images, texts and numbers of the pairs added so far."""
        count = int(self.filled)
        return self.images[:count], self.texts[:count], self.numbers[:count]

    @torch.no_grad()
    def add(self, images: Tensor, texts: Tensor, numbers: Tensor) -> None:
        """Add pairs in front; the oldest are dropped."""
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
        self.numbers: list[Tensor] = []  # of each row's picture, equal for equal pictures
        self.pictures: list[Any] = []  # features of each row, or the rows to read images from
        is_trained = phase.has_image_space and not phase.locked
        self.tower = vision.Tower(phase.tower) if is_trained else None
        distinct: dict[str, int] = {}
        for training_set in phase.training_sets:
            rows = training_rows(training_set)
            numbers = [distinct.setdefault(each, len(distinct)) for each in vision.contents(rows)]
            order = np.arange(len(rows))
            if training_set.shuffled and phase.has_image_space:
                # Every row gets the picture of another; its captions and their order stay.
                random = np.random.default_rng(derive("shuffle", training_set.task))
                order = random.permutation(len(rows))
            self.numbers.append(torch.tensor(numbers)[order])
            if self.tower is not None:
                self.pictures.append(rows.select(order))
            elif phase.has_image_space:
                self.pictures.append(vision.features(phase.tower, rows, self.store)[order])
        # The width of the joint space of texts and pictures, also used for paraphrases.
        is_kept = self.pictures and self.tower is None
        self.width = self.pictures[0].shape[1] if is_kept else vision.width(phase.tower)

    def heads(self) -> Mapping[str, Head]:
        # Features of a locked tower pass through a linear layer.
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
            # Each caption is paired with another one of its picture.
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
        self.targets = []  # for each training set, the vectors (texts, width) of its texts
        for training_set in self.phase.training_sets:
            rows = as_text(training_rows(training_set))
            texts = rows["translation" if "translation" in rows.column_names else "text"][:]
            self.targets.append(vision.teacher_vectors(self.phase.teacher, texts, self.store))

    def heads(self) -> Mapping[str, Head]:
        return {self.tasks[0].name: Head("joint", self.targets[0].shape[1])}

    def task_loss(self, model: Model, batch: Batch) -> Tensor:
        """The summed loss of a batch; the loss of a text is a mean over dimensions."""
        counts = batch.labels != IGNORED  # a part without examples repeats one
        rows = batch.labels.clamp(min=0).cpu().numpy()
        vectors = model(self.tasks[0].name, **batch.inputs).float()
        targets = torch.from_numpy(self.targets[batch.training_set][rows]).to(vectors)
        return ((vectors - targets).square().mean(1) * counts).sum()


@dataclass(frozen=True)
class ImageText(Phase):
    """Contrastive training on captions and their pictures: CLIP, or LiT if the tower is locked.

    The loss is the symmetric InfoNCE of Radford et al. (2021, figure 3): each caption must find its
    picture, and each picture its caption, in the batch and the queue. Features of a locked image
    tower (Zhai et al. 2022) are computed once and kept, so it costs as much as text alone. The text
    encoder is passed on to the next phase; the head and a trained tower stay with the stage, for
    scoring on captions.

    There are two controls. For the effect of the pictures: ``shuffled`` training sets, where every
    picture gets the captions of another. For the effect of the contrastive loss alone:
    ``against="paraphrase"``, where another caption replaces the picture, read by the same encoder.
    """

    captions: tuple[TrainingSet, ...] | Iterable[Part]  # of a task of the type ``captions``
    languages: tuple[str, ...] = ("en",)
    # ``micro-vision``, ``pixels`` (no network), a Hub id, or a folder.
    tower: str = field(default="micro-vision", metadata=WEIGHTS_NAME)
    locked: bool = True  # whether the tower is frozen
    # Pairs of earlier steps as further negatives, stale and without gradient (Wang et al. 2020).
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
        if self.tower == "micro-clip":  # its image tower, as for the Hub id of a CLIP
            object.__setattr__(self, "tower", "micro-vision")
        is_trainable = self.locked or self.tower != vision.PIXELS
        if self.accumulation > 1 or self.queue < 0 or not is_trainable:
            raise ValueError(
                f"accumulation is {self.accumulation}, queue {self.queue}, tower {self.tower!r}, "
                f"locked={self.locked}: negatives come from the whole batch, so leave accumulation "
                "1; queue must be 0 or more; and plain pixels have nothing to train."
            )

    @property
    def base(self) -> Phase:  # its controls share its seeds
        captions = tuple(replace(part, shuffled=False) for part in self.captions)
        return replace(self, captions=captions, against="image")

    @property
    def has_image_space(self) -> bool:
        return self.against == "image"

    def task_type(self, training_set: TrainingSet) -> str:
        return "captions" if self.has_image_space else "paraphrases"

    def sources(self) -> dict[str, str]:
        # The tower also sets the width of the space of paraphrases.
        return {"tower": vision.fingerprint(self.tower)}

    def image_tower(self, trained: Path) -> str:
        """The tower for the pictures that captions find, given the folder of the trained phase."""
        return self.tower if self.locked else str(trained / vision.TOWER)


@dataclass(frozen=True)
class Distil(Phase):
    """Distill the text tower of a CLIP model (Multilingual-CLIP, Carlsson et al. 2022).

    The loss is the mean squared distance of the pooled states, after a linear layer, from the
    teacher's unnormalized vector. No pictures are used. In translation pairs, the student reads
    the text and the teacher its English translation; otherwise both read the same text.
    """

    texts: tuple[TrainingSet, ...] | Iterable[Part]  # of types ``captions`` and ``text``
    languages: tuple[str, ...] = ("en",)
    # ``micro-clip``, a Hub id, or the folder of a stage of ``ImageText``; if its tower was locked,
    # the student cannot be scored on pictures.
    teacher: str = field(default="micro-clip", metadata=WEIGHTS_NAME)

    locked = False  # no image tower is involved
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
        """True. Raises ValueError if the space of its teacher has no pictures."""
        return bool(self.image_tower(Path()))

    def task_type(self, training_set: TrainingSet) -> str:
        return "distillation"

    def sources(self) -> dict[str, str]:
        return {"teacher": vision.fingerprint(self.teacher)}

    def image_tower(self, trained: Path) -> str:
        """The tower for the pictures that texts find: the teacher's."""
        return vision.tower_of(self.teacher)
