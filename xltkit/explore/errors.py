"""The error browser: the answers of two arms to the same test examples."""

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
from xltkit.explore import html as markup
from xltkit.explore.html import GOLD
from xltkit.studies.make import test_rows
from xltkit.studies.results import Results
from xltkit.tasks import Task, get

# What can be said of an example, by which of the arms are right; one place for these words.
OUTCOMES: dict[int, dict[tuple[bool, ...], str]] = {
    1: {(True,): "right", (False,): "wrong"},
    2: {
        (True, True): "both right",
        (True, False): "only arm {0} right",
        (False, True): "only arm {1} right",
        (False, False): "both wrong",
    },
}
ALL = "all"
LEGENDS = {
    "span": "<p><small>Marks name who gives these words; those of an arm are marked wherever they "
    "stand in the context, for predictions keep no places.</small></p>"
}


class Choices(NamedTuple):
    """What may be asked for of a study and a task; the first of each is taken unless named."""

    tasks: list[str]
    arms: list[str]
    languages: list[str]
    seeds: list[int]
    outcomes: list[str]


class Answers(NamedTuple):
    """The answers of some arms to the same examples.

    ``table`` has one row an example, indexed by id: ``gold``, ``outcome``, and of each arm, as
    ``right/<arm>`` and so on, whether it is ``right``, and its ``pred``, ``score`` and, of labels,
    ``scores``. ``rows`` are the test rows.
    """

    task: Task
    arms: tuple[str, ...]
    language: str
    seed: int
    table: pd.DataFrame
    rows: Any


def choices(results: Results, task: str = "", arms: Sequence[str] = ()) -> Choices:
    """What ``errors`` can be asked for.

    Args:
        results: of a study.
        task: one of its tasks; the first that can be shown, unless named.
        arms: one or two of its arms; the first two, unless named.

    Raises:
        ValueError: for a task or an arm that is not there, or cannot be shown.
    """
    cells = results.study.runs
    tasks = [n for n in dict.fromkeys(c.task for c in cells) if get(n).kind in DRAWN]
    if not tasks:
        raise ValueError(f"No task of this study can be shown; {', '.join(DRAWN)} can.")
    if task and task not in tasks and task in (c.task for c in cells):
        raise ValueError(
            f"{task} is {get(task).kind}; tasks that can be shown are {', '.join(DRAWN)}, "
            f"here {', '.join(tasks)}."
        )
    task = pick("task", task, tasks)
    known = list(dict.fromkeys(c.arm for c in cells))
    arms = _arms(arms, known)
    mine = [c for c in cells if c.task == task and c.arm in arms]
    check_plain(mine[0])
    source = results.study.source
    by_arm = [[x for c in mine if c.arm == arm for x in c.stage.phase.languages] for arm in arms]
    shared = [x for x in dict.fromkeys(by_arm[0]) if all(x in codes for codes in by_arm)]
    if not shared:
        raise ValueError(f"{' and '.join(arms)} have no language in common; show one arm.")
    shared.sort(key=lambda code: code == source)  # transfer languages first, in their order
    seeds = list(dict.fromkeys(c.seed for c in mine))
    return Choices(tasks, known, shared, seeds, [ALL, *_names(arms).values()])


def pick(what: str, value: Any, allowed: Sequence[Any]) -> Any:
    """The value, or the first one that is allowed if none is given.

    Raises:
        ValueError: for one that is not, naming those that are.
    """
    if value in ("", None):
        return allowed[0]
    if value not in allowed:
        raise ValueError(f"There is no {what} {value!r} here; type one of {list(allowed)}.")
    return value


def check_plain(cell: Any) -> None:
    """Raise ValueError if a cell read other texts than those of the test set."""
    phase = cell.stage.phase
    if phase.attack or phase.mixed:
        way = "under attack" if phase.attack else "in mixed languages"
        raise ValueError(
            f"{cell.task} was scored {way}; give the results of the study itself, not of rescore()."
        )


