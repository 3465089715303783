"""Task types that retrieve texts: parallel sentences, bitext mining, ranking."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import count, zip_longest
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import Tensor

from xltkit.tasks import base, scorers
from xltkit.tasks.base import Examples, Forward, Rows, Tables, Task

QUERY_TOKENS = 96  # a longer query is cut (XTREME run_retrieval_qa.sh: max_query_length)
BLOCK = 4096  # candidates that are encoded and compared at a time
POOLINGS = ("mean", "first")  # of a hidden layer, in the order of the outputs

Pair = tuple[str, str]


class Retrieval(base.TaskType):
    """A sentence and its English translation: find one by the other, without training.

    Tatoeba's official direction: the query is English, the database is the other language, and the
    score is top-1 accuracy by cosine (XTREME evaluate_retrieval.py).
    """

    version = 3  # hidden states are no longer rounded to half precision
    columns = ("id", "text", "english")
    is_untrained = True
    reads_layers = True
    is_search = True

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        """Both sides one after the other; English sentences that repeat are encoded once."""
        texts = [*rows["text"][:], *dict.fromkeys(rows["english"][:])]
        return base.encoded(tokenizer(texts, truncation=True, max_length=max_length))

    def predict(self, task: Task, rows: Mapping[str, Dataset], forward: Forward) -> Tables:
        """Use the mean of one hidden layer; if there are more, every layer and pooling, too."""
        readings = {"": (forward.layers.index(forward.layer), 0)}
        if len(forward.layers) > 1:
            for i, layer in enumerate(forward.layers):
                readings |= {f"@{layer}/{pooling}": (i, j) for j, pooling in enumerate(POOLINGS)}
        for language, part, examples, outputs in forward(rows):
            for suffix, place in readings.items():
                vectors = [pooled[place] for pooled in outputs]
                yield language, suffix, self.predictions(task, part, examples, vectors)

    def predictions(self, task: Task, rows: Rows, examples: Examples, outputs: Any) -> pd.DataFrame:
        """``outputs`` are vectors: the database first, then the distinct English sentences."""
        ids = rows["id"][:]
        queries = rows["english"][:]
        vectors = np.stack(outputs)
        places = {sentence: len(ids) + i for i, sentence in enumerate(dict.fromkeys(queries))}
        query = vectors[[places[sentence] for sentence in queries]]
        pred = [ids[i] for i in scorers.nearest(query, vectors[: len(ids)])]
        return base.predictions_table(ids, ids, pred)


class Mining(base.TaskType):
    """Two collections of sentences: find the pairs that translate each other (BUCC).

    A row is a sentence of one ``side`` (``text`` or ``english``) with the ids of its partners on
    the other in ``pairs``. The threshold above which two sentences count as a pair is chosen on
    the validation split in the same language, never on the tested one.
    """

    version = 3  # as in ``Retrieval``
    columns = ("id", "side", "text", "pairs")
    optional = ("pairs",)
    gold = "pairs"
    extra_split = "validation"
    is_untrained = True
    reads_layers = True
    needs_all_rows = True

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        return base.encoded(tokenizer(rows["text"][:], truncation=True, max_length=max_length))

    def predict(self, task: Task, rows: Mapping[str, Dataset], forward: Forward) -> Tables:
        """The pairs above the threshold, one language after the other, since they are large.

        A row has a foreign sentence, one gold and one predicted partner, or "" if there is none.
        """
        for language, part in rows.items():
            validation = forward.extra[language]
            margins = candidate_pairs(validation, forward.vectors(validation))
            threshold = scorers.best_threshold(margins, gold_pairs(validation))
            margins = candidate_pairs(part, forward.vectors(part))
            mined = {pair for pair, margin in margins.items() if margin >= threshold}
            partners: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
            for side, pairs in enumerate((gold_pairs(part), mined)):
                for foreign, english in sorted(pairs):
                    partners[foreign][side].append(english)
            table = [
                (foreign, gold, pred)
                for foreign in sorted(partners)
                for gold, pred in zip_longest(*partners[foreign], fillvalue="")
            ]
            yield language, "", base.predictions_table(*zip(*table, strict=True))

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        return scorers.set_f1(_pairs_of(predictions, "gold"), _pairs_of(predictions, "pred"))

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Per foreign sentence with a gold or predicted partner, its pairs."""
        gold = _pairs_of(predictions, "gold")
        pred = _pairs_of(predictions, "pred")
        counts = [Counter(foreign for foreign, _ in p) for p in (gold, pred, gold & pred)]
        table = pd.DataFrame(counts).T.fillna(0).sort_index()
        return base.terms_table(table.index, 200.0 * table[2], table[0] + table[1])


def _pairs_of(predictions: pd.DataFrame, side: str) -> set[Pair]:
    paired = predictions[predictions[side] != ""]
    return set(zip(paired["example_id"], paired[side], strict=True))


def candidate_pairs(rows: Dataset, vectors: np.ndarray) -> dict[Pair, float]:
    """Pairs of ids (foreign, English) that may be translations, with their margins.

    A sentence that is repeated, surrounding whitespace aside, is in no pair, gold or not (XTREME
    third_party/utils_retrieve.py:266-280), but every distinct one is searched once (``:137-141``).
    """
    table = pd.DataFrame({name: rows[name][:] for name in ("side", "text")})
    table["stripped"] = [text.strip() for text in table["text"]]
    is_repeated = table.duplicated(["side", "stripped"], keep=False).tolist()
    distinct = table[~table.duplicated(["side", "text"])]
    x, y = (distinct.index[distinct["side"] == side].tolist() for side in ("text", "english"))
    ids = rows["id"][:]
    return {
        (ids[x[i]], ids[y[j]]): margin
        for (i, j), margin in scorers.margin_pairs(vectors[x], vectors[y]).items()
        if not (is_repeated[x[i]] or is_repeated[y[j]])
    }


