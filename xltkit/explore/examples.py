"""Test examples with the answers of trained models, to browse or to edit and predict again."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from xltkit.data.languages import language as find_language
from xltkit.data.text import Row, word_spans
from xltkit.evaluation.attacked import AttackedModel
from xltkit.evaluation.attacks import Attack
from xltkit.explore import html
from xltkit.keys import choose
from xltkit.studies.make import reader, test_rows
from xltkit.studies.results import Results
from xltkit.studies.stages import Stage
from xltkit.tasks import get
from xltkit.tasks.base import Task
from xltkit.tasks.tagging import tags_of

GOLD = "gold"
PROBABILITY = "probability of gold"
CERTAINTY = "probability of answer"  # of labels and alternatives
OUTCOMES = {
    (True, True): "both right",
    (True, False): "only the first right",
    (False, True): "only the second right",
    (False, False): "both wrong",
}
ALL = "all"


def shown_tasks(results: Results) -> list[str]:
    """The tasks of a study that have texts and are predicted row by row."""
    tasks = dict.fromkeys(run.task for run in results.study.runs)
    return [task for task in tasks if get(task).type.is_attackable]


def choices(results: Results, task: str) -> dict[str, list[Any]]:
    """What a task was tested with: each ``arm``, ``language`` (the source last) and ``seed``.

    Raises ValueError for a task that cannot be shown or was not scored on its own rows.
    """
    choose("task with texts", task, shown_tasks(results))
    runs = [run for run in results.study.runs if run.task == task]
    phases = [run.stage.phase for run in runs]
    if any(phase.attack or phase.mixed or phase.smoothing for phase in phases):
        raise ValueError(f"{task} was scored anew; give the study's own results, not rescore()'s.")
    languages = [c for c in phases[0].languages if all(c in phase.languages for phase in phases)]
    return {
        "arm": list(dict.fromkeys(run.arm for run in runs)),
        "language": sorted(languages, key=lambda code: code == runs[0].source),
        "seed": list(dict.fromkeys(run.seed for run in runs)),
    }


def _stage(results: Results, task: str, arm: str, language: str, seed: int) -> Stage:
    """The evaluation of an arm and a seed in a language. Raises ValueError if there is none."""
    allowed = choices(results, task)
    for name, value in {"arm": arm, "language": language, "seed": seed}.items():
        choose(name, value, allowed[name])
    runs = {(run.task, run.arm, run.seed): run for run in results.study.runs}
    return runs[task, arm, seed].stage


def errors(
    results: Results,
    task: str,
    arms: Sequence[str],
    language: str,
    seed: int,
    *,
    outcome: str = ALL,
    first: int = 8,
    skip: int = 0,
) -> HTML:
    """Test examples with the right answer and those of two arms.

    An example is right if its score is 1: the span word for word, or every tag. Shows the ``first``
    examples with an ``outcome``, such as ``both wrong``, in the order of the test set, after those
    to ``skip``. Raises ValueError for unknown names.
    """
    stages = [_stage(results, task, arm, language, seed) for arm in arms]
    choose("outcome", outcome, (ALL, *OUTCOMES.values()))
    table = results.predictions
    table = table[(table["task"] == task) & (table["seed"] == seed)]
    table = table[table["language"] == language].set_index("example_id")
    answers = {arm: table[table["arm"] == arm] for arm in arms}
    is_right = [answers[arm]["score"] == 1 for arm in (arms[0], arms[-1])]
    pairs = pd.Series(list(zip(*is_right, strict=True)), is_right[0].index)
    outcomes = pairs.map(OUTCOMES.get)
    shown = outcomes if outcome == ALL else outcomes[outcomes == outcome]
    page = shown.iloc[skip : skip + first]

    rows = test_rows(get(task), stages[0].phase, language)
    places = {example: i for i, example in enumerate(rows["id"][:])}
    lines = []
    for example in page.index:
        head = f"{escape(example)}<br><small>{escape(outcomes[example])}</small>"
        by_arm = {arm: of_arm.loc[example] for arm, of_arm in answers.items()}
        lines.append([head, *_cells(get(task), rows[places[example]], by_arm, language)])
    counts = [f"{sum(outcomes == name)} {name}" for name in OUTCOMES.values()]
    caption = (
        f"{escape(task)} in {escape(find_language(language).name)} ({escape(language)}), seed "
        f"{seed}: {len(outcomes)} test examples, of which {', '.join(counts)}. "
        f"Examples {skip + 1} to {skip + len(page)} of {len(shown)}: {outcome}"
    )
    heads = ["example", "input", GOLD, *(f"<small>arm</small> {escape(arm)}" for arm in answers)]
    return html.table(caption, heads, lines)


def _cells(task: Task, row: Row, answers: Mapping[str, pd.Series], code: str) -> list[str]:
    """The texts of an example, the gold answer and that of each arm, as HTML."""
    gold = _answer(row, next(iter(answers.values()))["gold"])
    marks = []  # where a gold answer is, and wherever a prediction is, since its place is not kept
    if "context" in row:
        gold = " / ".join(dict.fromkeys(row["answers"]))
        spans = zip(row["answers"], row["starts"], strict=True)
        marks = [(start, start + len(answer), GOLD) for answer, start in spans]
    cells = [_answer_html(task, row, gold, code)]
    for arm, answer in answers.items():
        pred = _answer(row, answer["pred"])
        marks += [(*place, arm) for place in occurrences(pred, row.get("context", ""))]
        note = "" if answer["score"] in (0, 1) else f", score {answer['score']:.2f}"
        if isinstance(answer.get("log_probs"), np.ndarray):
            note = f", p {np.exp(answer['log_probs'].max()):.2f}"
        verdict = "✓ right" if answer["score"] == 1 else "✗ wrong"
        answer_html = _answer_html(task, row, pred, code, gold)
        cells.append(f"{answer_html}<br><small>{verdict}{note}</small>")
    texts = ""
    for name, words in _texts(task, row).items():
        shown = html.text(words, code, marks if name == "context" else ())
        texts += f"<div><small>{escape(name)}</small> {shown}</div>"
    return [texts, *cells]


def _answer_html(task: Task, row: Row, answer: str, code: str, gold: str = "") -> str:
    """An answer as HTML; tags are below their words, if they differ from the gold ones."""
    if "tokens" in row:
        right = tags_of(task, gold) if gold else [""] * len(row["tokens"])
        triples = zip(row["tokens"], tags_of(task, answer), right, strict=False)
        return html.annotated((word, "" if tag == gold else tag) for word, tag, gold in triples)
    return html.text(answer, code) if "context" in row else escape(answer)


def _answer(row: Row, answer: str) -> str:
    """An answer from the table of predictions; alternatives are counted from 1."""
    return f"choice_{int(answer) + 1}" if "choices" in row else answer


def _texts(task: Task, row: Row) -> dict[str, str]:
    """The texts of a row by name, as ``choice_1``; tokens are joined, with no break inside them."""
    texts = {column: row[column] for column in task.type.texts}
    if "tokens" in texts:
        texts["tokens"] = " ".join(token.replace(" ", "\u00a0") for token in row["tokens"])
    if "choices" in texts:
        texts |= {f"choice_{i}": text for i, text in enumerate(texts.pop("choices"), 1)}
    return texts


def occurrences(answer: str, context: str) -> list[tuple[int, int]]:
    """Where an answer is in a context: as whole words, if it is so anywhere."""
    if not answer:
        return []
    places = [match.span() for match in re.finditer(re.escape(answer), context)]
    edges = {edge for span in word_spans(context) for edge in span}
    return [place for place in places if edges.issuperset(place)] or places


@lru_cache(maxsize=2)
def _load(stage: Stage, folder: Path) -> AttackedModel:
    """The trained model that an evaluation reads; two are kept in memory."""
    task, head, model, tokenizer = reader(stage, str(folder))
    return AttackedModel(model.eval(), task, head, tokenizer)


class Playground:
    """A trained model of a study and the test rows of a language, to be edited and predicted again.

    ``rows`` are in canonical columns; methods take the index of a row. Raises ValueError for
    unknown names, and FileNotFoundError if the store no longer has the model.
    """

    def __init__(self, results: Results, task: str, arm: str, language: str, seed: int):
        self.task = get(task)
        self.language = language
        self.of = f"arm {arm}, seed {seed}"
        stage = _stage(results, task, arm, language, seed)
        if not results.store.has(stage.parent.key):
            raise FileNotFoundError(
                f"The model of {self.of} for {task} is gone; results.study.run() trains it again."
            )
        rows = test_rows(self.task, stage.phase, language)
        self.rows = rows.select_columns(list(self.task.type.columns)).to_list()
        self._model = _load(stage, results.store.path(stage.parent.key))

    def texts(self, example: int, attack: Attack | None = None) -> dict[str, str]:
        """The texts of a row that can be edited, by name, after an attack on its words, if any."""
        row = self.rows[example]
        if attack:
            clean = self._model.predict([row])
            (result,) = attack.run(self._model, clean, self.rows, self.language)
            row = result.prediction.row
        return _texts(self.task, row)

    def compare(self, example: int, **edits: str) -> pd.DataFrame:
        """A row and the model's answer to it, before and after an edit.

        The answer before is what the study measured, up to rounding in bf16, where the batch
        matters. ``edits`` are new texts, by the names of ``texts``; raises ValueError for an
        unknown or empty one. Columns are ``as it is`` and, if anything was edited, ``edited``; rows
        are the texts, the ``answer``, in classification and choice the ``probability of answer``,
        and the answer's ``score`` (0 to 1) and the ``probability of gold``, both NaN if the edit
        left nothing to compare with.
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
            answer = {"answer": _answer(row, prediction.columns["pred"])}
            if "log_probs" in prediction.columns:
                answer[CERTAINTY] = math.exp(prediction.columns["log_probs"].max())
            numbers = {"score": prediction.score, PROBABILITY: math.exp(-prediction.loss / units)}
            table[name] = _texts(self.task, row) | answer | numbers
        if not has_gold:
            table["edited"] |= {"score": math.nan, PROBABILITY: math.nan}
        return pd.DataFrame(table)

    def ask(self, example: int, **edits: str) -> HTML:
        """The table of ``compare`` as HTML, with glosses for the words of the microworld."""
        table = self.compare(example, **edits)
        lines = []
        for name, values in table.iterrows():
            if name in (CERTAINTY, "score", PROBABILITY):
                cells = ["–" if math.isnan(value) else f"{value:.2f}" for value in values]
            else:
                cells = [html.text(value, self.language) for value in values]
            lines.append([escape(name), *cells])
        caption = (
            f"{escape(self.task.name)} {escape(self.rows[example]['id'])} in "
            f"{escape(find_language(self.language).name)} ({escape(self.language)}), predicted by "
            f"{escape(self.of)}. Gold is what was right before the edit; – means that nothing is "
            "left to compare with."
        )
        return html.table(caption, ["", *table.columns], lines)


