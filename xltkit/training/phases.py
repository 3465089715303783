"""Phases: what one step of a recipe trains or evaluates, as immutable values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from xltkit.files import without_folder
from xltkit.keys import choose
from xltkit.tasks import TrainingSet, count, get
from xltkit.tasks.base import TYPES
from xltkit.training.align import Align, AlignedTask
from xltkit.training.joint import Joint, JointTask, Translations
from xltkit.training.robust import RandomPerturbation, Robust
from xltkit.training.supervised import Supervised

Part = str | TrainingSet
# Metadata of fields that are left out of a key: one that was added later, while it has its default
# (what was trained before it existed stays valid), and the name of a folder of weights, since
# ``sources`` has the fingerprint of its contents.
OMIT_DEFAULT = {"omit_default": True}
WEIGHTS_NAME = {"weights_name": True}
FIRST = ("draw", 0)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One training phase. A field that is None takes the value that its first task recommends."""

    steps: int | None = None  # of the optimizer: the budget on which arms are matched
    epochs: float | None = None  # converted to steps
    batch_size: int | None = None  # examples per step
    learning_rate: float | None = None  # the peak, after linear warm-up; it decays linearly to 0
    warmup: float | None = None  # share of the steps used for warm-up
    weight_decay: float | None = None
    max_length: int | None = None
    accumulation: int = 1  # parts a batch is computed in; changes memory, not the gradient
    # What is not trained (Wu and Dredze 2019, section 4.3): the ``embeddings``, or a number of
    # lowest layers in addition.
    freeze: str | int = field(default="", metadata=OMIT_DEFAULT)
    # Share of the steps, at the end, whose weights are averaged: the result is not the last of
    # them, but their mean (Schmidt et al. 2023).
    average: float = field(default=0.0, metadata=OMIT_DEFAULT)

    # Incremented when an objective changes what it computes, so that old stages are not reused.
    version = 1
    trained = ()  # the names of the fields with its training sets
    objective_class = Supervised
    # Fields of some phases, with their values for all others.
    robust = align = joint = embeddings = None
    scratch = keep_head = False
    mask_rate = 0.15
    languages = ("en",)
    has_image_space = False  # whether it trains a joint space of texts and pictures

    def __post_init__(self) -> None:
        """Turn names of tasks into training sets, in every language of the phase."""
        is_layers = type(self.freeze) is int and self.freeze > 0
        if self.freeze not in ("", "embeddings") and not is_layers:
            raise ValueError(
                f"freeze is {self.freeze!r}; give 'embeddings', a number of layers to freeze with "
                "them, as in freeze=6, or leave it out."
            )
        if not 0 <= self.average <= 1:
            raise ValueError(f"average is {self.average}, a share of the steps: give 0 to 1.")
        if self.freeze and self.scratch:
            raise ValueError(
                "Pretrain(scratch=True) draws all weights: there is nothing to freeze."
            )
        for name in self.trained:
            parts = getattr(self, name)
            training_sets: list[TrainingSet] = []
            for part in (parts,) if isinstance(parts, str | TrainingSet) else parts:
                if isinstance(part, str):
                    training_sets += [TrainingSet(part, code) for code in self.languages]
                else:
                    training_sets.append(part)
                get(training_sets[-1].task)  # raises the error that names the task
            object.__setattr__(self, name, tuple(training_sets))
        object.__setattr__(self, "languages", tuple(self.languages))
        if self.trained and not getattr(self, self.trained[0]):
            raise ValueError("This phase has no task; name one, as in Intermediate(['nli']).")

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        """The training rows of the phase."""
        return tuple(part for name in self.trained for part in getattr(self, name))

    @property
    def base(self) -> Phase:
        """The phase without what an arm may add to it; seeds are derived from it."""
        return replace(self, freeze="", average=0.0)

    def drawn(self, seed: int) -> Phase:
        """The phase for one seed, which may have its own rows."""
        return self

    def weights(self, sizes: Sequence[int]) -> list[float]:
        """The share of the steps that each training set gets, given their sizes."""
        return [n / sum(sizes) for n in sizes]

    def task_type(self, training_set: TrainingSet) -> str:
        """The task type that rows are trained as: by default that of their task."""
        return get(training_set.task).kind

    def sources(self) -> dict[str, str]:
        """Fingerprints of the files that the phase reads in addition to its rows, by name."""
        return {}

    def objective(self, encoder: str, seed: int, store: Path) -> Supervised:
        """What the loop optimizes; the arguments are those of ``Supervised``."""
        return self.objective_class(self, encoder, seed, store)

    def resolved(self, sizes: Sequence[int]) -> Phase:
        """The phase with every default filled in, given the sizes of its training sets."""
        defaults = get(self.training_sets[0].task).training
        options = asdict(defaults).items()
        filled = replace(self, **{k: v for k, v in options if getattr(self, k) is None})
        steps = self.steps or (0 if self.epochs else defaults.steps)
        if not steps:
            epochs = self.epochs or defaults.epochs
            steps = max(1, round(epochs * sum(sizes) / filled.batch_size))
        return replace(filled, steps=steps, epochs=0.0)


