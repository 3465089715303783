"""A trained encoder copied out of the store, with a model card written from the store's records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
from huggingface_hub import ModelCard, ModelCardData

from xltkit.files import root
from xltkit.keys import unknown
from xltkit.studies.results import Results
from xltkit.studies.saved import Saved, read
from xltkit.studies.store import SIGNATURE, Store
from xltkit.tasks import TASKS, get

TEMPLATE = Path(__file__).parent / "card.md.j2"
NOT_COPIED = ("result", SIGNATURE, "log.jsonl")  # they belong to the store
Record = dict[str, Any]  # of a stage, as ``Store.record`` gives it


def export(
    results: Results | Saved, arm: str, to: Path | str, *, task: str = "", seed: int = -1
) -> Path:
    """Copy an encoder that a study trained out of the store, with a model card.

    The card says what was trained on what, with which settings and seed, and how it scored in
    each language; all of it comes from the records of the store. Nothing is uploaded.

    Args:
        results: of the study, or of a finished run.
        arm: the arm that trained it.
        to: the folder to write, which must not exist; ``AutoModel`` loads it.
        task: the encoder as it was trained for this target; empty means as it was before any.
        seed: of the training; -1 means the first.

    Returns:
        The folder.

    Raises:
        ValueError: for an unknown arm, task or seed, if nothing was trained, or if the stage is
            not in the store.
        FileExistsError: if there is something under ``to``.
    """
    to = Path(to)
    store = results.store
    scores = _select(results.scores, arm, task, seed)
    chain = _chain(scores["stage"].iloc[0], store)[:-1]  # the last stage scores
    while not task and chain and chain[-1]["signature"]["phase"] == "Target":
        chain.pop()
    if not chain:
        what = f"for {task}" if task else "before its targets"
        raise ValueError(
            f"The arm {arm!r} trains nothing {what}: name an arm that does, or a target that is "
            f"trained. Its targets are {', '.join(dict.fromkeys(scores['task']))}."
        )
    key = chain[-1]["key"]
    if not store.ready(key):
        raise ValueError(f"The stage {key} is damaged. Run its notebook again, which remakes it.")
    if to.exists():
        raise FileExistsError(f"{to} exists already; name a folder that does not.")
    card = _card(chain, scores, results.scores)
    # Under a temporary name first: what has its final name is complete.
    partial = to.with_name(f"{to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    ignored = shutil.ignore_patterns(*NOT_COPIED)
    shutil.copytree(store.path(key), partial, ignore=ignored, copy_function=shutil.copyfile)
    card.save(partial / "README.md")
    return partial.rename(to)


def main(run: str, to: str, arm: str = "", task: str = "", seed: int = -1) -> None:
    """Export an encoder of a finished run, as ``xltkit card`` does; the arguments are ``export``'s.

    Raises:
        ValueError: if the run is not finished or scored nothing, and for what ``export`` refuses.
        FileExistsError: if there is something under ``to``.
    """
    saved = read(root() / "outputs" / run)
    if "stage" not in saved.tables.get("scores", ()):
        raise ValueError(f"{run} scored no stage of a store.")
    folder = export(saved, arm, to, task=task, seed=seed)
    print(
        f"{folder}: encoder, tokenizer and model card. Nothing was uploaded; to do so, type: "
        f"hf upload YOUR-NAME/YOUR-MODEL {folder}"
    )


def _select(scores: pd.DataFrame, arm: str, task: str, seed: int) -> pd.DataFrame:
    """The scores of one arm with one seed, of one task if it is named."""
    for name, value in {"arm": arm, "task": task, "seed": seed}.items():
        if value in ("", -1) and name != "arm":
            continue
        allowed = list(dict.fromkeys(scores[name]))
        if value not in allowed:
            raise ValueError(unknown(name, value, map(str, allowed)))
        scores = scores[scores[name] == value]
    return scores[scores["seed"] == scores["seed"].iloc[0]]


def _chain(key: str, store: Store) -> list[Record]:
    """The records of a stage and of those before it, the first one first."""
    records: list[Record] = []
    while store.has(key):
        records.insert(0, store.record(key))
        key = records[0]["signature"]["parent"]
    if not records:
        raise ValueError(
            f"The stage {key} is not in {store.folder}; XLTKIT_STORE names another store."
        )
    return records


def _card(chain: Sequence[Record], scores: pd.DataFrame, every: pd.DataFrame) -> ModelCard:
    """The model card of the last stage of a chain.

    Args:
        chain: the records of the stages that trained it.
        scores: of this arm and seed.
        every: scores of all arms and seeds, for the means over seeds.
    """
    first = chain[0]["signature"]
    base, _, revision = first["parent"].partition("@")  # of a folder it is a digest alone
    encoder = PurePath(first["encoder"]).name if revision == "" else first["encoder"]
    title = " > ".join([encoder, *(_phase_name(record["signature"]) for record in chain)])
    data = _data(chain)
    is_microworld = encoder == "micro" or "microworld" in set(data["data"])
    languages = {code.partition("-x-")[0] for code in (*data["language"], *scores["language"])}
    head = ModelCardData(
        model_name=title,
        language=sorted(languages - {""}),
        library_name="transformers",
        pipeline_tag="feature-extraction",
        base_model=base if revision else None,
        license="other",  # of the encoder and all data; the table names them
        tags=["xltkit", "cross-lingual-transfer", "zero-shot"],
    )
    return ModelCard.from_template(
        head,
        str(TEMPLATE),
        title=title,
        key=chain[-1]["key"],
        seed=chain[-1]["signature"]["seed"],
        start=f"`{encoder}` ({f'commit {revision}' if revision else f'digest {base}'})",
        phases=_markdown(_phases(chain)),
        data=_markdown(data),
        scores=_markdown(_scores(scores, every)),
        pooling=chain[-1]["signature"]["pooling"],
        is_microworld=is_microworld,
        is_shuffled='"shuffled": true' in json.dumps([r["signature"] for r in chain]),
    )


def _phase_name(signature: Record) -> str:
    """A phase in a few words: ``Target(nli, Adversarial)``."""
    names = list(dict.fromkeys(name.partition("/")[0] for name in _training_sets(signature)))
    for option in ("robust", "align"):
        if signature.get(option):
            names.append(signature[option]["method"])
    return f"{signature['phase']}({', '.join(names)})"


def _training_sets(signature: Record) -> list[str]:
    """What a phase was trained on, as ``task/language``; its other data has no language."""
    return [name for name in signature["data"] if name.partition("/")[0] in TASKS and "/" in name]


def _phases(chain: Sequence[Record]) -> pd.DataFrame:
    """One row per stage that trained: what, how long, and on which device."""
    rows = []
    for record in chain:
        signature = record["signature"]
        cost = record["cost"]
        row = {
            "stage": f"`{record['key']}`",
            "phase": _phase_name(signature),
            "steps": signature["steps"],
            "batch": signature["batch_size"],
            "learning rate": f"{signature['learning_rate']:g}",
            "minutes": cost["wall_s"] / 60,
            "device": f"{cost['device']}, {cost['dtype']}",
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _data(chain: Sequence[Record]) -> pd.DataFrame:
    """One row per data set and language that was trained on."""
    rows = {}
    for record in chain:
        signature = record["signature"]
        for name in _training_sets(signature):
            title, _, language = name.partition("/")
            task = get(title)
            source = task.train or task.test or task.validation
            rows[name] = {
                "data": source.of(language).hub if language in source.languages else source.hub,
                "task": title,
                "language": language,
                "revision or digest": f"`{signature['data'][name].rpartition('/')[2]}`",
                "licence": task.licence or "-",
                "citation": task.citation or "-",
            }
    return pd.DataFrame(list(rows.values()))


def _scores(scores: pd.DataFrame, every: pd.DataFrame) -> pd.DataFrame:
    """One row per task and language: the score with this seed, and the mean over all seeds."""
    keys = ["arm", "task", "language", "metric"]
    means = every.groupby(keys)["value"].agg(["mean", "count"]).reset_index()
    main = scores[scores["main"]].merge(means, on=keys, how="left")
    main["languages"] = main["is_source"].map({True: "source", False: "transfer"})
    ordered = main.sort_values(["task", "is_source"], ascending=[True, False], kind="stable")
    names = {"value": "score", "mean": "mean over seeds", "count": "seeds", "n": "items"}
    shown = ["task", "metric", "language", "languages", *names, "chance"]
    return ordered[shown].rename(columns=names)


def _markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, numbers with one decimal."""
    rows = [list(table.columns), ["---"] * table.shape[1]]
    for row in table.itertuples(index=False):
        texts = [f"{value:.1f}" if isinstance(value, float) else str(value) for value in row]
        rows.append([text.replace("|", "\\|") for text in texts])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
