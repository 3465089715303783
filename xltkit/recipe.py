"""Recipes: an encoder and the phases of training that follow it, as immutable values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from xltkit.tasks import Portion, get

Part = str | Portion


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One step of training. A field that is None takes the value of the first task's budget.

    Attributes:
        steps: optimiser steps, the budget that arms are matched on.
        epochs: a convenience, resolved to steps.
        batch_size: examples in one optimiser step.
        learning_rate: the peak, after linear warm-up; it then decays linearly to 0.
        warmup: share of the steps that warm up.
        accumulation: parts a batch is computed in; changes memory, not the gradient.
        pooling: what a sequence head reads, ``mean`` of all tokens or the ``first`` one.
    """

    steps: int | None = None
    epochs: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    warmup: float | None = None
    weight_decay: float | None = None
    max_length: int | None = None
    accumulation: int = 1
    pooling: str = "mean"

    # Raised by one whenever an objective changes what it computes: old stages are then not reused.
    version = 1

    def __post_init__(self) -> None:
        if self.pooling not in ("mean", "first"):
            raise ValueError(f"pooling is {self.pooling!r}; it can be 'mean' or 'first'.")

    @property
    def portions(self) -> tuple[Portion, ...]:
        """The training rows of the phase."""
        raise NotImplementedError

    def weights(self, sizes: Sequence[int]) -> list[float]:
        """The share of the steps that each portion gets, given the sizes of the portions."""
        return [1.0]

    def resolved(self, sizes: Sequence[int]) -> Phase:
        """The phase with every default filled in from the budget of its first task."""
        budget = get(self.portions[0].task).budget
        filled = {
            f.name: getattr(budget, f.name)
            for f in fields(budget)
            if getattr(self, f.name) is None and f.name not in ("steps", "epochs")
        }
        batch_size = self.batch_size or budget.batch_size
        epochs = self.epochs or (0 if self.steps else budget.epochs)
        steps = self.steps or (0 if self.epochs else budget.steps)
        if not steps:
            steps = max(1, round(epochs * sum(sizes) / batch_size))
        return replace(self, **filled, steps=steps, epochs=0.0)


def _portions(parts: Iterable[Part], languages: Sequence[str]) -> tuple[Portion, ...]:
    """Names of tasks, in every language given, and portions as they are."""
    if isinstance(parts, str | Portion):
        parts = (parts,)
    made: list[Portion] = []
    for part in parts:
        made += [part] if isinstance(part, Portion) else [Portion(part, c) for c in languages]
    if not made:
        raise ValueError("A phase without a task was given; name one: Intermediate(['nli']).")
    for portion in made:
        get(portion.task)
    return tuple(made)


def mixing(sizes: Sequence[int], rule: str, cap: int = 0, temperature: float = 1.0) -> list[float]:
    """The probability of each task in multi-task training.

    ``p_i`` is proportional to ``min(n_i, cap) ** (1 / temperature)`` (jiant's task sampler;
    Raffel et al. 2020, section 3.5.2); ``uniform`` is the limit of an infinite temperature.

    Raises:
        ValueError: for an unknown rule.
    """
    powers = {"proportional": 1.0, "temperature": 1.0 / temperature, "uniform": 0.0}
    if rule not in powers:
        raise ValueError(f"mix is {rule!r}; it can be {', '.join(powers)}.")
    sizes = [min(n, cap) if cap else n for n in sizes]
    weights = [n ** powers[rule] for n in sizes]
    return [w / sum(weights) for w in weights]


@dataclass(frozen=True, kw_only=True)
class _Mixed(Phase):
    """A phase over several portions, mixed by a rule (see ``mixing``)."""

    mix: str = "proportional"
    cap: int = 2**17
    temperature: float = 1.0


@dataclass(frozen=True)
class Pretrain(_Mixed):
    """Masked language modelling on plain text, and on translation pairs if given.

    On a pair both sides are masked and read together (translation language modelling, Lample and
    Conneau 2019, section 3.3). ``pair_share`` of the steps go to the pairs. From ``scratch``, the
    encoder gives its architecture and its tokenizer, and the seed its weights.
    """

    text: tuple[Portion, ...]
    pairs: tuple[Portion, ...] = ()
    pair_share: float = 0.2
    mask_rate: float = 0.15
    scratch: bool = False

    @property
    def portions(self) -> tuple[Portion, ...]:  # noqa: D102
        return (*self.text, *self.pairs)

    def weights(self, sizes: Sequence[int]) -> list[float]:  # noqa: D102
        cut = len(self.text)
        share = self.pair_share if self.pairs else 0.0
        text = mixing(sizes[:cut], self.mix, self.cap, self.temperature)
        pairs = mixing(sizes[cut:], self.mix, self.cap, self.temperature) if share else []
        return [w * (1 - share) for w in text] + [w * share for w in pairs]