def mixing(sizes: Sequence[int], rule: str, cap: int = 0, temperature: float = 1.0) -> list[float]:
    """The probability of each task in multi-task training.

    ``p_i`` is proportional to ``min(n_i, cap) ** (1 / temperature)`` (jiant's task sampler;
    Raffel et al. 2020, section 3.5.2); ``uniform`` is the limit of an infinite temperature.
    """
    powers = {"proportional": 1.0, "temperature": 1.0 / temperature, "uniform": 0.0}
    power = powers[choose("mix", rule, powers)]
    weights = [(min(n, cap) if cap else n) ** power for n in sizes]
    return [w / sum(weights) for w in weights]


@dataclass(frozen=True, kw_only=True)
class _Mixed(Phase):
    """A phase over two groups of training sets, each mixed by a rule (see ``mixing``)."""

    mix: str = "proportional"
    cap: int = 2**17
    temperature: float = 1.0

    second_share = ""  # the field with the share of the steps for the second group

    def weights(self, sizes: Sequence[int]) -> list[float]:
        first = len(getattr(self, self.trained[0]))
        share = getattr(self, self.second_share) if len(sizes) > first else 0.0
        weights = []
        for group, of_group in ((sizes[:first], 1 - share), (sizes[first:], share)):
            weights += [w * of_group for w in mixing(group, self.mix, self.cap, self.temperature)]
        return weights


@dataclass(frozen=True)
class Pretrain(_Mixed):
    """Masked language modeling on plain text or captions, and on translation pairs if given.

    Both sides of a pair are masked and read together (translation language modeling, Lample and
    Conneau 2019, section 3.3). ``pair_share`` of the steps use pairs. With ``scratch``, the encoder
    provides only architecture and tokenizer, and the seed sets the weights.
    """

    text: tuple[TrainingSet, ...]
    pairs: tuple[TrainingSet, ...] = ()
    pair_share: float = 0.2
    mask_rate: float = 0.15
    scratch: bool = False

    trained = ("text", "pairs")
    second_share = "pair_share"

    def task_type(self, training_set: TrainingSet) -> str:
        return "text"


@dataclass(frozen=True)
class Intermediate(_Mixed):
    """Supervised training on one or more tasks before the target (STILTs, Phang et al. 2020).

    The encoder is passed on to the next phase; heads are not, unless that has ``keep_head``.
    ``tasks`` are names, each trained in all of ``languages``, or ``TrainingSet``s, which have their
    own; ``mix`` says how the steps are shared among them (see ``mixing``). ``robust`` trains
    against small changes of the inputs. Steps, batch and rate are those of every phase: what is not
    given is that of the first task.
    """

    tasks: tuple[TrainingSet, ...] | Iterable[Part]
    languages: tuple[str, ...] = ("en",)
    mlm: float = 0.0  # share of the steps that are masked language modeling on ``text``
    text: tuple[TrainingSet, ...] | Iterable[Part] = ()
    mask_rate: float = 0.15
    robust: Robust | None = field(default=None, metadata=OMIT_DEFAULT)

    trained = ("tasks", "text")
    second_share = "mlm"

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.mlm) != bool(self.text) or not 0 <= self.mlm < 1:
            raise ValueError(
                f"mlm is {self.mlm} and text is {self.text}: give a share below 1 and the text to "
                "train on, as in Intermediate(['nli'], mlm=0.2, text=['text']), or neither."
            )

    @property
    def base(self) -> Intermediate:
        return replace(super().base, robust=None)

    def task_type(self, training_set: TrainingSet) -> str:
        return super().task_type(training_set) if training_set in self.tasks else "text"


