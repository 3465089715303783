"""Kinds of tasks that find one text by another: parallel sentences, mining, ranking."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import Tensor

from xltkit.tasks import retrieval_scorers as scorers
from xltkit.tasks.base import (
    IGNORED,
    EncodedExample,
    Head,
    TaskType,
    features_of,
    frame,
    terms_table,
)
from xltkit.tasks.schema import Task
from xltkit.tasks.scorers import accuracy

QUERY_TOKENS = 96  # a longer query is cut (XTREME run_retrieval_qa.sh: max_query_length)


class Retrieval(TaskType):
    """A sentence and its English translation: find the one by the other, without any training.

    Tatoeba's official direction: the query is English, the data base is the other language, the
    score is top-1 accuracy by cosine (XTREME evaluate_retrieval.py).
    """

    name = "retrieval"
    frozen = True

    def head(self, task: Task) -> Head:
        return Head("layers")

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        """Both sides one after the other; English sentences that repeat are encoded once."""
        english = list(dict.fromkeys(rows["english"][:]))
        return features_of(
            tokenizer([*rows["text"][:], *english], truncation=True, max_length=max_length)
        )

    def predictions(
        self, task: Task, rows: Dataset, features: Sequence[EncodedExample], outputs: Sequence[Any]
    ) -> pd.DataFrame:
        """``outputs`` are vectors: the database first, then the distinct English sentences."""
        texts, english = rows["text"][:], list(dict.fromkeys(rows["english"][:]))
        database = np.stack(outputs[: len(texts)]).astype(np.float32)
        distinct = np.stack(outputs[len(texts) :]).astype(np.float32)
        where = {sentence: i for i, sentence in enumerate(english)}
        query = distinct[[where[sentence] for sentence in rows["english"][:]]]
        ids = rows["id"][:]
        best = scorers.nearest(query, database)
        pred = [ids[b] for b in best]
        return frame(ids, ids, pred, [i == p for i, p in zip(ids, pred, strict=True)])

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        gold, pred = predictions["gold"].tolist(), predictions["pred"].tolist()
        return {"accuracy": accuracy(gold, pred)}


class Mining(TaskType):
    """Two collections of sentences: find the pairs that translate each other (BUCC).

    A row is a sentence of one ``side`` (``text`` or ``english``) with the ids of its partners on
    the other in ``pairs``. The threshold above which two sentences count as a pair is chosen on
    the validation split in the same language, never on the tested one.
    """

    name = "mining"
    frozen = True
    also_reads = "validation"

    def head(self, task: Task) -> Head:
        return Head("layers")

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        return features_of(tokenizer(rows["text"][:], truncation=True, max_length=max_length))

    @staticmethod
    def table(gold: set[tuple[str, str]], pred: set[tuple[str, str]]) -> pd.DataFrame:
        """Gold and predicted pairs of ids (foreign, English) as a table of predictions.

        One row for each foreign sentence that has a partner, gold or predicted; the other is "".
        """
        partners: dict[str, tuple[list[str], list[str]]] = {}
        for side, pairs in enumerate((gold, pred)):
            for one, other in sorted(pairs):
                partners.setdefault(one, ([], []))[side].append(other)
        rows = [
            (one, *both)
            for one in sorted(partners)
            for both in zip_longest(*partners[one], fillvalue="")
        ]
        ids, golds, preds = zip(*rows, strict=True)
        return frame(ids, golds, preds, [g == p for _, g, p in rows])

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        gold, pred = (
            {pair for pair in zip(predictions["example_id"], predictions[column], strict=True)
             if pair[1]}
            for column in ("gold", "pred")
        )  # fmt: skip
        return scorers.mining_f1(gold, pred)

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Of foreign sentences that have a partner, gold or predicted: their pairs."""
        pairs = [
            predictions.loc[predictions[side] != "", ["example_id", side]].set_axis(
                ["item", "other"], axis=1
            )
            for side in ("gold", "pred")
        ]
        gold, pred = (table.drop_duplicates() for table in pairs)
        both = gold.merge(pred)
        counts = {"gold": gold, "pred": pred, "both": both}
        sizes = pd.concat({k: t.groupby("item").size() for k, t in counts.items()}, axis=1)
        sizes = sizes.fillna(0)
        return terms_table(sizes.index, 200.0 * sizes["both"], sizes["gold"] + sizes["pred"])


