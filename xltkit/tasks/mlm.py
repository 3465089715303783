"""Plain text and translation pairs: masked language modeling, and distillation from a teacher."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from xltkit.keys import hashed_uniform
from xltkit.tasks.base import IGNORED, Examples, Rows, TaskType, encoded


def as_text(rows: Dataset) -> Dataset:
    """Captions as rows of plain text, one per caption; text and translation pairs unchanged."""
    if "texts" not in rows.column_names:
        return rows
    ids: list[str] = []
    texts: list[str] = []
    for picture, captions in zip(rows["id"][:], rows["texts"][:], strict=True):
        ids += [f"{picture}/{k}" for k in range(len(captions))]
        texts += captions
    return Dataset.from_dict({"id": ids, "text": texts})


class Text(TaskType):
    """Plain text, or translation pairs read together: masked language modeling.

    Of the chosen tokens (``rate``), 80 % become the mask, 10 % a random token, and 10 % stay
    (Devlin et al. 2019, section 3.1).
    """

    columns = ("id", "text")  # and "translation", where the rows are translation pairs
    shuffled = "translation"
    has_plain_text = True
    masks_tokens = True
    pooling = "masked"

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        table = as_text(rows)[:]
        texts = [table[name] for name in ("text", "translation") if name in table]
        return encoded(tokenizer(*texts, truncation=True, max_length=max_length))

    def mask(
        self, batch: dict, tokenizer: Any, examples: np.ndarray, seed: int, epoch: int, rate: float
    ) -> dict[str, Tensor]:
        """The batch with tokens masked, as a pure function of (seed, epoch, example, position)."""
        ids = batch["input_ids"].numpy()
        draw = hashed_uniform(seed, epoch, examples, ids.shape[1])
        chosen = (draw < rate) & ~np.isin(ids, tokenizer.all_special_ids)
        # Among the chosen tokens this is uniform in [0, 1): it decides which of the three happens.
        share = draw / rate
        masked = np.where(chosen & (share < 0.8), tokenizer.mask_token_id, ids)
        random_ids = hashed_uniform(seed + 1, epoch, examples, ids.shape[1]) * len(tokenizer)
        masked = np.where(chosen & (share >= 0.9), random_ids.astype(np.int64), masked)
        labels = np.where(chosen, ids, IGNORED)
        return batch | {"input_ids": torch.from_numpy(masked), "labels": torch.from_numpy(labels)}


class Distillation(TaskType):
    """Texts with vectors from a teacher; the target is the number of the text."""

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        texts = as_text(rows)["text"][:]
        examples = encoded(tokenizer(texts, truncation=True, max_length=max_length))
        return [replace(example, target=example.example) for example in examples]
