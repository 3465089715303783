"""The attack playground: a test row that a person edits, and what a trained model answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML

from xltkit.data.languages import language as find_language
from xltkit.data.text import Row
from xltkit.evaluation.attacked import AttackedModel
from xltkit.evaluation.attacks import Attack
from xltkit.explore import html
from xltkit.explore.errors import answer_text, chosen_stage, occurrences, texts_by_name
from xltkit.keys import choose
from xltkit.studies.make import reader, test_rows
from xltkit.studies.results import Results
from xltkit.studies.stages import Stage
from xltkit.tasks import get
from xltkit.tasks.base import Task

PROBABILITY = "probability of gold"
NOTE = "Gold is what was right before the edit; – where nothing is left to compare with."


@lru_cache(maxsize=2)
def _load(stage: Stage, folder: Path) -> AttackedModel:
    """The trained model that an evaluation reads; two are kept in memory."""
    task, head, model, tokenizer = reader(stage, str(folder))
    return AttackedModel(model.eval(), task, head, tokenizer)


class Playground:
    """A trained model of a study and the test rows of a language, to be edited and predicted again.

    Attributes:
        rows: the test rows, in canonical columns; methods take the place of a row among them.

    Raises:
        ValueError: for a name that does not exist; the message says which do.
        FileNotFoundError: if the store has the scores but no longer the model.
    """

    def __init__(self, results: Results, task: str, arm: str, language: str, seed: int):
        self.task = get(task)
        self.language = language
        self.of = f"arm {arm}, seed {seed}"
        stage = chosen_stage(results, task, arm, language, seed)
        if not results.store.has(stage.parent.key):
            raise FileNotFoundError(
                f"The model of {self.of} for {task} is gone from the store; "
                "results.study.run() trains it again."
            )
        rows = test_rows(self.task, stage.phase, language)
        self.rows = rows.select_columns(list(self.task.type.columns)).to_list()
        self._model = _load(stage, results.store.path(stage.parent.key))

    def texts(self, example: int) -> dict[str, str]:
        """The texts of a row that can be edited, by name."""
        return texts_by_name(self.task, self.rows[example])

    def attacked(self, example: int, attack: Attack) -> dict[str, str]:
        """The texts of a row after one of the kit's attacks on its words."""
        clean = self._model.predict([self.rows[example]])
        (result,) = attack.run(self._model, clean, self.rows, self.language)
        return texts_by_name(self.task, result.prediction.row)

    def compare(self, example: int, **edits: str) -> pd.DataFrame:
        """A row and the model's answer to it, before and after an edit.

        Before is what the study measured, up to the rounding of bf16, where that is used: the row
        was read beside others then.

        Args:
            example: which row.
            edits: new texts, by the names of ``texts``.

        Returns:
            The columns ``as it is`` and, if anything was edited, ``edited``; the rows are the
            texts, the ``answer``, its ``score`` (0 to 1) and the ``probability of gold``, both NaN
            where the edit left nothing to compare with.

        Raises:
            ValueError: for an unknown text, or one that is empty.
        """
        rows = {"as it is": self.rows[example]}
        new, has_gold = edited(self.task, self.rows[example], edits)
        if new != self.rows[example]:
            rows["edited"] = new
        table = {}
        for name, row in rows.items():
            (prediction,) = self._model.predict([row])
            # The loss is summed over the words of a sentence, or over start and end of a span.
            units = len(row["tokens"]) if "tokens" in row else self.task.type.unit_weight
            answer = {"answer": answer_text(row, prediction.columns["pred"])}
            numbers = {"score": prediction.score, PROBABILITY: math.exp(-prediction.loss / units)}
            table[name] = texts_by_name(self.task, row) | answer | numbers
        if not has_gold:
            table["edited"] |= {"score": math.nan, PROBABILITY: math.nan}
        return pd.DataFrame(table)

    def ask(self, example: int, **edits: str) -> HTML:
        """The table of ``compare`` with what the words of the microworld mean."""
        table = self.compare(example, **edits)
        lines = []
        for name, values in table.iterrows():
            if name in ("score", PROBABILITY):
                cells = ["–" if math.isnan(value) else f"{value:.2f}" for value in values]
            else:
                cells = [html.text(value, self.language) for value in values]
            lines.append([escape(name), *cells])
        caption = (
            f"{escape(self.task.name)} {escape(self.rows[example]['id'])} in "
            f"{escape(find_language(self.language).name)} ({escape(self.language)}), predicted by "
            f"{escape(self.of)}. {NOTE}"
        )
        return html.table(caption, ["", *table.columns], lines)


def edited(task: Task, row: Row, edits: Mapping[str, str]) -> tuple[dict[str, Any], bool]:
    """A row with other texts by name, and whether its gold label can still be compared with.

    Gold answers move with the text around them; tags stay with their words if these are as many.

    Raises:
        ValueError: for an unknown text, or one that is empty.
    """
    old = texts_by_name(task, row)
    for name, text in edits.items():
        choose("text", name, old)
        if not text.strip():
            raise ValueError(f"No text stands in {name}.")
    texts = old | edits
    row = dict(row)
    if texts == old:  # words with a space inside stay one word
        return row, True
    row |= {column: texts[column] for column in task.type.texts if column in texts}
    if "choices" in row:
        row["choices"] = [texts[f"choice_{i}"] for i, _ in enumerate(row["choices"], 1)]
    if "tokens" in row:
        row["tokens"] = texts["tokens"].split()
        has_gold = len(row["tokens"]) == len(row["tags"])
        row["tags"] = row["tags"] if has_gold else [0] * len(row["tokens"])
        return row, has_gold
    if "context" in row:
        places = {}
        for answer, start in zip(row["answers"], row["starts"], strict=True):
            starts = [place for place, _ in occurrences(answer, row["context"])]
            if starts:
                places[answer] = min(starts, key=lambda place: abs(place - start))
        # A target has to stand somewhere, even if it is not compared with.
        row |= {"answers": list(places) or [""], "starts": list(places.values()) or [0]}
        return row, bool(places)
    return row, True
