"""Test sets under attack: the predictions and scores of a model for rows that were changed.

A fair comparison needs the score without attack and under it, the success on what was right
before, the queries, the share of words changed, and validity. A random attack (``beam=0``,
``tries=1``) is the control: what it achieves is not due to an adversary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from datasets import Dataset

from xltkit.data.text import Row, words
from xltkit.evaluation.attacked_model import AttackedModel, AttackResult, Case
from xltkit.evaluation.attacks import Attack, Distractor, EmbeddingPGD, TokenFlip
from xltkit.evaluation.beam import add_sentences, attack_words
from xltkit.evaluation.gradient import flip_tokens, perturb_embeddings
from xltkit.models.encoder import Model
from xltkit.tasks.base import Task, TaskType, score_table


def attacked(
    model: Model,
    task: Task,
    head: str,
    rows: Mapping[str, Dataset],
    tokenizer: Any,
    attack: Attack,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and scores of a task in some languages, its rows under attack.

    Rows that the model gets wrong as they are (a score of 0) are left as they are.

    Args:
        model: with the trained head in place.
        task: whose rows these are, of a type that is attackable.
        head: the name of the head to read.
        rows: the test rows of each language, in canonical columns.
        tokenizer: the encoder's.
        attack: what is done to the rows.

    Returns:
        predictions: the columns of ``predict``, under attack, and ``clean_score`` (0 to 1),
        ``loss`` and ``clean_loss``, ``changed`` (share of the words; NaN where no words change),
        ``valid``, ``queries`` and ``input`` (the attacked texts, JSON).
        scores: the task's metrics under attack; ``clean``, the main one without; ``success``, the
        share (%) of the items solved before that no longer are; and over the items that were
        attacked, means of ``changed`` (%), ``valid`` (%) and ``queries``.

    Raises:
        ValueError: for a task that cannot be attacked, or a distractor where there is no context.
    """
    victim = AttackedModel(model, task, head, tokenizer)
    if isinstance(attack, Distractor) and "context" not in task.type.texts:
        raise ValueError(f"{task.name} is {task.kind}; a distractor needs a context: kind span.")
    tables = []
    clean_tables = []
    costs = []
    for language, part in rows.items():
        clean, table = _attack_language(victim, part, language, attack)
        clean_tables.append((language, "", clean))
        tables.append((language, "", table))
        for metric, value in _costs(task.type, table).items():
            costs.append((language, metric, value, len(table)))
    predictions, scores = score_table(task, tables)
    _, clean_scores = score_table(task, clean_tables)
    clean_scores = clean_scores[clean_scores["metric"] == task.metric].assign(metric="clean")
    parts = [scores, clean_scores, pd.DataFrame(costs, columns=scores.columns)]
    return predictions, pd.concat(parts, ignore_index=True)


def _attack_language(
    model: AttackedModel, part: Dataset, language: str, attack: Attack
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of predictions for the rows of a language, without attack and under it."""
    rows = part.select_columns(list(model.type.columns)).to_list()
    clean = model.predict(rows)
    cases = [Case(row, prediction) for row, prediction in zip(rows, clean, strict=True)]
    to_attack = [case for case in cases if case.clean.score > 0]
    attacked_cases = iter(run_attack(model, to_attack, rows, language, attack))
    results = []
    for row, prediction in cases:
        if prediction.score > 0:
            results.append(next(attacked_cases))
        else:
            results.append(AttackResult(prediction, 0.0, True, 0, model.texts(row)))
    table = pd.DataFrame([result.prediction.columns for result in results]).assign(
        clean_score=[prediction.score for prediction in clean],
        loss=[result.prediction.loss for result in results],
        clean_loss=[prediction.loss for prediction in clean],
        changed=[result.changed for result in results],
        valid=[result.valid for result in results],
        queries=[result.queries for result in results],
        input=[json.dumps(result.texts, ensure_ascii=False) for result in results],
    )
    return pd.DataFrame([prediction.columns for prediction in clean]), table


def run_attack(
    model: AttackedModel,
    cases: Sequence[Case],
    rows: Sequence[Row],
    language: str,
    attack: Attack,
) -> list[AttackResult]:
    """The results of an attack on some rows of a language.

    The words and sentences of all ``rows`` of the language are what attacks propose.
    """
    if not cases:
        return []
    if isinstance(attack, EmbeddingPGD):
        return perturb_embeddings(model, cases, attack)
    if isinstance(attack, TokenFlip):
        return flip_tokens(model, cases, attack)
    if isinstance(attack, Distractor):
        return add_sentences(model, cases, attack.variants([case.row for case in cases], rows))
    columns = model.type.texts
    vocabulary = frozenset(word.text.lower() for row in rows for word in words(columns, row))
    return attack_words(model, cases, language, vocabulary, attack)


def _costs(task_type: TaskType, table: pd.DataFrame) -> dict[str, float]:
    """What an attack achieved, and what it took."""
    was_solved = table["clean_score"].map(task_type.is_solved)
    is_solved = table["score"].map(task_type.is_solved)
    attacked_rows = table[table["clean_score"] > 0]
    return {
        "success": 100 * (~is_solved[was_solved]).mean(),
        "changed": 100 * attacked_rows["changed"].mean(),
        "valid": 100 * attacked_rows["valid"].mean(),
        "queries": attacked_rows["queries"].mean(),
    }
