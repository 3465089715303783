"""Phases that train on pictures with captions, or on the text vectors of a CLIP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xltkit.keys import choose
from xltkit.models import vision
from xltkit.tasks import TrainingSet, get
from xltkit.training.contrast import Contrast, Distillation
from xltkit.training.phases import WEIGHTS_NAME, Part, Phase


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
