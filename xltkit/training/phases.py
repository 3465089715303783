"""Phases: what one step of a recipe trains or evaluates, as immutable values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from xltkit.tasks import TrainingSet, get

if TYPE_CHECKING:  # torch is loaded when something is trained
    from xltkit.evaluation.attacks import Attack
    from xltkit.training.align import Align
    from xltkit.training.robust import RandomPerturbation, Robust

Part = str | TrainingSet
# Names of weights, which play no part in a key or a seed: ``sources`` has their fingerprints.
NAMES = ("encoder", "tower", "teacher")
# Fields that are off play no part in a key: what was trained before there were any stays valid.
OFF = {
    "robust": None, "effort": 1.0, "align": None, "attack": None, "mixed": False,
    "smoothing": None,
}  # fmt: skip


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

    finds_pictures = False  # whether its texts lie in a space with pictures
    # Raised by one whenever an objective changes what it computes: old stages are then not reused.
    version = 1

    def __post_init__(self) -> None:
        if self.pooling not in ("mean", "first"):
            raise ValueError(f"pooling is {self.pooling!r}; it can be 'mean' or 'first'.")

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        """The training rows of the phase."""
        raise NotImplementedError

    @property
    def plain(self) -> Phase:
        """The phase without robust training and alignment: its seeds are those of this one."""
        off = {f.name: OFF[f.name] for f in fields(self) if f.name in ("robust", "align")}
        return replace(self, **off)

    def weights(self, sizes: Sequence[int]) -> list[float]:
        """The share of the steps that each training set gets, given their sizes."""
        return [n / sum(sizes) for n in sizes]

    def trained_as(self, training_set: TrainingSet) -> str:
        """The kind that the rows of a training set are encoded as: as a rule that of their task."""
        return get(training_set.task).kind

    def sources(self) -> dict[str, str]:
        """Fingerprints of what the phase needs beside its rows, by name."""
        return {}

    def resolved(self, sizes: Sequence[int]) -> Phase:
        """The phase with every default filled in from the budget of its first task."""
        budget = get(self.training_sets[0].task).training
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
        if hasattr(self, "effort"):
            filled |= {"effort": 1.0}
            steps = max(1, round(steps * self.effort))
        return replace(self, **filled, steps=steps, epochs=0.0)


def training_sets_of(parts: Iterable[Part], languages: Sequence[str]) -> tuple[TrainingSet, ...]:
    """Names of tasks, in every language given, and training sets as they are."""
    if isinstance(parts, str | TrainingSet):
        parts = (parts,)
    made: list[TrainingSet] = []
    for part in parts:
        made += (
            [part] if isinstance(part, TrainingSet) else [TrainingSet(part, c) for c in languages]
        )
    if not made:
        raise ValueError("A phase without a task was given; name one: Intermediate(['nli']).")
    for training_set in made:
        get(training_set.task)
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
    """A phase over several training sets, mixed by a rule (see ``mixing``)."""

    mix: str = "proportional"
    cap: int = 2**17
    temperature: float = 1.0


@dataclass(frozen=True)
class Pretrain(_Mixed):
    """Masked language modelling on plain text or captions, and on translation pairs if given.

    On a pair both sides are masked and read together (translation language modelling, Lample and
    Conneau 2019, section 3.3). ``pair_share`` of the steps go to the pairs. From ``scratch``, the
    encoder gives its architecture and its tokenizer, and the seed its weights.
    """

    text: tuple[TrainingSet, ...]
    pairs: tuple[TrainingSet, ...] = ()
    pair_share: float = 0.2
    mask_rate: float = 0.15
    scratch: bool = False

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        return (*self.text, *self.pairs)

    def weights(self, sizes: Sequence[int]) -> list[float]:
        cut = len(self.text)
        share = self.pair_share if self.pairs else 0.0
        text = mixing(sizes[:cut], self.mix, self.cap, self.temperature)
        pairs = mixing(sizes[cut:], self.mix, self.cap, self.temperature) if share else []
        return [w * (1 - share) for w in text] + [w * share for w in pairs]

    def trained_as(self, training_set: TrainingSet) -> str:
        return "text"


@dataclass(frozen=True)
class Intermediate(_Mixed):
    """Supervised training on one task or several before the target (STILTs, Phang et al. 2020).

    ``mlm`` of the steps, if any, are masked language modelling on ``text``. Heads are thrown
    away at the end; the encoder alone is carried on. ``robust`` is how the tasks are trained, as
    in ``Target``.
    """

    tasks: tuple[TrainingSet, ...] | Iterable[Part]
    languages: tuple[str, ...] = ("en",)
    mlm: float = 0.0
    text: tuple[TrainingSet, ...] | Iterable[Part] = ()
    mask_rate: float = 0.15
    robust: Robust | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "languages", tuple(self.languages))
        object.__setattr__(self, "tasks", training_sets_of(self.tasks, self.languages))
        text = training_sets_of(self.text, self.languages) if self.text else ()
        object.__setattr__(self, "text", text)
        if bool(self.mlm) != bool(self.text) or not 0 <= self.mlm < 1:
            raise ValueError(
                f"mlm is {self.mlm} and text is {self.text}: give a share below 1 and the text to "
                "train on, as in Intermediate(['nli'], mlm=0.2, text=['text']), or neither."
            )

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        return (*self.tasks, *self.text)

    def weights(self, sizes: Sequence[int]) -> list[float]:
        cut = len(self.tasks)
        tasks = mixing(sizes[:cut], self.mix, self.cap, self.temperature)
        text = mixing(sizes[cut:], self.mix, self.cap, self.temperature) if self.mlm else []
        return [w * (1 - self.mlm) for w in tasks] + [w * self.mlm for w in text]

    def trained_as(self, training_set: TrainingSet) -> str:
        return super().trained_as(training_set) if training_set in self.tasks else "text"


@dataclass(frozen=True)
class Target(Phase):
    """Fine-tuning on the training split of a task, in the source language.

    Attributes:
        task: empty means whatever the study scores: so an arm says how its target is trained.
        examples: training rows, 0 means all.
        shuffled: deal out the labels at random first: a check of everything that comes after.
        robust: train against small changes of the inputs (``xltkit.training.robust``).
        align: train on translation pairs beside, or rotate by them (``xltkit.training.align``).
        effort: multiplies the steps, for arms that are matched in compute.
    """

    task: str = ""
    language: str = "en"
    examples: int = 0
    shuffled: bool = False
    robust: Robust | None = None
    align: Align | None = None
    effort: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.effort <= 0:
            raise ValueError(f"effort is {self.effort}; it multiplies the steps, as in effort=2.")

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        if not self.task:
            raise ValueError(
                "Target() names no task: a study fills it in, or type Target('nli') yourself."
            )
        return (TrainingSet(self.task, self.language, self.examples, self.shuffled),)


@dataclass(frozen=True)
class Evaluate:
    """Predicting a test set in many languages; the last node of a chain, it trains nothing.

    Attributes:
        examples: rows per language, 0 means all.
        layer: for retrieval, the layer to read (0 means the protocol's, see ``kinds.Retrieval``).
        sweep: for retrieval, also score every layer and pooling.
        max_length: tokens a sequence, 0 means the task's own.
        attack: what is done to the test rows first (``xltkit.evaluation.attacks``).
        mixed: the first text in one language and the second in another, in all combinations
            (the generalised setting of Huang et al. 2021).
        smoothing: predict under this noise many times and take the majority.
    """

    task: str
    languages: tuple[str, ...]
    split: str = "test"
    examples: int = 0
    layer: int = 0
    sweep: bool = False
    max_length: int = 0
    attack: Attack | None = None
    mixed: bool = False
    smoothing: RandomPerturbation | None = None

    version = 2  # the scores of all labels are kept


def nameless(values: Mapping[str, Any]) -> dict[str, Any]:
    """A signature without what weights are called: a folder that is moved has the same weights."""
    return {key: value for key, value in values.items() if key not in NAMES}


def signature(phase: Phase | Evaluate) -> dict[str, Any]:
    """A phase as plain types: what its key is a hash of, and the names of weights."""
    values = asdict(phase)
    for name, off in OFF.items():
        value = getattr(phase, name, off)
        if value == off:
            values.pop(name, None)
        elif is_dataclass(value):
            known = {"method": type(value).__name__, "version": value.version}
            values[name] = known | values[name]
    return {"phase": type(phase).__name__, "version": phase.version} | values
