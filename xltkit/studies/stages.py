"""Recipes and their stages: the order of training, and how stages are hashed and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from xltkit.data.languages import language as find_language
from xltkit.keys import digest
from xltkit.models import checkpoints
from xltkit.tasks import Source, TrainingSet, available, get, load
from xltkit.tasks.base import TYPES, TaskType
from xltkit.tasks.captions import Paraphrases, check_paraphrases
from xltkit.tasks.rows import count, fingerprint, source_of, training_rows
from xltkit.training import phases
from xltkit.training.joint import Joint
from xltkit.training.phases import Evaluate, Phase, Target


@dataclass(frozen=True)
class Recipe:
    """A pretrained encoder and the phases that follow it.

    ``encoder`` is ``micro`` (which ships with the kit), a Hub id such as ``xlm-roberta-base``,
    optionally with ``@revision``, or a folder.
    """

    encoder: str
    phases: tuple[Phase, ...] = ()

    def then(self, *phases: Phase) -> Recipe:
        """This recipe followed by more phases; the recipe itself does not change.

        Raises ValueError if a phase follows a ``Target()`` without a task, or would discard the
        weights of the phases before it.
        """
        for phase in phases:
            if not isinstance(phase, Phase):
                raise TypeError(f"{phase!r} is not a phase; use Pretrain, Intermediate or Target.")
        longer = self.phases + phases
        if any(isinstance(phase, Target) and not phase.task for phase in longer[:-1]):
            raise ValueError("Nothing can follow Target() without a task: the study ends with it.")
        if any(phase.scratch for phase in longer[1:]):
            raise ValueError(
                "Pretrain(scratch=True) draws new weights and would discard the phases before it; "
                "make it the first phase, or leave scratch out."
            )
        return replace(self, phases=longer)

    def with_target(self, task: str, **options: Any) -> Recipe:
        """This recipe with its final ``Target()`` set to a task, or with a new ``Target``.

        An empty ``task`` drops the phase, for tasks that train nothing. ``options`` are
        ``language``, ``shuffled`` and training arguments that the recipe's ``Target()`` lacks.
        """
        last = self.phases[-1] if self.phases else None
        if not isinstance(last, Target) or last.task:
            return self.then(Target(task, **options)) if task else self
        for name in ("steps", "batch_size", "learning_rate", "max_length"):
            if getattr(last, name) is not None or (name == "steps" and last.epochs):
                options.pop(name, None)
        target = (replace(last, task=task, **options),) if task else ()
        return replace(self, phases=self.phases[:-1] + target)

    def adapted(
        self, substitutes: Mapping[str, str], rows: int = 0, freeze: str | int = ""
    ) -> Recipe:
        """The recipe on other tasks (``{"mnli": "sick"}``) and at most ``rows`` per training set.

        ``freeze`` applies to phases that neither set it themselves nor start from scratch.
        """

        def adapt(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(adapt, value))
            if not isinstance(value, TrainingSet | Target | Joint):
                return value
            changes = {"examples": min(value.examples or rows, rows) if rows else value.examples}
            if not isinstance(value, Joint):
                changes["task"] = substitutes.get(value.task, value.task)
            return replace(value, **changes)

        phases = []
        for phase in self.phases:
            values = {field.name: adapt(getattr(phase, field.name)) for field in fields(phase)}
            values["freeze"] = phase.freeze or ("" if phase.scratch else freeze)
            phases.append(adapt(replace(phase, **values)))
        return replace(self, phases=tuple(phases))


def encoder(name: str) -> Recipe:
    """A recipe that starts from a pretrained encoder and has no phases yet."""
    tokenizer = checkpoints.load_tokenizer(name)  # raises the error that says what to type
    if not tokenizer.is_fast:
        raise ValueError(
            f"The encoder {name!r} has no fast tokenizer but {type(tokenizer).__name__}, which "
            "has no character offsets; use one with a tokenizer.json, such as xlm-roberta-base."
        )
    return Recipe(name)


@dataclass(frozen=True)
class Stage:
    """One phase with one seed, trained or scored: a node in the graph of a study."""

    phase: Phase | Evaluate  # with every default resolved
    seed: int  # of training; 0 where nothing was trained
    encoder: str  # the name, Hub id or folder that the recipe starts from
    parent: Stage | None  # the stage before it
    data: tuple[tuple[str, str], ...]  # names and fingerprints of all data that it reads

    @cached_property
    def key(self) -> str:
        """The name of the stage in the store: a hash of everything its result depends on."""
        return digest(self.signature(with_names=False))

    def signature(self, with_names: bool = True) -> dict[str, Any]:
        """What the key is a hash of, if names of encoders and weight folders are left out."""
        names = {"encoder": self.encoder} if with_names else {}
        return names | {
            "parent": self.parent.key if self.parent else checkpoints.fingerprint(self.encoder),
            "seed": self.seed,
            "data": dict(self.data),
            **phases.signature(self.phase, with_names),
        }

    @property
    def chain(self) -> list[Stage]:
        """The stage and all stages before it, the last one first."""
        return [self, *(self.parent.chain if self.parent else ())]

    @property
    def title(self) -> str:
        """The stage in a few words: ``target nli, Adversarial (seed 0)``."""
        if isinstance(self.phase, Evaluate):
            return f"evaluate {self.phase.task} (seed {self.seed})"
        sets = self.phase.training_sets
        names = [f"{part.task} (shuffled)" if part.shuffled else part.task for part in sets]
        what = "+".join(dict.fromkeys(names))
        phase = self.phase
        for method in (phase.robust, phase.align, phase.joint, phase.embeddings):
            what += f", {type(method).__name__}" if method else ""
        languages = len({part.language for part in sets})
        what += f" in {languages} languages" if languages > 1 else ""
        return f"{type(self.phase).__name__.lower()} {what} (seed {self.seed})"


def training_stages(recipe: Recipe, seed: int) -> list[Stage]:
    """The stages that train a recipe, first to last, with every default resolved.

    Raises MissingData if training rows are missing, ValueError if a phase cannot train on them.
    """
    stages: list[Stage] = []
    for phase in recipe.phases:
        phase = phase.drawn(seed)
        before = stages[-1].phase.training_sets if stages else ()
        if phase.keep_head and {part.task for part in before} != {phase.task}:
            raise ValueError(
                f"keep_head needs a trained head for {phase.task}: the phase before must train "
                f"this task alone, as Intermediate([{phase.task!r}]) does."
            )
        data = phase.sources() | (phase.robust.sources() if phase.robust else {})
        for training_set in phase.training_sets:
            task_type = TYPES[phase.task_type(training_set)]
            if task_type.needs_image_space and not phase.has_image_space:
                task_type.head(get(training_set.task))  # raises the error that says what to type
            if isinstance(task_type, Paraphrases):
                check_paraphrases(training_rows(training_set), training_set.task)
            data |= _rows_version(task_type, source_of(get(training_set.task), "train"))
        pairs = phase.align.pairs if phase.align else ()
        data |= {f"{p.task}/{p.language}": fingerprint(p) for p in (*phase.training_sets, *pairs)}
        resolved = phase.resolved([count(training_set) for training_set in phase.training_sets])
        parent = stages[-1] if stages else None
        stages.append(Stage(resolved, seed, recipe.encoder, parent, tuple(sorted(data.items()))))
    return stages


def evaluation_stage(encoder: str, seed: int, parent: Stage | None, phase: Evaluate) -> Stage:
    """The stage that scores an encoder, or what ``parent`` trained from it, on a task.

    If nothing was trained, the seed is ignored and all seeds share one stage. Raises MissingData
    if rows are missing, and ValueError if the task cannot be scored this way or its test rows were
    trained on.
    """
    task = get(phase.task)
    source = source_of(task, phase.split)
    _check_unseen(phase, source, parent.chain if parent else ())
    _check_scoring(phase, parent)
    data = {find_language(code).code: source.fingerprint(code) for code in phase.languages}
    if split := task.type.extra_split:
        # Candidates are searched in all their languages, whatever the language of the query.
        codes = None if split == "candidates" else phase.languages
        present, absent = available(task, split, codes)
        if absent and (codes or not present):
            load(task, split, absent[0])  # raises the error that says how to get it
        data |= {f"{split}/{code}": source_of(task, split).fingerprint(code) for code in present}
    if phase.attack:
        data |= phase.attack.sources()
    data |= _rows_version(task.type, source)
    # A part of two collections has other gold pairs than the whole.
    examples = 0 if task.type.needs_all_rows else phase.examples
    max_length = phase.max_length or task.training.max_length
    phase = replace(phase, max_length=max_length, examples=examples)
    return Stage(phase, seed if parent else 0, encoder, parent, tuple(sorted(data.items())))


def _rows_version(task_type: TaskType, source: Source) -> dict[str, str]:
    """The part of a key for how rows that are not generated are encoded and scored."""
    is_first = source.is_generated or task_type.rows_version == 1
    return {} if is_first else {"version of rows": str(task_type.rows_version)}


def _check_scoring(phase: Evaluate, parent: Stage | None) -> None:
    """Raise ValueError if a task cannot be scored as asked, before anything is trained for it."""
    task = get(phase.task)
    if phase.split == task.type.extra_split:
        raise ValueError(
            f"{task.name} chooses its threshold on the {phase.split} split; score another one."
        )
    if task.type.needs_image_space and not (parent and parent.phase.has_image_space):
        raise ValueError(
            f"{task.name} is scored by finding pictures: each arm has to end with ImageText or "
            f"Distil. This one ends with {type(parent.phase).__name__ if parent else 'no phase'}."
        )
    needs = {"attack": "is_attackable", "smoothing": "is_attackable", "mixed": "crossed_text"}
    ways = [way for way in needs if getattr(phase, way)]
    if len(ways) > 1:
        raise ValueError(f"{task.name} can be scored in one way at a time, not {ways}.")
    for way in ways:
        if not getattr(task.type, needs[way]):
            fit = ", ".join(name for name, fits in TYPES.items() if getattr(fits, needs[way]))
            raise ValueError(f"{task.name} is {task.kind}; {way} is for {fit}.")


def _check_unseen(phase: Evaluate, tested: Source, chain: Iterable[Stage]) -> None:
    """Raise ValueError if one of the stages trained on the tested split."""
    own = get(phase.task).train
    names = {part.task: None for stage in chain for part in stage.phase.training_sets}
    for name in () if tested.is_generated else names:
        source = get(name).train
        # A task that divides one split has two readers, and trains on the rows it does not test.
        is_divided = own is not None and own.read is source.read is not tested.read
        shared = _splits(source) & _splits(tested)
        if shared and not is_divided:
            hub, split = min(shared)
            raise ValueError(
                f"{phase.task} is tested on rows that {name} trains on ({hub}, {split}). Train on "
                f"{phase.task!r}, or test on another task."
            )


def _splits(source: Source) -> set[tuple[str, str]]:
    """Every data set and split with rows in a source: read, joined to them, or contained."""
    origins = [origin for part in source.parts for origin in (part, *part.holds, *part.joined)]
    return {(origin.hub, split) for origin in origins for split in origin.split.split("+")}
