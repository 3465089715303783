"""Sentence vectors of an encoder, and how well translations find each other by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from xltkit.evaluation.predict import protocol_layer
from xltkit.models.device import device
from xltkit.models.encoder import Model, configuration, load_tokenizer
from xltkit.models.heads import mean_pool
from xltkit.studies.results import Results

TEXT_COLUMNS = ["language", "sentence", "text"]  # before the numbers of a vector


def checkpoints(results: Results, arm: str, task: str, seed: int | None = None) -> dict[str, str]:
    """The encoder of an arm after each of its phases, as names that ``embed`` takes.

    Args:
        results: of a finished study.
        arm, task, seed: whose; the first seed, unless given.

    Returns:
        By what was trained last, such as ``after target qa``: the folder of the checkpoint. The
        encoder itself comes first, under its name.

    Raises:
        ValueError: if the study has no such run.
    """
    runs = [run for run in results.study.runs if (run.arm, run.task) == (arm, task)]
    runs = [run for run in runs if seed in (None, run.seed)]
    if not runs:
        names = sorted({(run.arm, run.task, run.seed) for run in results.study.runs})
        raise ValueError(f"There is no run {(arm, task, seed)}; there are {names}.")
    encoder = runs[0].stage.encoder
    folders = {Path(encoder).name: encoder}  # its folder is nobody else's business
    for stage in reversed(runs[0].stage.chain[1:]):  # without the evaluation, first to last
        name = stage.title.rpartition(" (")[0]
        folders[f"after {name}"] = str(results.store.path(stage.key))
    return folders


def depth(encoder: str) -> int:
    """The number of layers of an encoder, from its configuration."""
    return configuration(encoder).num_hidden_layers


@torch.inference_mode()
def embed(
    encoder: str, sentences: Mapping[str, Sequence[str]], *, layer: int = 0, untrained: bool = False
) -> pd.DataFrame:
    """The vectors of sentences: the mean of their tokens after a layer.

    Args:
        encoder: ``micro``, a Hub id, or a folder, such as that of a stage.
        sentences: by language, the same sentences in the same order.
        layer: 1 is the first; 0 the one that retrieval reads (``predict.protocol_layer``).
        untrained: take the architecture with random weights (seed 0) instead.

    Returns:
        One row per language and sentence: ``language``, ``sentence`` (its number), ``text``, and
        the columns 0, 1, ... of its vector.

    Raises:
        ValueError: for an unknown encoder or layer, or languages that differ in the number of
            sentences.
    """
    counts = {code: len(texts) for code, texts in sentences.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"Every language needs the same sentences; their numbers are {counts}.")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Model(encoder, {}, scratch=untrained).to(device()).eval()
    tokenizer = load_tokenizer(encoder)
    layer = layer or protocol_layer(model.depth)
    tables = []
    for code, texts in sentences.items():
        inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        ids = inputs["input_ids"].to(device())
        mask = inputs["attention_mask"].to(device())
        states = model.layers([layer], input_ids=ids, attention_mask=mask)[layer]
        vectors = pd.DataFrame(mean_pool(states.float(), mask).cpu().numpy())
        rows = pd.DataFrame({"language": code, "sentence": range(len(texts)), "text": list(texts)})
        tables.append(pd.concat([rows, vectors], axis=1))
    return pd.concat(tables, ignore_index=True)


def unit(table: pd.DataFrame) -> np.ndarray:
    """The vectors of ``embed``'s table, each of length 1: an array (rows, width)."""
    vectors = table.drop(columns=TEXT_COLUMNS).to_numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def retrieval_accuracy(table: pd.DataFrame, source: str = "en") -> pd.Series:
    """The share (%) of sentences whose nearest one in the source language is their translation.

    By cosine, among all sentences of the table: the score of the tasks of retrieval.

    Returns:
        The accuracy by language, in the order of the table, without the source.

    Raises:
        ValueError: if the source is not in the table.
    """
    is_source = (table["language"] == source).to_numpy()
    if not is_source.any():
        raise ValueError(f"The table has no {source!r}, only {list(table['language'].unique())}.")
    queries = table[~is_source]
    nearest = (unit(queries) @ unit(table[is_source]).T).argmax(axis=1)
    is_right = queries["sentence"] == nearest
    return 100 * is_right.groupby(queries["language"], sort=False).mean()


def nearest(
    table: pd.DataFrame, language: str, sentence: int, *, source: str = "en", first: int = 3
) -> pd.DataFrame:
    """The sentences in the source language that are nearest to one in another.

    Args:
        table: of ``embed``.
        language, sentence: which, as in the table.
        source: where neighbors are looked for.
        first: how many of them.

    Returns:
        ``near`` (the cosine) and whether it is the ``translation``, by text; the nearest first.

    Raises:
        ValueError: if the table does not have them.
    """
    candidates = table[table["language"] == source]
    query = table[(table["language"] == language) & (table["sentence"] == sentence)]
    if candidates.empty or len(query) != 1:
        raise ValueError(f"The table has no {source!r}, or no sentence {sentence} in {language!r}.")
    translation = candidates["sentence"] == sentence
    near = unit(candidates) @ unit(query)[0]
    neighbors = candidates.assign(near=near, translation=translation)
    neighbors = neighbors.sort_values("near", ascending=False).head(first)
    return neighbors.set_index("text")[["near", "translation"]]
