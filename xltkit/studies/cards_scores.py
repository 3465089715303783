"""The scores of a trained stage and of its like with other seeds, as a model card shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult

from xltkit.analysis.compare import summary
from xltkit.analysis.intervals import t_interval
from xltkit.data.languages import columns
from xltkit.keys import digest
from xltkit.studies.cards_parts import FREE, Record, markdown, public, step
from xltkit.studies.results import degenerate_runs
from xltkit.studies.store import Store
from xltkit.tasks import Task, get

# What the Hub calls the kinds of tasks, for the scores in the head of a card.
HUB_KINDS = {
    "classification": "text-classification", "choice": "multiple-choice",
    "tagging": "token-classification", "span": "question-answering",
}  # fmt: skip
WAYS = ("attack", "smoothing", "mixed")


def nameless(values: dict[str, Any]) -> dict[str, Any]:
    """A signature without what folders of weights are called."""
    names = ("encoder", "tower", "teacher")
    return {key: value for key, value in values.items() if key not in names}


@dataclass(frozen=True)
class Scored:
    """A record of scores, the seed it is of, and the target trained in between, if any."""

    seed: int
    target: Record | None
    record: Record

    @property
    def way(self) -> str:
        """The same for all seeds of one way of training on and scoring, and for no other."""
        both = [nameless(r["signature"]) for r in (self.target, self.record) if r]
        return digest([{k: s[k] for k in s if k not in ("seed", "parent")} for s in both])


@dataclass(frozen=True)
class Section:
    """What a card says of one way of scoring, in Markdown, and its scores for the head."""

    title: str
    about: str
    summary: str
    languages: str
    codes: tuple[str, ...]
    results: tuple[EvalResult, ...]


def chain_of(key: str, records: dict[str, Record]) -> list[Record]:
    """The records that a stage was trained by, first to last."""
    chain: list[Record] = []
    while key in records:
        chain.insert(0, records[key])
        key = records[key]["signature"]["parent"]
    return chain


def alike(key: str, records: dict[str, Record]) -> dict[str, int]:
    """The stages of the same training with any seed, and their seeds."""
    known: dict[str, str] = {}

    def seedless(key: str) -> str:
        if key not in records:
            return key  # the fingerprint of what the recipe starts from
        if key not in known:
            signature = nameless(records[key]["signature"])
            parent = seedless(signature["parent"])
            known[key] = digest({**signature, "seed": None, "parent": parent})
        return known[key]

    wanted = seedless(key)
    return {k: r["signature"]["seed"] for k, r in records.items() if seedless(k) == wanted}


def scored(key: str, records: dict[str, Record]) -> Iterator[Scored]:
    """All scores of a stage and its like: at once, or after one target was trained on top."""
    children: dict[str, list[Record]] = {}
    for record in records.values():
        children.setdefault(record["signature"]["parent"], []).append(record)
    for like, seed in alike(key, records).items():
        for child in children.get(like, ()):
            if child["signature"]["phase"] == "Evaluate":
                yield Scored(seed, None, child)
            if child["signature"]["phase"] == "Target":
                for last in children.get(child["key"], ()):
                    if last["signature"]["phase"] == "Evaluate":
                        yield Scored(seed, child, last)


def sections(key: str, records: dict[str, Record], store: Store) -> list[Section]:
    """One section for each way in which this very stage was scored; damaged scores are left out."""
    ways: dict[str, list[Scored]] = {}
    for one in scored(key, records):
        if store.ready(one.record["key"]):
            ways.setdefault(one.way, []).append(one)
    own = records[key]["signature"]["seed"]
    source = _source(chain_of(key, records))
    made = [_section(w, own, source, store) for w in ways.values() if own in [s.seed for s in w]]
    return sorted(made, key=lambda section: (section.title, section.about))


def _source(chain: Sequence[Record]) -> str:
    """The language whose labels were trained on last; English if there were none."""
    for record in reversed(chain):
        languages = record["signature"].get("languages") or [record["signature"].get("language")]
        if record["signature"]["phase"] in ("Target", "Intermediate") and len(languages) == 1:
            return languages[0]
    return "en"


def _section(found: Sequence[Scored], own: int, source: str, store: Store) -> Section:
    signature, target = found[0].record["signature"], found[0].target
    task = get(signature["task"])
    source = target["signature"]["language"] if target else source
    scores = _read(found, "scores", store, task)
    chance = task.type.chance(task, scores["n"])
    scores = scores.assign(is_source=scores["language"] == source, chance=chance)
    main = scores[scores["metric"] == task.metric]
    failed = degenerate_runs(main, scores, _read(found, "predictions", store, task))
    overall = summary(SimpleNamespace(main=main, degenerate=failed), by="arm").drop(columns="arm")
    least, most = (f"{value:.1f}" for value in (main["chance"].min(), main["chance"].max()))
    facts = [
        f"{task.metric}, {signature['split']} split",
        f"chance {least}" + (f" to {most}" if most != least else ""),
        f"source language {source}" + ("" if main["is_source"].any() else " (not tested)"),
        f"seeds {', '.join(map(str, sorted({one.seed for one in found})))}",
    ]
    if target:
        after = f"{step(target['signature'])}, {target['signature']['steps']} steps"
        facts.append(f"after {after}, trained on top of this encoder")
    way = next((_told(way, signature[way]) for way in WAYS if signature.get(way)), "")
    here = main[main["seed"] == own]
    return Section(
        title=f"{task.name}{way}",
        about="; ".join(facts) + ".",
        summary=markdown(overall),
        languages=markdown(_by_language(main, own)),
        codes=tuple(here["language"]),
        results=() if target or way else tuple(_for_hub(task, signature["split"], here)),
    )


def _read(found: Iterable[Scored], name: str, store: Store, task: Task) -> pd.DataFrame:
    tables = []
    for one in found:
        path = store.path(one.record["key"]) / "result" / f"{name}.parquet"
        tables.append(pd.read_parquet(path).assign(arm="", seed=one.seed, task=task.name))
    return pd.concat(tables, ignore_index=True)


def _told(way: str, value: Any) -> str:
    if way == "mixed":
        return ", the two texts in two languages"
    options = [f"{k}={v}" for k, v in public(value).items() if k not in ("method", "version")]
    under = "voted under" if way == "smoothing" else "under"
    return f", {under} {value['method']}({', '.join(options)})"


def _by_language(main: pd.DataFrame, own: int) -> pd.DataFrame:
    """One row per language, the source first: this seed, the mean over seeds, its interval."""
    rows = []
    for language, group in main.groupby("language", sort=False):
        low, high = t_interval(group["value"])
        mine = group[group["seed"] == own].iloc[0]
        rows.append(
            {"language": language, "is_source": mine["is_source"], f"seed {own}": mine["value"],
             "mean over seeds": group["value"].mean(), "low": low, "high": high,
             "items": int(mine["n"])}
        )  # fmt: skip
    table = pd.DataFrame(rows).sort_values("is_source", ascending=False, kind="stable")
    table["is_source"] = table["is_source"].map({True: "source", False: "transfer"})
    about = columns(list(table["language"]))[["language_name", "family", "resource"]]
    table = table.join(about.rename(columns={"language_name": "name"}), on="language")
    return table.rename(columns={"is_source": "languages"})


def _for_hub(task: Task, split: str, here: pd.DataFrame) -> Iterator[EvalResult]:
    """Scores in the Hub's own form; of the microworld none, for they would look like results."""
    source = getattr(task, split)
    if source.hub == FREE or task.kind not in HUB_KINDS:
        return
    for row in here.itertuples():
        part = source.of(row.language)
        yield EvalResult(
            task_type=HUB_KINDS[task.kind], dataset_type=part.hub, dataset_name=task.name,
            dataset_config=part.configs[row.language], dataset_split=part.split,
            dataset_revision=part.revision or None, metric_type=task.metric,
            metric_name=f"{task.metric} ({row.language})", metric_value=round(row.value, 2),
        )  # fmt: skip