@dataclass(frozen=True)
class Intermediate(_Mixed):
    """Supervised training on one task or several before the target (STILTs, Phang et al. 2020).

    ``mlm`` of the steps, if any, are masked language modelling on ``text``. Heads are thrown
    away at the end; the encoder alone is carried on.
    """

    tasks: tuple[Portion, ...] | Iterable[Part]
    languages: tuple[str, ...] = ("en",)
    mlm: float = 0.0
    text: tuple[Portion, ...] | Iterable[Part] = ()
    mask_rate: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "languages", tuple(self.languages))
        object.__setattr__(self, "tasks", _portions(self.tasks, self.languages))
        text = _portions(self.text, self.languages) if self.text else ()
        object.__setattr__(self, "text", text)
        if bool(self.mlm) != bool(self.text) or not 0 <= self.mlm < 1:
            raise ValueError(
                f"mlm is {self.mlm} and text is {self.text}: give a share below 1 and the text to "
                "train on, as in Intermediate(['nli'], mlm=0.2, text=['text']), or neither."
            )

    @property
    def portions(self) -> tuple[Portion, ...]:  # noqa: D102
        return (*self.tasks, *self.text)

    def weights(self, sizes: Sequence[int]) -> list[float]:  # noqa: D102
        cut = len(self.tasks)
        tasks = mixing(sizes[:cut], self.mix, self.cap, self.temperature)
        text = mixing(sizes[cut:], self.mix, self.cap, self.temperature) if self.mlm else []
        return [w * (1 - self.mlm) for w in tasks] + [w * self.mlm for w in text]


@dataclass(frozen=True)
class Target(Phase):
    """Fine-tuning on the training split of a task, in the source language.

    ``shuffled`` permutes the labels first: a check of everything that comes after.
    """

    task: str
    language: str = "en"
    examples: int = 0
    shuffled: bool = False

    @property
    def portions(self) -> tuple[Portion, ...]:  # noqa: D102
        return (Portion(self.task, self.language, self.examples, self.shuffled),)


@dataclass(frozen=True)
class Evaluate:
    """Predicting a test set in many languages; the last node of a chain, it trains nothing.

    Attributes:
        examples: rows per language, 0 means all.
        layer: for retrieval, the layer to read (0 means the protocol's, see ``kinds.Retrieval``).
        sweep: for retrieval, also score every layer and pooling.
        max_length: tokens a sequence, 0 means the task's own.
    """

    task: str
    languages: tuple[str, ...]
    split: str = "test"
    examples: int = 0
    layer: int = 0
    sweep: bool = False
    max_length: int = 0

    version = 2  # 2: predictions hold the scores of all labels


@dataclass(frozen=True)
class Recipe:
    """A pretrained encoder and the phases that follow it.

    ``encoder`` is ``micro`` (it ships with the kit), a Hub id such as ``xlm-roberta-base``,
    optionally with ``@revision``, or a folder.
    """

    encoder: str
    phases: tuple[Phase, ...] = ()

    def then(self, *phases: Phase) -> Recipe:
        """This recipe followed by more phases; the recipe itself does not change."""
        for phase in phases:
            if not isinstance(phase, Phase):
                raise TypeError(f"{phase!r} is no phase; use Pretrain, Intermediate or Target.")
        if any(getattr(p, "scratch", False) for p in (self.phases + phases)[1:]):
            raise ValueError(
                "Pretrain(scratch=True) draws new weights, and what came before would be lost; "
                "let it be the first phase, or leave scratch out."
            )
        return replace(self, phases=self.phases + phases)

    def standing_in(self, names: Mapping[str, str]) -> Recipe:
        """The same recipe trained on other tasks: ``{"mnli": "sick"}`` puts SICK for MNLI."""

        def swap(value: Any) -> Any:
            if isinstance(value, Portion):
                return replace(value, task=names.get(value.task, value.task))
            return tuple(map(swap, value)) if isinstance(value, tuple) else value

        phases = []
        for phase in self.phases:
            swapped = {f.name: swap(getattr(phase, f.name)) for f in fields(phase)}
            if isinstance(phase, Target):
                swapped["task"] = names.get(phase.task, phase.task)
            phases.append(replace(phase, **swapped))
        return replace(self, phases=tuple(phases))

    def __str__(self) -> str:
        return " > ".join([self.encoder, *(type(p).__name__ for p in self.phases)])


def signature(phase: Phase | Evaluate) -> dict[str, Any]:
    """A phase as plain types: what its key is a hash of."""
    return {"phase": type(phase).__name__, "version": phase.version} | asdict(phase)


def encoder(name: str) -> Recipe:
    """A recipe that starts with a pretrained encoder and has no phase yet."""
    from xltkit.models import check_encoder

    check_encoder(name)
    return Recipe(name)
