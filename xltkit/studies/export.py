"""Copy a trained encoder out of the store, with a model card written from the store's records."""

import shutil
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
from huggingface_hub import ModelCard, ModelCardData

from xltkit.files import LITTER
from xltkit.keys import choose
from xltkit.models.checkpoints import INDEX, whole_checkpoint
from xltkit.studies.results import Results
from xltkit.studies.saved import Saved
from xltkit.studies.store import SIGNATURE
from xltkit.tasks import TASKS, get


def export(
    results: Results | Saved, arm: str, to: Path | str, *, task: str = "", seed: int = -1
) -> Path:
    """Copy an encoder that a study trained out of the store, with a model card.

    The card lists training data, settings and seed, and the scores in each language, all from the
    records of the store. Nothing is uploaded.

    Args:
        results: the results of a study or a finished run.
        arm: the arm that trained it; ValueError if it trained nothing, or the store lacks it.
        to: the folder to write, which must not exist; ``AutoModel`` can load it.
        task: the target that the encoder was trained for; empty means before any target.
        seed: the training seed; -1 means the first.
    """
    to = Path(to)
    store = results.store
    scores = results.scores
    for name, value in {"arm": arm, "task": task, "seed": seed}.items():
        if name == "arm" or value not in ("", -1):
            choose(name, value, scores[name].unique())
            scores = scores[scores[name] == value]
    scores = scores[scores["seed"] == scores["seed"].iloc[0]]
    # The records of the trained stages, in order.
    key = scores["stage"].iloc[0]
    if not store.has(key):
        raise ValueError(f"{store.folder} has no stage {key}; set XLTKIT_STORE to its store.")
    chain: list[dict[str, Any]] = []
    key = store.record(key)["signature"]["parent"]
    while store.has(key):
        record = store.record(key)
        if task or chain or record["signature"]["phase"] != "Target":
            chain.insert(0, record)
        key = record["signature"]["parent"]
    if not chain:
        what = f"for {task}" if task else "before its targets"
        raise ValueError(
            f"The arm {arm!r} trains nothing {what}: name an arm that does, or a target that is "
            f"trained. Its targets are {', '.join(scores['task'].unique())}."
        )
    key = chain[-1]["key"]
    if not store.is_usable(key):
        raise ValueError(f"The stage {key} is damaged. Run its notebook again to remake it.")
    if to.exists():
        raise FileExistsError(f"{to} exists already; name a folder that does not.")
    partial = to.with_name(f"{to.name}.partial")  # a folder with its final name is complete
    shutil.rmtree(partial, ignore_errors=True)
    copy_encoder(store.path(key), partial)
    _card(chain, scores, results.scores).save(partial / "README.md")
    return partial.rename(to)


def copy_encoder(stage: Path, to: Path) -> None:
    """Copy what was trained, without the store's results and record."""
    # Frozen weights are elsewhere in the store: the copy has all weights in one file.
    parts = ("model-trained.safetensors", INDEX)
    ignored = shutil.ignore_patterns("result", SIGNATURE, "log.jsonl", *parts, *LITTER)
    shutil.copytree(stage, to, ignore=ignored, copy_function=shutil.copyfile, dirs_exist_ok=True)
    whole_checkpoint(stage, to / "model.safetensors")


def _card(chain: list[dict[str, Any]], scores: pd.DataFrame, every: pd.DataFrame) -> ModelCard:
    """The model card of a chain of records; ``every`` has the scores of all arms and seeds."""
    data = {}
    for record in chain:
        signature = record["signature"]
        parts = {}  # in order
        for name, fingerprint in signature["data"].items():
            task, slash, language = name.partition("/")
            if not slash or task not in TASKS:
                continue  # training data is ``task/language``; other data has no language
            parts[task] = None
            source = get(task).train
            hub = source.of(language).hub if language in source.languages else source.hub
            version = fingerprint.rpartition("/")[2]
            data[name] = {"hub": hub, "task": get(task), "language": language, "version": version}
        options = [value for value in signature.values() if isinstance(value, dict)]
        methods = [option["method"] for option in options if "method" in option]
        record["name"] = f"{signature['phase']}({', '.join([*parts, *methods])})"
    keys = ["arm", "task", "language", "metric"]
    means = every.groupby(keys)["value"].agg(["mean", "count"])
    main = scores[scores["main"]].join(means, on=keys)
    main = main.sort_values(["task", "is_source"], ascending=[True, False], kind="stable")
    first = chain[0]["signature"]
    base, _, revision = first["parent"].partition("@")  # for a folder only a digest
    encoder = first["encoder"] if revision else PurePath(first["encoder"]).name
    codes = {*(row["language"] for row in data.values()), *scores["language"]}
    head = ModelCardData(
        model_name=" > ".join([encoder, *(record["name"] for record in chain)]),
        language=sorted({code.partition("-x-")[0] for code in codes}),
        library_name="transformers",
        pipeline_tag="feature-extraction",
        base_model=base if revision else None,
        license="other",  # of the encoder and all data; the table names them
        tags=["xltkit", "cross-lingual-transfer", "zero-shot"],
    )
    return ModelCard.from_template(
        head,
        str(Path(__file__).with_name("card.md.j2")),
        encoder=encoder,
        origin=f"commit {revision}" if revision else f"digest {base}",
        phases=chain,
        data=list(data.values()),
        scores=main.to_dict("records"),
        is_shuffled="'shuffled': True" in str(chain),
    )