def edited(task: Task, row: Row, edits: Mapping[str, str]) -> tuple[dict[str, Any], bool]:
    """A row with edited texts, and whether it can still be compared with its gold label.

    Gold answers move with the text around them; tags are kept if the number of words is unchanged.
    """
    old = _texts(task, row)
    for name, text in edits.items():
        choose("text", name, old)
        if not text.strip():
            raise ValueError(f"No text stands in {name}.")
    texts = old | edits
    if texts == old:
        return dict(row), True
    row = dict(row) | {column: texts[column] for column in task.type.texts if column in texts}
    if "choices" in row:
        row["choices"] = [texts[f"choice_{i}"] for i, _ in enumerate(row["choices"], 1)]
    has_gold = True
    if "tokens" in row:
        parts = re.findall("[^ \n]+", texts["tokens"])
        row["tokens"] = [word.replace("\u00a0", " ") for word in parts]
        has_gold = len(row["tokens"]) == len(row["tags"])
        row["tags"] = row["tags"] if has_gold else [0] * len(row["tokens"])
    if "context" in row:
        places = {}
        for answer, start in zip(row["answers"], row["starts"], strict=True):
            starts = [place for place, _ in occurrences(answer, row["context"])]
            if starts:
                places[answer] = min(starts, key=lambda place: abs(place - start))
        # A target must be somewhere, even if it is not compared with.
        has_gold = bool(places)
        row |= {"answers": list(places) or [""], "starts": list(places.values()) or [0]}
    return row, has_gold
