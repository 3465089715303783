"""The plan of a batch, before anything runs: what is shared, what is there, and what it takes."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from xltkit import models, rates
from xltkit.absent import Wanted, here
from xltkit.forecast import Foreseen, foresee
from xltkit.phases import Evaluate
from xltkit.plan import BatchError, Planned, plan
from xltkit.sizes import CONFIGS
from xltkit.stages import Stage
from xltkit.store import Store
from xltkit.studies import Study

GIB = 2**30


def main(
    names: Sequence[str], *, smoke: bool, overrides: Mapping[str, Any], workers: int,
    picture: str | None,
) -> int:  # fmt: skip
    """Print the plan of some runs, and draw it; the exit code (1: a run cannot be planned)."""
    if workers < 1:
        raise BatchError(f"workers is {workers}; at least one has to train. Type --workers 1.")
    runs = foresee_all(plan(names, smoke=smoke, overrides=overrides))
    store = Store()
    stages = table(runs, store, workers)
    print(describe(runs, stages, workers, rates.accelerator()))
    if picture:
        from xltkit import plots_plan

        plots_plan.graph(stages).figure.savefig(picture, bbox_inches="tight")
        print(f"The stages are drawn in {picture}.")
    return int(any(run.problem for run in runs))


def foresee_all(planned: Sequence[Planned]) -> list[Foreseen]:
    """What each run of a batch will make (``forecast.foresee``)."""
    return [foresee(run.name, run.notebook, run.values) for run in planned]


def table(runs: Sequence[Foreseen], store: Store, workers: int = 1) -> pd.DataFrame:
    """One row per stage of all runs, each once, parents before children.

    Columns: ``key``, ``parent`` (its key, or empty), ``stage`` in words, ``phase``, ``tasks``,
    ``note`` (what is special about it), ``encoder``, ``seed``, ``steps``, ``there``, ``runs`` and
    ``arms`` (tuples) that share it, ``seconds`` (missing: nobody knows), ``basis`` (where that
    figure comes from), ``accelerator`` (whether it is of the accelerator in ``rates.ASSUMED``, or
    of one that was measured), and ``gib`` that its weights take on disk (missing: not known).
    """
    stages: dict[str, Stage] = {key: s for run in runs for key, s in run.stages.items()}
    works = {key: done for run in runs for key, done in run.works.items()}
    known = rates.rates(store, workers)
    rows = []
    for key, stage in stages.items():
        sharing = [run for run in runs if key in run.stages]
        arms = dict.fromkeys(arm for run in sharing for arm in sorted(run.arms.get(key, ())))
        rows.append(
            _about(stage, works[key], known)
            | {"there": store.has(key), "runs": tuple(run.name for run in sharing)}
            | {"arms": tuple(arms)}
        )
    return pd.DataFrame(rows)


def of(study: Study, store: Store | None = None, workers: int = 1) -> pd.DataFrame:
    """The same table of one study: ``xlt.plots_plan.graph(xlt.outlook.of(study))``."""
    seen = Foreseen("this notebook")
    seen.note(study)
    return table([seen], store or Store(), workers)


def _about(stage: Stage, done: rates.Work | None, known: rates.Rates) -> dict[str, Any]:
    """What is known of a stage by itself."""
    found = known.estimate(done)
    trained = not isinstance(stage.phase, Evaluate)
    return {
        "key": stage.key,
        "parent": stage.parent.key if stage.parent else "",
        "stage": stage.title,
        "phase": type(stage.phase).__name__,
        "tasks": tuple(dict.fromkeys(p.task for p in stage.phase.portions))
        if trained
        else (stage.phase.task,),
        "note": _note(stage),
        "encoder": stage.encoder,
        "seed": stage.seed,
        "steps": getattr(stage.phase, "steps", 0),
        "seconds": found.seconds,
        "basis": found.basis,
        "accelerator": found.accelerator,
        "gib": (4 * done.weights / GIB if trained else 0.0) if done else None,
    }


def _note(stage: Stage) -> str:
    """What is special about a phase, in a few words."""
    phase = stage.phase
    if isinstance(phase, Evaluate):
        ways = {"mixed": phase.mixed, "smoothed": phase.smoothing, "every layer": phase.sweep}
        attack = [f"attacked: {phase.attack.name}"] if phase.attack else []
        return ", ".join(attack + [name for name, on in ways.items() if on])
    parts = phase.portions
    languages = list(dict.fromkeys(p.language for p in parts))
    found = {
        "shuffled": any(p.shuffled for p in parts),
        "against paraphrases": getattr(phase, "against", "") == "paraphrase",
        f"{getattr(phase, 'mlm', 0):.0%} MLM": getattr(phase, "mlm", 0),
        f"{getattr(phase, 'effort', 1):g} x the steps": getattr(phase, "effort", 1) != 1,
        f"{len(languages)} languages": len(languages) > 1,
        languages[0]: languages not in (["en"], []) and len(languages) == 1,
        f"{parts[0].examples:,} rows each": parts[0].examples,
    }
    ways = [type(w).__name__ for n in ("robust", "align") if (w := getattr(phase, n, None))]
    return ", ".join(ways + [text for text, holds in found.items() if holds])


def overview(runs: Sequence[Foreseen], stages: pd.DataFrame) -> pd.DataFrame:
    """One row per run and one in all: stages asked for, distinct, there, to train, and the time.

    What several runs share is counted in each of them, and once in all.
    """
    rows = {
        run.name: {"asked for": run.asked} | _counts(stages[stages["key"].isin(run.stages)])
        for run in runs
    }
    rows["all"] = {"asked for": sum(run.asked for run in runs)} | _counts(stages)
    return pd.DataFrame(rows).T.rename_axis("run")


def _counts(stages: pd.DataFrame) -> dict[str, Any]:
    left = stages[~stages["there"]]
    slow = left["accelerator"]
    return {
        "distinct": len(stages),
        "there": int(stages["there"].sum()),
        "to make": len(left),
        "minutes": left.loc[~slow, "seconds"].sum() / 60,
        "hours": left.loc[slow, "seconds"].sum() / 3600,
        "GiB kept": left["gib"].sum(),
    }


def minutes(stages: pd.DataFrame, workers: int) -> float:
    """Minutes until all that is left is made, so many stages at a time, parents first."""
    left = stages[~stages["there"]].set_index("key")
    ends: dict[str, float] = {}
    free = [0.0] * workers
    children: dict[str, list[str]] = {}
    for key, parent in left["parent"].items():
        children.setdefault(parent if parent in left.index else "", []).append(key)
    seconds = left["seconds"].fillna(0.0)
    ready = [(0.0, i, key) for i, key in enumerate(children.get("", ()))]
    number = len(ready)
    heapq.heapify(ready)
    while ready:
        since, _, key = heapq.heappop(ready)
        ends[key] = max(since, heapq.heappop(free)) + seconds[key]
        heapq.heappush(free, ends[key])
        for child in children.get(key, ()):
            heapq.heappush(ready, (ends[key], number := number + 1, child))
    return max(ends.values(), default=0.0) / 60


def needs(wanted: Wanted) -> pd.DataFrame:
    """One row per data set and split: the languages that are here, and those to be fetched."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for there, codes in wanted.places.items():
        split = "all" if len(codes) == 1 and there.split in codes else there.split
        empty = {"here": set(), "bytes": 0, "missing": set(), "from": ""}
        row = rows.setdefault((there.hub, split), empty)
        size = here(there)
        row["bytes"] += size
        row["here" if size else "missing"] |= codes
        if not size:
            row["from"] = "the Hub" if there.on_hub else there.url or f"by hand: {there.origin}"
    for row in rows.values():
        row |= {name: " ".join(sorted(row[name])) for name in ("here", "missing")}
    table = pd.DataFrame(rows.values(), index=pd.MultiIndex.from_tuples(rows)) if rows else None
    return pd.DataFrame() if table is None else table.rename_axis(["data", "split"]).sort_index()