class Ranking(TaskType):
    """A query and a pool of candidates in many languages, of which one or more are right.

    A dual encoder: query and candidate pass the same encoder and the same head, and a training
    batch is a softmax over the candidates of the batch (XTREME third_party/bert.py) and, if rows
    have a ``negative``, over one wrong candidate of each row too (Karpukhin et al. 2020, section
    3.2). A candidate may be a text with its context, read as a pair. A test row has a ``key``;
    right are the candidates that hold it in ``keys``.
    """

    name = "ranking"
    also_reads = "candidates"
    whole_batch = True

    def head(self, task: Task) -> Head:
        return Head("vector")

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        """Queries, or candidates; for training, both: a feature then is two sequences."""
        has = rows.column_names
        queries, candidates = [], []
        if "query" in has:
            limit = min(QUERY_TOKENS, max_length)
            queries = features_of(tokenizer(rows["query"][:], truncation=True, max_length=limit))
        if training or "query" not in has:
            texts = [rows["text"][:]] + ([rows["context"][:]] if any(rows["context"][:]) else [])
            candidates = features_of(tokenizer(*texts, truncation=True, max_length=max_length))
        if not training:
            return queries or candidates
        sides = [queries, candidates]
        if "negative" in has:
            negatives = tokenizer(rows["negative"][:], truncation=True, max_length=max_length)
            sides.append(features_of(negatives))
        return [
            EncodedExample(
                row[0].example,
                tuple(s for side in row for s in side.sequences),
                tuple(t for side in row for t in side.types),
                0,
            )
            for row in zip(*sides, strict=True)
        ]

    def units(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """``logits`` are vectors (sides x rows, width): query, candidate, perhaps a negative."""
        rows = logits.float().unflatten(0, (len(labels), -1))
        candidates = torch.cat([rows[:, 1], *rows[:, 2:].unbind(1)])
        with torch.autocast(logits.device.type, enabled=False):  # cosines times 100 need fp32
            scores = rows[:, 0] @ candidates.T
        right = torch.arange(len(labels), device=labels.device)
        return super().units(scores, torch.where(labels == IGNORED, labels, right))

    def outputs(self, logits: Tensor, features: Sequence[EncodedExample]) -> list[Any]:
        return list(logits.float().cpu().numpy())

    @staticmethod
    def table(
        ids: Sequence[str], relevant: Sequence[Sequence[str]], ranked: Sequence[Sequence[str]]
    ) -> pd.DataFrame:
        """Right and ranked ids of candidates as a table of predictions; lists as JSON."""
        average = [
            scorers.average_precision(set(r), p) / 100
            for r, p in zip(relevant, ranked, strict=True)
        ]
        gold, pred = ([json.dumps(list(x)) for x in lists] for lists in (relevant, ranked))
        return frame(ids, gold, pred, average)

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        """``map@20``, and ``mrr@20`` of the first right candidate: the same if only one is."""
        return {
            "map@20": 100 * float(predictions["score"].mean()),
            "mrr@20": float(np.mean(_first(predictions))),
        }

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Of queries: average precision, or the reciprocal rank of the first right candidate."""
        if task.metric == "map@20":
            return super().terms(task, predictions, language)
        return terms_table(predictions["example_id"], _first(predictions))


def _first(predictions: pd.DataFrame) -> list[float]:
    """100 over the rank of the first right candidate of each query."""
    gold = [set(json.loads(g)) for g in predictions["gold"]]
    pred = [json.loads(p) for p in predictions["pred"]]
    return [
        max(scorers.reciprocal_rank(one, p) for one in g) for g, p in zip(gold, pred, strict=True)
    ]