def _arms(arms: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    arms = (arms,) if isinstance(arms, str) else tuple(arms or known[:2])
    for arm in arms:
        pick("arm", arm, known)
    if len(set(arms)) != len(arms) or len(arms) > 2:
        raise ValueError(f"arms is {list(arms)}; give one or two different ones of {list(known)}.")
    return arms


def _names(arms: Sequence[str]) -> dict[tuple[bool, ...], str]:
    return {key: name.format(*arms) for key, name in OUTCOMES[len(arms)].items()}


def answers(
    results: Results, task: str = "", arms: Sequence[str] = (), *, language: str = "",
    seed: int | None = None, right: float = 1.0,
) -> Answers:  # fmt: skip
    """The answers of one arm or two to the test examples of a task in a language.

    Args:
        results: of a study.
        task: of the study; the first that can be shown, unless named.
        arms: one or two; the first two, unless named.
        language: a test language; the first transfer language, unless named.
        seed: of the study; the first, unless named.
        right: the score (0 to 1) from which on an example counts as right. Labels score 0 or 1;
            of spans (F1) and tags (share) only the perfect ones count unless this is lowered.

    Raises:
        ValueError: for a name that is not there; the message says which are.
    """
    may = choices(results, task, arms)
    task, arms = pick("task", task, may.tasks), _arms(arms, may.arms)
    language = pick("language", language, may.languages)
    seed = pick("seed", seed, may.seeds)
    said = results.predictions
    said = said[(said["task"] == task) & (said["language"] == language) & (said["seed"] == seed)]
    by_arm = {arm: said[said["arm"] == arm].set_index("example_id") for arm in arms}
    table = by_arm[arms[0]][["gold"]].copy()
    for arm, own in by_arm.items():
        for column in ("pred", "score", "log_probs"):
            if column in own:
                table[f"{column}/{arm}"] = own[column]
        table[f"right/{arm}"] = table[f"score/{arm}"].astype(float) >= right
    names, ok = _names(arms), [table[f"right/{arm}"] for arm in arms]
    table["outcome"] = [names[key] for key in zip(*ok, strict=True)]
    phase = next(c for c in results.study.runs if (c.task, c.arm) == (task, arms[0])).stage.phase
    return Answers(get(task), arms, language, seed, table, test_rows(get(task), phase, language))


def outcomes(
    results: Results, task: str = "", arms: Sequence[str] = (), **options: Any
) -> pd.DataFrame:
    """How many test examples have each outcome.

    Args:
        results, task, arms, options: as in ``answers``.

    Returns:
        One row an outcome, in words: ``outcome``, ``n``, ``share`` (%).
    """
    return _counts(answers(results, task, arms, **options))


def _counts(told: Answers) -> pd.DataFrame:
    n = told.table["outcome"].value_counts().reindex(list(_names(told.arms).values()), fill_value=0)
    table = n.rename_axis("outcome").rename("n").reset_index()
    return table.assign(share=100 * table["n"] / max(1, table["n"].sum()))


def errors(
    results: Results, task: str = "", arms: Sequence[str] = (), *, language: str = "",
    outcome: str = ALL, seed: int | None = None, first: int = 8, skip: int = 0,
    right: float = 1.0,
) -> HTML:  # fmt: skip
    """The error browser: test examples with the right answer and those of one arm or two.

    Args:
        results: of a study.
        task, arms, language, seed, right: as in ``answers``.
        outcome: which examples, in the words of ``outcomes``; all, unless named.
        first: how many of them are shown, in the order of the test set.
        skip: how many of them come before.

    Raises:
        ValueError: for a name that is not there; the message says which are.
    """
    told = answers(results, task, arms, language=language, seed=seed, right=right)
    names = [ALL, *_names(told.arms).values()]
    outcome = pick("outcome", outcome, names)
    found = told.table if outcome == ALL else told.table[told.table["outcome"] == outcome]
    some = found.iloc[skip : skip + first]
    about, total = _about(told, right), f"of {len(found)}: {escape(outcome)}"
    if some.empty:
        return markup.view(about, f"<p>Nothing to show after {skip} {total}.</p>")
    where = {key: i for i, key in enumerate(told.rows["id"][:])}
    draw = partial(_drawn, told, where)
    caption = f"Examples {skip + 1} to {skip + len(some)} {total}"
    arms = [f"<small>arm</small> {escape(arm)}" for arm in told.arms]
    heads = ["example", "input", GOLD, *arms]
    table = markup.table(caption, heads, [draw(*own) for own in some.iterrows()])
    return markup.view(about, table, LEGENDS.get(told.task.kind, ""))


def _about(told: Answers, right: float) -> str:
    """The line above: how many examples there are, and of each outcome."""
    name = find_language(told.language).name
    counts = ", ".join(
        f"<b>{row.n}</b> {escape(row.outcome)} ({row.share:.0f} %)"
        for row in _counts(told).itertuples()
    )
    rule = {"span": "the answer word for word", "tagging": "every tag"}.get(told.task.kind)
    means = (
        f" Right means {rule if right == 1 else f'a score of {right:g} or more'}." if rule else ""
    )
    return (
        f"<p><b>{escape(told.task.name)}</b> in {escape(name)} ({escape(told.language)}), seed "
        f"{told.seed}: {len(told.table)} test examples in all, of which {counts}.{means}</p>"
    )


def _drawn(told: Answers, where: Mapping[str, int], key: str, own: pd.Series) -> list[str]:
    """The cells of one example."""
    row = told.rows[where[key]]
    said = {arm: own[f"pred/{arm}"] for arm in told.arms}
    find = lambda other: told.rows[where[other]]  # noqa: E731
    shown, gold, given = DRAWN[told.task.kind](row, own["gold"], said, told.language, find)
    cells = []
    for arm in told.arms:
        score, sure = own[f"score/{arm}"], own.get(f"log_probs/{arm}")
        more = "" if score in (0, 1) else f"score {score:.2f}"
        if isinstance(sure, np.ndarray):
            more = f"p {np.exp(sure.max()):.2f}"
        inner = f'<span class="xlt-said">{given[arm]}</span>'
        cells.append(markup.verdict(inner, own[f"right/{arm}"], more))
    head = f"{escape(key)}<br><small>{escape(own['outcome'])}</small>"
    return [head, shown, gold, *cells]


Row = Mapping[str, Any]
# The input, the right answer, and the answer of each arm; all are HTML.
Parts = tuple[str, str, dict[str, str]]
Find = Callable[[str], Row]  # another row of the test set, by its id


def occurrences(answer: str, context: str) -> list[tuple[int, int]]:
    """Where an answer stands in a context: as whole words, if it does so anywhere."""
    found, start = [], context.find(answer) if answer else -1
    while start >= 0:
        found.append((start, start + len(answer)))
        start = context.find(answer, start + 1)
    starts, ends = (
        (set(edge) for edge in zip(*word_spans(context), strict=True)) if found else ((), ())
    )
    inside = lambda at: at and context[at - 1].isalnum() and context[at : at + 1].isalnum()  # noqa: E731
    whole = [
        (a, b) for a, b in found if (a in starts or not inside(a)) and (b in ends or not inside(b))
    ]
    return whole or found


def lines(texts: Mapping[str, str]) -> str:
    """Texts, HTML already, one under the other, each beside its name."""
    return "".join(
        f'<div class="xlt-line"><small>{name}</small><div>{said}</div></div>'
        for name, said in texts.items()
    )


def _classification(row: Row, gold: str, said: dict[str, str], code: str, find: Find) -> Parts:
    shown = {"first": row["text_a"], "second": row["text_b"]}
    shown = lines({name: markup.text(said, code) for name, said in shown.items()})
    return shown, escape(gold), {arm: escape(label) for arm, label in said.items()}


def _choice(row: Row, gold: str, said: dict[str, str], code: str, find: Find) -> Parts:
    """Alternatives are counted from 1, as people do."""
    picked = {GOLD: gold} | said
    items = []
    for i, choice in enumerate(row["choices"]):
        who = [name for name, at in picked.items() if int(at) == i]
        inner = markup.text(choice, code)
        items.append(f"<li>{markup.pointed(inner, who) if who else inner}</li>")
    listed = f"<ol>{''.join(items)}</ol>"
    shown = lines({"premise": markup.text(row["premise"], code), "choices": listed})
    number = {name: f"choice {int(at) + 1}" for name, at in picked.items()}
    return shown, number.pop(GOLD), number


def _tagging(row: Row, gold: str, said: dict[str, str], code: str, find: Find) -> Parts:
    tags = {name: given.split() for name, given in ({GOLD: gold} | said).items()}
    count = len(tags[GOLD])
    hits = {arm: sum(g == t for g, t in zip(tags[GOLD], tags[arm], strict=True)) for arm in said}
    told = {arm: f"{n} of {count} tags" for arm, n in hits.items()}
    return markup.tagged(row["tokens"], code, tags), f"{count} tags", told


def _span(row: Row, gold: str, said: dict[str, str], code: str, find: Find) -> Parts:
    """Gold answers have their places; a prediction is marked wherever its words stand."""
    marks = [
        (start, start + len(answer), GOLD)
        for answer, start in zip(row["answers"], row["starts"], strict=True)
    ]
    for arm, answer in said.items():
        marks += [(*place, arm) for place in occurrences(answer, row["context"])]
    context = markup.text(row["context"], code, marks, "div")
    shown = lines({"question": markup.text(row["question"], code), "context": context})
    golds = " / ".join(markup.text(a, code) for a in dict.fromkeys(json.loads(gold)))
    return shown, golds, {arm: markup.text(answer, code) for arm, answer in said.items()}


def _retrieval(row: Row, gold: str, said: dict[str, str], code: str, find: Find) -> Parts:
    shown = lines({"find": markup.text(row["english"], "en")})
    found = {arm: markup.text(find(key)["text"], code) for arm, key in said.items()}
    return shown, markup.text(row["text"], code), found


DRAWN: dict[str, Callable[[Row, str, dict[str, str], str, Find], Parts]] = {
    "classification": _classification,
    "choice": _choice,
    "tagging": _tagging,
    "span": _span,
    "retrieval": _retrieval,
}
