"""Sentence vectors of an encoder, and how well translations find each other by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig

from xltkit.evaluation.predict import protocol_layer
from xltkit.models import device
from xltkit.models.encoder import Model, explained, load_tokenizer, locate, pin
from xltkit.models.heads import mean_pool
from xltkit.studies.results import Results


def checkpoints(results: Results, arm: str = "", task: str = "", seed: int | None = None) -> dict:
    """The encoder of an arm after each of its phases, as names that ``embed`` takes.

    Args:
        results: of a finished study.
        arm, task, seed: which; the first of each, unless named.

    Returns:
        By what was trained last, such as ``after target qa``: the folder of the checkpoint. The
        encoder itself comes first, under its name.

    Raises:
        ValueError: if the study has no such run, or a phase that vectors are turned after.
    """
    cells = results.study.runs
    arm, task = arm or cells[0].arm, task or cells[0].task
    seed = cells[0].seed if seed is None else seed
    mine = [c for c in cells if (c.arm, c.task, c.seed) == (arm, task, seed)]
    if not mine:
        known = {(c.arm, c.task, c.seed) for c in cells}
        raise ValueError(f"There is no run {(arm, task, seed)}; there are {sorted(known)}.")
    stages = mine[0].stage.chain[:0:-1]  # without the evaluation, first to last
    if any(s.phase.align and s.phase.align.method == "rotation" for s in stages):
        raise ValueError(f"{arm!r} is aligned by rotation, which is in no checkpoint.")
    after = {f"after {s.title.rpartition(' (')[0]}": str(results.store.path(s.key)) for s in stages}
    encoder = mine[0].stage.encoder
    return {Path(encoder).name: encoder} | after  # where it lies is nobody else's business


def depth(encoder: str) -> int:
    """The number of layers of an encoder, from its configuration."""
    where, revision = locate(encoder)
    with explained(encoder):
        return AutoConfig.from_pretrained(where, **pin(revision)).num_hidden_layers


@torch.inference_mode()
def embed(
    encoder: str, sentences: Mapping[str, Sequence[str]], *, layer: int = 0, untrained: bool = False
) -> pd.DataFrame:
    """The vectors of sentences: the mean of their tokens after a layer.

    Args:
        encoder: ``micro``, a Hub id, or a folder, such as that of a stage.
        sentences: by language, the same sentences in the same order.
        layer: 1 is the first; 0 the one that retrieval reads (``predict.protocol_layer``).
        untrained: take the architecture with weights drawn at random (seed 0) instead.

    Returns:
        One row per language and sentence: ``language``, ``sentence`` (its number), ``text``, and
        the columns 0, 1, ... of its vector.

    Raises:
        ValueError: for an encoder or a layer that there is not, or languages that differ in the
            number of sentences.
    """
    if len({len(texts) for texts in sentences.values()}) != 1:
        counts = {code: len(texts) for code, texts in sentences.items()}
        raise ValueError(f"Every language needs the same sentences; their numbers are {counts}.")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Model(encoder, {}, scratch=untrained).to(device.device()).eval()
    tokenizer = load_tokenizer(encoder)
    layer = layer or protocol_layer(model.depth)
    tables = []
    for code, texts in sentences.items():
        inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        ids, mask = (inputs[k].to(device.device()) for k in ("input_ids", "attention_mask"))
        vectors = mean_pool(model.layers([layer], ids, mask)[layer].float(), mask).cpu().numpy()
        about = {"language": code, "sentence": range(len(texts)), "text": list(texts)}
        tables.append(pd.concat([pd.DataFrame(about), pd.DataFrame(vectors)], axis=1))
    return pd.concat(tables, ignore_index=True)


def unit(table: pd.DataFrame) -> np.ndarray:
    """The vectors of ``embed``'s table, each of length 1: an array (rows, width)."""
    vectors = table.drop(columns=["language", "sentence", "text"]).to_numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def retrieval_accuracy(table: pd.DataFrame, source: str = "en") -> pd.Series:
    """The share (%) of sentences whose nearest one in the source language is their translation.

    By cosine, among all sentences of the table: the score of the tasks of retrieval. By language,
    in the order of the table, without the source.

    Raises:
        ValueError: if the source is not in the table.
    """
    own = (table["language"] == source).to_numpy()
    if not own.any():
        raise ValueError(f"The table has no {source!r}, only {list(table['language'].unique())}.")
    nearest = (unit(table[~own]) @ unit(table[own]).T).argmax(axis=1)
    right = pd.Series(nearest == table.loc[~own, "sentence"].to_numpy(), table[~own].index)
    return 100 * right.groupby(table.loc[~own, "language"], sort=False).mean()


def nearest(
    table: pd.DataFrame, language: str, sentence: int, *, source: str = "en", first: int = 3
) -> pd.DataFrame:
    """The sentences in the source language that are nearest to one in another.

    Args:
        table: of ``embed``.
        language, sentence: which, as in the table.
        source: where neighbours are looked for.
        first: how many.

    Returns:
        ``near`` (the cosine) and whether it is the ``translation``, by text; the nearest first.

    Raises:
        ValueError: if the table does not have them.
    """
    own = table["language"] == source
    query = (table["language"] == language) & (table["sentence"] == sentence)
    if not own.any() or query.sum() != 1:
        raise ValueError(f"The table has no {source!r}, or no sentence {sentence} in {language!r}.")
    near = unit(table[own]) @ unit(table[query])[0]
    best = table[own].assign(near=near, translation=table["sentence"] == sentence)
    best = best.sort_values("near", ascending=False).head(first)
    return best.set_index("text")[["near", "translation"]]
