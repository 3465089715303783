"""A trained encoder taken out of the store, with a model card that the store's records wrote."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import ModelCard, ModelCardData

from xltkit.files import root
from xltkit.models.encoder import HEADS, TOWER
from xltkit.studies import cards_parts as parts
from xltkit.studies.cards_scores import chain_of, sections
from xltkit.studies.results import Results
from xltkit.studies.saved import read
from xltkit.studies.store import SIGNATURE, Store

TEMPLATE = Path(__file__).parent / "card.md.j2"
LEFT = ("result", SIGNATURE, "log.jsonl")  # of a stage, what is the store's own
BESIDE = {
    HEADS: f"The heads of its own tasks, which xltkit alone reads, are in `{HEADS}`.",
    TOWER: f"The image tower that was trained with it is in `{TOWER}/`.",
}


def card(results: Results, arm: str, to: Path | str, *, task: str = "", seed: int = -1) -> Path:
    """Take an encoder that a study trained out of the store, with a model card.

    Nothing is uploaded. The card says what was trained on what, how it scored in each language,
    with which seeds, and on what terms; all of it from the records of the store.

    Args:
        results: of the study.
        arm: the arm that trained it.
        to: the folder to write, which must not be there yet; ``AutoModel`` loads it.
        task: the encoder as it was trained for this target; empty means as it was before any.
        seed: of the training; -1 means the first.

    Returns:
        The folder.

    Raises:
        ValueError: for an unknown arm, task or seed, or if nothing was trained.
        FileExistsError: if there is something under ``to``.
    """
    return export(find(results.scores, results.store, arm, task, seed), to, results.store)


def find(scores: pd.DataFrame, store: Store, arm: str, task: str = "", seed: int = -1) -> str:
    """The key of the stage whose encoder a table of scores is of; the arguments are ``card``'s."""
    table = scores
    for name, wanted in {"arm": arm, "task": task, "seed": seed}.items():
        there = list(dict.fromkeys(table[name]))
        wanted = there[0] if wanted == -1 or (name, wanted) == ("task", "") else wanted
        if wanted not in there:
            raise ValueError(f"{name} is {wanted!r}; there are {', '.join(map(repr, there))}.")
        table = table[table[name] == wanted]
    key = _signature(store, table["stage"].iloc[0])["parent"]
    while not task and store.has(key) and _signature(store, key)["phase"] == "Target":
        key = _signature(store, key)["parent"]
    if not store.has(key):
        targets = ", ".join(dict.fromkeys(scores.loc[scores["arm"] == arm, "task"]))
        raise ValueError(
            f"The arm {arm!r} trains nothing {f'for {task}' if task else 'before its targets'}: "
            f"name an arm that does, or a target that is trained. Its targets are {targets}."
        )
    return key


def _signature(store: Store, key: str) -> dict[str, Any]:
    if not store.has(key):
        raise ValueError(
            f"There is no stage {key!r} in {store.folder}. The column 'key' of study.plan() has "
            "the keys of a study; XLTKIT_STORE names another store."
        )
    return store.record(key)["signature"]


def export(key: str, to: Path | str, store: Store | None = None) -> Path:
    """Copy the encoder of a stage, its tokenizer and its heads into a folder, with a model card.

    Args:
        key: of a stage that trained; of one that scored, the stage that it scored is meant.
        to: the folder to write, which must not be there yet.
        store: where the stage is.

    Returns:
        The folder.

    Raises:
        ValueError: if there is no such stage, or it is not whole.
        FileExistsError: if there is something under ``to``.
    """
    store, to = store or Store(), Path(to)
    signature = _signature(store, key)
    if signature["phase"] == "Evaluate":
        key = signature["parent"]
        if not store.has(key):
            raise ValueError(f"Nothing was trained: that stage scores {signature['encoder']!r}.")
    if not store.ready(key):
        raise ValueError(f"The stage {key} is damaged. Run its notebook again, which makes it new.")
    if to.exists():
        raise FileExistsError(f"{to} is there already; name a folder that is not.")
    text = write(key, store)
    partial = to.with_name(f"{to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    ignored = shutil.ignore_patterns(*LEFT)
    shutil.copytree(store.path(key), partial, ignore=ignored, copy_function=shutil.copyfile)
    text.save(partial / "README.md")
    return partial.rename(to)  # what has this name is whole


def write(key: str, store: Store) -> ModelCard:
    """The model card of a stage that trained, from its records and scores."""
    records = {record["key"]: record for record in store.records()}
    chain, scores = chain_of(key, records), sections(key, records, store)
    first, last = chain[0]["signature"], chain[-1]["signature"]
    data = parts.data_rows(chain)
    base, _, revision = first["parent"].partition("@")  # of a folder it is a digest alone
    name = parts.public(first["encoder"])
    title = " > ".join([name, *(parts.step(record["signature"]) for record in chain)])
    invented = name == "micro" or parts.FREE in set(data["data"])
    licence, terms = parts.licence(chain)
    head = ModelCardData(
        model_name=title,
        language=parts.codes([*data["language"], *(c for s in scores for c in s.codes)]),
        library_name="transformers",
        pipeline_tag="feature-extraction",
        base_model=base if revision else None,
        datasets=sorted({hub for hub in data["hub"] if hub}) or None,
        tags=["xltkit", "cross-lingual-transfer", "zero-shot", *[parts.FREE] * invented],
        eval_results=[result for section in scores for result in section.results] or None,
        **licence,
    )
    settings = parts.settings(chain)
    return ModelCard.from_template(
        head, str(TEMPLATE), title=title, key=key, seed=last["seed"], scores=scores,
        microworld=invented, shuffled='"shuffled": true' in settings, settings=settings,
        start=f"`{name}` (" + (f"commit `{revision}`)" if revision else f"digest `{base}`)"),
        phases=parts.markdown(parts.phase_rows(chain)),
        data=parts.markdown(data.drop(columns="hub")), pooling=last["pooling"],
        beside=" ".join(s for n, s in BESIDE.items() if (store.path(key) / n).exists()),
        environment=parts.markdown(parts.environment(chain)), licence=terms,
        papers=parts.papers(chain),
    )  # fmt: skip


def main(what: str, to: str, arm: str = "", task: str = "", seed: int = -1) -> None:
    """The command line: a key, the folder of a stage, or a finished run and one of its arms.

    Raises:
        ValueError: if it is none of them, and for what ``card`` refuses.
        OSError: if the folder is there already, or cannot be written.
    """
    store, key = Store(), what
    if (Path(what) / SIGNATURE).is_file():
        folder = Path(what).resolve()
        store, key = Store(folder.parent), folder.name
    elif not store.has(what) and (folder := root() / "outputs" / what).is_dir():
        tables = read(folder).tables
        if "stage" not in tables.get("scores", ()):
            raise ValueError(f"{what} scored no stage of a store; give the key of one.")
        key = find(tables["scores"], store, arm, task, seed)
    print(f"{export(key, to, store)}: encoder, tokenizer and model card. Nothing was uploaded; if "
          f"you want to, type: hf upload YOUR-NAME/YOUR-MODEL {to}")  # fmt: skip
