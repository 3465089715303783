"""A model under attack: prediction, score and loss of rows that are tried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xltkit.data.text import Row
from xltkit.evaluation.predict import outputs
from xltkit.models.encoder import Model
from xltkit.tasks.base import Columns, EncodedExample, Task, types_with

ROWS = 4096  # encoded at a time


class Prediction(NamedTuple):
    """The model's prediction for one row, and its columns in the table of predictions.

    The score is 0 to 1; the loss is that of the gold label, summed over the parts of the row.
    """

    score: float
    loss: float
    columns: Mapping[str, Any]


class Case(NamedTuple):
    """A row to attack, in canonical columns, and the model's prediction for it as it is."""

    row: Row
    clean: Prediction


class AttackResult(NamedTuple):
    """What an attack made of one row.

    Attributes:
        prediction: for the attacked row.
        changed: share of the words that are other words now.
        valid: whether the gold label still stands, as far as strings can tell.
        queries: rows that the model read during the attack, without the clean one.
        texts: the attacked texts by column.
    """

    prediction: Prediction
    changed: float
    valid: bool
    queries: int
    texts: Mapping[str, Any]


class AttackedModel:
    """A model with the trained head of a task, which is asked about rows of that task.

    Args:
        model: with the head in place.
        task: whose rows it reads.
        head: the name of the head.
        tokenizer: the encoder's.

    Raises:
        ValueError: for a task type whose rows are not predicted one by one.
    """

    def __init__(self, model: Model, task: Task, head: str, tokenizer: Any):
        if not task.type.is_attackable:
            raise ValueError(
                f"{task.name} is {task.kind}; tasks that can be attacked are "
                f"{', '.join(types_with('is_attackable'))}."
            )
        self.model = model
        self.task = task
        self.type = task.type
        self.head = head
        self.tokenizer = tokenizer

    def encode(self, rows: Sequence[Row], words: bool = False) -> list[EncodedExample]:
        """The rows as encoded examples with targets and, if asked for, marks of whole words."""
        limit = min(self.task.training.max_length, self.tokenizer.model_max_length)
        options = {"training": True, "words": words}
        return self.type.encode(Columns.of(rows), self.tokenizer, limit, **options)

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """The predictions for some rows; all pass the model in one stream of batches."""
        predictions: list[Prediction] = []
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            predictions += self.predict_encoded(part, self.encode(part))
        return predictions

    def predict_encoded(
        self, rows: Sequence[Row], examples: Sequence[EncodedExample]
    ) -> list[Prediction]:
        """The predictions for rows that are encoded already."""
        pairs = outputs(self.model, self.type, self.head, examples, self.tokenizer, losses=True)
        return self.predictions(rows, examples, pairs)

    def predictions(
        self,
        rows: Sequence[Row],
        examples: Sequence[EncodedExample],
        pairs: Sequence[tuple[Any, float]],
    ) -> list[Prediction]:
        """The predictions for rows, from the output and the loss of each of their examples."""
        table = self.type.predictions(
            self.task, Columns.of(rows), examples, [output for output, _ in pairs]
        )
        losses = np.zeros(len(rows))
        weights = self.type.loss_weights(examples)
        for example, weight, (_, loss) in zip(examples, weights, pairs, strict=True):
            losses[example.example] += weight * loss
        return [
            Prediction(float(columns["score"]), round(float(loss), 5), columns)
            for columns, loss in zip(table.to_dict("records"), losses, strict=True)
        ]

    def is_fooled(self, prediction: Prediction) -> bool:
        """Whether an attack may stop; of a sentence with many tags there is always more to get."""
        return self.type.has_one_answer and not self.type.is_solved(prediction.score)

    def rank(self, prediction: Prediction) -> tuple[bool, float]:
        """What attacks maximize: to fool the model comes first, then the loss."""
        return self.is_fooled(prediction), prediction.loss

    def worst(self, predictions: Sequence[Prediction]) -> int:
        """The place of the worst prediction, of equals the first."""
        return max(range(len(predictions)), key=lambda i: self.rank(predictions[i]))

    def texts(self, row: Row) -> dict[str, Any]:
        """The texts of a row by column."""
        return {column: row[column] for column in self.type.texts}
