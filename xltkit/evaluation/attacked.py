"""A model under attack: the interface for attacks, and scores of attacked test sets.

A random attack (``beam=0``, ``tries=1``) is the control: what it achieves is not due to an
adversary.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from datasets import Dataset

from xltkit.data.text import Row, is_valid
from xltkit.evaluation.predict import outputs
from xltkit.keys import choose
from xltkit.models.encoder import Model
from xltkit.tasks.base import Columns, EncodedExample, Task, TaskType, score_table

ROWS = 4096  # encoded at a time
Pair = tuple[Any, float]  # the output of the model for an example, and its loss
# Valid settings of attacks: one of some words, or a number above some limit.
CHOICES = {"at": ("end", "start"), "norm": ("l2",)}
LIMITS = {"strength": 0, "radius": 0, "beam": -1, "candidates": 0, "tries": 0, "steps": 0}


class Prediction(NamedTuple):
    """The model's prediction for a row."""

    row: Row  # in canonical columns
    score: float  # 0 to 1
    loss: float  # of the gold label, summed over the parts of the row
    columns: Mapping[str, Any]  # in the table of predictions


class AttackResult(NamedTuple):
    """The result of an attack on one row; the defaults are for a row that was left as it is."""

    prediction: Prediction  # for the attacked row
    changed: float = 0.0  # share of the words that were changed
    queries: int = 0  # rows that the model read during the attack, without the clean one
    read: Sequence[str] = ()  # the decoded inputs, if these were attacked and not the text


Rows = Sequence[Row]
Clean = Sequence[Prediction]  # of rows, before an attack
Results = list[AttackResult]


@dataclass(frozen=True)
class AttackedModel:
    """A model with the trained head of a task, to predict rows of that task."""

    model: Model
    task: Task
    head: str
    tokenizer: Any

    @property
    def type(self) -> TaskType:
        return self.task.type

    def encode(self, rows: Sequence[Row], words: bool = False) -> list[EncodedExample]:
        """The rows as encoded examples with targets and, if requested, marks of whole words."""
        limit = min(self.task.training.max_length, self.tokenizer.model_max_length)
        return self.type.encode(Columns.of(rows), self.tokenizer, limit, training=True, words=words)

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        predictions: list[Prediction] = []
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            predictions += self.predictions(part, self.encode(part))
        return predictions

    def predict_variants(self, variants: Sequence[Sequence[Row]]) -> list[list[Prediction]]:
        """The predictions for some variants of each row, read in one stream of batches."""
        predictions = iter(self.predict([row for of_row in variants for row in of_row]))
        return [[next(predictions) for _ in of_row] for of_row in variants]

    def predictions(
        self, rows: Sequence[Row], examples: Sequence[EncodedExample], pairs: Sequence[Pair] = ()
    ) -> list[Prediction]:
        """The predictions for encoded rows, from outputs and losses if the model has read them."""
        if not pairs:
            pairs = outputs(self.model, self.type, self.head, examples, self.tokenizer, losses=True)
        decoded = [output for output, _ in pairs]
        table = self.type.predictions(self.task, Columns.of(rows), examples, decoded)
        losses = np.zeros(len(rows))
        weights = self.type.loss_weights(examples)
        for example, weight, (_, loss) in zip(examples, weights, pairs, strict=True):
            losses[example.example] += weight * loss
        records = table.to_dict("records")
        return [
            Prediction(row, float(record["score"]), round(float(loss), 5), record)
            for row, record, loss in zip(rows, records, losses, strict=True)
        ]

    def is_fooled(self, prediction: Prediction) -> bool:
        """Whether an attack may stop; in a sentence with many tags there is always more to gain."""
        return self.type.has_one_answer and not self.type.is_solved(prediction.score)

    def rank(self, prediction: Prediction) -> tuple[bool, float]:
        """What attacks maximize: fooling the model comes first, then the loss."""
        return self.is_fooled(prediction), prediction.loss


