"""Pictures with captions: how they are encoded for training, and scored by finding one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import Tensor

from xltkit.tasks.base import EncodedExample, Head, TaskType, features_of, frame, terms_table
from xltkit.tasks.schema import Task

CUTS = (1, 5, 10)  # how far down the ranking a hit counts
WAYS = ("text to image", "image to text")


def as_text(rows: Dataset) -> Dataset:
    """Captions as rows of plain text, one a caption; text, and translation pairs, as they are."""
    if "texts" not in rows.column_names:
        return rows
    table = rows.select_columns(["id", "texts"])[:]
    said = [(f"{i}/{k}", text) for i, texts in zip(table["id"], table["texts"], strict=True)
            for k, text in enumerate(texts)]  # fmt: skip
    ids, texts = zip(*said, strict=True)
    return Dataset.from_dict({"id": ids, "text": texts})


def check_paraphrases(rows: Dataset, task: str) -> None:
    """Raise ValueError unless every picture has two captions or more."""
    counts = [len(texts) for texts in rows.select_columns(["texts"])[:]["texts"]]
    if alone := sum(count < 2 for count in counts):
        raise ValueError(
            f"{alone} of {len(counts)} pictures of {task} have one caption only; "
            "ImageText(against='paraphrase') needs two or more of each."
        )


class Captions(TaskType):
    """A picture finds its captions, and a caption its picture, by cosine.

    Nothing is trained for it: it is scored on what ``ImageText`` or ``Distil`` left. A feature is
    a caption, and its target the number of its picture.
    """

    name = "captions"
    frozen = True
    whole_batch = True

    def head(self, task: Task) -> Head:
        """Raises ValueError: the width of the head is the image tower's, and a phase's to say."""
        raise ValueError(
            f"{task.name} has pictures: train on it with ImageText([{task.name!r}]), or on its "
            f"captions alone with Pretrain(text=(TrainingSet({task.name!r}),))."
        )

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        lists = rows.select_columns(["texts"])[:]["texts"]
        pictures = [i for i, texts in enumerate(lists) for _ in texts]
        said = [text for texts in lists for text in texts]
        encoded = features_of(tokenizer(said, truncation=True, max_length=max_length))
        return [EncodedExample(i, *f[1:3], i) for f, i in zip(encoded, pictures, strict=True)]

    def outputs(self, logits: Tensor, features: Sequence[EncodedExample]) -> list[Any]:
        """Vectors of length 1."""
        return list(torch.nn.functional.normalize(logits.float(), dim=-1).cpu().numpy())

    def found(
        self, rows: Dataset, features: Sequence[EncodedExample], texts: np.ndarray,
        images: np.ndarray, same: np.ndarray,
    ) -> pd.DataFrame:  # fmt: skip
        """What every caption and every picture finds, as a table of predictions.

        Args:
            rows: the pictures.
            features: the captions.
            texts: their vectors (captions, width), of length 1.
            images: the vectors of the pictures (pictures, width), of length 1.
            same: a number for each picture; equal pictures, which nobody can tell apart, have
                the same.

        Returns:
            ``frame`` with ``direction`` and ``rank``: the place of the first right one, from 1.
        """
        ids = np.array(rows["id"][:])
        mine = np.array([f.example for f in features])
        scores = texts @ images.T
        right = same[mine][:, None] == same[None, :]
        number = pd.Series(mine).groupby(mine).cumcount()  # of a caption among those of its picture
        captions = np.array([f"{ids[row]}/{k}" for row, k in zip(mine, number, strict=True)])
        there, back = (_ranked(s, r) for s, r in ((scores, right), (scores.T, right.T)))
        gold = [ids[mine], ids]
        pred = [ids[there[1]], ids[mine[back[1]]]]
        tables = [
            frame(named, g, p, rank == 1).assign(direction=way, rank=rank)
            for way, named, g, p, rank in zip(
                WAYS, (captions, ids), gold, pred, (there[0], back[0]), strict=True
            )
        ]
        return pd.concat(tables, ignore_index=True)

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        """Recall at 1, 5 and 10 of both ways, and ``r@k``, the mean of the two."""
        recalls = {
            (way, k): 100 * float((own["rank"] <= k).mean())
            for way, own in predictions.groupby("direction")
            for k in CUTS
        }
        both = {f"r@{k}": sum(recalls[way, k] for way in WAYS) / 2 for k in CUTS}
        return both | {f"{way} r@{k}": value for (way, k), value in recalls.items()}

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Of pictures, with all their captions: hits in either way, one part each."""
        way, names = predictions["direction"], predictions["example_id"]
        picture = names.where(way != WAYS[0], names.str.rpartition("/")[0])
        hits = 100.0 * (predictions["rank"] <= int(task.metric.removeprefix("r@")))
        return terms_table(picture, hits, part=way)


def _ranked(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row the rank of its best right column, and its best column of all.

    What scores as much as the right one stands before it: vectors that are all alike find nothing,
    and neither do vectors that are no numbers.
    """
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    rank = 1 + (~(scores < best) & ~right).sum(1)
    return rank, np.where(rank == 1, np.where(right, scores, -np.inf).argmax(1),
                          np.where(right, -np.inf, scores).argmax(1))  # fmt: skip


class Paraphrases(Captions):
    """Two captions of one picture, to be told from those of others, without the picture."""

    name = "paraphrases"

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        """Each caption with the next one of its picture: a feature has two sequences."""
        single = super().encode(task, rows, tokenizer, max_length, training)
        groups: dict[int, list[EncodedExample]] = {}
        for feature in single:
            groups.setdefault(feature.example, []).append(feature)
        return [
            EncodedExample(
                one.example, one.sequences + two.sequences, one.types + two.types, one.target
            )
            for group in groups.values()
            for one, two in zip(group, [*group[1:], group[0]], strict=True)
        ]


class DistillationTexts(TaskType):
    """Texts of which a teacher has vectors; the target is the number of the text."""

    name = "distillation"

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        encoded = features_of(tokenizer(rows["text"][:], truncation=True, max_length=max_length))
        return [EncodedExample(*f[:3], f.example) for f in encoded]
