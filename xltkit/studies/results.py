"""What a study measured, as tidy tables."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

import pandas as pd

from xltkit.analysis.items import Items, items
from xltkit.data.languages import columns
from xltkit.studies.failures import failures
from xltkit.studies.store import Store
from xltkit.tasks import get

if TYPE_CHECKING:  # a study gives its results
    from xltkit.studies.study import Cell, Study


class Results:
    """What a study measured, as tidy tables.

    Attributes:
        study: what was run.
    """

    def __init__(self, study: Study, store: Store):
        self.study, self.store = study, store

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per arm, seed, task, language and metric.

        ``value`` and ``chance`` are in points (0 to 100); ``main`` marks the task's own metric;
        ``is_source`` the language the labels came from; ``counterpart`` is what arms are compared
        on: the language, or the one it is a variant of if each arm has its own; costs are those
        of the target stage and its evaluation.
        """
        tables = [self._cell(cell) for cell in self.study.cells]
        table = pd.concat(tables, ignore_index=True)
        names = columns(sorted(table["language"].unique()))
        return table.join(names, on="language")

    def _cell(self, cell: Cell) -> pd.DataFrame:
        task, stage = get(cell.task), cell.stage
        scores = pd.read_parquet(self.store.path(stage.key) / "result" / "scores.parquet")
        made = [stage] if stage.parent is None else [stage, stage.parent]
        costs = [self.store.record(s.key)["cost"] for s in made]
        return scores.assign(
            arm=cell.arm,
            seed=cell.seed,
            suite=self.study.suite,
            task=task.name,
            kind=task.kind,
            train_set=cell.train_set,
            split=stage.phase.split,
            examples=stage.phase.examples,
            source_language=self.study.source,
            is_source=scores["language"] == self.study.source,
            counterpart=scores["language"].str.partition("-x-")[0]
            if self.study.by_arm
            else scores["language"],
            main=scores["metric"] == task.metric,
            chance=task.chance_among(scores["n"]),
            selection_rule="last checkpoint",
            encoder=stage.encoder,
            steps=sum(c["steps"] for c in costs),
            wall_s=sum(c["wall_s"] for c in costs),
            cpu_s=sum(c["cpu_s"] for c in costs),
            device=costs[0]["device"],
            dtype=costs[0]["dtype"],
            kit_version=version("xltkit"),
            stage=stage.key,
        )

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per arm, seed, task, language and example: gold, prediction, score (0 to 1).

        ``scores`` are the log-probabilities of the labels of a classification, or of the
        alternatives of a choice, in their order (a float32 array); missing for other kinds.
        """
        tables = []
        for cell in self.study.cells:
            path = self.store.path(cell.stage.key) / "result" / "predictions.parquet"
            table = pd.read_parquet(path)
            tables.append(table.assign(arm=cell.arm, seed=cell.seed, task=cell.task))
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def failed(self) -> pd.DataFrame:
        """One row per arm, seed and task: whether the run ``failed``, and ``why``."""
        return failures(self.main, self.scores, self.predictions)

    @cached_property
    def items(self) -> Items:
        """The test items and what each adds to each score: what resampling needs."""
        return items(self)

    @property
    def main(self) -> pd.DataFrame:
        """The scores in the tasks' own metrics alone."""
        return self.scores[self.scores["main"]]