@dataclass(frozen=True)
class Target(Phase):
    """Fine-tuning on the training split of a task, in the source language.

    ``robust`` trains against small changes of the inputs; ``align`` adds translation pairs.
    """

    task: str = ""  # empty: filled in by the study, for arms that train their targets differently
    language: str = "en"
    examples: int = 0  # training rows, 0 means all
    shuffled: bool = False  # permute the labels: a control for everything that follows
    robust: Robust | None = field(default=None, metadata=OMIT_DEFAULT)
    align: Align | None = field(default=None, metadata=OMIT_DEFAULT)
    effort: float = field(default=1.0, metadata=OMIT_DEFAULT)  # multiplies the steps
    # Draw other examples for each seed: with few, the choice matters (Zhao et al. 2021).
    redraw: bool = field(default=False, metadata=OMIT_DEFAULT)
    draw: int = 0
    # Keep the head that the phase before trained for this task, instead of starting a new one.
    keep_head: bool = field(default=False, metadata=OMIT_DEFAULT)
    # Rows of another language in every batch; embeddings set by a lexicon before the first step.
    joint: Joint | None = field(default=None, metadata=OMIT_DEFAULT)
    embeddings: Translations | None = field(default=None, metadata=OMIT_DEFAULT)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.effort <= 0:
            raise ValueError(f"effort is {self.effort}; it multiplies the steps, as in effort=2.")
        if self.joint and (self.robust or self.align or self.accumulation > 1):
            raise ValueError("Joint training excludes robust, align and accumulation.")
        if self.joint and self.task and not get(self.task).type.is_mixable:
            kinds = ", ".join(name for name, each in TYPES.items() if each.is_mixable)
            raise ValueError(f"{self.task} is {get(self.task).kind}; joint is for {kinds}.")

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        if not self.task:
            raise ValueError(
                "Target() names no task: a study fills it in; otherwise use Target('nli')."
            )
        return (TrainingSet(self.task, self.language, self.examples, self.shuffled, self.draw),)

    @property
    def base(self) -> Target:
        added = dict.fromkeys(("robust", "align", "joint", "embeddings"))
        return replace(super().base, **added, keep_head=False)

    def sources(self) -> dict[str, str]:
        found = self.joint.sources(*self.training_sets) if self.joint else {}
        return found | (self.embeddings.sources() if self.embeddings else {})

    def drawn(self, seed: int) -> Target:
        if not self.redraw:
            return self
        available = count(TrainingSet(self.task, self.language))
        if not 0 < self.examples < available:
            raise ValueError(
                f"redraw draws some of the {available} rows of {self.task} in {self.language!r}; "
                f"examples is {self.examples}. Set it between 0 and that, or leave redraw out."
            )
        return replace(self, draw=seed + 1)

    @property
    def objective_class(self) -> type[Supervised]:
        if self.joint and self.joint.mixup != 0:  # with 0, nothing would be mixed in
            return JointTask
        return AlignedTask if self.align else Supervised

    def resolved(self, sizes: Sequence[int]) -> Target:
        resolved = super().resolved(sizes)
        return replace(resolved, steps=max(1, round(resolved.steps * self.effort)), effort=1.0)


@dataclass(frozen=True)
class Evaluate:
    """Prediction of a test set in many languages; the last node of a chain, without training."""

    task: str
    languages: tuple[str, ...]
    split: str = "test"
    examples: int = 0  # rows per language; 0 means all
    layer: int = 0  # the layer that retrieval reads; 0 means ``predict.protocol_layer``
    sweep: bool = False  # for retrieval, score every layer and pooling, too
    max_length: int = 0  # tokens per sequence; 0 means the task's default
    # An attack on the test rows, from ``xltkit.evaluation.attacks``.
    attack: Any = field(default=None, metadata=OMIT_DEFAULT)
    # Both texts in all combinations of languages (the generalized setting of Huang et al. 2021).
    mixed: bool = field(default=False, metadata=OMIT_DEFAULT)
    # Noise for randomized smoothing: the majority of many predictions counts.
    smoothing: RandomPerturbation | None = field(default=None, metadata=OMIT_DEFAULT)

    steps = 0  # of training


def signature(phase: Phase | Evaluate, with_names: bool = True) -> dict[str, Any]:
    """A phase with every default resolved, as plain types, with its class and version.

    The key of a stage is a hash of the signature without names of weight folders, and without the
    places of lexicons: a folder that is moved has the same contents.
    """

    def plain(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        # The first draw of a training set is the only one that there used to be.
        values = {name: value for name, value in items if (name, value) != FIRST}
        return values if with_names else {k: without_folder(v) for k, v in values.items()}

    values = asdict(phase, dict_factory=plain)
    for option in fields(phase):
        value = getattr(phase, option.name)
        if "omit_default" in option.metadata and value == option.default:
            del values[option.name]
        elif "weights_name" in option.metadata and not with_names:
            del values[option.name]
        elif is_dataclass(value):
            method = {"method": type(value).__name__, "version": value.version}
            values[option.name] = method | values[option.name]
    if isinstance(phase, Phase):
        values["pooling"] = "mean"  # formerly an option, so keys have it
    version = phase.version if isinstance(phase, Phase) else get(phase.task).type.version
    return {"phase": type(phase).__name__, "version": version} | values
