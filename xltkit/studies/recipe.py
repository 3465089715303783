"""Recipes: an encoder and the phases of training that follow it, as immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from xltkit.models.encoder import configuration
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
        """This recipe followed by more phases; the recipe itself does not change.

        Raises:
            TypeError: for something that is no phase.
            ValueError: if a phase follows a ``Target()`` without a task, or one that would lose
                the weights of the phases before it.
        """
        for phase in phases:
            if not isinstance(phase, Phase):
                raise TypeError(f"{phase!r} is no phase; use Pretrain, Intermediate or Target.")
        longer = self.phases + phases
        if any(isinstance(phase, Target) and not phase.task for phase in longer[:-1]):
            raise ValueError("Nothing can follow Target() without a task: the study ends with it.")
        if any(phase.scratch for phase in longer[1:]):
            raise ValueError(
                "Pretrain(scratch=True) draws new weights, and what came before would be lost; "
                "let it be the first phase, or leave scratch out."
            )
        return replace(self, phases=longer)

    def with_target(self, task: str, **options: Any) -> Recipe:
        """This recipe with its last phase trained on a task; a new ``Target`` if it has none.

        Args:
            task: where the labels are; empty drops the phase, for a task that trains nothing.
            options: ``language``, ``shuffled``, and ``steps`` unless the recipe has its own.
        """
        last = self.phases[-1] if self.phases else None
        if not isinstance(last, Target) or last.task:
            return self.then(Target(task, **options)) if task else self
        if last.steps or last.epochs:
            options.pop("steps", None)
        target = (replace(last, task=task, **options),) if task else ()
        return replace(self, phases=self.phases[:-1] + target)

    def adapted(self, substitutes: Mapping[str, str], rows: int = 0) -> Recipe:
        """The same recipe on other tasks (``{"mnli": "sick"}`` puts SICK for MNLI) and fewer rows.

        ``rows`` is the most of each training set; 0 means all.
        """

        def adapt(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(adapt, value))
            if not isinstance(value, TrainingSet | Target):
                return value
            examples = min(value.examples or rows, rows) if rows else value.examples
            task = substitutes.get(value.task, value.task)
            return replace(value, task=task, examples=examples)

        phases = []
        for phase in self.phases:
            values = {field.name: adapt(getattr(phase, field.name)) for field in fields(phase)}
            phases.append(adapt(replace(phase, **values)))
        return replace(self, phases=tuple(phases))


def encoder(name: str) -> Recipe:
    """A recipe that starts with a pretrained encoder and has no phase yet."""
    configuration(name)  # raises the error that says what to type
    return Recipe(name)