class Attack:
    """A change of test inputs that should not change their labels; subclasses are dataclasses.

    ``strength`` is a share of the words, or a radius, ``beam`` the width of the search, if any.
    """

    version = 1  # part of the key of a stage; incremented when the attack changes what it does
    access = "black box"  # sees scores, or nothing; a white box sees gradients
    name = ""  # in tables and figures
    strength: float
    beam = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in CHOICES:
                choose(f"value of {name}", value, CHOICES[name])
            if name in LIMITS and value <= LIMITS[name]:
                raise ValueError(f"{name} is {value}; it must be above {LIMITS[name]}.")
            if name == "strength" and value > 1:
                raise ValueError(f"strength is {value}, a share of the words; it can be 1 at most.")

    def sources(self) -> dict[str, str]:
        """Fingerprints of the files that are read, for the key of a stage."""
        return {}

    def run(self, model: AttackedModel, clean: Clean, rows: Rows, language: str) -> Results:
        """The results for some rows of a language, given their ``clean`` predictions.

        Words and sentences of ``rows``, all test rows of the language, may be proposed.
        """
        raise NotImplementedError


def attacked(
    model: Model, task: Task, head: str, rows: Mapping[str, Dataset], tokenizer: Any, attack: Attack
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and scores of a task in some languages, with its rows under attack.

    Takes the arguments of ``predict``. Rows that the model already gets wrong (a score of 0) are
    not attacked. Added to the predictions are ``clean_score`` (0 to 1), ``loss``, ``clean_loss``,
    ``changed`` (share of the words; NaN if no words change), ``valid``, ``queries`` and ``input``
    (the attacked texts, JSON); to the metrics, ``clean`` (the main metric without attack),
    ``success`` (% of the items solved before that no longer are) and, over attacked items, the
    means of ``changed`` (%), ``valid`` (%) and ``queries``.
    """
    victim = AttackedModel(model, task, head, tokenizer)
    tables = []
    costs = []
    for language, part in rows.items():
        listed = part.select_columns(list(task.type.columns)).to_list()
        clean = victim.predict(listed)
        right = [prediction for prediction in clean if prediction.score > 0]
        attacked_rows = iter(attack.run(victim, right, listed, language) if right else ())
        records = []
        for before in clean:
            result = next(attacked_rows) if before.score > 0 else AttackResult(before)
            records.append(_record(task.type, before, result))
        table = pd.DataFrame(records)
        tables.append((language, "", table))
        clean_table = pd.DataFrame([prediction.columns for prediction in clean])
        was_solved = table["clean_score"].map(task.type.is_solved)
        is_solved = table["score"].map(task.type.is_solved)
        means = table.loc[table["clean_score"] > 0, ["changed", "valid", "queries"]].mean()
        values = {
            "clean": task.type.metrics(task, clean_table, language)[task.metric],
            "success": 100 * (~is_solved[was_solved]).mean(),
            "changed": 100 * means["changed"],
            "valid": 100 * means["valid"],
            "queries": means["queries"],
        }
        costs += [(language, metric, value, len(table)) for metric, value in values.items()]
    predictions, scores = score_table(task, tables)
    return predictions, pd.concat([scores, pd.DataFrame(costs, columns=scores.columns)])


def _record(task_type: TaskType, before: Prediction, result: AttackResult) -> dict[str, Any]:
    """The row of the table of predictions for an attacked row."""
    prediction = result.prediction
    row = prediction.row
    texts = {column: row[column] for column in task_type.texts}
    return {
        **prediction.columns,
        "clean_score": before.score,
        "loss": prediction.loss,
        "clean_loss": before.loss,
        "changed": result.changed,
        "valid": row is before.row or is_valid(task_type.texts, row),
        "queries": result.queries,
        "input": json.dumps({"read": result.read} if result.read else texts, ensure_ascii=False),
    }
