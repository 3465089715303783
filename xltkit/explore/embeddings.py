"""Sentence vectors of an encoder, and how well they retrieve translations."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure

from xltkit.data.languages import columns
from xltkit.evaluation.predict import protocol_layer
from xltkit.explore.plots import BASELINE_COLOR, MARKERS, style
from xltkit.keys import choose
from xltkit.models.checkpoints import load_tokenizer
from xltkit.models.device import device
from xltkit.models.encoder import Model, mean_pool
from xltkit.studies.results import Results


def checkpoints(results: Results, arm: str, task: str) -> dict[str, str]:
    """Folders of the encoder of an arm (first seed) before any phase and after each of them.

    Keys are the encoder's name, and what was trained last, such as ``after target qa``.
    """
    runs = {f"{run.arm}, {run.task}": run for run in results.study.runs[::-1]}
    stage = runs[choose("run", f"{arm}, {task}", runs)].stage
    folders = {Path(stage.encoder).name: stage.encoder}  # without its private path
    for trained in reversed(stage.chain[1:]):  # without the evaluation, first to last
        phase, _, _ = trained.title.rpartition(" (")
        folders[f"after {phase}"] = str(results.store.path(trained.key))
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
        untrained: use the architecture with random weights (seed 0) instead.

    One row per language and sentence: ``language``, ``sentence`` (its number), ``text``, and the
    columns 0, 1, ... of its vector.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Model(encoder, {}, scratch=untrained).to(device()).eval()
    tokenizer = load_tokenizer(encoder)
    layer = layer or protocol_layer(model.depth)
    tables = []
    for code, texts in sentences.items():
        inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        inputs = inputs.to(device())
        states = model.layers([layer], **inputs)[layer].float()
        vectors = pd.DataFrame(mean_pool(states, inputs["attention_mask"]).cpu().numpy())
        rows = pd.DataFrame({"language": code, "sentence": range(len(texts)), "text": list(texts)})
        tables.append(pd.concat([rows, vectors], axis=1))
    return pd.concat(tables, ignore_index=True)


def unit(table: pd.DataFrame) -> np.ndarray:
    """The vectors of ``embed``'s table, each of length 1: an array (rows, width)."""
    vectors = table.drop(columns=["language", "sentence", "text"]).to_numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def retrieval_accuracy(table: pd.DataFrame) -> pd.Series:
    """By language, the % of sentences whose nearest source sentence is the translation (cosine)."""
    is_source = table["language"] == table["language"].iloc[0]
    queries = table[~is_source]
    nearest = (unit(queries) @ unit(table[is_source]).T).argmax(axis=1)
    is_right = queries["sentence"] == nearest
    return 100 * is_right.groupby(queries["language"], sort=False).mean()


def nearest(table: pd.DataFrame, language: str, sentence: int, *, first: int = 3) -> pd.DataFrame:
    """The ``first`` sentences in the source language that are nearest to one in another.

    Indexed by text, the nearest first: ``near`` (cosine) and whether it is the ``translation``.
    """
    candidates = table[table["language"] == table["language"].iloc[0]]
    query = table[(table["language"] == language) & (table["sentence"] == sentence)]
    near = unit(candidates) @ unit(query)[0]
    neighbors = candidates.assign(near=near, translation=candidates["sentence"] == sentence)
    return neighbors.set_index("text").nlargest(first, "near")[["near", "translation"]]


@style()
def draw(panels: Mapping[str, pd.DataFrame], *, first: int = 6) -> Figure:
    """Plot the same sentences in several languages, one panel per encoder.

    A point is one of the ``first`` sentences of a table of ``embed``: number and color show the
    sentence, the marker its language, and a line connects it to its source sentence. The axes are
    the two directions in which the points of a panel differ most (principal components of unit
    vectors); their share of the variance is given below. The ``retrieval_accuracy`` of *all*
    sentences is given above: it does not depend on the projection.
    """
    codes = list(next(iter(panels.values()))["language"].unique())
    if len(codes) > len(MARKERS):
        raise ValueError(f"{len(codes)} languages are too many; draw {len(MARKERS)} at most.")
    markers = dict(zip(codes, MARKERS, strict=False))
    colors = sns.color_palette("colorblind", first)
    size = (4.3 * len(panels), 4.9)
    figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
    for ax, (name, table) in zip(axes[0], panels.items(), strict=True):
        accuracy = retrieval_accuracy(table).mean() if len(codes) > 1 else 100.0
        ax.set_title(f"{name}\ntranslation found: {accuracy:.0f} %", loc="left", fontsize="medium")
        table = table[table["sentence"] < first]
        vectors = unit(table)
        left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
        variance = 100 * (sizes[:2] ** 2).sum() / (sizes**2).sum()
        table = table.assign(x=left[:, 0] * sizes[0], y=left[:, 1] * sizes[1])
        for color, (number, rows) in zip(colors, table.groupby("sentence"), strict=False):
            points = rows.set_index("language")[["x", "y"]]
            source = points.iloc[0]
            for code, (x, y) in points.iterrows():
                ax.plot([source.x, x], [source.y, y], color=color, linewidth=0.7, zorder=1)
                ax.plot(x, y, markers[code], color=color, markersize=7, markeredgecolor="white")
            ax.annotate(str(number + 1), source, (5, 4), textcoords="offset points", weight="bold")
        ax.margins(0.12)
        ax.set(xticks=[], yticks=[], xlabel=f"two directions: {variance:.0f} % of the differences")
        ax.set_aspect("equal", adjustable="datalim")
    for code, name in columns(codes)["language_name"].items():
        axes[0, 0].plot([], [], markers[code], color=BASELINE_COLOR, label=f"{code} {name}")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure
