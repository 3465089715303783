"""Scoring what a finished study trained once more: attacked, mixed, smoothed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from xltkit.progress import track
from xltkit.studies.cluster import make_all
from xltkit.studies.recipe import Recipe
from xltkit.studies.results import Results
from xltkit.studies.stages import evaluation_stage
from xltkit.studies.study import Cell


def again(
    results: Results, changes: Mapping[str, Mapping[str, Any]], tasks: Sequence[str] = (),
    workers: int | None = None, scheduler: str | None = None,
) -> dict[str, Results]:  # fmt: skip
    """The models of a study, scored in other ways; nothing is trained.

    Args:
        results: of the study.
        changes: by name, what is other in ``Evaluate``: ``{"mixed": {"mixed": True}}`` or
            ``{"typos": {"attack": Typos(strength=0.2), "languages": ("en", "qbe")}}``.
        tasks: which; empty means all the study scored.
        workers: as in ``Study.run``; so is ``scheduler``.

    Returns:
        Results by name, of the same arms and seeds; whatever reads results reads these.

    Raises:
        ValueError: for a task that the study did not score.
    """
    known = dict.fromkeys(cell.task for cell in results.study.cells)
    if isinstance(tasks, str) or (unknown := [t for t in tasks if t not in known]):
        wrong = tasks if isinstance(tasks, str) else unknown
        raise ValueError(f"tasks is {wrong!r}; expected a list of some of {list(known)}.")
    cells = [cell for cell in results.study.cells if not tasks or cell.task in tasks]
    studies = {
        name: replace(results.study, cells=tuple(_changed(cell, change) for cell in cells))
        for name, change in changes.items()
    }
    stages = list({s.key: s for study in studies.values() for s in study.stages}.values())
    left = sum(not results.store.has(stage.key) for stage in stages)
    print(f"{len(stages)} stages, {len(stages) - left} already in the store, {left} to make.")
    with track(len(stages), "again", unit="stage") as bar:
        make_all(stages, results.store, lambda s: bar.update(stage=s.title), workers, scheduler)
    return {name: Results(study, results.store) for name, study in studies.items()}


def _changed(cell: Cell, change: Mapping[str, Any]) -> Cell:
    """The same trained model under another ``Evaluate``."""
    old = cell.stage
    phase = replace(old.phase, **change)
    recipe = Recipe(old.encoder, tuple(s.phase for s in reversed(old.chain[1:])))
    return replace(cell, stage=evaluation_stage(recipe, cell.seed, old.parent, phase))
