"""Alignment by translation pairs: the literature's alternative to robust training.

Both methods need text in every language that is aligned, which robust training claims to do
without; whoever reports their scores reports ``Align.cost`` too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from xltkit.keys import choose, derive
from xltkit.models.encoder import Model, infer, unwrapped
from xltkit.models.heads import mean_pool
from xltkit.tasks import TrainingSet
from xltkit.tasks.base import EncodedExample, TaskType, encoded
from xltkit.tasks.rows import count, training_rows
from xltkit.training.loop import Batch
from xltkit.training.supervised import Supervised

METHODS = ("joint", "rotation")
FILE = "rotations.safetensors"
Rotations = dict[str, dict[str, Tensor]]  # by language, what ``Model.rotated`` takes
PREFIX = "pair/"  # of the names of the inputs that are translation pairs


@dataclass(frozen=True, kw_only=True)
class Align:
    """How the languages of translation pairs are brought together in a target phase.

    ``joint``: beside the loss of the task, every step draws some pairs and adds ``weight`` times
    the mean squared distance of the pooled vectors of the two sides; gradients reach both
    (XeroAlign, Gritta and Iacobacci 2021; there the pairs are translations of the task's training
    data, here any). A sequence head pools as for its scores; other heads take the mean of the
    tokens.

    ``rotation``: the phase trains as ever. Then, for each language, the orthogonal matrix is
    computed that rotates centered sentence vectors onto those of their English translations
    (Procrustes; from sentences, as in Aldarmaki and Diab 2019), and test inputs in that language
    are rotated by it between encoder and head. No weight changes.

    Attributes:
        pairs: sets of translations, such as ``TrainingSet("pairs", "qbe", 500)``.
        batch_size: pairs that a step draws; 0 means as many as it has examples.
    """

    pairs: tuple[TrainingSet, ...]
    method: str = "joint"
    weight: float = 1.0
    batch_size: int = 0

    version = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", tuple(self.pairs))
        choose("method of alignment", self.method, METHODS)
        if not self.pairs:
            raise ValueError("pairs is empty; name some, as (TrainingSet('pairs', 'qbe'),).")
        codes = [p.language for p in self.pairs]
        if len(set(codes)) < len(codes):
            raise ValueError(f"pairs are in {codes}; give each language once.")

    @property
    def cost(self) -> dict[str, int]:
        """The translation pairs used, by language."""
        return {p.language: count(p) for p in self.pairs}

    def objective(self, *inputs: Any, max_length: int) -> Supervised:
        """The objective of a task with the translation pairs beside it.

        Args:
            inputs: of ``Supervised``.
            max_length: tokens of a sentence.

        Raises:
            ValueError: if a training set has no translations.
        """
        objective = Joint if self.method == "joint" else Rotated
        return objective(*inputs, align=self, max_length=max_length)


class Sides(NamedTuple):
    """Encoded translation pairs: the sentences of a language and their English translations."""

    text: list[EncodedExample]
    english: list[EncodedExample]


def sides(training_set: TrainingSet, tokenizer: Any, max_length: int) -> Sides:
    """The pairs of a training set. Raises ValueError if its rows have no translations."""
    rows = training_rows(training_set)
    if "translation" not in rows.column_names:
        raise ValueError(
            f"{training_set.task} has no translations; align by translation pairs, such as 'pairs'."
        )
    options = {"truncation": True, "max_length": max_length}
    text = encoded(tokenizer(rows["text"][:], **options))
    english = encoded(tokenizer(rows["translation"][:], **options))
    return Sides(text, english)


def _collate(examples: Sequence[EncodedExample], tokenizer: Any) -> dict[str, Tensor]:
    return TaskType().collate(examples, tokenizer, training=False)


class Joint(Supervised):
    """The objective of a task, and the distance of translation pairs beside it."""

    def __init__(self, *inputs: Any, align: Align, max_length: int):
        super().__init__(*inputs)
        self.align = align
        self.head = self.training_sets[0].task.name  # whose pooling is used
        self.text: list[EncodedExample] = []
        self.english: list[EncodedExample] = []
        for training_set in align.pairs:
            text, english = sides(training_set, self.tokenizer, max_length)
            self.text += text
            self.english += english

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
            chosen = [side[k] for side in (self.text, self.english) for k in drawn]
            inputs = dict(batches[i].inputs)
            for name, value in _collate(chosen, self.tokenizer).items():
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


class Rotated(Supervised):
    """The objective of a task; what it trained is aligned by rotations afterwards."""

    def __init__(self, *inputs: Any, align: Align, max_length: int):
        super().__init__(*inputs)
        self.pairs = {p.language: sides(p, self.tokenizer, max_length) for p in align.pairs}

    def finish(self, model: Model, folder: Path) -> None:
        save(rotations(model, self.pairs, self.tokenizer), folder)


def rotations(model: Model, pairs: Mapping[str, Sides], tokenizer: Any) -> Rotations:
    """For each language the rotation (width, width), and the means (width) before and after it."""
    by_language = {}
    for code, (text, english) in pairs.items():
        x = sentence_vectors(model, text, tokenizer)
        y = sentence_vectors(model, english, tokenizer)
        rotation, _ = orthogonal_procrustes(x - x.mean(0), y - y.mean(0))
        parts = {"rotation": rotation, "from": x.mean(0), "to": y.mean(0)}
        by_language[code] = {
            name: torch.from_numpy(np.ascontiguousarray(part)).float()
            for name, part in parts.items()
        }
    return by_language


def sentence_vectors(
    model: Model, examples: Sequence[EncodedExample], tokenizer: Any
) -> np.ndarray:
    """The mean of the tokens of each sentence after the last layer (sentences, width)."""
    last = model.depth

    def read(tensors: dict[str, Tensor], _: Sequence[EncodedExample]) -> list[np.ndarray]:
        hidden = model.layers([last], **tensors)[last]
        pooled = mean_pool(hidden.float(), tensors["attention_mask"])
        # Half precision, as everywhere where hidden states are kept.
        return list(pooled.to(torch.float16).cpu().numpy())

    vectors = infer(model, examples, partial(_collate, tokenizer=tokenizer), read)
    return np.stack(vectors).astype(np.float64)


def save(by_language: Rotations, folder: Path) -> None:
    """Write rotations beside the encoder they belong to."""
    flat = {}
    for code, parts in by_language.items():
        flat |= {f"{code}/{name}": part for name, part in parts.items()}
    save_file(flat, folder / FILE)


def load(folder: Path) -> Rotations:
    """The rotations of a stage, if it has any."""
    by_language: Rotations = {}
    if (folder / FILE).is_file():
        for key, part in load_file(folder / FILE).items():
            code, _, name = key.rpartition("/")
            by_language.setdefault(code, {})[name] = part
    return by_language
