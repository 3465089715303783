"""Recipes: an encoder and the phases of training that follow it, as immutable values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from xltkit.tasks import TrainingSet
from xltkit.training.phases import Phase, Target


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
        *before, _ = (*self.phases, *phases) or (None,)
        if any(isinstance(p, Target) and not p.task for p in before):
            raise ValueError("Nothing can follow Target() without a task: the study ends with it.")
        if any(p.scratch for p in (self.phases + phases)[1:]):
            raise ValueError(
                "Pretrain(scratch=True) draws new weights, and what came before would be lost; "
                "let it be the first phase, or leave scratch out."
            )
        return replace(self, phases=self.phases + phases)

    def with_target(self, task: str, **options: Any) -> Recipe:
        """This recipe with its last phase trained on a task; a plain ``Target`` if it has none.

        Args:
            task: where the labels are; empty drops the phase, for a task that trains nothing.
            options: ``language``, ``shuffled``, and ``steps`` unless the recipe has its own.
        """
        *before, last = self.phases or (None,)
        if not isinstance(last, Target) or last.task:
            return self.then(Target(task, **options)) if task else self
        if last.steps or last.epochs:
            options.pop("steps", None)
        mine = (replace(last, task=task, **options),) if task else ()
        return replace(self, phases=(*before, *mine))

    def with_substitutes(self, names: Mapping[str, str]) -> Recipe:
        """The same recipe trained on other tasks: ``{"mnli": "sick"}`` puts SICK for MNLI."""
        other = lambda name: names.get(name, name)  # noqa: E731
        return self._changed(
            lambda training_set: replace(training_set, task=other(training_set.task)),
            lambda target: replace(target, task=other(target.task)),
        )

    def limit_rows(self, rows: int) -> Recipe:
        """The same recipe on so many training rows of each training set at most; 0 means all."""
        fewer = lambda part: replace(part, examples=min(part.examples or rows, rows))  # noqa: E731
        return self._changed(fewer, fewer) if rows else self

    def _changed(
        self, training_set: Callable[[TrainingSet], TrainingSet], target: Callable[[Target], Target]
    ) -> Recipe:
        """The same recipe with each training set, and each target phase, replaced."""

        def swap(value: Any) -> Any:
            if isinstance(value, TrainingSet):
                return training_set(value)
            return tuple(map(swap, value)) if isinstance(value, tuple) else value

        phases = []
        for phase in self.phases:
            new = replace(phase, **{f.name: swap(getattr(phase, f.name)) for f in fields(phase)})
            phases.append(target(new) if isinstance(new, Target) else new)
        return replace(self, phases=tuple(phases))

    def __str__(self) -> str:
        return " > ".join([self.encoder, *(type(p).__name__ for p in self.phases)])


def encoder(name: str) -> Recipe:
    """A recipe that starts with a pretrained encoder and has no phase yet."""
    from xltkit.models.encoder import check_encoder

    check_encoder(name)
    return Recipe(name)
