"""The attack playground: a test row that a person edits, read by a trained model of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import HTML

from xltkit.data.languages import language as find_language
from xltkit.data.text import EMPTY, fresh, named, rewritten
from xltkit.evaluation.attacked import run_attack
from xltkit.evaluation.attacked_model import AttackedModel, Row
from xltkit.evaluation.attacks import Attack, Distractor, EmbeddingPGD
from xltkit.evaluation.predict import outputs
from xltkit.explore import html as markup
from xltkit.explore.errors import choices, lines, pick
from xltkit.explore.html import EDITED, GOLD
from xltkit.studies.make import reader, test_rows
from xltkit.studies.results import Results
from xltkit.studies.stages import Stage
from xltkit.tasks import Task, get
from xltkit.tasks.base import EncodedExample, types_with
from xltkit.training import align

MODELS = 2  # kept in memory
ANSWER = "probability of the answer"


@lru_cache(maxsize=MODELS)
def _attacked_model(stage: Stage, folder: Path) -> tuple[AttackedModel, Mapping[str, Any]]:
    """The trained model that an evaluation reads, and its rotations; loaded once."""
    task, head, model, tokenizer = reader(stage, str(folder))
    model.eval()
    return AttackedModel(model, task, head, tokenizer), align.load(folder)


class Playground:
    """A trained model of a study and the test rows of a language, to be edited and read again.

    Args:
        results: of a study.
        task: of the study; the first whose rows can be edited, unless named.
        arm: the first, unless named.
        language: a test language; the first transfer language, unless named.
        seed: the first, unless named.

    Attributes:
        rows: the test rows, in canonical columns.

    Raises:
        ValueError: for a name that is not there; the message says which are.
        FileNotFoundError: if the store has the scores but no longer the model.
    """

    def __init__(
        self, results: Results, task: str = "", arm: str = "", *, language: str = "",
        seed: int | None = None,
    ):  # fmt: skip
        cells = results.study.runs
        fit = [n for n in dict.fromkeys(c.task for c in cells) if get(n).type.is_attackable]
        if not fit:
            fit = ", ".join(types_with("is_attackable"))
            raise ValueError(f"No task of this study has rows to edit; {fit} have.")
        self.task = get(pick("task", task, fit))
        self.arm = pick("arm", arm, list(results.study.arms))
        may = choices(results, self.task.name, [self.arm])
        self.language = pick("language", language, may.languages)
        self.seed = pick("seed", seed, may.seeds)
        here = (self.task.name, self.arm, self.seed)
        cell = next(c for c in cells if (c.task, c.arm, c.seed) == here)
        if cell.stage.phase.smoothing:
            raise ValueError(f"{cell.task} was scored under noise; give the study's own results.")
        folder = results.store.path(cell.stage.parent.key)
        if not results.store.has(cell.stage.parent.key):
            raise FileNotFoundError(
                f"The model of arm {cell.arm!r} for {cell.task} is gone from the store "
                f"({folder}); results.study.run() trains it again."
            )
        self.rows = test_rows(self.task, cell.stage.phase, self.language)
        self._attacked_model, turns = _attacked_model(cell.stage, folder)
        self._turn = turns.get(self.language, {})
        self._known: dict[int, Reading] = {}  # of rows as they are

    @cached_property
    def _list(self) -> list[Row]:
        return self.rows.select_columns(list(self.task.type.columns)).to_list()

    def place(self, example: int | str) -> int:
        """The place of a row among the rows, given that or its id."""
        ids = self.rows["id"][:]
        if isinstance(example, int) and 0 <= example < len(ids):
            return example
        if example in ids:
            return ids.index(example)
        raise ValueError(
            f"There is no example {example!r}: type 0 to {len(ids) - 1}, or an id as {ids[0]!r}."
        )

    def texts(self, example: int | str) -> dict[str, str]:
        """What can be edited of a row, by name; the words of a sentence have spaces between."""
        return named(self.task.kind, self._list[self.place(example)])

    def edited(self, example: int | str, **edits: str) -> tuple[Row, str]:
        """A row with some of its texts changed, and why it cannot be compared or read, if so."""
        row = self._list[self.place(example)]
        return rewritten(self.task.kind, row, edits)

    def readings(self, example: int | str, **edits: str) -> tuple[Reading, Reading]:
        """What the model makes of a row as it is, and of the row with some of its texts changed.

        The first is what the study measured, up to the rounding of bf16, where that is used: the
        row was read beside others then.

        Args:
            example: the place of the row, or its id.
            edits: new texts, by the names of ``texts``.

        Raises:
            ValueError: for an unknown example or text.
        """
        at = self.place(example)
        if at not in self._known:
            self._known[at] = self._read(self._list[at])
        before = self._known[at]
        new, problem = self.edited(at, **edits)
        if new == before.row:
            return before, before
        if problem.startswith(EMPTY):
            return before, Reading(new, problem=problem)
        after = self._read(new)
        if problem:  # what was right of the row is so no longer
            after = replace(after, score=NAN, gold=NAN, problem=problem)
        return before, after

    def _read(self, row: Row) -> Reading:
        with self._attacked_model.model.rotated(self._turn):
            return read(self._attacked_model, [row])[0]

    def ask(self, example: int | str, **edits: str) -> HTML:
        """The same as ``readings``, to look at: before, after, and how far it moved."""
        before, after = self.readings(example, **edits)
        name = find_language(self.language).name
        caption = (
            f"<b>{escape(self.task.name)}</b> {escape(before.row['id'])} in {escape(name)} "
            f"({escape(self.language)}), read by arm {escape(self.arm)}, seed {self.seed}"
        )
        return shown(self.task, self.language, before, after, caption)

    def attacked(self, example: int | str, attack: Attack, **edits: str) -> dict[str, str]:
        """The texts of a row, edited first if wanted, after one of the kit's attacks on it.

        Raises:
            ValueError: for an attack that changes no text or needs another kind of task, or a row
                that has nothing to compare with.
        """
        kind, at = self.task.kind, self.place(example)
        if isinstance(attack, EmbeddingPGD) or (isinstance(attack, Distractor) and kind != "span"):
            why = "needs a context" if isinstance(attack, Distractor) else "changes no text"
            raise ValueError(f"{type(attack).__name__} {why}: try Typos() or CodeMixing().")
        row, problem = self.edited(example, **edits)
        if problem:
            raise ValueError(problem)
        rows = [*self._list[:at], row, *self._list[at + 1 :]]
        with self._attacked_model.model.rotated(self._turn):
            clean = self._attacked_model.predict([row])
            (found,) = run_attack(
                self._attacked_model, rows, clean * len(rows), [at], self.language, attack
            )
        return named(kind, found.texts)


def shown(task: Task, code: str, before: Reading, after: Reading, caption: str) -> HTML:
    """Two readings of a row side by side, and how far the numbers moved."""
    both = (before, after)
    rows = [["input", *(_input(task, code, own, before) for own in both), ""]]
    rows.append(["answer", *(_answer(task, code, own) for own in both), ""])
    numbers = {}
    for i, name in enumerate(before.labels):
        said = f"{name} [{GOLD}]" if i == before.row["label"] else name
        what = "choice " if task.kind == "choice" else ""
        numbers[f"probability of {what}{said}"] = [own.labels.get(name, NAN) for own in both]
    if task.kind == "span":
        numbers = {
            ANSWER: [own.probability for own in both],
            f"probability of {GOLD}": [own.gold for own in both],
            "F1": [own.score for own in both],
        }
    if task.kind == "tagging":
        numbers[f"mean probability of {GOLD} tags"] = [own.gold for own in both]
    for name, (one, other) in numbers.items():
        # Two different answers have each a probability of their own: nothing moved.
        other_answer = name == ANSWER and after.pred and before.pred != after.pred
        step = "another answer" if other_answer else _step(other - one)
        rows.append([escape(name), *map(_number, (one, other)), step])
    heads = ["", "as it is", "edited", "moved"]
    if before.row == after.row:
        heads, rows = heads[:2], [row[:2] for row in rows]
    note = f"<p><b>{markup.WRONG} {escape(after.problem)}</b></p>" if after.problem else ""
    if len(heads) > 2 and not after.problem:
        note = f"<p><small>{GOLD} is what was right before the edit; is it still?</small></p>"
    return markup.view(markup.table(caption, heads, rows), note)


def _step(value: float) -> str:
    """How far a number moved."""
    if math.isnan(value):
        return "–"
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{markup.bar(value)}{value:.2f}"


def _answer(task: Task, code: str, own: Reading) -> str:
    """What was answered, and whether that is right."""
    if not own.pred:
        return "–"
    said = f"choice {own.pred}" if task.kind == "choice" else escape(own.pred)
    if task.kind == "tagging":
        count = len(own.row["tags"])
        hits = "" if math.isnan(own.score) else f"{round(own.score * count)} of "
        said = f"{hits}{count} tags"
    if task.kind == "span":
        said = markup.text(own.pred, code)
    if math.isnan(own.score):
        return f"{said}<br><small>nothing to compare with</small>"
    part = "" if own.score in (0, 1) else f"score {own.score:.2f}"
    return markup.verdict(said, own.score == 1, part)


def _input(task: Task, code: str, own: Reading, before: Reading) -> str:
    """The texts of a row, with what was edited, what is right, and the answer to it."""
    row, right = own.row, not own.problem
    if task.kind == "tagging":
        gold = [task.labels[tag] for tag in row["tags"]] if right else []
        return markup.tagged(row["tokens"], code, {GOLD: gold, "answer": own.pred.split()})
    told, old = {}, named(task.kind, before.row)
    picked = {GOLD: row["label"] + 1, "answer": int(own.pred or 0)} if task.kind == "choice" else {}
    for name, text in named(task.kind, row).items():
        marks = [(*place, EDITED) for place in fresh(old[name], text)]
        if name == "context":
            answers = zip(row["answers"], row["starts"], strict=True) if right else ()
            marks += [(start, start + len(answer), GOLD) for answer, start in answers]
            marks += [(*own.place, "answer")] if own.pred else []
        said = markup.text(text, code, marks)
        who = [one for one, number in picked.items() if name == f"choice_{number}"]
        told[name] = markup.pointed(said, who) if who else said
    return lines(told)


NAN = float("nan")


@dataclass(frozen=True)
class Reading:
    """What the model makes of a row.

    Attributes:
        row: in canonical columns.
        pred: the label, the tags or the answer; of alternatives the number, from 1 on.
        score: as in the table of predictions, 0 to 1; NaN if there is nothing to compare with.
        gold: the probability of what is right: of a label; of an answer, start times end; of
            tags, the geometric mean over the words. NaN likewise.
        probability: the same of what was predicted; NaN for tags.
        labels: the probabilities of all labels or alternatives, in their order.
        place: of the answer in the context, from and to (characters).
        problem: why there is nothing to compare with, or to read.
    """

    row: Row
    pred: str = ""
    score: float = NAN
    gold: float = NAN
    probability: float = NAN
    labels: Mapping[str, float] = field(default_factory=dict)
    place: tuple[int, int] = (0, 0)
    problem: str = ""


def read(model: AttackedModel, rows: Sequence[Row]) -> list[Reading]:
    """What a model makes of each row; all are read in one stream of batches."""
    kind, task = model.type, model.task
    features = model.encode(rows)
    pairs = outputs(model.model, kind, model.head, features, model.tokenizer, losses=True)
    verdicts = model.predictions(rows, features, pairs)
    found = []
    for row, verdict in zip(rows, verdicts, strict=True):
        pred, score = verdict.columns["pred"], verdict.score
        if kind.name == "tagging":
            gold = math.exp(-verdict.loss / max(1, len(row["tokens"])))
            found.append(Reading(row, pred, score, gold))
            continue
        if kind.name == "span":
            found.append(Reading(row, pred, score, math.exp(-verdict.loss / kind.unit_weight)))
            continue
        sure = np.exp(verdict.columns["log_probs"].astype(float))
        names = task.labels or [str(i + 1) for i in range(len(sure))]
        labels = dict(zip(names, sure.tolist(), strict=True))
        best, right = names[int(sure.argmax())], names[row["label"]]
        found.append(Reading(row, best, score, labels[right], labels[best], labels))
    return _placed(model, found, features, pairs) if kind.name == "span" else found


def _placed(
    model: AttackedModel,
    found: Sequence[Reading],
    features: Sequence[EncodedExample],
    pairs: Sequence[Any],
) -> list[Reading]:
    """Readings of questions with the places of the answers and their probabilities."""
    best: dict[int, tuple[float, int, int]] = {}
    for feature, ((score, first, last), _) in zip(features, pairs, strict=True):
        offsets = feature.meta.offsets
        window = (score, int(offsets[first][0]), int(offsets[last][1]))
        best[feature.example] = max(best.get(feature.example, window), window, key=lambda w: w[0])
    placed = []
    for i, own in enumerate(found):
        _, start, end = best[i]
        start = end - len(own.row["context"][start:end].lstrip())
        placed.append(replace(own, place=(start, start + len(own.pred))))
    # The probability of an answer is that of the right one, if it were the right one.
    as_gold = [{**own.row, "answers": [own.pred], "starts": [own.place[0]]} for own in placed]
    sure = [math.exp(-v.loss / model.type.unit_weight) for v in model.predict(as_gold)]
    return [replace(own, probability=p) for own, p in zip(placed, sure, strict=True)]
