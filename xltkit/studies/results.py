"""A study as a graph of stages, and what it measured as tidy tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from xltkit.data.languages import columns
from xltkit.keys import digest
from xltkit.models.device import device
from xltkit.progress import track
from xltkit.studies.cluster import make_all
from xltkit.studies.recipe import Recipe
from xltkit.studies.stages import Stage, evaluation_stage
from xltkit.studies.store import Store
from xltkit.tasks import get

RUN = ["arm", "seed", "task"]
# A model that knows nothing scores above chance by more than this bound once in a hundred runs.
CHANCE_LEVEL = 0.01


@dataclass(frozen=True)
class Run:
    """One arm with one seed on one task, and the stage that scores it."""

    arm: str
    seed: int
    task: str
    train_set: str
    stage: Stage


@dataclass(frozen=True)
class Study:
    """Arms, targets and seeds, and the stages it takes to compare them. Made by ``xlt.study``.

    Attributes:
        arms: the recipes, by name.
        runs: every arm, seed and task.
        suite: the suite that the targets belong to.
        source: the language of the labels.
        missing: by task, the test languages whose data could not be found.
        by_arm: whether each arm is tested in its own variants of the languages.
    """

    arms: Mapping[str, Recipe]
    runs: tuple[Run, ...]
    suite: str
    source: str
    missing: Mapping[str, tuple[str, ...]]
    by_arm: bool = False

    @cached_property
    def stages(self) -> list[Stage]:
        """Every stage once, parents before children: what ``run`` makes."""
        ordered: dict[str, Stage] = {}
        for run in self.runs:
            for stage in reversed(run.stage.chain):
                ordered[stage.key] = stage
        return list(ordered.values())

    @property
    def unshared(self) -> int:
        """The number of stages if no two arms, tasks or seeds shared any."""
        return sum(len(run.stage.chain) for run in self.runs)

    def plan(self, store: Store | None = None) -> pd.DataFrame:
        """What ``run`` would do, one row per stage.

        Returns:
            ``key``; ``stage``, its title; ``steps`` of training; ``cached``, whether the store
            has it; ``seconds`` that making it takes, estimated from like stages of the store:
            0 for a cached one, missing where no like stage was ever made on this device.
        """
        return plan(self.stages, store or Store())

    def run(
        self, store: Store | None = None, workers: int | None = None, scheduler: str | None = None
    ) -> Results:
        """Make every stage that the store does not have, and read the results.

        Killed at any point and started again, it continues where it was, and ends with the same
        numbers.

        Args:
            store: where stages are kept.
            workers: processes that make stages; ``XLTKIT_WORKERS``, or one, unless given.
            scheduler: the address of a Dask scheduler, whose workers make them instead;
                ``XLTKIT_SCHEDULER`` unless given.
        """
        store = store or Store()
        _make(self.stages, store, self.unshared, workers, scheduler)
        return Results(self, store)


class Results:
    """What a study measured, as tidy tables.

    Attributes:
        study: what was run.
        store: where its stages are.
    """

    def __init__(self, study: Study, store: Store):
        self.study = study
        self.store = store

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per arm, seed, task, language and metric.

        ``value`` and ``chance`` are in points (0 to 100); ``main`` marks the task's own metric;
        ``is_source`` the language the labels came from; ``base_language`` is what arms are
        compared on: the language, or the one it is a variant of if each arm has its own; costs
        are those of the target stage and its evaluation.
        """
        table = pd.concat([self._scores_of(run) for run in self.study.runs], ignore_index=True)
        names = columns(sorted(table["language"].unique()))
        return table.join(names, on="language")

    def _scores_of(self, run: Run) -> pd.DataFrame:
        task = get(run.task)
        stage = run.stage
        scores = pd.read_parquet(self.store.path(stage.key) / "result" / "scores.parquet")
        stages = [stage] if stage.parent is None else [stage, stage.parent]
        costs = [self.store.record(s.key)["cost"] for s in stages]
        language = scores["language"]
        base_language = language.str.partition("-x-")[0] if self.study.by_arm else language
        return scores.assign(
            arm=run.arm,
            seed=run.seed,
            suite=self.study.suite,
            task=task.name,
            kind=task.kind,
            train_set=run.train_set,
            split=stage.phase.split,
            examples=stage.phase.examples,
            source_language=self.study.source,
            is_source=language == self.study.source,
            base_language=base_language,
            main=scores["metric"] == task.metric,
            chance=task.type.chance(task, scores["n"]),
            selection_rule="last checkpoint",
            encoder=stage.encoder,
            steps=sum(cost["steps"] for cost in costs),
            wall_s=sum(cost["wall_s"] for cost in costs),
            cpu_s=sum(cost["cpu_s"] for cost in costs),
            device=costs[0]["device"],
            dtype=costs[0]["dtype"],
            kit_version=version("xltkit"),
            stage=stage.key,
        )

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per arm, seed, task, language and example: gold, prediction, score (0 to 1).

        ``log_probs`` are the log-probabilities of the labels of a classification, or of the
        alternatives of a choice, in their order (a float32 array); missing for other types.
        """
        tables = []
        for run in self.study.runs:
            path = self.store.path(run.stage.key) / "result" / "predictions.parquet"
            # Stages from before the column had this name are still good.
            table = pd.read_parquet(path).rename(columns={"scores": "log_probs"})
            tables.append(table.assign(arm=run.arm, seed=run.seed, task=run.task))
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def degenerate(self) -> pd.DataFrame:
        """One row per arm, seed and task: whether the run is ``degenerate``, and ``why``."""
        return degenerate_runs(self.main, self.scores, self.predictions)

    @property
    def main(self) -> pd.DataFrame:
        """The scores in the tasks' own metrics alone."""
        return self.scores[self.scores["main"]]

    def rescore(
        self,
        changes: Mapping[str, Mapping[str, Any]],
        tasks: Sequence[str] = (),
        workers: int | None = None,
        scheduler: str | None = None,
    ) -> dict[str, Results]:
        """Score the trained models in other ways: attacked, mixed, smoothed. Nothing is trained.

        Args:
            changes: by name, the changed fields of ``Evaluate``: ``{"mixed": {"mixed": True}}``
                or ``{"typos": {"attack": Typos(strength=0.2), "languages": ("en", "qbe")}}``.
            tasks: to score; empty means all tasks of the study.
            workers: as in ``Study.run``; so is ``scheduler``.

        Returns:
            Results by name, of the same arms and seeds; whatever reads results reads these.

        Raises:
            ValueError: for a task that the study did not score.
        """
        scored = list(dict.fromkeys(run.task for run in self.study.runs))
        if isinstance(tasks, str) or not set(tasks) <= set(scored):
            raise ValueError(f"tasks is {tasks!r}; expected a list of some of {scored}.")
        runs = [run for run in self.study.runs if not tasks or run.task in tasks]
        studies = {
            name: replace(self.study, runs=tuple(_rescored(run, change) for run in runs))
            for name, change in changes.items()
        }
        stages = {stage.key: stage for study in studies.values() for stage in study.stages}
        unshared = sum(study.unshared for study in studies.values())
        _make(list(stages.values()), self.store, unshared, workers, scheduler)
        return {name: Results(study, self.store) for name, study in studies.items()}


