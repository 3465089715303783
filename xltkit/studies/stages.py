"""Stages: one phase of one recipe with one seed, trained or evaluated, and kept in the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from xltkit.data import loading as data
from xltkit.keys import digest
from xltkit.models import encoder as models
from xltkit.studies.recipe import Recipe
from xltkit.tasks import Source, Task, get
from xltkit.tasks.base import TYPES, types_with
from xltkit.tasks.captions import Paraphrases, check_paraphrases
from xltkit.tasks.rows import count, source_of, training_rows
from xltkit.training.phases import Evaluate, Phase, signature


@dataclass(frozen=True)
class Stage:
    """A node of the graph of a study.

    ``key`` is a hash of the parent's key, the phase with every default resolved, the seed and
    the fingerprints of the data. Stages with equal keys are the same stage.
    """

    phase: Phase | Evaluate
    seed: int
    encoder: str
    parent: Stage | None
    data: tuple[tuple[str, str], ...]

    @cached_property
    def key(self) -> str:
        """The name of the stage in the store; what folders of weights are called plays no part."""
        return digest(self._identity(with_names=False))

    @property
    def signature(self) -> dict[str, Any]:
        """What the key is a hash of, readable, and the names that weights were given by."""
        return {"encoder": self.encoder} | self._identity(with_names=True)

    def _identity(self, with_names: bool) -> dict[str, Any]:
        return {
            "parent": self.parent.key if self.parent else models.fingerprint(self.encoder),
            "seed": self.seed,
            "data": dict(self.data),
            **signature(self.phase, with_names),
        }

    @property
    def chain(self) -> list[Stage]:
        """The stage and those that it comes after, the first one last."""
        return [self, *(self.parent.chain if self.parent else ())]

    @property
    def title(self) -> str:
        """The stage in a few words, for people."""
        if isinstance(self.phase, Evaluate):
            return f"evaluate {self.phase.task} (seed {self.seed})"
        tasks = "+".join(dict.fromkeys(p.task for p in self.phase.training_sets))
        for method in (self.phase.robust, self.phase.align):
            if method is not None:
                tasks += f", {type(method).__name__}"
        count = len({p.language for p in self.phase.training_sets})
        where = f" in {count} languages" if count > 1 else ""
        return f"{type(self.phase).__name__.lower()} {tasks}{where} (seed {self.seed})"


def training_stages(recipe: Recipe, seed: int) -> list[Stage]:
    """The stages that train a recipe, first to last, with every default resolved.

    Raises:
        MissingData: if training rows are not to be had; nothing has been trained then.
    """
    stages: list[Stage] = []
    for phase in recipe.phases:
        sizes = [count(p) for p in phase.training_sets]
        for p in phase.training_sets:
            task_type = TYPES[phase.task_type(p)]
            if task_type.needs_image_space and not phase.has_image_space:
                task_type.head(get(p.task))  # raises the error that says what to type
            if isinstance(task_type, Paraphrases):
                check_paraphrases(training_rows(p), p.task)
        fingerprints = (
            {
                f"{p.task}/{p.language}": data.fingerprint(
                    source_of(get(p.task), "train"), p.language
                )
                for p in (*phase.training_sets, *(phase.align.pairs if phase.align else ()))
            }
            | phase.sources()
            | (phase.robust.sources() if phase.robust else {})
        )
        parent = stages[-1] if stages else None
        known = tuple(sorted(fingerprints.items()))
        stages.append(Stage(phase.resolved(sizes), seed, recipe.encoder, parent, known))
    return stages


def evaluation_stage(recipe: Recipe, seed: int, parent: Stage | None, phase: Evaluate) -> Stage:
    """The stage that scores a recipe on a task.

    Without any training before it the seed plays no part: all seeds share one stage.
    """
    task = get(phase.task)
    source = source_of(task, phase.split)
    if phase.split == task.type.extra_split:
        raise ValueError(
            f"{task.name} chooses its threshold on the {phase.split} split; score another one."
        )
    phase = replace(
        phase,
        max_length=phase.max_length or task.training.max_length,
        # The pairs of a part of two collections are other pairs.
        examples=0 if task.type.needs_all_rows else phase.examples,
    )
    _assert_unseen(phase, source, recipe)
    _check_way(phase, task, parent)
    fingerprints = {code: data.fingerprint(source, code) for code in phase.languages}
    fingerprints |= _also_read(get(phase.task), phase)
    fingerprints |= phase.attack.sources() if phase.attack else {}
    known = tuple(sorted(fingerprints.items()))
    return Stage(phase, seed if parent else 0, recipe.encoder, parent, known)


def _check_way(phase: Evaluate, task: Task, parent: Stage | None) -> None:
    """Refuse a way of scoring that a task has not, before anything is trained for it."""
    ways = {"attack": phase.attack, "mixed": phase.mixed, "smoothing": phase.smoothing}
    asked = [name for name, way in ways.items() if way]
    if len(asked) > 1:
        raise ValueError(f"{phase.task} can be scored in one way at a time, not {asked}.")
    if task.type.needs_image_space and not (parent and parent.phase.has_image_space):
        raise ValueError(
            f"{phase.task} is scored on what finds pictures: let each arm end with ImageText or "
            f"Distil. This one ends with {type(parent.phase).__name__ if parent else 'no phase'}."
        )
    needs = {"attack": "is_attackable", "smoothing": "is_attackable", "mixed": "crossed_text"}
    if asked and not getattr(task.type, needs[asked[0]]):
        fit = ", ".join(types_with(needs[asked[0]]))
        raise ValueError(f"{phase.task} is {task.kind}; {asked[0]} is for {fit}.")
    align = parent and parent.phase.align
    rotated = align and align.method == "rotation"
    if rotated and (phase.attack or phase.mixed or task.type.extra_split == "candidates"):
        raise ValueError(
            f"{phase.task} was aligned by rotation, which knows one language an input: score it "
            "plainly, neither mixed, nor attacked, nor ranked."
        )


def _also_read(task: Task, phase: Evaluate) -> dict[str, str]:
    """Fingerprints of what is read beside the tested split: all candidates, or the languages'."""
    split = task.type.extra_split
    if not split:
        return {}
    codes = None if split == "candidates" else phase.languages
    present, absent = data.available(task, split, codes)
    if (codes is not None and absent) or not present:
        data.load(task, split, absent[0])  # raises the error that says how to get it
    return {f"{split}/{c}": data.fingerprint(source_of(task, split), c) for c in present}


def _assert_unseen(phase: Evaluate, tested: Source, recipe: Recipe) -> None:
    """Refuse to train on the split that is tested, unless the task itself divides it."""
    for training_set in (p for trained in recipe.phases for p in trained.training_sets):
        trained = get(training_set.task).train
        if trained is None or tested.hub == "microworld":
            continue
        both = _splits(trained) & _splits(tested)
        own = get(phase.task).train
        # A task that divides one split has two readers, and trains on what it does not test.
        divided = own is not None and trained.read is own.read and trained.read is not tested.read
        if both and not divided:
            hub, split = min(both)
            raise ValueError(
                f"{phase.task} is tested on rows that {training_set.task} trains on "
                f"({hub}, {split}). "
                f"Train on {phase.task!r}, or test on another task."
            )


def _splits(source: Source) -> set[tuple[str, str]]:
    """The splits that a source reads, those joined to its rows or contained in them too."""
    read = [p for part in source.parts for p in (part, *part.holds, *data.joined(part))]
    return {(part.hub, split) for part in read for split in part.split.split("+")}
