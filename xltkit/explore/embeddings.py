"""Sentence vectors of an encoder, and how well translations find each other by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from xltkit.evaluation.predict import protocol_layer
from xltkit.keys import choose
from xltkit.models.device import device
from xltkit.models.encoder import Model, load_tokenizer
from xltkit.models.heads import mean_pool
from xltkit.studies.results import Results


def checkpoints(results: Results, arm: str, task: str) -> dict[str, str]:
    """The encoder of an arm after each of its phases (first seed), as names that ``embed`` takes.

    Returns:
        By what was trained last, such as ``after target qa``: the folder of the checkpoint. The
        encoder itself comes first, under its name.

    Raises:
        ValueError: if the study has no such run.
    """
    runs = {f"{run.arm}, {run.task}": run for run in results.study.runs[::-1]}
    stage = runs[choose("run", f"{arm}, {task}", runs)].stage
    folders = {Path(stage.encoder).name: stage.encoder}  # its folder is nobody else's business
    for trained in reversed(stage.chain[1:]):  # without the evaluation, first to last
        title = trained.title.rpartition(" (")[0]
        folders[f"after {title}"] = str(results.store.path(trained.key))
    return folders


@torch.inference_mode()
def embed(
    encoder: str, sentences: Mapping[str, Sequence[str]], *, layer: int = 0, untrained: bool = False
) -> pd.DataFrame:
    """The vectors of sentences: the mean of their tokens after a layer.

    Args:
        encoder: ``micro``, a Hub id, or a folder, such as that of a stage.
        sentences: by language, the same sentences in the same order; the first is the source.
        layer: 1 is the first; 0 the one that retrieval reads (``predict.protocol_layer``).
        untrained: take the architecture with random weights (seed 0) instead.

    Returns:
        One row per language and sentence: ``language``, ``sentence`` (its number), ``text``, and
        the columns 0, 1, ... of its vector.

    Raises:
        ValueError: for an unknown encoder or layer.
    """
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
    vectors = table.drop(columns=["language", "sentence", "text"]).to_numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def retrieval_accuracy(table: pd.DataFrame) -> pd.Series:
    """By language, the share (%) of sentences whose nearest in the source is their translation.

    By cosine, among all sentences of the table: the score of the tasks of retrieval.
    """
    is_source = table["language"] == table["language"].iloc[0]
    queries = table[~is_source]
    nearest = (unit(queries) @ unit(table[is_source]).T).argmax(axis=1)
    is_right = queries["sentence"] == nearest
    return 100 * is_right.groupby(queries["language"], sort=False).mean()


def nearest(table: pd.DataFrame, language: str, sentence: int, *, first: int = 3) -> pd.DataFrame:
    """The ``first`` sentences in the source language that are nearest to one in another.

    Returns:
        ``near`` (the cosine) and whether it is the ``translation``, by text; the nearest first.
    """
    candidates = table[table["language"] == table["language"].iloc[0]]
    query = table[(table["language"] == language) & (table["sentence"] == sentence)]
    near = unit(candidates) @ unit(query)[0]
    is_translation = candidates["sentence"] == sentence
    neighbors = candidates.assign(near=near, translation=is_translation).set_index("text")
    return neighbors.nlargest(first, "near")[["near", "translation"]]
