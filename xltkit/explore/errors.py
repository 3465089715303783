"""The error browser: the answers of two arms to the same test examples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from xltkit.data.languages import language as find_language
from xltkit.data.text import Row, word_spans
from xltkit.explore import html
from xltkit.keys import choose
from xltkit.studies.make import test_rows
from xltkit.studies.results import Results
from xltkit.studies.stages import Stage
from xltkit.tasks import get
from xltkit.tasks.base import Task

GOLD = "gold"
OUTCOMES = {
    (True, True): "both right",
    (True, False): "only the first right",
    (False, True): "only the second right",
    (False, False): "both wrong",
}
ALL = "all"


def shown_tasks(results: Results) -> list[str]:
    """The tasks of a study that have texts, predicted row by row."""
    tasks = dict.fromkeys(run.task for run in results.study.runs)
    return [task for task in tasks if get(task).type.is_attackable]


def choices(results: Results, task: str) -> dict[str, list[Any]]:
    """What a task of a study was tested with: each ``arm``, ``language`` and ``seed``.

    Transfer languages come first.

    Raises:
        ValueError: for a task that cannot be shown, or was scored on other texts than its rows.
    """
    choose("task with texts", task, shown_tasks(results))
    runs = [run for run in results.study.runs if run.task == task]
    phases = [run.stage.phase for run in runs]
    if any(phase.attack or phase.mixed or phase.smoothing for phase in phases):
        raise ValueError(f"{task} was scored anew; give the study's own results, not rescore()'s.")
    languages = [c for c in phases[0].languages if all(c in phase.languages for phase in phases)]
    return {
        "arm": list(dict.fromkeys(run.arm for run in runs)),
        "language": sorted(languages, key=lambda code: code == results.study.source),
        "seed": list(dict.fromkeys(run.seed for run in runs)),
    }


def chosen_stage(results: Results, task: str, arm: str, language: str, seed: int) -> Stage:
    """The evaluation of an arm and a seed in a language; ValueError if there is none."""
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

    An example is right if its score is 1: of spans the answer word for word, of tags every one.

    Args:
        results: of a study, which has the task, the two arms, the language and the seed.
        outcome: which examples, such as ``both wrong``; all, unless named.
        first: how many examples are shown, in the order of the test set.
        skip: how many of them come before.

    Raises:
        ValueError: for a name that does not exist; the message says which do.
    """
    stages = [chosen_stage(results, task, arm, language, seed) for arm in arms]
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
    gold = answer_text(row, next(iter(answers.values()))["gold"])
    marks = []  # where a gold answer stands, and wherever a prediction does, which keeps no place
    if "context" in row:
        gold = " / ".join(dict.fromkeys(row["answers"]))
        spans = zip(row["answers"], row["starts"], strict=True)
        marks = [(start, start + len(answer), GOLD) for answer, start in spans]
    cells = [_answer(row, gold, code)]
    for arm, answer in answers.items():
        pred = answer_text(row, answer["pred"])
        marks += [(*place, arm) for place in occurrences(pred, row.get("context", ""))]
        note = "" if answer["score"] in (0, 1) else f", score {answer['score']:.2f}"
        if isinstance(answer.get("log_probs"), np.ndarray):
            note = f", p {np.exp(answer['log_probs'].max()):.2f}"
        verdict = "✓ right" if answer["score"] == 1 else "✗ wrong"
        cells.append(f"{_answer(row, pred, code, gold)}<br><small>{verdict}{note}</small>")
    texts = ""
    for name, words in texts_by_name(task, row).items():
        shown = html.text(words, code, marks if name == "context" else ())
        texts += f"<div><small>{escape(name)}</small> {shown}</div>"
    return [texts, *cells]


def _answer(row: Row, answer: str, code: str, gold: str = "") -> str:
    """An answer as HTML; tags stand below their words, if they differ from the gold ones."""
    if "tokens" in row:
        right = gold.split() or [""] * len(row["tokens"])
        triples = zip(row["tokens"], answer.split(), right, strict=False)
        return html.annotated((word, "" if tag == gold else tag) for word, tag, gold in triples)
    return html.text(answer, code) if "context" in row else escape(answer)


def texts_by_name(task: Task, row: Row) -> dict[str, str]:
    """The texts of a row by name: ``choice_1`` is the first of ``choices``, tokens are joined."""
    texts = {}
    for column in task.type.texts:
        if column == "tokens":
            texts[column] = " ".join(row[column])
        elif column == "choices":
            texts |= {f"choice_{i}": text for i, text in enumerate(row[column], 1)}
        else:
            texts[column] = row[column]
    return texts


def answer_text(row: Row, answer: str) -> str:
    """An answer of the table of predictions; alternatives are counted from 1, as people do."""
    return f"choice_{int(answer) + 1}" if "choices" in row else answer


def occurrences(answer: str, context: str) -> list[tuple[int, int]]:
    """Where an answer stands in a context: as whole words, if it does so anywhere."""
    if not answer:
        return []
    places = [match.span() for match in re.finditer(re.escape(answer), context)]
    edges = {edge for span in word_spans(context) for edge in span}
    return [place for place in places if edges.issuperset(place)] or places
