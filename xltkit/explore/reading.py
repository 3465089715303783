"""What a model makes of a row in detail: how sure it is, of what, and where an answer stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xltkit.evaluation.attacked_model import AttackedModel, Row
from xltkit.evaluation.predict import outputs
from xltkit.tasks.base import EncodedExample

NAN = float("nan")


@dataclass(frozen=True)
class Reading:
    """What the model makes of a row.

    Attributes:
        row: in canonical columns.
        pred: the label, the tags or the answer; of alternatives the number, from 1 on.
        score: as in the table of predictions, 0 to 1; NaN if there is nothing to compare with.
        gold: the probability of what is right: of a label; of an answer, start times end; of
            tags, the geometric mean over the words. NaN likewise.
        probability: the same of what was predicted; NaN for tags.
        labels: the probabilities of all labels or alternatives, in their order.
        place: of the answer in the context, from and to (characters).
        problem: why there is nothing to compare with, or to read.
    """

    row: Row
    pred: str = ""
    score: float = NAN
    gold: float = NAN
    probability: float = NAN
    labels: Mapping[str, float] = field(default_factory=dict)
    place: tuple[int, int] = (0, 0)
    problem: str = ""


def read(model: AttackedModel, rows: Sequence[Row]) -> list[Reading]:
    """What a model makes of each row; all are read in one stream of batches."""
    kind, task = model.type, model.task
    features = model.encode(rows)
    pairs = outputs(model.model, kind, model.head, features, model.tokenizer, losses=True)
    verdicts = model.predictions(rows, features, pairs)
    found = []
    for row, verdict in zip(rows, verdicts, strict=True):
        pred, score = verdict.columns["pred"], verdict.score
        if kind.name == "tagging":
            gold = math.exp(-verdict.loss / max(1, len(row["tokens"])))
            found.append(Reading(row, pred, score, gold))
            continue
        if kind.name == "span":
            found.append(Reading(row, pred, score, math.exp(-verdict.loss / kind.unit_weight)))
            continue
        sure = np.exp(verdict.columns["scores"].astype(float))
        names = task.labels or [str(i + 1) for i in range(len(sure))]
        labels = dict(zip(names, sure.tolist(), strict=True))
        best, right = names[int(sure.argmax())], names[row["label"]]
        found.append(Reading(row, best, score, labels[right], labels[best], labels))
    return _placed(model, found, features, pairs) if kind.name == "span" else found


def _placed(
    model: AttackedModel,
    found: Sequence[Reading],
    features: Sequence[EncodedExample],
    pairs: Sequence[Any],
) -> list[Reading]:
    """Readings of questions with the places of the answers and their probabilities."""
    best: dict[int, tuple[float, int, int]] = {}
    for feature, ((score, first, last), _) in zip(features, pairs, strict=True):
        offsets = feature.meta.offsets
        window = (score, int(offsets[first][0]), int(offsets[last][1]))
        best[feature.example] = max(best.get(feature.example, window), window, key=lambda w: w[0])
    placed = []
    for i, own in enumerate(found):
        _, start, end = best[i]
        start = end - len(own.row["context"][start:end].lstrip())
        placed.append(replace(own, place=(start, start + len(own.pred))))
    # The probability of an answer is that of the right one, if it were the right one.
    as_gold = [{**own.row, "answers": [own.pred], "starts": [own.place[0]]} for own in placed]
    sure = [math.exp(-v.loss / model.type.unit_weight) for v in model.predict(as_gold)]
    return [replace(own, probability=p) for own, p in zip(placed, sure, strict=True)]
