"""Robust training: what a supervised phase does against small changes of its inputs.

A word in another language is, to an encoder, a word of the source language whose representation is
off; a model that keeps its prediction round every training point may keep it there too (Huang et
al. 2021, arXiv 2104.08645). Radii are in units of the mean norm of the encoder's word embeddings,
which differs between encoders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from torch import Tensor, nn

from xltkit.keys import derive
from xltkit.tasks.schema import Task

if TYPE_CHECKING:  # an objective is given the plain one
    from xltkit.training.loop import Batch
    from xltkit.training.supervised import Supervised

NORMS = ("l2", "linf")
TINY = 1e-8  # a gradient shorter than this has no direction


class Robust:
    """A way of robust training. What a subclass leaves alone is as in plain training."""

    version = 1
    augments = False  # whether ``augment`` changes anything

    def sources(self) -> dict[str, str]:
        """Fingerprints of the files that are read, for the key of a stage."""
        return {}

    def augment(self, task: Task, rows: Dataset) -> Dataset:
        """The rows to train on instead of ``rows``."""
        return rows

    def losses(self, plain: Supervised, model: nn.Module, batch: Batch) -> Iterator[Tensor]:
        """The summed losses of a batch; each is backpropagated before the next is asked for."""
        yield plain(model, batch)


@contextmanager
def shifted(model: nn.Module, shift: Tensor):
    """Add ``shift`` (sequences, tokens, width) to the word embeddings of the encoder.

    Positions and normalisation come after it (as in zhuchen03/FreeLB).
    """
    hook = _embeddings(model).register_forward_hook(lambda _module, _ids, out: out + shift)
    try:
        yield
    finally:
        hook.remove()


def _embeddings(model: nn.Module) -> nn.Module:
    return getattr(model, "module", model).encoder.get_input_embeddings()


class Ball:
    """Perturbations of the word embeddings of a batch, round 0; padding is never perturbed.

    Args:
        model: whose embeddings.
        inputs: ``attention_mask`` (sequences, tokens) among others.
        norm: ``l2``, over all tokens of a sequence together, or ``linf``.
        radius: in mean embedding norms; for ``linf`` of a single number, in the size that each
            number of an embedding of mean norm would have. 0 is no limit.
    """

    def __init__(
        self, model: nn.Module, inputs: Mapping[str, Tensor], norm: str = "l2", radius: float = 0.0
    ):
        table = _embeddings(model)
        self.mask = inputs["attention_mask"].unsqueeze(-1).float()
        self.unit = float(table.weight.detach().float().norm(dim=-1).mean())
        self.width = table.embedding_dim
        self.norm, self.radius = norm, radius * self.unit / self._entries(norm)

    def _entries(self, norm: str) -> float:
        return self.width**0.5 if norm == "linf" else 1.0

    def noise(self, radius: float, distribution: str, seed: int) -> Tensor:
        """A perturbation of every token by itself: its length is about ``radius`` at most.

        ``gaussian``: each number from N(0, radius^2 / width); ``ball``: uniform in the ball.
        """
        draw = self._random(seed)
        noise = torch.randn(self._shape, generator=draw, device=self.mask.device)
        if distribution == "gaussian":
            noise = noise / self.width**0.5
        else:
            share = torch.rand(self.mask.shape, generator=draw, device=self.mask.device)
            noise = nn.functional.normalize(noise, dim=-1) * share ** (1 / self.width)
        return noise * self.mask * radius * self.unit

    def start(self, magnitude: float, seed: int) -> Tensor:
        """A first perturbation, uniform in a cube (FreeLB's): for ``l2`` shrunk by its size."""
        draw = torch.rand(self._shape, generator=self._random(seed), device=self.mask.device)
        size = self._entries(self.norm)
        if self.norm == "l2":
            size = (self.mask.sum(1, keepdim=True) * self.width).sqrt()
        return (2 * draw - 1) * self.mask * (magnitude * self.unit) / size

    def up(self, delta: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """One step of ascent, and back into the ball."""
        gradient, size = gradient.float() * self.mask, step_size * self.unit
        if self.norm == "linf":
            delta = delta + gradient.sign() * size / self._entries("linf")
            return delta.clamp(-self.radius, self.radius) if self.radius else delta
        length = gradient.flatten(1).norm(dim=1).clamp(min=TINY)
        delta = delta + gradient * (size / length)[:, None, None]
        if not self.radius:
            return delta
        length = delta.flatten(1).norm(dim=1).clamp(min=TINY)
        return delta * (self.radius / length).clamp(max=1.0)[:, None, None]

    @property
    def _shape(self) -> tuple[int, ...]:
        return (*self.mask.shape[:2], self.width)

    def _random(self, seed: int) -> torch.Generator:
        return torch.Generator(self.mask.device).manual_seed(seed)


@dataclass(frozen=True, kw_only=True)
class Adversarial(Robust):
    """Training on the worst perturbation of the word embeddings that some steps of ascent find.

    With ``accumulate`` the parameters learn from the loss at every one of the ``steps``
    perturbations (FreeLB, Zhu et al. 2020, as in zhuchen03/FreeLB); without, only at
    the last, as in projected gradient descent (Madry et al. 2018). All of them see one dropout
    mask. The paper on robust cross-lingual training gives no settings and released no code of
    this: radius and step size are ours, and a radius of 0.2 already stops ``micro`` from learning
    inference at all.

    Attributes:
        steps: passes forward and backward, so the cost of a training step.
        radius: of the ball round a sequence, in mean embedding norms; 0 is no limit.
        step_size: of the ascent, in mean embedding norms.
        start: magnitude of the first, random perturbation, in the same unit.
        norm: ``l2`` (of a whole sequence) or ``linf``.
    """

    steps: int = 2
    radius: float = 0.05
    step_size: float = 0.05
    start: float = 0.02
    norm: str = "l2"
    accumulate: bool = True

    def __post_init__(self) -> None:
        if self.norm not in NORMS or self.steps < 1 or min(self.radius, self.start) < 0:
            raise ValueError(
                f"norm is {self.norm!r}, steps {self.steps}, radius {self.radius}, start "
                f"{self.start}: norm can be {' or '.join(NORMS)}, steps 1 or more, the others 0 "
                "or more."
            )

    def losses(self, plain: Supervised, model: nn.Module, batch: Batch) -> Iterator[Tensor]:
        ball = Ball(model, batch.inputs, self.norm, self.radius)
        replay = torch.initial_seed()  # which the loop sets for every part of a step
        delta = ball.start(self.start, derive(replay, "noise"))
        for step in range(self.steps):
            delta = delta.detach().requires_grad_()
            torch.manual_seed(replay)
            with shifted(model, delta):
                loss = plain(model, batch)
            last = step == self.steps - 1
            if self.accumulate or last:
                yield loss / (self.steps if self.accumulate else 1)
            if not last:
                gradient = delta.grad if self.accumulate else torch.autograd.grad(loss, delta)[0]
                delta = ball.up(delta.detach(), gradient, self.step_size)


@dataclass(frozen=True, kw_only=True)
class RandomPerturbation(Robust):
    """Training on one random perturbation of every word embedding (RS-RP, Huang et al. 2021).

    Evaluated with ``votes``, the same noise smooths the prediction (Cohen et al. 2019). The paper
    gives neither distribution nor radius: these are ours.

    Attributes:
        radius: length of the perturbation of a token, in mean embedding norms.
        distribution: ``gaussian`` (the radius is the root mean square) or ``ball`` (uniform).
    """

    radius: float = 0.3
    distribution: str = "gaussian"

    def __post_init__(self) -> None:
        if self.distribution not in ("gaussian", "ball") or self.radius < 0:
            raise ValueError(
                f"distribution is {self.distribution!r} and radius {self.radius}: it can be "
                "'gaussian' or 'ball', with a radius of 0 or more."
            )

    def losses(self, plain: Supervised, model: nn.Module, batch: Batch) -> Iterator[Tensor]:
        seed = derive(torch.initial_seed(), "noise")
        noise = Ball(model, batch.inputs).noise(self.radius, self.distribution, seed)
        with shifted(model, noise):
            yield plain(model, batch)
