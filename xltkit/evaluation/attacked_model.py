"""What a model makes of rows that are tried out: prediction, score and loss of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xltkit.data.text import FIELDS
from xltkit.evaluation.predict import outputs
from xltkit.models.encoder import Model
from xltkit.tasks.base import Columns, EncodedExample, Task, types_with

Row = Mapping[str, Any]
ROWS = 4096  # encoded at a time


class Prediction(NamedTuple):
    """What the model makes of one row; ``columns`` are those of ``TaskType.predictions``."""

    score: float
    loss: float
    columns: Mapping[str, Any]


class AttackResult(NamedTuple):
    """What an attack made of one row.

    Attributes:
        prediction: on the attacked row.
        changed: share of the words that are other words now.
        valid: whether the gold label still stands, as far as strings can tell.
        queries: rows that the model read on the way, the one given not counted.
        texts: the attacked texts by column.
    """

    prediction: Prediction
    changed: float
    valid: bool
    queries: int
    texts: Mapping[str, Any]


class AttackedModel:
    """A model with the head of a task, asked about rows of that task.

    Raises:
        ValueError: for a kind of task that cannot be attacked.
    """

    def __init__(self, model: Model, task: Task, head: str, tokenizer: Any):
        if not task.type.is_attackable:
            raise ValueError(
                f"{task.name} is {task.kind}; tasks that can be attacked are "
                f"{', '.join(types_with('is_attackable'))}."
            )
        self.model, self.task, self.head, self.tokenizer = model, task, head, tokenizer
        self.type = task.type

    def encode(self, rows: Sequence[Row], tokenizer: Any = None) -> list[EncodedExample]:
        """The rows as features with targets, by the model's tokenizer or what stands in for it."""
        limit = min(self.task.training.max_length, self.tokenizer.model_max_length)
        tokenizer = tokenizer or self.tokenizer
        return self.type.encode(Columns.of(rows), tokenizer, limit, training=True)

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """What the model makes of each row; all are read in one stream of batches."""
        said: list[Prediction] = []
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            said += self.predict_encoded(some, self.encode(some))
        return said

    def predict_encoded(
        self, rows: Sequence[Row], features: Sequence[EncodedExample]
    ) -> list[Prediction]:
        """What the model makes of the features of some rows."""
        model, kind, head, tokenizer = self.model, self.type, self.head, self.tokenizer
        return self.predictions(
            rows, features, outputs(model, kind, head, features, tokenizer, losses=True)
        )

    def predictions(
        self,
        rows: Sequence[Row],
        features: Sequence[EncodedExample],
        pairs: Sequence[tuple[Any, float]],
    ) -> list[Prediction]:
        """Outputs and losses of features as verdicts on the rows they come from."""
        said = [out for out, _ in pairs]
        table = self.type.predictions(self.task, Columns.of(rows), features, said)
        losses = np.zeros(len(rows))
        for feature, weight, (_, loss) in zip(features, self.weights(features), pairs, strict=True):
            losses[feature.example] += weight * loss
        columns = table.to_dict("records")
        return [
            Prediction(float(own["score"]), round(float(loss), 5), own)
            for own, loss in zip(columns, losses, strict=True)
        ]

    def weights(self, features: Sequence[EncodedExample]) -> list[float]:
        """What each feature's loss counts for in that of its row."""
        return self.type.loss_weights(features)

    def is_solved(self, verdict: Prediction) -> bool:
        """Whether an item counts as solved: half of the score, or any overlap with the answer."""
        return self.type.is_solved(verdict.score)

    def is_fooled(self, verdict: Prediction) -> bool:
        """Whether an attack may stop; of a sentence with many tags there is always more to get."""
        return self.type.name != "tagging" and not self.is_solved(verdict)

    def worst(self, verdicts: Sequence[Prediction]) -> int:
        """The place of the worst: broken before unbroken, then by loss, then the first."""
        places = range(len(verdicts))
        return max(places, key=lambda i: (self.is_fooled(verdicts[i]), verdicts[i].loss, -i))

    def texts(self, row: Row) -> dict[str, Any]:
        """The texts of a row by column."""
        return {name: row[name] for name in FIELDS[self.type.name]}
