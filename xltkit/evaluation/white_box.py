"""Attacks by gradient: the worst shift of the word embeddings within a ball."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xltkit.evaluation.attacked_model import Found, Judge, Row
from xltkit.evaluation.attacks import EmbeddingPGD
from xltkit.evaluation.predict import TOKENS, batches_by_length
from xltkit.models import device as runtime
from xltkit.tasks.base import EncodedExample
from xltkit.training.robust import Ball, shifted

GRADIENT = 8  # a pass with gradients takes so many times the memory of one without, or more


class Batch(NamedTuple):
    """Features that the model reads together: which, as tensors, and how much each loss counts."""

    places: Sequence[int]
    chosen: Sequence[EncodedExample]
    inputs: Mapping[str, Tensor]
    labels: Tensor
    weights: Tensor


def batches(judge: Judge, features: Sequence[EncodedExample]) -> Iterator[Batch]:
    """The features in batches small enough for gradients; the model in evaluation mode."""
    device = runtime.device()
    judge.model.to(device).eval()  # dropout would be an attack of its own
    weights = judge.weights(features)
    for places in batches_by_length(features, TOKENS[device.type] // GRADIENT):
        chosen = [features[i] for i in places]
        tensors = judge.kind.collate(chosen, judge.tokenizer, training=True)
        inputs = {name: value.to(device) for name, value in tensors.items()}
        counts = torch.tensor([weights[i] for i in places], device=device)
        yield Batch(places, chosen, inputs, inputs.pop("labels"), counts)


def read(judge: Judge, batch: Batch, delta: Tensor) -> tuple[list[tuple[Any, float]], Tensor]:
    """Outputs with losses of a batch under a shift of its embeddings, and the loss to ascend."""
    device = runtime.device()
    bf16 = torch.autocast(device.type, torch.bfloat16, enabled=runtime.precision() == "bf16")
    with bf16, shifted(judge.model, delta):
        logits = judge.model(judge.head, **batch.inputs)
        losses = judge.kind.losses(logits, batch.labels)
    said = judge.kind.outputs(logits.detach(), batch.chosen)
    return list(zip(said, losses.tolist(), strict=True)), (losses * batch.weights).sum()


def still(judge: Judge, batch: Batch) -> Tensor:
    """No shift of the embeddings: zeros (sequences, tokens, width)."""
    ids = batch.inputs["input_ids"]
    return torch.zeros(*ids.shape, table(judge).shape[1], device=ids.device)


def table(judge: Judge) -> Tensor:
    """The word embeddings (vocabulary, width)."""
    return judge.model.encoder.get_input_embeddings().weight.detach()


def perturb(judge: Judge, rows: Sequence[Row], attack: EmbeddingPGD) -> list[Found]:
    """The worst that a shift of the embeddings within a ball does, of all steps of ascent.

    Not a text: a reference for what attacks on words could reach at most, no attack of its own.
    """
    features = judge.encoded(rows)
    steps: list[list[Any]] = [[None] * len(features) for _ in range(attack.steps)]
    for batch in batches(judge, features):
        ball = Ball(judge.model, batch.inputs, attack.norm, attack.radius)
        delta = still(judge, batch).requires_grad_()
        _, loss = read(judge, batch, delta)
        for step in steps:
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = ball.up(delta.detach(), gradient, attack.step * attack.radius)
            delta = delta.requires_grad_()
            said, loss = read(judge, batch, delta)
            for i, pair in zip(batch.places, said, strict=True):
                step[i] = pair
    tried = [judge.verdicts(rows, features, step) for step in steps]
    worst = [said[judge.worst(said)] for said in zip(*tried, strict=True)]
    asked = 2 * attack.steps  # a gradient and an evaluation each
    return [
        Found(verdict, float("nan"), True, asked, judge.shown(row))
        for row, verdict in zip(rows, worst, strict=True)
    ]
