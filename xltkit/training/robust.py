"""Robust training: making a supervised phase robust to small changes of its inputs.

To an encoder, a word in another language is a word of the source language whose representation is
off; a model that keeps its prediction around every training point may keep it there, too (Huang et
al. 2021, arXiv 2104.08645). Radii are in units of the mean norm of the encoder's word embeddings,
which differs between encoders.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn

from xltkit.data import lexicons
from xltkit.data.lexicons import Lexicon
from xltkit.data.text import Row, replace_words, texts, word_spans, words
from xltkit.keys import choose, derive
from xltkit.models import device
from xltkit.models.encoder import unwrapped
from xltkit.tasks.base import Task
from xltkit.training.supervised import Batch

TINY = 1e-8  # a gradient shorter than this has no direction
TaskLoss = Callable[[nn.Module, Batch], Tensor]  # the summed loss of a batch


class Robust:
    """A method of robust training. What a subclass does not override is standard training."""

    version = 1
    augments = False  # whether it has ``augment(task, rows)``: the rows to train on instead

    def sources(self) -> dict[str, str]:
        """Fingerprints of the files that are read, for the key of a stage."""
        return {}

    def losses(self, task_loss: TaskLoss, model: nn.Module, batch: Batch) -> Iterator[Tensor]:
        """The summed losses of a batch; each is backpropagated before the next is requested."""
        yield task_loss(model, batch)


@contextmanager
def perturbed(model: nn.Module, perturbation: Tensor):
    """Add a perturbation (sequences, tokens, width) to the word embeddings inside the context.

    It is added before positions and normalization (as in zhuchen03/FreeLB).
    """

    def add(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output + perturbation

    hook = unwrapped(model).encoder.get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


class Ball:
    """Perturbations of the word embeddings of a batch, around 0; padding is never perturbed.

    ``radius`` is that of a whole sequence, in mean embedding norms; 0 means no limit.
    """

    def __init__(self, model: nn.Module, inputs: Mapping[str, Tensor], radius: float = 0.0):
        embeddings = unwrapped(model).encoder.get_input_embeddings()
        self.mask = inputs["attention_mask"].unsqueeze(-1).float()
        self.width = embeddings.embedding_dim
        self.mean_norm = float(embeddings.weight.detach().float().norm(dim=-1).mean())
        self.radius = radius * self.mean_norm

    def noise(self, length: float, seed: int) -> Tensor:
        """Gaussian noise on every token: each number from N(0, length^2 / width)."""
        noise = self._draw(torch.randn, seed) / self.width**0.5
        return noise * self.mask * length * self.mean_norm

    def initial(self, magnitude: float, seed: int) -> Tensor:
        """A first perturbation, uniform in a cube that shrinks with length (as in FreeLB)."""
        uniform = self._draw(torch.rand, seed)
        size = (self.mask.sum(1, keepdim=True) * self.width).sqrt()
        return (2 * uniform - 1) * self.mask * (magnitude * self.mean_norm) / size

    def _draw(self, draw: Callable[..., Tensor], seed: int) -> Tensor:
        generator = torch.Generator(self.mask.device).manual_seed(seed)
        size = (*self.mask.shape[:2], self.width)
        return draw(size, generator=generator, device=generator.device)

    def ascend(self, perturbation: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """One step along the gradient, projected back into the ball."""
        gradient = gradient.float() * self.mask
        length = gradient.flatten(1).norm(dim=1).clamp(min=TINY)
        moved = perturbation + gradient * (step_size * self.mean_norm / length)[:, None, None]
        if not self.radius:
            return moved
        length = moved.flatten(1).norm(dim=1).clamp(min=TINY)
        return moved * (self.radius / length).clamp(max=1.0)[:, None, None]


@dataclass(frozen=True, kw_only=True)
class Adversarial(Robust):
    """Training on adversarial perturbations of the word embeddings, found by gradient ascent.

    With ``accumulate``, the parameters learn from the loss at each of the ``steps`` perturbations
    (FreeLB, Zhu et al. 2020, as in zhuchen03/FreeLB); without, only at the last, as in projected
    gradient descent (Madry et al. 2018). All steps share one dropout mask. Huang et al. give no
    settings: radius and step size are ours.
    """

    steps: int = 2  # forward and backward passes: the cost of a training step
    radius: float = 0.05  # of the ball around a sequence, in mean embedding norms; 0: no limit
    step_size: float = 0.05  # of the ascent
    start: float = 0.02  # the size of the first, random perturbation
    norm: str = "l2"  # the only one; part of the keys of stages
    accumulate: bool = True

    def __post_init__(self) -> None:
        choose("norm", self.norm, ["l2"])
        if self.steps < 1 or min(self.radius, self.start) < 0:
            raise ValueError(f"{self}: steps must be 1 or more, radius and start 0 or more.")

    def losses(self, task_loss: TaskLoss, model: nn.Module, batch: Batch) -> Iterator[Tensor]:
        ball = Ball(model, batch.inputs, self.radius)
        dropout_seed = torch.initial_seed()  # which the loop sets for every part of a step
        perturbation = ball.initial(self.start, derive(dropout_seed, "noise"))
        for steps_left in reversed(range(self.steps)):
            perturbation = perturbation.detach().requires_grad_()
            device.seed(dropout_seed)
            with perturbed(model, perturbation):
                loss = task_loss(model, batch)
            if self.accumulate:
                # Once the loop has backpropagated this, the perturbation has a gradient.
                yield loss / self.steps
                gradient = perturbation.grad
            elif steps_left:
                (gradient,) = torch.autograd.grad(loss, perturbation)
            else:
                yield loss
            if steps_left:
                perturbation = ball.ascend(perturbation.detach(), gradient, self.step_size)


@dataclass(frozen=True, kw_only=True)
class RandomPerturbation(Robust):
    """Training on one random perturbation of every word embedding (RS-RP, Huang et al. 2021).

    In ``Evaluate(smoothing=...)``, the same noise smooths predictions (Cohen et al. 2019). Huang et
    al. give neither distribution nor radius: these are ours.
    """

    radius: float = 0.3  # root mean square length of the noise on a token, in mean embedding norms
    distribution: str = "gaussian"  # the only one; part of the keys of stages

    def __post_init__(self) -> None:
        choose("distribution", self.distribution, ["gaussian"])

    def losses(self, task_loss: TaskLoss, model: nn.Module, batch: Batch) -> Iterator[Tensor]:
        seed = derive(torch.initial_seed(), "noise")
        noise = Ball(model, batch.inputs).noise(self.radius, seed)
        with perturbed(model, noise):
            yield task_loss(model, batch)


@dataclass(frozen=True, kw_only=True)
class SynonymSmoothing(Robust):
    """Training on ``copies`` of every row in which words are replaced by synonyms (RS-DA).

    As released (Huang et al. 2021; uclanlp/Robust-XLT, perturb.py): texts are split at single
    spaces, case matters, and a word with synonyms becomes one of them or stays, all equally likely;
    the clean row is not kept. Where the release is silent, words of gold answers stay, and texts of
    other tasks are split into words as in ``xltkit.data.text``. The number of steps does not
    change; the release trains for as many epochs on ``copies`` times the rows, as
    ``Target(effort=copies)`` does.
    """

    source: str = "microworld-released"  # of the synonyms (``xltkit.data.lexicons.synonyms``)
    copies: int = 3  # of every row; the release uses 3 for XNLI and 10 for PAWS-X
    english_only: bool = False  # leave out synonyms that never occur in the English rows
    empty: bool = False  # replace nothing: the control with copies but no synonyms
    rate: float = 0.0  # 0: as released; else the probability that a covered word changes
    seed: int = 0  # of the copies, which are the same for all seeds of training

    version = 2  # words by Unicode's rules (UAX 29); files of words without a byte order mark
    augments = True

    def __post_init__(self) -> None:
        if self.copies < 1 or not 0 <= self.rate <= 1:
            raise ValueError(f"{self}: copies must be 1 or more, rate a share from 0 to 1.")

    def sources(self) -> dict[str, str]:
        return {"synonyms": lexicons.fingerprint(self.source)}

    def augment(self, task: Task, rows: Dataset) -> Dataset:
        """The copies that replace some rows."""
        table = self.table(task, rows)
        random = np.random.default_rng(derive("synonyms", task.name, self.seed))

        def draw(word: str) -> str:
            """The word or one of its synonyms."""
            others = table.get(word, ())
            if not others:
                return word
            if not self.rate:
                return (word, *others)[random.integers(len(others) + 1)]
            return others[random.integers(len(others))] if random.random() < self.rate else word

        copies = []
        for row in rows:
            for number in range(1, self.copies + 1):
                copy = _edited(task.type.texts, row, draw)
                copies.append(copy | {"id": f"{row['id']}/{number}"})
        return Dataset.from_list(copies, features=rows.features)

    def table(self, task: Task, rows: Dataset) -> Lexicon:
        """The synonyms that are used for some rows, by word."""
        table = {} if self.empty else lexicons.synonyms(self.source)
        if not self.english_only:
            return table
        clean = [text for row in rows for _, _, text in texts(task.type.texts, row)]
        return lexicons.in_english(table, clean)

    def coverage(self, task: Task, rows: Dataset) -> float:
        """The percentage of replaceable words that have a synonym.

        In sentence pairs, words are split at spaces only: ``movie.`` has no synonym.
        """
        table = self.table(task, rows)
        is_covered: list[bool] = []

        def look(word: str) -> str:
            if word_spans(word):  # more than punctuation
                is_covered.append(word in table)
            return word

        for row in rows:
            _edited(task.type.texts, row, look)
        return 100 * float(np.mean(is_covered))


def _edited(columns: Sequence[str], row: Row, change: Callable[[str], str]) -> Row:
    """A row with each word changed, except those of gold answers."""
    if "text_a" in row:  # a sentence pair, split as in the release
        copy = dict(row)
        for column, _, text in texts(columns, row):
            copy[column] = " ".join(map(change, text.split(" ")))
        return copy
    spans = enumerate(words(columns, row))
    return replace_words(columns, row, {i: change(w.text) for i, w in spans if not w.fixed})
