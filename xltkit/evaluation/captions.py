"""Finding pictures by their captions, and captions by their pictures, in many languages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import nn

from xltkit.evaluation.predict import outputs
from xltkit.models import device, vision
from xltkit.models.encoder import TOWER, Model
from xltkit.tasks.labels import TYPES
from xltkit.tasks.schema import Task
from xltkit.training.phases_images import Distil, ImageText


def tower_for(phase: ImageText | Distil, trained: Path) -> str:
    """The image tower whose pictures the captions of a trained phase can find."""
    if isinstance(phase, Distil):
        return vision.tower_of(phase.teacher)
    return phase.tower if phase.locked else str(trained / TOWER)


@torch.inference_mode()
def search(
    model: Model, task: Task, head: str, rows: Mapping[str, Dataset], tokenizer: Any, tower: str,
    store: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Predictions and scores of pictures and captions; all languages in one stream.

    Args:
        model: with the trained head in place.
        task: whose rows these are.
        head: the name of the head that brings texts and pictures into one space.
        rows: the test rows of each language, in canonical columns.
        tokenizer: the encoder's.
        tower: the name of the image tower, see ``tower_for``.
        store: the folder of the store, where features are kept.

    Returns:
        as ``predict``, and two columns more (see ``Captions.found``).
    """
    kind = TYPES["captions"]
    limit = min(task.training.max_length, tokenizer.model_max_length)
    encoded = {c: kind.encode(task, r, tokenizer, limit, training=False) for c, r in rows.items()}
    stream = [feature for features in encoded.values() for feature in features]
    out = np.stack(outputs(model, kind, head, stream, tokenizer))
    tables, scores, at = [], [], 0
    for code, own in rows.items():
        texts, at = out[at : at + len(encoded[code])], at + len(encoded[code])
        seen = torch.from_numpy(vision.features(tower, own, store)).float().to(device.device())
        images = nn.functional.normalize(model.heads[head].image(seen), dim=-1).cpu().numpy()
        _, same = np.unique(vision.contents(own), return_inverse=True)
        table = kind.found(own, encoded[code], texts, images, same)
        for metric, value in kind.metrics(task, table, code).items():
            scores.append((code, metric, value, len(own)))
        tables.append(table.assign(language=code))
    columns = ["language", "metric", "value", "n"]
    return pd.concat(tables, ignore_index=True), pd.DataFrame(scores, columns=columns)
