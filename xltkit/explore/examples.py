"""How an example of each kind of task is shown: its input, the right answer, other answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from xltkit.data.text import word_spans
from xltkit.explore import html as markup
from xltkit.explore.html import GOLD

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
