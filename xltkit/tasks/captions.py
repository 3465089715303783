"""Captioned pictures: encoding them for training, and scoring how they find one another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import Tensor

from xltkit.tasks import base
from xltkit.tasks.base import Examples, Forward, Head, Rows, Tables, Task

CUTS = (1, 5, 10)  # k of recall@k
WAYS = ("text to image", "image to text")


class Captions(base.TaskType):
    """A picture finds its captions, and a caption its picture, by cosine.

    It is scored with encoders trained by ``ImageText`` or ``Distil``. An example is a caption, and
    its target the number of its picture.
    """

    columns = ("id", "image", "texts")  # one row per picture, with one or more captions
    shuffled = ""  # pictures are permuted where their features are looked up
    has_plain_text = True
    in_batch_negatives = True
    is_untrained = True
    needs_image_space = True
    is_search = True

    def head(self, task: Task) -> Head:
        """Raises ValueError: the head is as wide as the image tower, which only a phase knows."""
        raise ValueError(
            f"{task.name} has pictures: train on it with ImageText([{task.name!r}]), or on its "
            f"captions alone with Pretrain(text=(TrainingSet({task.name!r}),))."
        )

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        lists = rows["texts"][:]
        pictures = [i for i, texts in enumerate(lists) for _ in texts]
        captions = [text for texts in lists for text in texts]
        examples = base.encoded(tokenizer(captions, truncation=True, max_length=max_length))
        return [replace(e, example=i, target=i) for e, i in zip(examples, pictures, strict=True)]

    def outputs(self, logits: Tensor, examples: Examples) -> list[Any]:
        """Unit vectors."""
        return list(torch.nn.functional.normalize(logits.float(), dim=-1).cpu().numpy())

    def predict(self, task: Task, rows: Mapping[str, Dataset], forward: Forward) -> Tables:
        """What each caption and each picture finds within its language."""
        for language, part, examples, outputs in forward(rows):
            images, numbers = forward.images(part)
            pictures = np.array([example.example for example in examples])
            scores = np.stack(outputs) @ images.T
            yield language, "", ranks_table(part["id"][:], pictures, scores, numbers)

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        """Recall at 1, 5 and 10 in both directions, and ``r@k``, the mean of the two."""
        recalls = {
            (way, k): 100 * float((table["rank"] <= k).mean())
            for way, table in predictions.groupby("direction")
            for k in CUTS
        }
        means = {f"r@{k}": sum(recalls[way, k] for way in WAYS) / 2 for k in CUTS}
        return means | {f"{way} r@{k}": value for (way, k), value in recalls.items()}

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Per picture, with all its captions: hits in either direction, one part each."""
        way = predictions["direction"]
        names = predictions["example_id"]
        pictures = names.where(way != WAYS[0], names.str.rpartition("/")[0])
        hits = 100.0 * (predictions["rank"] <= int(task.metric.removeprefix("r@")))
        return base.terms_table(pictures, hits, part=way)

    def item_count(self, predictions: pd.DataFrame) -> int:
        """The number of pictures."""
        return int((predictions["direction"] == WAYS[1]).sum())


def ranks_table(
    ids: Sequence[str], pictures: np.ndarray, scores: np.ndarray, numbers: np.ndarray
) -> pd.DataFrame:
    """What each caption and each picture finds, and the ``rank`` of the first right one, from 1.

    Ties rank before the right one, so vectors that are all equal find nothing, and neither do NaN
    vectors. ``pictures`` has the place among the ``ids`` of each caption's picture; ``scores`` are
    cosines (captions, pictures); identical pictures share one of the ``numbers``.
    """
    ids = np.array(ids)
    gold = ids[pictures]
    # A caption is named by its picture and its number among the captions of that picture.
    order = pd.Series(pictures).groupby(pictures).cumcount()
    captions = [f"{picture}/{k}" for picture, k in zip(gold, order, strict=True)]
    right = numbers[pictures][:, None] == numbers[None, :]
    tables = []
    for way, names, golds, preds, way_scores, way_right in (
        (WAYS[0], captions, gold, ids, scores, right),
        (WAYS[1], ids, ids, gold, scores.T, right.T),
    ):
        right_scores = np.where(way_right, way_scores, -np.inf)
        wrong_scores = np.where(way_right, -np.inf, way_scores)
        best = right_scores.max(1, keepdims=True)
        rank = 1 + (~(way_scores < best) & ~way_right).sum(1)
        first = np.where(rank == 1, right_scores.argmax(1), wrong_scores.argmax(1))
        more = {"direction": way, "rank": rank}
        tables.append(base.predictions_table(names, golds, preds[first], rank == 1, **more))
    return pd.concat(tables, ignore_index=True)


class Paraphrases(Captions):
    """Two captions of one picture, contrasted with those of others, without the picture."""

    needs_image_space = False

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        """Each caption with the next one of its picture: an example has two sequences."""
        examples = []
        singles = super().encode(rows, tokenizer, max_length, training)
        for picture, group in groupby(singles, key=lambda caption: caption.example):
            captions = list(group)
            following = [*captions[1:], captions[0]]
            pairs = zip(captions, following, strict=True)
            examples += [base.joined(picture, pair, picture) for pair in pairs]
        return examples


def check_paraphrases(rows: Dataset, task: str) -> None:
    """Raise ValueError unless every picture has two captions or more."""
    counts = [len(texts) for texts in rows["texts"][:]]
    single = sum(count < 2 for count in counts)
    if single:
        raise ValueError(
            f"{single} of {len(counts)} pictures of {task} have one caption only; "
            "ImageText(against='paraphrase') needs two or more of each."
        )
