"""Alignment by translation pairs: the literature's alternative to robust training.

Both ways need text in every language that is aligned, which robust training claims to do without;
whoever reports their scores reports ``Align.cost`` too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.linalg import orthogonal_procrustes
from torch import Tensor, nn

from xltkit.keys import derive
from xltkit.models.encoder import Model, infer
from xltkit.models.heads import mean_pool
from xltkit.tasks.base import EncodedExample, TaskType, features_of
from xltkit.tasks.rows import count, training_rows
from xltkit.tasks.schema import TrainingSet
from xltkit.training.loop import Batch, Objective

METHODS = ("joint", "rotation")
FILE = "rotations.safetensors"
Turns = dict[str, dict[str, Tensor]]  # by language, what ``Model.rotated`` needs
MARK = "pair/"  # before the names of the inputs that are translation pairs


@dataclass(frozen=True, kw_only=True)
class Align:
    """How the languages of translation pairs are brought together in a target phase.

    ``joint``: beside its own loss, every step draws some pairs and adds ``weight`` times the mean
    squared distance of the pooled vectors of the two sides; gradients reach both (XeroAlign, Gritta
    and Iacobacci 2021; there the pairs are translations of the task's own training data, here any).
    A sequence head pools as for its scores; other heads take the mean of the tokens.

    ``rotation``: the phase trains as ever. Then, for each language, the orthogonal matrix is found
    that turns centred sentence vectors onto those of their English translations (Procrustes; from
    sentences, as in Aldarmaki and Diab 2019), and test inputs in that language are turned by it
    between encoder and head. No weight changes.

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
        if self.method not in METHODS or not self.pairs:
            raise ValueError(
                f"method is {self.method!r} and pairs {self.pairs}: method can be "
                f"{' or '.join(METHODS)}, and pairs names some, as (TrainingSet('pairs', 'qbe'),)."
            )
        codes = [p.language for p in self.pairs]
        if len(set(codes)) < len(codes):
            raise ValueError(f"pairs are in {codes}; give each language once.")

    @property
    def cost(self) -> dict[str, int]:
        """The translation pairs used, by language."""
        return {p.language: count(p) for p in self.pairs}


class Sides(NamedTuple):
    """Translation pairs as features: the sentences of a language and their English ones."""

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
    return Sides(*(features_of(tokenizer(rows[c][:], **options)) for c in ("text", "translation")))


class Joint:
    """An objective and the distance of translation pairs beside it.

    Args:
        objective: of the task.
        batches: of the task.
        pairs: of all languages.
        collate: features to tensors.
        head: the name of the head whose pooling is used.
        way: how they are aligned.
        seed: of the pairs' order.
    """

    def __init__(
        self, objective: Objective, batches: Callable[[int, int], Sequence[Batch]],
        pairs: Sequence[Sides], collate: Callable[[Sequence[EncodedExample]], dict[str, Tensor]],
        head: str, way: Align, seed: int,
    ):  # fmt: skip
        self.objective, self.plain_batches = objective, batches
        self.text = [f for p in pairs for f in p.text]
        self.english = [f for p in pairs for f in p.english]
        self.collate, self.head, self.way, self.seed = collate, head, way, seed

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The batches of a step with some pairs, drawn at random."""
        batches = list(self.plain_batches(step, parts))
        random = np.random.default_rng(derive(self.seed, "pairs", step))
        total = sum(len(batch.labels) for batch in batches if batch.targets)
        total = self.way.batch_size or total
        drawn = np.array_split(random.integers(len(self.text), size=total), parts)
        targets = sum(batch.targets for batch in batches)
        for i, (batch, at) in enumerate(zip(batches, drawn, strict=True)):
            if not len(at):
                continue
            chosen = [side[k] for side in (self.text, self.english) for k in at]
            pairs = {MARK + name: value for name, value in self.collate(chosen).items()}
            # The loop divides by the targets of the step; the mean over its pairs is wanted.
            share = torch.tensor(targets / total)
            batches[i] = batch._replace(inputs=batch.inputs | pairs | {MARK + "share": share})
        return batches

    def __call__(self, model: nn.Module, batch: Batch) -> Iterator[Tensor]:
        """The losses of the task, then that of the pairs."""
        pairs = {k.removeprefix(MARK): v for k, v in batch.inputs.items() if k.startswith(MARK)}
        own = {k: v for k, v in batch.inputs.items() if not k.startswith(MARK)}
        losses = self.objective(model, batch._replace(inputs=own))
        yield from (losses,) if isinstance(losses, Tensor) else losses
        if pairs:
            share = pairs.pop("share")
            pooled = getattr(model, "module", model).pooled(self.head, **pairs)
            text, english = pooled.float().chunk(2)
            yield self.way.weight * share * (text - english).square().mean(1).sum()


def rotations(model: Model, pairs: Mapping[str, Sides], tokenizer: Any) -> Turns:
    """For each language the rotation (width, width) and the two means (width)."""
    found = {}
    for code, two in pairs.items():
        x, y = (sentence_vectors(model, side, tokenizer) for side in two)
        turn, _ = orthogonal_procrustes(x - x.mean(0), y - y.mean(0))
        parts = {"rotation": turn, "from": x.mean(0), "to": y.mean(0)}
        found[code] = {k: torch.from_numpy(np.ascontiguousarray(v)).float()
                       for k, v in parts.items()}  # fmt: skip
    return found


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

    collate = partial(TaskType().collate, tokenizer=tokenizer, training=False)
    return np.stack(infer(model, examples, collate, read)).astype(np.float64)


def save(turns: Turns, folder: Path) -> None:
    """Write rotations beside the encoder they belong to."""
    flat = {f"{code}/{name}": value for code, turn in turns.items() for name, value in turn.items()}
    save_file(flat, folder / FILE)


def load(folder: Path) -> Turns:
    """The rotations of a stage, if it has any."""
    turns: Turns = {}
    if (folder / FILE).is_file():
        for name, value in load_file(folder / FILE).items():
            code, _, part = name.rpartition("/")
            turns.setdefault(code, {})[part] = value
    return turns
