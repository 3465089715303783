"""Predicting tasks that search a pool: rankings of candidates, and pairs mined from two sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

from xltkit.evaluation.predict import outputs, protocol_layer
from xltkit.models.encoder import Model
from xltkit.tasks import retrieval_scorers as scorers
from xltkit.tasks.labels import TYPES
from xltkit.tasks.retrieval import Mining, Ranking
from xltkit.tasks.schema import Task

BLOCK = 4096  # candidates that are encoded and compared at a time
DEPTH = 20  # how far down a ranking is scored

Tables = tuple[pd.DataFrame, pd.DataFrame]
Pair = tuple[str, str]


def rank(
    model: Model, task: Task, head: str, rows: Mapping[str, Dataset],
    candidates: Mapping[str, Dataset], tokenizer: Any,
) -> Tables:  # fmt: skip
    """Predictions and scores of a ranking: all queries against the candidates of all languages.

    Candidates are encoded and compared in blocks, of which only the best are kept, so the memory
    needed does not grow with their number (Mewsli-X has a million).

    Returns:
        as ``predict``; ``gold`` and ``pred`` are JSON lists of ids of candidates.

    Raises:
        ValueError: if a query has no right candidate in the pool.
    """
    kind = TYPES[task.kind]
    limit = min(task.training.max_length, tokenizer.model_max_length)

    def vectors(part: Dataset) -> np.ndarray:
        features = kind.encode(task, part, tokenizer, limit, training=False)
        return np.stack(outputs(model, kind, head, features, tokenizer))

    queries = np.concatenate([vectors(part) for part in rows.values()])
    best, names = scorers.TopK(DEPTH), []
    right: dict[str, list[str]] = defaultdict(list)
    for block in _blocks(candidates):
        best.add(queries @ vectors(block).T, len(names))
        names += block["id"]
        for name, keys in zip(block["id"], block["keys"], strict=True):
            for key in keys:
                right[key].append(name)
    ranked = [[names[i] for i in row] for row in best.ranking()]
    tables, at = {}, 0
    for code, part in rows.items():
        mine, at = ranked[at : at + len(part)], at + len(part)
        if lost := [key for key in part["key"] if key not in right]:
            raise ValueError(
                f"{task.name} ({code}): {len(lost)} queries have no right candidate among the "
                f"{len(names)} of {', '.join(candidates)}, for example key {lost[0]!r}."
            )
        tables[code] = Ranking.table(part["id"], [right[key] for key in part["key"]], mine)
    return _scored(kind, task, tables)


def _blocks(candidates: Mapping[str, Dataset]) -> Iterator[Dataset]:
    for part in candidates.values():
        for at in range(0, len(part), BLOCK):
            yield part.select(range(at, min(at + BLOCK, len(part))))


def mine(
    model: Model, task: Task, rows: Mapping[str, Dataset], validation: Mapping[str, Dataset],
    tokenizer: Any, *, layer: int = 0,
) -> Tables:  # fmt: skip
    """Predictions and scores of mining: the pairs above the threshold of the validation split.

    Sentences are the mean of a hidden layer; sentences that occur more than once are left out
    (XTREME utils_retrieve.py). One language after the other, for the collections are large.
    """
    kind = TYPES[task.kind]
    layer = layer or protocol_layer(model.depth)
    limit = min(task.training.max_length, tokenizer.model_max_length)

    def mined(part: Dataset) -> tuple[dict[Pair, float], set[Pair]]:
        features = kind.encode(task, part, tokenizer, limit, training=False)
        pooled = outputs(model, kind, "", features, tokenizer, (layer,))
        return _pairs(part, np.stack([p[0, 0] for p in pooled]).astype(np.float32))

    tables = {}
    for code, part in rows.items():
        threshold = scorers.best_threshold(*mined(validation[code]))
        found, gold = mined(part)
        tables[code] = Mining.table(gold, scorers.mined(found, threshold))
    return _scored(kind, task, tables)


def _pairs(rows: Dataset, vectors: np.ndarray) -> tuple[dict[Pair, float], set[Pair]]:
    """Candidate pairs of ids, (foreign, English), with their margins; and the gold pairs.

    The search sees a sentence that is repeated once, and no pair with one counts.
    """
    sides = np.array(rows["side"][:])
    ids, texts = rows["id"][:], rows["text"][:]
    kept, single = [], []
    for side in ("text", "english"):
        mine = np.flatnonzero(sides == side)
        said = [texts[i] for i in mine]
        first = {text: i for i, text in zip(reversed(mine), reversed(said), strict=True)}
        kept.append(sorted(first.values()))
        single.append(set(mine[scorers.unrepeated(said)]))
    found = {
        (ids[kept[0][i]], ids[kept[1][j]]): score
        for (i, j), score in scorers.margin_pairs(*(vectors[side] for side in kept)).items()
        if kept[0][i] in single[0] and kept[1][j] in single[1]
    }
    gold = {(one, other) for one, others in zip(rows["id"][:], rows["pairs"][:], strict=True)
            for other in others}  # fmt: skip
    return found, gold


def _scored(kind: Any, task: Task, tables: Mapping[str, pd.DataFrame]) -> Tables:
    scores = [
        (code, metric, value, len(table))
        for code, table in tables.items()
        for metric, value in kind.metrics(task, table, code).items()
    ]
    predictions = [table.assign(language=code) for code, table in tables.items()]
    columns = ["language", "metric", "value", "n"]
    return pd.concat(predictions, ignore_index=True), pd.DataFrame(scores, columns=columns)
