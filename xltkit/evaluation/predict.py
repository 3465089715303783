"""Predict test sets: all languages in one stream of batches, or mixed pairs of languages."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from datasets import Dataset

from xltkit.keys import derive
from xltkit.models import device
from xltkit.models.encoder import Model, batches_by_length, mean_pool
from xltkit.tasks.base import (
    Columns,
    EncodedExample,
    Examples,
    Forward,
    Rows,
    Task,
    TaskType,
    score_table,
)
from xltkit.training.robust import Ball, RandomPerturbation, perturbed

Tables = tuple[pd.DataFrame, pd.DataFrame]

TOKENS = {"cpu": 2048, "mps": 16384, "cuda": 65536}  # in a batch of a test set, with padding
VOTES = 11  # predictions under noise; odd, so that two labels cannot tie
# The layer that the reference protocol reads for retrieval, by the depth of the encoder
# (XTREME scripts: mBERT 8 of 12, XLM-R Large 14 of 24); else two thirds of the way up.
PROTOCOL_LAYER = {12: 8, 24: 14}

_encoded: WeakKeyDictionary[Dataset, dict[tuple, Examples]] = WeakKeyDictionary()


def protocol_layer(depth: int) -> int:
    """The layer of an encoder that retrieval reads by default."""
    return PROTOCOL_LAYER.get(depth, max(1, round(depth * 2 / 3)))


def predict(
    model: Model,
    task: Task,
    head: str,
    rows: Mapping[str, Dataset | Columns],
    tokenizer: Any,
    *,
    layer: int = 0,
    sweep: bool = False,
    smoothing: RandomPerturbation | None = None,
    extra: Mapping[str, Dataset] | None = None,
    images: Callable[[Dataset], tuple[np.ndarray, np.ndarray]] | None = None,
) -> Tables:
    """Predictions and scores of a task in some languages: the tables of ``score_table``.

    Args:
        model: with the trained ``head`` in place, unless the task is scored on hidden states.
        layer: the hidden layer to score; 0 means ``protocol_layer``.
        sweep: score every hidden layer and pooling too, in the same pass.
        smoothing: noise for randomized smoothing: the majority of ``VOTES`` predictions counts.
        rows, extra: test rows and those of ``TaskType.extra_split``, by language.
        images: vectors and numbers of the pictures of some rows, see ``Forward``.
    """
    limit = min(task.training.max_length, tokenizer.model_max_length)
    layers: tuple[int, ...] = ()
    if task.type.reads_layers:
        layer = layer or protocol_layer(model.depth)
        layers = tuple(range(1, model.depth + 1)) if sweep else (layer,)

    read = partial(encode, task.type, tokenizer=tokenizer, max_length=limit)
    options = {"tokenizer": tokenizer, "layers": layers, "smoothing": smoothing}
    run = partial(outputs, model, task.type, head, **options)
    forward = Forward(read, run, layer, layers, extra or {}, images)
    return score_table(task, task.type.predict(task, rows, forward))


def encode(task_type: TaskType, rows: Rows, tokenizer: Any, max_length: int) -> Examples:
    """Rows as token ids, computed once as long as they are in memory.

    The microworld keeps its rows: every arm and seed predicts the same. Blocks of candidates, and
    columns that were made for one prediction, are encoded and forgotten.
    """
    known = {} if isinstance(rows, Columns) else _encoded.setdefault(rows, {})
    key = (task_type, tokenizer, max_length)
    if key not in known:
        known[key] = task_type.encode(rows, tokenizer, max_length, training=False)
    return known[key]


@torch.inference_mode()
def outputs(
    model: Model,
    task_type: TaskType,
    head: str,
    examples: Sequence[EncodedExample],
    tokenizer: Any,
    layers: Sequence[int] = (),
    smoothing: RandomPerturbation | None = None,
    losses: bool = False,
) -> list[Any]:
    """The outputs of a model for some examples, in their order; the model stays on the device.

    An output is what ``TaskType.outputs`` keeps of the logits; with ``smoothing`` the majority of
    ``VOTES`` of them under noise; with ``layers`` pooled hidden states (layers, poolings, width).
    With ``losses``, it is a pair with the loss of the example.
    """

    def read(tensors: dict[str, torch.Tensor], batch: Sequence[EncodedExample]) -> Sequence[Any]:
        labels = tensors.pop("labels", None)
        if layers:
            mask = tensors["attention_mask"]
            pooled = [
                torch.stack([mean_pool(states.float(), mask), states[:, 0].float()], dim=1)
                for states in model.layers(layers, **tensors).values()
            ]
            return torch.stack(pooled, dim=1).cpu().numpy()
        if not smoothing:
            logits = model(head, **tensors)
            values = task_type.outputs(logits, batch)
            if not losses:
                return values
            return list(zip(values, task_type.losses(logits, labels).tolist(), strict=True))
        # The majority of predictions under noise (Cohen et al. 2019, randomized smoothing). The
        # noise depends on the inputs alone: the same batch always gets the same prediction.
        ball = Ball(model, tensors)
        seed = derive("votes", int(tensors["input_ids"].sum()))
        votes = []
        for number in range(VOTES):
            noise = ball.noise(smoothing.radius, derive(seed, number))
            with perturbed(model, noise):
                votes.append(task_type.outputs(model(head, **tensors), batch))
        return [task_type.vote(of_example) for of_example in zip(*votes, strict=True)]

    hardware = device.device()
    model.to(hardware).eval()
    values: dict[int, Any] = {}
    with device.autocast():  # one context for all batches: it converts the weights once
        for indices in batches_by_length(examples, TOKENS[hardware.type]):
            batch = [examples[i] for i in indices]
            tensors = task_type.collate(batch, tokenizer, training=losses)
            tensors = {name: tensor.to(hardware) for name, tensor in tensors.items()}
            values |= zip(indices, read(tensors, batch), strict=True)
    return [values[i] for i in range(len(examples))]


def predict_pairs(
    predict_rows: Callable[[Mapping[str, Columns]], Tables], task: Task, rows: Mapping[str, Dataset]
) -> Tables:
    """Predictions and scores for all ordered pairs of languages (G-XLT, Lewis et al. 2020).

    Premise, first sentence or question is in ``language``; hypothesis, second sentence, context or
    alternatives are in ``other``. ``predict_rows`` is ``predict`` for rows by language. Raises
    ValueError if no item is in all languages.
    """
    places = {code: {key: i for i, key in enumerate(part["id"][:])} for code, part in rows.items()}
    first, *others = places.values()
    shared = [key for key in first if all(key in other for other in others)]
    if not shared:
        raise ValueError(f"{task.name} is not parallel: no item is in all of {list(rows)}.")
    parts = {c: part.select([places[c][key] for key in shared])[:] for c, part in rows.items()}
    pairs = {}
    for one, other in product(parts, repeat=2):
        crossed = {task.type.crossed_text: parts[one][task.type.crossed_text]}
        pairs[f"{one}+{other}"] = Columns(parts[other] | crossed)
    tables = []
    for table in predict_rows(pairs):
        both = table["language"].str.split("+", regex=False, expand=True)
        tables.append(table.assign(language=both[0], other=both[1]))
    return tuple(tables)