def _rescored(run: Run, change: Mapping[str, Any]) -> Run:
    """The same trained model under another ``Evaluate``."""
    stage = run.stage
    phases = tuple(earlier.phase for earlier in reversed(stage.chain[1:]))
    recipe = Recipe(stage.encoder, phases)
    changed = evaluation_stage(recipe, run.seed, stage.parent, replace(stage.phase, **change))
    return replace(run, stage=changed)


def _make(
    stages: Sequence[Stage],
    store: Store,
    unshared: int,
    workers: int | None,
    scheduler: str | None,
) -> None:
    """Print the plan, then make every stage that the store does not have."""
    if not stages:
        return
    print(_plan_text(plan(stages, store), unshared), flush=True)
    with track(len(stages), "study", unit="stage") as bar:
        make_all(stages, store, lambda stage: bar.update(stage=stage.title), workers, scheduler)


def plan(stages: Sequence[Stage], store: Store) -> pd.DataFrame:
    """One row per stage; the columns are those of ``Study.plan``."""
    rates = _seconds_per_unit(store)
    rows = []
    for stage in stages:
        cached = store.has(stage.key)
        likeness, units = _likeness(stage.signature)
        row = {
            "key": stage.key,
            "stage": stage.title,
            "steps": stage.phase.steps,
            "cached": cached,
            "seconds": 0.0 if cached else rates.get(likeness, np.nan) * units,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _plan_text(table: pd.DataFrame, unshared: int) -> str:
    """A plan in one line: how many stages of which phases, and about how long they take."""
    left = table[~table["cached"]]
    text = f"{len(table)} stages ({unshared} before sharing), {table['cached'].sum()} in the store"
    if left.empty:
        return f"{text}."
    phases = Counter(title.partition(" ")[0] for title in left["stage"])
    counts = ", ".join(f"{count} {phase}" for phase, count in phases.items())
    text += f", {len(left)} to make ({counts})"
    timed = left["seconds"].dropna()
    if timed.empty:
        return f"{text}."
    untimed = len(left) - len(timed)
    rest = f", and {untimed} of which no like stage was timed" if untimed else ""
    return f"{text}: about {max(timed.sum() / 60, 0.1):.1f} min of work{rest}."


def _seconds_per_unit(store: Store) -> dict[str, float]:
    """Mean seconds per step, or per scored language, of like stages made on this device."""
    seconds: dict[str, list[float]] = {}
    for record in store.records():
        if record["cost"].get("device") == str(device()):
            likeness, units = _likeness(record["signature"])
            seconds.setdefault(likeness, []).append(record["cost"]["wall_s"] / units)
    return {likeness: float(np.mean(values)) for likeness, values in seconds.items()}


def _likeness(signature: Mapping[str, Any]) -> tuple[str, int]:
    """What stages that take equally long per unit have in common, and the number of units."""
    names = ["phase", "encoder", "task", "max_length"]
    if signature.get("phase") == "Evaluate":
        names += ["examples", "attack", "mixed", "smoothing"]
        units = len(signature.get("languages", ()))
    else:
        names += ["batch_size", "robust", "align"]
        units = signature.get("steps", 0)
    return digest([signature.get(name) for name in names]), max(units, 1)


def degenerate_runs(
    main: pd.DataFrame, scores: pd.DataFrame, predictions: pd.DataFrame
) -> pd.DataFrame:
    """Runs that learned nothing, to be counted beside every mean.

    A run is degenerate if in the source language it scores at chance, or predicts the same for
    every item. A task without the source language is judged in the run's best language. Chance is
    the task's, or, for tags, that of always predicting the most frequent one; a score counts as
    above chance if a model at chance would reach it in fewer than one of a hundred test sets of
    this size. Tasks for which nothing is trained have no runs to judge.

    Args:
        main: ``Results.main``.
        scores: ``Results.scores``.
        predictions: ``Results.predictions``.

    Returns:
        One row per arm, seed and task: ``degenerate``, and ``why`` (empty if it is not).
    """
    types = {name: get(name).type for name in main["task"].unique()}
    trained = main[~main["task"].map(lambda name: types[name].is_untrained)]
    ranked = trained.sort_values(["is_source", "value"], ascending=False, kind="stable")
    judged = ranked.drop_duplicates(RUN)[[*RUN, "language", "value", "n", "chance"]]
    keys = [*RUN, "language"]
    majority = scores.loc[scores["metric"] == "majority"].set_index(keys)["value"]
    constant = _constant_runs(predictions.merge(judged[keys]), keys)
    rows = []
    for run in judged.sort_index().itertuples(index=False):
        key = (run.arm, run.seed, run.task, run.language)
        is_tagged = key in majority.index and get(run.task).metric == "accuracy"
        chance = majority[key] if is_tagged else run.chance
        if key in constant:
            why = "one prediction for everything"
        else:
            why = _at_chance(run.value, chance, run.n)
        rows.append((run.arm, run.seed, run.task, bool(why), why))
    return pd.DataFrame(rows, columns=[*RUN, "degenerate", "why"])


def _constant_runs(predictions: pd.DataFrame, keys: Iterable[str]) -> set[tuple]:
    """Runs that predict the same for all items, though the gold labels differ."""
    counts = predictions.groupby(list(keys))[["gold", "pred"]].nunique()
    return set(counts.index[(counts["pred"] == 1) & (counts["gold"] > 1)])


def _at_chance(value: float, chance: float, count: int) -> str:
    """Why a score is no better than chance; empty if it is better."""
    standard_error = np.sqrt(chance * (100 - chance) / count)
    if value <= chance + scipy_stats.norm.ppf(1 - CHANCE_LEVEL) * standard_error:
        return f"{value:.1f} in the source language, where chance is {chance:.1f}"
    return ""