def describe(
    runs: Sequence[Foreseen], stages: pd.DataFrame, workers: int, known: Mapping[str, Any]
) -> str:
    """The plan as text; ``known`` is the accelerator that GPU hours are of."""
    shown = overview(runs, stages)
    formats = dict.fromkeys(("minutes", "hours", "GiB kept"), "{:,.1f}".format)
    shown = shown.loc[:, [c for c in shown if c not in formats or shown[c].any()]]
    text = [shown.to_string(formatters=formats, float_format="{:,.0f}".format)]
    text += _times(stages, workers, known)
    wanted = Wanted()
    for run in runs:
        wanted.merge(run.wanted)
    text += _fetched(wanted)
    for run in runs:
        if run.problem:
            text.append(f"{run.name}: NOT PLANNED TO ITS END: {run.problem}")
        if run.unseen:
            count = len(run.unseen)
            depend = (
                "depends on results, and comes" if count == 1 else "depend on results, and come"
            )
            text.append(f"{run.name}: {count} of its studies {depend} on top.")
    return "\n".join(text)


def _times(stages: pd.DataFrame, workers: int, known: Mapping[str, Any]) -> list[str]:
    lines, left = [], stages[~stages["there"]]
    if unknown := int(left["seconds"].isna().sum()):
        lines.append(f"No time is known for {unknown} stages: the size of their encoder is not.")
    own = left[~left["accelerator"]]
    if len(own):
        count = own.groupby("basis").size()
        told = ", ".join(f"{n} stages {basis}" for basis, n in count.items())
        took = minutes(stages[~stages["accelerator"]], workers)
        lines.append(f"Minutes are of stages alone ({told}); {took:.1f} with {workers} at a time.")
    if left["accelerator"].any():
        basis = left.loc[left["accelerator"], "basis"].iloc[0]
        lines.append(
            f"Hours are {basis}: {known['device']}. To measure yours: python benchmarks/rates.py"
        )
        most = left["gib"].max()
        lines.append(
            "Disk: what is kept, and while a stage trains two checkpoints of weights and optimiser "
            f"(up to {6 * most:.1f} GiB for each worker); predictions and vectors are small."
        )
    return lines


def _fetched(wanted: Wanted) -> list[str]:
    lines = []
    found = needs(wanted)
    for (hub, split), row in found.iterrows():
        lines.append(f"data {hub}, {split}:")
        if row["here"]:
            lines.append(f"    here, {row['bytes'] / 1e6:,.1f} MB: {row['here']}")
        if row["missing"]:
            lines.append(f"    to fetch, size unknown: {row['missing']} ({row['from']})")
    for name in sorted(wanted.weights):
        lines.append(f"weights {name.partition('@')[0]}: {_weight(name)}")
    lines += [f"file {name}: not here, to fetch by hand" for name in sorted(wanted.files)]
    if wanted.guessed:
        lines.append(f"Nobody told how many rows these have: {', '.join(sorted(wanted.guessed))}.")
    return lines


def _weight(name: str) -> str:
    where = name.partition("@")[0]
    size = rates.network(where) if where in CONFIGS or models.locate(name)[1] is None else None
    return f"about {4 * size.weights / 1e9:.1f} GB (from its configuration)" if size else "unknown"
