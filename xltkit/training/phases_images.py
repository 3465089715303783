"""Phases that train on pictures with captions, or on what a CLIP says of texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from xltkit.tasks import TrainingSet, get
from xltkit.training.phases import Part, Phase, training_sets_of

AGAINST = ("image", "paraphrase")


@dataclass(frozen=True)
class ImageText(Phase):
    """Contrastive training on captions and their pictures: CLIP, or LiT if the tower is locked.

    The loss is the symmetric InfoNCE of Radford et al. (2021, figure 3): each caption finds its
    picture, and each picture its caption, among those of the batch and of the queue. An image
    tower that is locked (Zhai et al. 2022) has its features computed once and kept, and costs as
    much as text alone. The text encoder is carried on; the head and a trained tower stay with the
    stage, for whoever scores it on captions.

    Attributes:
        captions: rows of a task of the kind ``captions``. With ``shuffled`` training sets every
            picture gets the captions of another: the control for what the pictures do.
        tower: ``micro-vision``, ``pixels`` (no network), a Hub id, or a folder.
        locked: whether the tower stays as it is.
        queue: captions and pictures of earlier steps that count as negatives, too (cross-batch
            memory, Wang et al. 2020); they are as old as they are and get no gradient.
        against: ``image``, or ``paraphrase``: another caption of the same picture in its place,
            seen by the same encoder. The control for what contrast alone does.
    """

    captions: tuple[TrainingSet, ...] | Iterable[Part]
    languages: tuple[str, ...] = ("en",)
    tower: str = "micro-vision"
    locked: bool = True
    queue: int = 0
    against: str = "image"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "languages", tuple(self.languages))
        object.__setattr__(self, "captions", training_sets_of(self.captions, self.languages))
        wrong = [p.task for p in self.captions if get(p.task).kind != "captions"]
        if wrong or len({p.task for p in self.captions}) > 1:
            raise ValueError(
                f"ImageText is given {[p.task for p in self.captions]}; it trains on one task of "
                "pictures with captions, as in ImageText(['captions'])."
            )
        if self.against not in AGAINST:
            raise ValueError(f"against is {self.against!r}; it can be {' or '.join(AGAINST)}.")
        if self.tower == "micro-clip":  # its own image tower, as with the Hub id of a CLIP
            object.__setattr__(self, "tower", "micro-vision")
        if self.accumulation > 1:
            raise ValueError("ImageText takes its negatives from the batch: leave accumulation 1.")
        if self.queue < 0 or (self.tower == "pixels" and not self.locked):
            raise ValueError(
                f"queue is {self.queue} and tower {self.tower!r}, locked={self.locked}: a queue "
                "is 0 or longer, and plain pixels have nothing to train."
            )

    @property
    def plain(self) -> ImageText:
        """The phase with its own pictures: its seeds are those of its controls."""
        own = tuple(replace(p, shuffled=False) for p in self.captions)
        return replace(self, captions=own, against="image")

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        return self.captions

    @property
    def finds_pictures(self) -> bool:
        """Whether its texts lie in a space with pictures."""
        return self.against == "image"

    def trained_as(self, training_set: TrainingSet) -> str:
        return "captions" if self.against == "image" else "paraphrases"

    def sources(self) -> dict[str, str]:
        """The fingerprint of the tower, which says how wide a paraphrase's space is, too."""
        from xltkit.models import vision

        return {"tower": vision.tower_fingerprint(self.tower)}


@dataclass(frozen=True)
class Distil(Phase):
    """Learn what the text tower of a CLIP says of a text (Multilingual-CLIP, Carlsson et al. 2022).

    The loss is the mean squared distance of the pooled states, after a linear layer, from the
    teacher's vector, not brought to length 1. No picture is looked at. Of translation pairs the
    student reads the text and the teacher its English translation; of captions and plain text
    both read the same.

    Attributes:
        texts: rows of a task of the kind ``captions`` or ``text``.
        teacher: ``micro-clip``, the folder of a stage of ``ImageText``, or a Hub id. Of a stage
            whose tower was locked the student learns the texts, and finds no pictures.
    """

    texts: tuple[TrainingSet, ...] | Iterable[Part]
    languages: tuple[str, ...] = ("en",)
    teacher: str = "micro-clip"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "languages", tuple(self.languages))
        object.__setattr__(self, "texts", training_sets_of(self.texts, self.languages))
        if wrong := [p.task for p in self.texts if get(p.task).kind not in ("captions", "text")]:
            raise ValueError(
                f"Distil is given {wrong}; it trains on captions, text or translation pairs, as in "
                "Distil(['captions'])."
            )
        if self.teacher in ("pixels", "micro-vision"):
            raise ValueError(
                f"{self.teacher!r} is no teacher, for it reads no text; give 'micro-clip', the "
                "folder of a stage of ImageText, or a Hub id of a CLIP."
            )

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        return self.texts

    @property
    def finds_pictures(self) -> bool:
        """True; raises ValueError if there are none in its teacher's space."""
        from xltkit.models import vision

        return bool(vision.tower_of(self.teacher))

    def trained_as(self, training_set: TrainingSet) -> str:
        return "lessons"

    def sources(self) -> dict[str, str]:
        """The fingerprint of the teacher."""
        from xltkit.models import vision

        return {"teacher": vision.fingerprint(self.teacher)}
