"""A study as a graph of stages, and what it measured as tidy tables."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from xltkit.data.languages import columns
from xltkit.models.checkpoints import unseen
from xltkit.models.device import device
from xltkit.progress import track
from xltkit.studies.cluster import make_all
from xltkit.studies.stages import Recipe, Stage, evaluation_stage
from xltkit.studies.store import SIGNATURE, Store
from xltkit.tasks import get

RUN = ["arm", "seed", "task"]
BUDGET = ["steps", "batch_size", "learning_rate"]


@dataclass(frozen=True)
class Run:
    """One arm with one seed on one task, and the stage that scores it."""

    arm: str
    seed: int
    task: str
    train_set: str
    stage: Stage | None  # None if its predictions are given
    source: str  # the language of the labels


@dataclass(frozen=True)
class Study:
    """Arms, targets and seeds, with the stages to compare them. Created by ``xlt.study``."""

    arms: Mapping[str, Recipe]
    runs: tuple[Run, ...]  # every arm, seed and task
    suite: str  # of the targets
    by_arm: bool = False  # whether each arm is tested in its own variants of the languages

    @property
    def source(self) -> str:
        """The language of the labels. Raises ValueError if arms differ in it."""
        sources = {run.source for run in self.runs}
        if len(sources) > 1:
            raise ValueError(f"The arms have labels in {sorted(sources)}; this needs one source.")
        return sources.pop()

    @cached_property
    def stages(self) -> list[Stage]:
        """Every stage once, parents before children, as ``run`` makes them."""
        chains = [reversed(run.stage.chain) for run in self.runs]
        return list({stage.key: stage for chain in chains for stage in chain}.values())

    @property
    def unshared(self) -> int:
        """The number of stages if no two arms, tasks or seeds shared any."""
        return sum(len(run.stage.chain) for run in self.runs)

    def plan(self, store: Store | None = None) -> pd.DataFrame:
        """What ``run`` would do, one row per stage.

        ``arms`` need it; it takes ``steps`` of ``batch_size`` rows at ``learning_rate`` (0 for an
        evaluation) and is ``cached`` if the store has it. ``seconds`` is estimated from stages in
        the store with the same kind of phase and encoder: 0 for a cached stage, NaN if none of that
        kind was ever made on this device.
        """
        store = store or Store()
        rates = defaultdict(list)  # seconds per unit of work
        for path in store.folder.glob(f"*/{SIGNATURE}"):
            with suppress(OSError, ValueError, KeyError):
                record = store.record(path.parent.name)
                kind, units = _work(record["signature"])
                if record["cost"]["device"] == str(device()):
                    rates[kind].append(record["cost"]["wall_s"] / units)
        arms = defaultdict(dict)
        for run in self.runs:
            for stage in run.stage.chain:
                arms[stage.key][run.arm] = None
        rows = []
        for stage in self.stages:
            settings = [getattr(stage.phase, name, 0) for name in BUDGET]
            cached = store.has(stage.key)
            kind, units = _work(stage.signature())
            seconds = 0.0 if cached else units * np.mean(rates.get(kind, np.nan))
            names = ", ".join(arms[stage.key])
            rows.append((stage.key, stage.title, names, *settings, cached, seconds))
        return pd.DataFrame(rows, columns=["key", "stage", "arms", *BUDGET, "cached", "seconds"])

    def run(self, store: Store | None = None, workers: int = 0, scheduler: str = "") -> Results:
        """Make every stage that the store lacks, and return the results.

        If killed at any point and started again, it resumes and ends with the same numbers. Stages
        are made by this many ``workers`` (default: ``XLTKIT_WORKERS``, or one), or by those of the
        Dask ``scheduler`` at this address (default: ``XLTKIT_SCHEDULER``). In a script, workers
        need the line ``if __name__ == "__main__":`` above, since each of them imports the script.
        """
        store = store or Store()
        plan = self.plan(store)
        minutes = plan["seconds"].sum() / 60  # what has no estimate counts as 0
        estimate = f", {minutes:.1f} min of work or more" if minutes else ""
        counts = f"{len(plan)} stages ({self.unshared} before sharing), {plan['cached'].sum()} in"
        print(f"{counts} the store, {(~plan['cached']).sum()} to make{estimate}.", flush=True)
        began = time.monotonic()
        with track(len(plan), "study", unit="stage") as bar:
            for stage in make_all(self.stages, store, workers, scheduler):
                bar.set_postfix_str(stage.title, refresh=False)
                bar.update()
        if not plan["cached"].all():
            print(f"They took {(time.monotonic() - began) / 60:.1f} min.", flush=True)
        return Results(self, store)


def _work(signature: Mapping[str, Any]) -> tuple[tuple[str, str], int]:
    """Phase and encoder of a stage, and its units of work: steps, or languages scored."""
    units = signature.get("steps") or len(signature.get("languages", ())) or 1
    return (signature["phase"], signature["encoder"]), units


class Results:
    """What a study measured, as tidy tables; ``store`` holds its stages."""

    def __init__(self, study: Study, store: Store):
        self.study = study
        self.store = store

    @property
    def arms(self) -> list[str]:
        """The names of the arms."""
        return list(self.study.arms)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per arm, seed, task, language and metric.

        ``value`` and ``chance`` are in points (0 to 100); ``main`` marks the task's main metric and
        ``is_source`` the language of the labels; ``base_language`` is the language on which arms
        are compared (the base of a variant, if each arm has its own); ``trained_on`` lists the
        training sets of all phases in order; ``unseen`` marks a language that the encoder is known
        to be pretrained without; costs are those of the target stage and its evaluation.
        """
        tables = []
        for run in self.study.runs:
            task = get(run.task)
            table = self._scores_of(run)
            language = table["language"]
            bases = language.str.partition("-x-")[0]
            table = table.assign(
                arm=run.arm,
                seed=run.seed,
                suite=self.study.suite,
                task=task.name,
                kind=task.kind,
                source_language=run.source,
                is_source=language == run.source,
                base_language=bases if self.study.by_arm else language,
                main=table["metric"] == task.metric,
                chance=100 / table["n"] if task.type.is_search else task.chance,
            )
            tables.append(table)
        scores = pd.concat(tables, ignore_index=True)
        return scores.join(columns(sorted(scores["language"].unique())), on="language")

    def _scores_of(self, run: Run) -> pd.DataFrame:
        """The scores of a run by language and metric, and what its stages tell about it."""
        stage = run.stage
        table = pd.read_parquet(self.store.path(stage.key) / "result" / "scores.parquet")
        costs = [self.store.record(part.key)["cost"] for part in stage.chain[:2]]
        sets = [part.phase.training_sets for part in stage.chain[:0:-1]]
        names = ["+".join(map(str, group)) for group in sets]
        return table.assign(
            train_set=run.train_set,
            trained_on=" > ".join(names),
            max_length=stage.phase.max_length,
            unseen=table["language"].isin(unseen(stage.encoder, table["language"])),
            split=stage.phase.split,
            examples=stage.phase.examples,
            selection_rule="last checkpoint",
            encoder=stage.encoder,
            **{key: sum(cost[key] for cost in costs) for key in ("steps", "wall_s", "cpu_s")},
            **{key: costs[0][key] for key in ("device", "dtype")},
            stage=stage.key,
        )

    @property
    def main(self) -> pd.DataFrame:
        """The scores in the tasks' main metrics only."""
        return self.scores[self.scores["main"]]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per arm, seed, task, language and example: gold, prediction, score (0 to 1).

        ``log_probs`` are the log-probabilities of the labels in classification, or of the
        alternatives of a choice, in order (a float32 array); missing for other types.
        """
        tables = []
        for run in self.study.runs:
            path = self.store.path(run.stage.key) / "result" / "predictions.parquet"
            # Stages from before the column had this name are still valid.
            table = pd.read_parquet(path).rename(columns={"scores": "log_probs"})
            tables.append(table.assign(arm=run.arm, seed=run.seed, task=run.task))
        return pd.concat(tables, ignore_index=True)

    @property
    def bounds(self) -> pd.DataFrame:
        """The main scores with the score ``by_chance`` and its upper ``bound``.

        Chance is the task's or, for the accuracy of tags, that of the most frequent tag. A model at
        chance exceeds the bound in fewer than one in a hundred test sets of this size.
        """
        keys = [*RUN, "language"]
        majority = self.scores[self.scores["metric"] == "majority"].set_index(keys)["value"]
        main = self.main.join(majority.rename("by_chance"), on=keys)
        is_tagged = main["by_chance"].notna() & (main["metric"] == "accuracy")
        main["by_chance"] = main["by_chance"].where(is_tagged, main["chance"])
        standard_error = np.sqrt(main["by_chance"] * (100 - main["by_chance"]) / main["n"])
        main["bound"] = main["by_chance"] + stats.norm.ppf(0.99) * standard_error
        return main

    @cached_property
    def degenerate(self) -> pd.DataFrame:
        """Whether each trained run (arm, seed and task) is ``degenerate``, and ``why``.

        Such a run learned nothing: in the source language (or its best language, if the task lacks
        the source) it scores at chance (``bounds``) or predicts the same for every item. Tables of
        means count these runs. ``xlt.doctor`` looks for the cause.
        """
        keys = [*RUN, "language"]
        main = self.bounds
        main = main[~main["task"].map(lambda name: get(name).type.is_untrained)]
        ranked = main.sort_values(["is_source", "value"], ascending=False, kind="stable")
        judged = ranked.drop_duplicates(RUN).sort_index()
        # Runs that predict the same for all items, though the gold labels differ.
        counts = self.predictions.merge(judged[keys]).groupby(keys)[["gold", "pred"]].nunique()
        constant = set(counts.index[(counts["pred"] == 1) & (counts["gold"] > 1)])
        rows = []
        for run in judged.itertuples(index=False):
            why = ""
            if (run.arm, run.seed, run.task, run.language) in constant:
                why = "one prediction for everything"
            elif run.value <= run.bound:
                why = f"{run.value:.1f} in {run.language}, where chance is {run.by_chance:.1f}"
            rows.append((run.arm, run.seed, run.task, run.language, bool(why), why))
        return pd.DataFrame(rows, columns=[*keys, "degenerate", "why"])

    def rescore(self, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Results]:
        """Score the trained models in other ways: attacked, mixed, smoothed. Nothing is trained.

        ``changes`` maps names to changed fields of ``Evaluate``: ``{"mixed": {"mixed": True}}`` or
        ``{"typos": {"attack": Typos(strength=0.2), "languages": ("en", "qbe")}}``. Returns results
        of the same arms and seeds under these names.
        """
        studies = {}
        for name, change in changes.items():
            runs = []
            for run in self.study.runs:
                phase = replace(run.stage.phase, **change)
                stage = evaluation_stage(run.stage.encoder, run.seed, run.stage.parent, phase)
                runs.append(replace(run, stage=stage))
            studies[name] = replace(self.study, runs=tuple(runs))
        every = tuple(run for study in studies.values() for run in study.runs)
        replace(self.study, runs=every).run(self.store)
        return {name: Results(study, self.store) for name, study in studies.items()}
