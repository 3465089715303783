"""The attack playground: a test row that a person edits, and what a trained model answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cached_property, lru_cache
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from xltkit.data.languages import language as find_language
from xltkit.data.text import word_spans
from xltkit.evaluation.attacked import AttackedModel
from xltkit.evaluation.attacks import Attack
from xltkit.explore import html
from xltkit.explore.errors import choices, occurrences, pick
from xltkit.explore.html import EDITED, GOLD
from xltkit.keys import choose
from xltkit.studies.make import reader, test_rows
from xltkit.studies.results import Results
from xltkit.studies.stages import Stage
from xltkit.tasks import get
from xltkit.tasks.base import types_with

MODELS = 2  # kept in memory
NAN = float("nan")
EMPTY = "No text"  # how the reason begins why a row cannot be predicted
Row = Mapping[str, Any]


@lru_cache(maxsize=MODELS)
def _load(stage: Stage, folder: Path) -> AttackedModel:
    """The trained model that an evaluation reads; loaded once."""
    task, head, model, tokenizer = reader(stage, str(folder))
    model.eval()
    return AttackedModel(model, task, head, tokenizer)


class Playground:
    """A trained model of a study and the test rows of a language, to be edited and predicted again.

    Args:
        results: of a study.
        task: of the study; the first whose rows can be edited, unless named.
        arm: the first, unless named.
        language: a test language; the first transfer language, unless named.
        seed: the first, unless named.

    Attributes:
        rows: the test rows, in canonical columns.

    Raises:
        ValueError: for a name that does not exist; the message says which do.
        FileNotFoundError: if the store has the scores but no longer the model.
    """

    def __init__(
        self,
        results: Results,
        task: str = "",
        arm: str = "",
        *,
        language: str = "",
        seed: int | None = None,
    ):
        runs = results.study.runs
        tasks = [n for n in dict.fromkeys(run.task for run in runs) if get(n).type.is_attackable]
        if not tasks:
            types = ", ".join(types_with("is_attackable"))
            raise ValueError(f"No task of this study has rows to edit; {types} have.")
        self.task = get(pick("task", task, tasks))
        self.arm = pick("arm", arm, list(results.study.arms))
        allowed = choices(results, self.task.name, [self.arm])
        self.language = pick("language", language, allowed.languages)
        self.seed = pick("seed", seed, allowed.seeds)
        name = (self.task.name, self.arm, self.seed)
        stage = next(run.stage for run in runs if (run.task, run.arm, run.seed) == name)
        if stage.phase.smoothing:
            raise ValueError(
                f"{self.task.name} was scored under noise; give the study's own results."
            )
        folder = results.store.path(stage.parent.key)
        if not results.store.has(stage.parent.key):
            raise FileNotFoundError(
                f"The model of arm {self.arm!r} for {self.task.name} is gone from the store "
                f"({folder}); results.study.run() trains it again."
            )
        self.rows = test_rows(self.task, stage.phase, self.language)
        self._model = _load(stage, folder)

    @cached_property
    def _rows(self) -> list[Row]:
        return self.rows.select_columns(list(self.task.type.columns)).to_list()

    def texts(self, example: int) -> dict[str, str]:
        """The texts of a row that can be edited, by name; words of a sentence get spaces between.

        Args:
            example: the place of the row among ``rows``.
        """
        return texts_by_name(self.task.type.texts, self._rows[example])

    def compare(self, example: int, **edits: str) -> pd.DataFrame:
        """The model's answer to a row as it is and edited, whether it is right, and how sure.

        The first is what the study measured, up to the rounding of bf16, where that is used: the
        row was read beside others then.

        Args:
            example: the place of the row among ``rows``.
            edits: new texts, by the names of ``texts``.

        Returns:
            The columns ``as it is`` and, if anything was edited, ``edited``; the rows ``answer``,
            ``score`` (0 to 1) and probabilities. What is gold is named so. What an edit leaves
            nothing to compare with is NaN.

        Raises:
            ValueError: for an unknown text.
        """
        row = self._rows[example]
        new, problem = edited(self.task.type.texts, row, edits)
        columns = {"as it is": self._predict(row)}
        if new != row:
            columns["edited"] = {} if problem.startswith(EMPTY) else self._predict(new)
            if problem:  # what was gold of the row is so no longer
                lost = [name for name in columns["as it is"] if GOLD in name]
                columns["edited"] |= dict.fromkeys(["score", *lost], NAN)
        return pd.DataFrame(columns)

    def _predict(self, row: Row) -> dict[str, Any]:
        (prediction,) = self._model.predict([row])
        answer = {"answer": prediction.columns["pred"], "score": prediction.score}
        log_probs = prediction.columns.get("log_probs")
        if log_probs is None:
            # The loss is summed over the words of a sentence, or over start and end of a span.
            units = len(row["tokens"]) if "tokens" in row else self.task.type.unit_weight
            return answer | {f"probability of {GOLD}": math.exp(-prediction.loss / units)}
        names = self.task.labels or [f"choice {i + 1}" for i in range(len(log_probs))]
        answer["answer"] = names[int(log_probs.argmax())]
        for i, name in enumerate(names):
            gold = f" [{GOLD}]" if i == row["label"] else ""
            answer[f"probability of {name}{gold}"] = float(np.exp(log_probs[i]))
        return answer

    def ask(self, example: int, **edits: str) -> HTML:
        """The table of ``compare`` with the texts above it and how far the numbers moved."""
        old = self._rows[example]
        new, problem = edited(self.task.type.texts, old, edits)
        table = self.compare(example, **edits)
        lines = [["input"], ["answer"]]
        for row, (_, column) in zip((old, new), table.items(), strict=False):
            is_gold = not problem or row is old
            lines[0].append(self._input(row, old, column["answer"], is_gold))
            lines[1].append(self._answer(row, column))
        for name, numbers in table.drop(["answer", "score"]).iterrows():
            lines.append([escape(name), *(_number(number) for number in numbers)])
            if new != old:
                lines[-1].append(_number(numbers["edited"] - numbers["as it is"], "+"))
        heads = ["", *table.columns, "moved"][: 2 if new == old else 4]
        language = f"{escape(find_language(self.language).name)} ({escape(self.language)})"
        caption = (
            f"<b>{escape(self.task.name)}</b> {escape(old['id'])} in {language}, predicted by arm "
            f"{escape(self.arm)}, seed {self.seed}"
        )
        note = ""
        if problem:
            note = f"<p><b>✗ {escape(problem)}</b></p>"
        elif new != old:
            note = f"<p><small>{GOLD} is what was right before the edit; is it still?</small></p>"
        return html.view(html.table(caption, heads, lines), note)

    def _input(self, row: Row, old: Row, answer: Any, is_gold: bool) -> str:
        """The texts of a row, with what was edited, the gold answers and the one predicted."""
        before = texts_by_name(self.task.type.texts, old)
        texts = {}
        for name, text in texts_by_name(self.task.type.texts, row).items():
            marks = [(start, end, EDITED) for start, end in changed_spans(before[name], text)]
            if name == "context":
                golds = zip(row["answers"], row["starts"], strict=True) if is_gold else ()
                marks += [(start, start + len(gold), GOLD) for gold, start in golds]
                marks += [(*place, "answer") for place in occurrences(str(answer), text)]
            texts[name] = html.text(text, self.language, marks)
        return html.named_texts(texts)

    def _answer(self, row: Row, column: pd.Series) -> str:
        """What was predicted, and whether it is right."""
        answer = column["answer"]
        score = column["score"]
        if not isinstance(answer, str):
            return "–"
        shown = escape(answer)
        if "tokens" in row:
            shown = html.annotated(zip(row["tokens"], answer.split(), strict=False))
        elif "context" in row:
            shown = html.text(answer, self.language)
        if math.isnan(score):
            return f"{shown}<br><small>nothing to compare with</small>"
        return html.verdict(shown, score == 1, "" if score in (0, 1) else f"score {score:.2f}")

    def attacked(self, example: int, attack: Attack) -> dict[str, str]:
        """The texts of a row after one of the kit's attacks on it.

        Args:
            example: the place of the row among ``rows``.
            attack: one that changes words.
        """
        clean = self._model.predict([self._rows[example]])
        (result,) = attack.run(self._model, clean, self._rows, self.language)
        return texts_by_name(self.task.type.texts, result.prediction.row)


def _number(value: float, sign: str = "") -> str:
    return "–" if math.isnan(value) else f"{value:{sign}.2f}"


def texts_by_name(columns: Sequence[str], row: Row) -> dict[str, str]:
    """The texts of a row by name: ``choice_1`` is the first of ``choices``, tokens are joined."""
    texts = {}
    for column in columns:
        if column == "tokens":
            texts[column] = " ".join(row[column])
        elif column == "choices":
            texts |= {f"choice_{i + 1}": text for i, text in enumerate(row[column])}
        else:
            texts[column] = row[column]
    return texts


def edited(
    columns: Sequence[str], row: Row, edits: Mapping[str, str]
) -> tuple[dict[str, Any], str]:
    """A row with other texts, and why it cannot be predicted or compared with gold, if so.

    Gold answers move with the text around them; tags stay with their words if these are as many.

    Args:
        columns: those with texts.
        row: in canonical columns.
        edits: new texts by name.

    Raises:
        ValueError: for an unknown text.
    """
    old = texts_by_name(columns, row)
    for name in edits:
        choose("text", name, old)
    texts = old | edits
    row = dict(row)
    problem = ""
    if texts == old:  # words with a space inside stay one word
        return row, problem
    empty = [name for name, text in texts.items() if not text.strip()]
    if empty:
        problem = f"{EMPTY} stands in {', '.join(empty)}."
    for column in columns:
        if column == "tokens":
            row["tokens"] = texts["tokens"].split()
        elif column == "choices":
            row["choices"] = [texts[f"choice_{i + 1}"] for i in range(len(row["choices"]))]
        else:
            row[column] = texts[column]
    if "tokens" in columns and len(row["tokens"]) != len(row["tags"]):
        count = f"There are {len(row['tokens'])} words now, and right tags for {len(row['tags'])}."
        problem = problem or count
        row["tags"] = [0] * len(row["tokens"])
    if "context" in columns:
        answers = []
        for answer, start in zip(row["answers"], row["starts"], strict=True):
            place = moved(old["context"], row["context"], start, start + len(answer))
            if place is not None:
                answers.append((answer, place))
        if not answers:
            lost = " / ".join(dict.fromkeys(row["answers"]))
            problem = problem or f"The edit removed the answer, {lost}, from the context."
            answers = [("", 0)]  # a target has to stand somewhere; it is not compared with
        row["answers"] = [answer for answer, _ in answers]
        row["starts"] = [start for _, start in answers]
    return row, problem


def _steps(old: str, new: str) -> Iterator[tuple[str, int, int, int, int]]:
    """The steps of an edit, word by word: what was done, from where to where in both texts."""
    edges = []
    units = []
    for text in (old, new):  # words, and what stands between them
        places = sorted({0, len(text), *(edge for span in word_spans(text) for edge in span)})
        edges.append(places)
        units.append([text[start:end] for start, end in pairwise(places)])
    for step, a, b, c, d in SequenceMatcher(None, *units, autojunk=False).get_opcodes():
        yield step, edges[0][a], edges[0][b], edges[1][c], edges[1][d]


def moved(old: str, new: str, start: int, end: int) -> int | None:
    """Where characters of a text start after an edit; None if their words no longer exist."""
    for step, old_start, old_end, new_start, _ in _steps(old, new):
        if step == "equal" and old_start <= start and end <= old_end:
            return new_start + start - old_start
    return None


def changed_spans(old: str, new: str) -> list[tuple[int, int]]:
    """The places of a text that an edit changed: runs of words."""
    return [(c, d) for step, _, _, c, d in _steps(old, new) if step in ("replace", "insert")]
