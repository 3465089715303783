"""Task types that find one text by another: parallel sentences, bitext mining, ranking."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
    Examples,
    Forward,
    Head,
    Rows,
    Tables,
    Task,
    TaskType,
    encoded,
    predictions_table,
    terms_table,
)
from xltkit.tasks.scorers import accuracy

QUERY_TOKENS = 96  # a longer query is cut (XTREME run_retrieval_qa.sh: max_query_length)
BLOCK = 4096  # candidates that are encoded and compared at a time
DEPTH = 20  # how far down a ranking is scored
POOLINGS = ("mean", "first")  # of a hidden layer, in the order of the outputs

Pair = tuple[str, str]


class Retrieval(TaskType):
    """A sentence and its English translation: find the one by the other, without any training.

    Tatoeba's official direction: the query is English, the data base is the other language, the
    score is top-1 accuracy by cosine (XTREME evaluate_retrieval.py).
    """

    name = "retrieval"
    columns = ("id", "text", "english")
    is_untrained = True
    reads_layers = True
    is_search = True

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        """Both sides one after the other; English sentences that repeat are encoded once."""
        texts = [*rows["text"][:], *dict.fromkeys(rows["english"][:])]
        return encoded(tokenizer(texts, truncation=True, max_length=max_length))

    def predict(self, task: Task, rows: Mapping[str, Dataset], forward: Forward) -> Tables:
        """By the mean of one hidden layer; if there are more, by every layer and pooling, too."""
        chosen = forward.layers.index(forward.layer)
        for language, part, examples, outputs in forward(rows):
            vectors = [pooled[chosen, 0] for pooled in outputs]
            yield language, "", self.predictions(task, part, examples, vectors)
            if len(forward.layers) == 1:
                continue
            for i, layer in enumerate(forward.layers):
                for j, pooling in enumerate(POOLINGS):
                    vectors = [pooled[i, j] for pooled in outputs]
                    table = self.predictions(task, part, examples, vectors)
                    yield language, f"@{layer}/{pooling}", table

    def predictions(
        self, task: Task, rows: Rows, examples: Examples, outputs: Sequence[Any]
    ) -> pd.DataFrame:
        """``outputs`` are vectors: the data base first, then the distinct English sentences."""
        ids = rows["id"][:]
        queries = rows["english"][:]
        database = np.stack(outputs[: len(ids)]).astype(np.float32)
        english = np.stack(outputs[len(ids) :]).astype(np.float32)
        places = {sentence: i for i, sentence in enumerate(dict.fromkeys(queries))}
        query = english[[places[sentence] for sentence in queries]]
        pred = [ids[i] for i in scorers.nearest(query, database)]
        return predictions_table(ids, ids, pred, [i == p for i, p in zip(ids, pred, strict=True)])

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        return {"accuracy": accuracy(predictions["gold"].tolist(), predictions["pred"].tolist())}


class Mining(TaskType):
    """Two collections of sentences: find the pairs that translate each other (BUCC).

    A row is a sentence of one ``side`` (``text`` or ``english``) with the ids of its partners on
    the other in ``pairs``. The threshold above which two sentences count as a pair is chosen on
    the validation split in the same language, never on the tested one.
    """

    name = "mining"
    columns = ("id", "side", "text", "pairs")
    extra_split = "validation"
    is_untrained = True
    reads_layers = True
    needs_all_rows = True

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        return encoded(tokenizer(rows["text"][:], truncation=True, max_length=max_length))

    def predict(self, task: Task, rows: Mapping[str, Dataset], forward: Forward) -> Tables:
        """The pairs above the threshold; one language after the other, for they are large.

        Sentences are the mean of a hidden layer; sentences that occur more than once are left out
        (XTREME utils_retrieve.py).
        """
        for language, part in rows.items():
            validation = forward.extra[language]
            margins = candidate_pairs(validation, forward.vectors(validation))
            threshold = scorers.best_threshold(margins, gold_pairs(validation))
            margins = candidate_pairs(part, forward.vectors(part))
            pairs = scorers.mined(margins, threshold)
            yield language, "", self.pairs_table(gold_pairs(part), pairs)

    @staticmethod
    def pairs_table(gold: set[Pair], pred: set[Pair]) -> pd.DataFrame:
        """Gold and predicted pairs of ids (foreign, English) as a table of predictions.

        One row for each foreign sentence that has a partner, gold or predicted; the other is "".
        """
        partners: dict[str, tuple[list[str], list[str]]] = {}
        for side, pairs in enumerate((gold, pred)):
            for foreign, english in sorted(pairs):
                partners.setdefault(foreign, ([], []))[side].append(english)
        rows = [
            (foreign, *pair)
            for foreign in sorted(partners)
            for pair in zip_longest(*partners[foreign], fillvalue="")
        ]
        ids, golds, preds = zip(*rows, strict=True)
        return predictions_table(ids, golds, preds, [g == p for _, g, p in rows])

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        gold, pred = (
            set(
                predictions.loc[predictions[side] != "", ["example_id", side]].itertuples(
                    False, None
                )
            )
            for side in ("gold", "pred")
        )
        return scorers.mining_f1(gold, pred)

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Of foreign sentences that have a partner, gold or predicted: their pairs."""
        tables = {}
        for side in ("gold", "pred"):
            pairs = predictions.loc[predictions[side] != "", ["example_id", side]]
            tables[side] = pairs.set_axis(["item", "english"], axis=1).drop_duplicates()
        tables["right"] = tables["gold"].merge(tables["pred"])
        counts = {name: pairs.groupby("item").size() for name, pairs in tables.items()}
        sizes = pd.concat(counts, axis=1).fillna(0)
        return terms_table(sizes.index, 200.0 * sizes["right"], sizes["gold"] + sizes["pred"])


