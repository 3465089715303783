"""The error browser: the answers of one arm or two to the same test examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from IPython.display import HTML

from xltkit.data.languages import language as find_language
from xltkit.data.text import word_spans
from xltkit.explore import html
from xltkit.explore.html import GOLD
from xltkit.keys import choose
from xltkit.studies.make import test_rows
from xltkit.studies.results import Results
from xltkit.tasks import get

Row = Mapping[str, Any]
# The input, and by name (gold, or an arm) the answer; all are HTML.
Parts = tuple[str, dict[str, str]]

ALL = "all"
RULES = {"span": "the answer word for word", "tagging": "every tag"}  # when an answer is right
SPAN_NOTE = (
    "<p><small>Marks name whose answer these words are; those of an arm are marked wherever they "
    "stand in the context, for predictions keep no places.</small></p>"
)


class Choices(NamedTuple):
    """What may be asked for of a study and a task; the first of each is taken unless named."""

    tasks: list[str]
    arms: list[str]
    languages: list[str]
    seeds: list[int]
    outcomes: list[str]


def choices(results: Results, task: str = "", arms: Sequence[str] = ()) -> Choices:
    """What ``errors`` can be asked for.

    Args:
        results: of a study.
        task: one of its tasks; the first that can be shown, unless named.
        arms: one or two of its arms; the first two, unless named.

    Raises:
        ValueError: for a task or an arm that does not exist or cannot be shown.
    """
    runs = results.study.runs
    tasks = [name for name in dict.fromkeys(run.task for run in runs) if get(name).kind in SHOWN]
    if not tasks:
        raise ValueError(f"No task of this study can be shown; {', '.join(SHOWN)} can.")
    task = pick("task", task, tasks)
    all_arms = list(dict.fromkeys(run.arm for run in runs))
    arms = list(arms or all_arms[:2])
    for arm in arms:
        choose("arm", arm, all_arms)
    runs = [run for run in runs if run.task == task and run.arm in arms]
    phase = runs[0].stage.phase
    if phase.attack or phase.mixed:
        raise ValueError(
            f"{task} was scored {'under attack' if phase.attack else 'in mixed languages'}; "
            "give the results of the study itself, not of rescore()."
        )
    languages = list(phase.languages)
    for run in runs:
        languages = [code for code in languages if code in run.stage.phase.languages]
    if not languages:
        raise ValueError(f"{' and '.join(arms)} have no language in common; show one arm.")
    languages.sort(key=lambda code: code == results.study.source)  # transfer languages first
    seeds = list(dict.fromkeys(run.seed for run in runs))
    return Choices(tasks, all_arms, languages, seeds, [ALL, *_outcome_names(arms).values()])


def pick(what: str, given: Any, allowed: Sequence[Any]) -> Any:
    """What is given, if it is allowed; the first that is allowed if nothing is given."""
    return allowed[0] if given in ("", None) else choose(what, given, allowed)


def _outcome_names(arms: Sequence[str]) -> dict[tuple[bool, ...], str]:
    """What can be said of an example, by whether each of one arm or two different ones is right."""
    if len(arms) == 1:
        return {(True,): "right", (False,): "wrong"}
    if len(set(arms)) != 2 or len(arms) != 2:
        raise ValueError(f"arms is {list(arms)}; give one or two different ones.")
    return {
        (True, True): "both right",
        (True, False): f"only arm {arms[0]} right",
        (False, True): f"only arm {arms[1]} right",
        (False, False): "both wrong",
    }


def errors(
    results: Results,
    task: str = "",
    arms: Sequence[str] = (),
    *,
    language: str = "",
    outcome: str = ALL,
    seed: int | None = None,
    first: int = 8,
    skip: int = 0,
    right: float = 1.0,
) -> HTML:
    """Test examples with the right answer and those of one arm or two.

    Args:
        results: of a study.
        task: of the study; the first that can be shown, unless named.
        arms: one or two; the first two, unless named.
        language: a test language; the first transfer language, unless named.
        outcome: which examples, such as ``both wrong``; all, unless named.
        seed: of the study; the first, unless named.
        first: how many examples are shown, in the order of the test set.
        skip: how many of them come before.
        right: the score (0 to 1) from which on an example counts as right. Labels score 0 or 1;
            of spans (F1) and tags (share) only the perfect ones count unless this is lowered.

    Raises:
        ValueError: for a name that does not exist; the message says which do.
    """
    allowed = choices(results, task, arms)
    task = pick("task", task, allowed.tasks)
    arms = list(arms or allowed.arms[:2])
    language = pick("language", language, allowed.languages)
    seed = pick("seed", seed, allowed.seeds)
    choose("outcome", outcome, allowed.outcomes)
    table = results.predictions
    table = table[(table["task"] == task) & (table["seed"] == seed)]
    table = table[table["language"] == language].set_index("example_id")
    answers = {arm: table[table["arm"] == arm] for arm in arms}
    is_right = [answers[arm]["score"].astype(float) >= right for arm in arms]
    names = _outcome_names(arms)
    outcomes = pd.Series([names[key] for key in zip(*is_right, strict=True)], is_right[0].index)

    name = f"<b>{escape(task)}</b> in {escape(find_language(language).name)} ({escape(language)})"
    counts = [f"<b>{sum(outcomes == o)}</b> {escape(o)}" for o in names.values()]
    rule = RULES.get(get(task).kind, "")
    if rule:
        rule = f" Right means {rule if right == 1 else f'a score of {right:g} or more'}."
    summary = f"<p>{name}, seed {seed}: {len(outcomes)} test examples in all, of which "
    summary += f"{', '.join(counts)}.{rule}</p>"
    shown = outcomes if outcome == ALL else outcomes[outcomes == outcome]
    page = shown.iloc[skip : skip + first]
    if page.empty:
        nothing = f"Nothing to show after {skip} of {len(shown)}: {escape(outcome)}."
        return html.view(summary, f"<p>{nothing}</p>")

    run = next(run for run in results.study.runs if (run.task, run.arm) == (task, arms[0]))
    rows = test_rows(get(task), run.stage.phase, language)
    places = {example: i for i, example in enumerate(rows["id"][:])}
    show = partial(SHOWN[get(task).kind], code=language, find=lambda name: rows[places[name]])
    lines = []
    for example in page.index:
        labels = {arm: answers[arm]["pred"][example] for arm in arms}
        labels = {GOLD: answers[arms[0]]["gold"][example], **labels}
        given, cells = show(rows[places[example]], labels)
        for arm in arms:
            row = answers[arm].loc[example]
            cells[arm] = html.verdict(cells[arm], row["score"] >= right, _note(row))
        head = f"{escape(example)}<br><small>{escape(outcomes[example])}</small>"
        lines.append([head, given, *cells.values()])
    caption = f"Examples {skip + 1} to {skip + len(page)} of {len(shown)}: {escape(outcome)}"
    heads = ["example", "input", GOLD, *(f"<small>arm</small> {escape(arm)}" for arm in arms)]
    note = SPAN_NOTE if get(task).kind == "span" else ""
    return html.view(summary, html.table(caption, heads, lines), note)


def _note(row: pd.Series) -> str:
    """How sure a label was, or how good an answer that is neither right nor wrong."""
    log_probs = row.get("log_probs")
    if isinstance(log_probs, np.ndarray):
        return f"p {np.exp(log_probs.max()):.2f}"
    return "" if row["score"] in (0, 1) else f"score {row['score']:.2f}"


def occurrences(answer: str, context: str) -> list[tuple[int, int]]:
    """Where an answer stands in a context: as whole words, if it does so anywhere."""
    places = []
    start = context.find(answer) if answer else -1
    while start >= 0:
        places.append((start, start + len(answer)))
        start = context.find(answer, start + 1)
    spans = word_spans(context)
    inside = {place for start, end in spans for place in range(start + 1, end)}
    whole = [place for place in places if not inside & set(place)]
    return whole or places


def _classification(row: Row, answers: dict[str, str], code: str, find: Callable) -> Parts:
    texts = {"first": html.text(row["text_a"], code), "second": html.text(row["text_b"], code)}
    return html.named_texts(texts), {name: escape(label) for name, label in answers.items()}


def _choice(row: Row, answers: dict[str, str], code: str, find: Callable) -> Parts:
    """Alternatives are counted from 1, as people do."""
    texts = {"premise": html.text(row["premise"], code)}
    for i, choice in enumerate(row["choices"]):
        texts[f"choice {i + 1}"] = html.text(choice, code)
    return html.named_texts(texts), {n: f"choice {int(a) + 1}" for n, a in answers.items()}


def _tagging(row: Row, answers: dict[str, str], code: str, find: Callable) -> Parts:
    """The gold tag of every word; of an arm the words whose tag is another one."""
    gold = answers[GOLD].split()
    cells = {}
    for name, tags in answers.items():
        pairs = list(zip(row["tokens"], tags.split(), gold, strict=False))
        if name == GOLD:
            cells[name] = html.annotated((word, tag) for word, tag, _ in pairs)
            continue
        wrong = [(word, tag) for word, tag, right in pairs if tag != right]
        cells[name] = f"{len(pairs) - len(wrong)} of {len(gold)} tags {html.annotated(wrong)}"
    return html.text(" ".join(row["tokens"]), code), cells


def _span(row: Row, answers: dict[str, str], code: str, find: Callable) -> Parts:
    """Gold answers have their places; a prediction is marked wherever its words stand."""
    marks = [
        (start, start + len(answer), GOLD)
        for answer, start in zip(row["answers"], row["starts"], strict=True)
    ]
    cells = {}
    for name, answer in answers.items():
        if name == GOLD:
            gold = dict.fromkeys(json.loads(answer))
            cells[name] = " / ".join(html.text(words, code) for words in gold)
            continue
        marks += [(start, end, name) for start, end in occurrences(answer, row["context"])]
        cells[name] = html.text(answer, code)
    context = html.text(row["context"], code, marks)
    texts = {"question": html.text(row["question"], code), "context": context}
    return html.named_texts(texts), cells


def _retrieval(row: Row, answers: dict[str, str], code: str, find: Callable) -> Parts:
    cells = {GOLD: html.text(row["text"], code)}
    for name, other in answers.items():
        if name != GOLD:
            cells[name] = html.text(find(other)["text"], code)
    return html.named_texts({"find": html.text(row["english"], "en")}), cells


# By task type: a row and the answers to it by name, as HTML.
SHOWN: dict[str, Callable[..., Parts]] = {
    "classification": _classification,
    "choice": _choice,
    "tagging": _tagging,
    "span": _span,
    "retrieval": _retrieval,
}