def gold_pairs(rows: Dataset) -> set[Pair]:
    """The pairs of ids (foreign, English) that are translations."""
    partners = zip(rows["id"][:], rows["pairs"][:], strict=True)
    return {(foreign, english) for foreign, others in partners for english in others}


class Ranking(base.TaskType):
    """A query and a pool of candidates in many languages, of which one or more are right.

    A dual encoder: query and candidate share one encoder and head, and training uses a softmax over
    the candidates of the batch (XTREME third_party/bert.py) and, if rows have a ``negative``, also
    over one wrong candidate of each row (Karpukhin et al. 2020, section 3.2). Candidates that are
    equal, or have equal keys, are not negatives of each other, unlike in the script. A candidate
    may have a context. It is right if its ``keys`` contain the ``key`` of the query.
    """

    columns = ("id", "query", "key")
    optional = ("context", "keys")
    texts = ("query", "text")  # the text only in training rows
    gold = "key"
    shuffled = "query"
    extra_split = "candidates"
    pooling = "vector"
    in_batch_negatives = True
    rows_version = 2  # equal candidates are not negatives of each other

    def split_columns(self, split: str) -> tuple[str, ...]:
        if split == "candidates":
            return ("id", "text", "context", "keys")
        # Training rows have the right candidate, too.
        return (*self.columns, "text", "context") if split == "train" else self.columns

    def encode(self, rows: Rows, tokenizer: Any, max_length: int, training: bool) -> Examples:
        """Queries, or candidates; for training both: an example then has two sequences or more."""
        sides = []
        if "query" in rows.column_names:
            sides.append(("query",))
        if training or not sides:
            sides.append(("text", "context") if any(rows["context"][:]) else ("text",))
        if training and "negative" in rows.column_names:
            sides.append(("negative",))
        encoded = []
        for columns in sides:
            length = min(QUERY_TOKENS, max_length) if columns == ("query",) else max_length
            texts = [rows[column][:] for column in columns]
            encoded.append(base.encoded(tokenizer(*texts, truncation=True, max_length=length)))
        targets = candidate_numbers(rows) if training else [()] * len(rows)
        parts = zip(*encoded, strict=True)
        return [base.joined(i, part, targets[i]) for i, part in enumerate(parts)]

    def targets(self, labels: Tensor) -> int:
        return len(labels)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """From vectors (sides x rows, width) of query, candidate and perhaps a negative."""
        rows = logits.float().unflatten(0, (len(labels), -1))
        keys, texts, *negatives = labels.unbind(1)
        hidden = texts[:, None] == torch.cat([texts, *negatives])
        hidden[:, : len(keys)] |= keys[:, None] == keys
        targets = torch.arange(len(labels), device=labels.device)
        hidden[targets, targets] = False
        with torch.autocast(logits.device.type, enabled=False):  # cosines times 100 need fp32
            scores = rows[:, 0] @ torch.cat(rows[:, 1:].unbind(1)).T
        return super().losses(scores.masked_fill(hidden, float("-inf")), targets)

    def outputs(self, logits: Tensor, examples: Examples) -> list[Any]:
        """The vectors."""
        return list(logits.float().cpu().numpy())

    def predict(self, task: Task, rows: Mapping[str, Dataset], forward: Forward) -> Tables:
        """For each query, the ranking of the candidates of all languages; ids as JSON lists.

        Candidates are encoded and compared in blocks, of which only the best are kept: Mewsli-X has
        a million. The score is average precision. Raises ValueError if no candidate is right.
        """
        queries = np.concatenate([forward.vectors(part) for part in rows.values()])
        top = scorers.TopK(scorers.DEPTH)
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
            pairs = [(relevant[key], next(rankings)) for key in keys]
            score = [scorers.average_precision(gold, ranked) / 100 for gold, ranked in pairs]
            gold, pred = (list(map(json.dumps, lists)) for lists in zip(*pairs, strict=True))
            yield language, "", base.predictions_table(part["id"][:], gold, pred, score)

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        """``map@20``, and ``mrr@20`` of the first right candidate: equal if only one is right."""
        return {
            "map@20": 100 * float(predictions["score"].mean()),
            "mrr@20": float(np.mean(_reciprocal_ranks(predictions))),
        }

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Per query, average precision, or the reciprocal rank of the first right candidate."""
        if task.metric == "map@20":
            return super().terms(task, predictions, language)
        return base.terms_table(predictions["example_id"], _reciprocal_ranks(predictions))


def candidate_numbers(rows: Rows) -> list[tuple[int, ...]]:
    """Numbers for the key, candidate and negative (if any) of each row, the same for equal ones."""
    columns: list[Any] = [rows["key"][:], zip(rows["text"][:], rows["context"][:], strict=True)]
    if "negative" in rows.column_names:
        columns.append((text, "") for text in rows["negative"][:])
    numbers: dict[Any, int] = defaultdict(count().__next__)
    return list(zip(*([numbers[value] for value in column] for column in columns), strict=True))


def _reciprocal_ranks(predictions: pd.DataFrame) -> list[float]:
    """100 over the rank of the first right candidate of each query."""
    pairs = (map(json.loads, predictions[side]) for side in ("gold", "pred"))
    return list(map(scorers.reciprocal_rank, *pairs))