def candidate_pairs(rows: Dataset, vectors: np.ndarray) -> dict[Pair, float]:
    """Pairs of ids (foreign, English) that may be translations, with their margins.

    A sentence that is repeated is searched once, and no pair with it counts.
    """
    sides = np.array(rows["side"][:])
    ids = rows["id"][:]
    texts = rows["text"][:]
    searched, unique = [], []
    for side in ("text", "english"):
        places = np.flatnonzero(sides == side)
        sentences = [texts[i] for i in places]
        # The first row of each distinct sentence: going backwards, the first one is kept.
        first = dict(zip(reversed(sentences), reversed(places), strict=True))
        searched.append(sorted(first.values()))
        unique.append(set(places[scorers.unrepeated(sentences)]))
    margins = scorers.margin_pairs(*(vectors[places] for places in searched))
    pairs = {(searched[0][i], searched[1][j]): margin for (i, j), margin in margins.items()}
    return {
        (ids[foreign], ids[english]): margin
        for (foreign, english), margin in pairs.items()
        if foreign in unique[0] and english in unique[1]
    }


def gold_pairs(rows: Dataset) -> set[Pair]:
    """The pairs of ids (foreign, English) that are translations."""
    partners = zip(rows["id"][:], rows["pairs"][:], strict=True)
    return {(foreign, english) for foreign, others in partners for english in others}


