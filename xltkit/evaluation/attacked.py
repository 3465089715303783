"""Test sets under attack: predictions and scores of what a model makes of rows that were changed.

Reported is what a fair comparison needs: the score without attack and under it, the success on what
was right before, the queries, the share of words changed, and validity. An attack by chance
(``beam=0``, ``tries=1``) is the control: what it does already is no adversary's work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

from xltkit.data.text import words
from xltkit.evaluation import beam as search
from xltkit.evaluation.attacked_model import AttackedModel, AttackResult, Prediction, Row
from xltkit.evaluation.attacks import Attack, Distractor, EmbeddingPGD, TokenFlip
from xltkit.evaluation.gradient import flip, perturb
from xltkit.models.encoder import Model
from xltkit.tasks.base import Task


def attacked(
    model: Model, task: Task, head: str, rows: Mapping[str, Dataset], tokenizer: Any,
    attack: Attack | EmbeddingPGD,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Predictions and scores of a task in some languages, its rows under attack.

    Rows that the model gets wrong as they are (a score of 0) are left as they are.

    Args:
        model: with the trained head in place.
        task: whose rows these are: classification, choice, tagging or span.
        head: the name of the head to read.
        rows: the test rows of each language, in canonical columns.
        tokenizer, attack: the encoder's, and what is done to the rows.

    Returns:
        predictions: the columns of ``predict``, under attack, and ``clean_score`` (0 to 1),
        ``loss`` and ``clean_loss``, ``changed`` (share of the words; NaN where there are none to
        count), ``valid``, ``queries`` and ``input`` (the attacked texts, JSON).
        scores: the task's metrics under attack; ``clean``, the main one without; ``success``, the
        share (%) of the items right before that are wrong now (``is_solved``); and over the
        items that were attacked, means of ``changed`` (%), ``valid`` (%) and ``queries``.

    Raises:
        ValueError: for another kind of task, or a distractor where there is no context.
    """
    judge = AttackedModel(model, task, head, tokenizer)
    if isinstance(attack, Distractor) and "context" not in task.type.columns:
        raise ValueError(f"{task.name} is {task.kind}; a distractor needs a context: kind span.")
    tables, scores = [], []
    for code, own in rows.items():
        table, clean, tried = _language(judge, own, code, attack)
        tables.append(table.assign(language=code))
        metrics = judge.type.metrics(task, table, code)
        metrics["clean"] = judge.type.metrics(task, clean, code)[task.metric]
        metrics |= _costs(judge, table, tried)
        scores += [(code, metric, value, len(table)) for metric, value in metrics.items()]
    columns = ["language", "metric", "value", "n"]
    return pd.concat(tables, ignore_index=True), pd.DataFrame(scores, columns=columns)


def _language(
    judge: AttackedModel, own: Dataset, code: str, attack: Attack | EmbeddingPGD
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Predictions under attack and without, and which rows were attacked."""
    rows = own.select_columns(list(judge.type.columns)).to_list()
    clean = judge.predict(rows)
    tried = np.array([verdict.score > 0 for verdict in clean])
    found = [
        AttackResult(verdict, 0.0, True, 0, judge.texts(row))
        for row, verdict in zip(rows, clean, strict=True)
    ]
    some = np.flatnonzero(tried).tolist()
    if some:
        for i, new in zip(some, run_attack(judge, rows, clean, some, code, attack), strict=True):
            found[i] = new
    table = pd.DataFrame([f.prediction.columns for f in found]).assign(
        clean_score=[v.score for v in clean],
        loss=[f.prediction.loss for f in found],
        clean_loss=[v.loss for v in clean],
        changed=[f.changed for f in found],
        valid=[f.valid for f in found],
        queries=[f.queries for f in found],
        input=[json.dumps(f.texts, ensure_ascii=False) for f in found],
    )
    return table, pd.DataFrame([v.columns for v in clean]), tried


def run_attack(
    judge: AttackedModel,
    rows: Sequence[Row],
    clean: Sequence[Prediction],
    some: Sequence[int],
    code: str,
    attack: Attack | EmbeddingPGD,
) -> list[AttackResult]:
    """What an attack finds for some of the rows of a language."""
    chosen, before = [rows[i] for i in some], [clean[i] for i in some]
    if isinstance(attack, EmbeddingPGD):
        return perturb(judge, chosen, attack)
    if isinstance(attack, TokenFlip):
        return flip(judge, chosen, before, attack)
    if isinstance(attack, Distractor):
        variants = attack.variants(rows)  # of all rows: each lends the others its sentences
        return search.distract(judge, chosen, before, [variants[i] for i in some])
    said = frozenset(w.text.lower() for row in rows for w in words(judge.type.name, row))
    return search.attack_words(judge, chosen, before, code, said, attack)


def _costs(judge: AttackedModel, table: pd.DataFrame, tried: np.ndarray) -> dict[str, float]:
    """What the attack achieved, and what it took."""
    right = partial(_right, judge)
    before, after = right(table["clean_score"]), right(table["score"])
    mean = lambda values: float(np.mean(values)) if len(values) else float("nan")  # noqa: E731
    costs = {"success": 100 * mean(~after[before])}
    for name, unit in {"changed": 100, "valid": 100, "queries": 1}.items():
        costs[name] = unit * mean(table.loc[tried, name].to_numpy(dtype=float))
    return costs


def _right(judge: AttackedModel, scores: pd.Series) -> np.ndarray:
    return np.array([judge.is_solved(Prediction(score, 0.0, {})) for score in scores], dtype=bool)