class Ranking(TaskType):
    """A query and a pool of candidates in many languages, of which one or more are right.

    A dual encoder: query and candidate pass the same encoder and the same head, and a training
    batch is a softmax over the candidates of the batch (XTREME third_party/bert.py) and, if rows
    have a ``negative``, over one wrong candidate of each row too (Karpukhin et al. 2020, section
    3.2). A candidate may be a text with its context, read as a pair. A test row has a ``key``;
    right are the candidates that hold it in ``keys``.
    """

    name = "ranking"
    columns = ("id", "query", "key")
    texts = ("query", "text")  # the text in training rows alone
    gold = "key"
    shuffled = "query"
    extra_split = "candidates"
    in_batch_negatives = True

    def split_columns(self, split: str) -> tuple[str, ...]:
        if split == "candidates":
            return ("id", "text", "context", "keys")
        # Training rows have the right candidate, too.
        return (*self.columns, "text", "context") if split == "train" else self.columns

    def head(self, task: Task) -> Head:
        return Head("vector")

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        """Queries, or candidates; for training both: an example then has two sequences or more."""

        def read(length: int, *columns: str) -> list[EncodedExample]:
            texts = [rows[column][:] for column in columns]
            return encoded(tokenizer(*texts, truncation=True, max_length=length))

        has_queries = "query" in rows.column_names
        sides = []
        if has_queries:
            sides.append(read(min(QUERY_TOKENS, max_length), "query"))
        if training or not has_queries:
            has_context = any(rows["context"][:])
            sides.append(read(max_length, "text", *(["context"] if has_context else [])))
        if not training:
            return sides[0]
        if "negative" in rows.column_names:
            sides.append(read(max_length, "negative"))
        examples = []
        for i, row in enumerate(zip(*sides, strict=True)):
            sequences = tuple(sequence for side in row for sequence in side.sequences)
            types = tuple(t for side in row for t in side.types)
            examples.append(EncodedExample(i, sequences, types, 0))
        return examples

    def units(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """``logits`` are vectors (sides x rows, width): query, candidate, perhaps a negative."""
        rows = logits.float().unflatten(0, (len(labels), -1))
        candidates = torch.cat([rows[:, 1], *rows[:, 2:].unbind(1)])
        with torch.autocast(logits.device.type, enabled=False):  # cosines times 100 need fp32
            scores = rows[:, 0] @ candidates.T
        targets = torch.arange(len(labels), device=labels.device)
        return super().units(scores, torch.where(labels == IGNORED, labels, targets))

    def outputs(self, logits: Tensor, examples: Examples) -> list[Any]:
        """The vectors."""
        return list(logits.float().cpu().numpy())

    def predict(self, task: Task, rows: Mapping[str, Dataset], forward: Forward) -> Tables:
        """The ranking of the candidates of all languages for each query.

        Candidates are encoded and compared in blocks, of which only the best are kept, so the
        memory needed does not grow with their number (Mewsli-X has a million).

        Raises:
            ValueError: if a query has no right candidate in the pool.
        """
        queries = np.concatenate([forward.vectors(part) for part in rows.values()])
        top = scorers.TopK(DEPTH)
        names: list[str] = []
        relevant: dict[str, list[str]] = defaultdict(list)
        for part in forward.extra.values():
            for start in range(0, len(part), BLOCK):
                block = part.select(range(start, min(start + BLOCK, len(part))))
                top.add(queries @ forward.vectors(block).T)
                names += block["id"]
                for name, keys in zip(block["id"], block["keys"], strict=True):
                    for key in keys:
                        relevant[key].append(name)
        rankings = iter([names[i] for i in row] for row in top.best()[1])
        for language, part in rows.items():
            keys = part["key"][:]
            lost = [key for key in keys if key not in relevant]
            if lost:
                raise ValueError(
                    f"{task.name} ({language}): {len(lost)} queries have no right candidate among "
                    f"the {len(names)} of {', '.join(forward.extra)}, for example key {lost[0]!r}."
                )
            ranked = [next(rankings) for _ in keys]
            table = self.rankings_table(part["id"][:], [relevant[key] for key in keys], ranked)
            yield language, "", table

    @staticmethod
    def rankings_table(
        ids: Sequence[str], relevant: Sequence[Sequence[str]], ranked: Sequence[Sequence[str]]
    ) -> pd.DataFrame:
        """Right and ranked ids of candidates, lists as JSON; the score is average precision."""
        score = [
            scorers.average_precision(set(gold), pred) / 100
            for gold, pred in zip(relevant, ranked, strict=True)
        ]
        gold, pred = ([json.dumps(list(names)) for names in lists] for lists in (relevant, ranked))
        return predictions_table(ids, gold, pred, score)

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        """``map@20``, and ``mrr@20`` of the first right candidate: the same if only one is."""
        return {
            "map@20": 100 * float(predictions["score"].mean()),
            "mrr@20": float(np.mean(reciprocal_ranks(predictions))),
        }

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Of queries: average precision, or the reciprocal rank of the first right candidate."""
        if task.metric == "map@20":
            return super().terms(task, predictions, language)
        return terms_table(predictions["example_id"], reciprocal_ranks(predictions))


def reciprocal_ranks(predictions: pd.DataFrame) -> list[float]:
    """100 over the rank of the first right candidate of each query."""
    golds = map(json.loads, predictions["gold"])
    ranked = map(json.loads, predictions["pred"])
    return [
        max(scorers.reciprocal_rank(candidate, ranking) for candidate in gold)
        for gold, ranking in zip(golds, ranked, strict=True)
    ]
