"""The template file of MultiCheckList: its format, and sentences made of its templates.

The format (google-research/xtreme, ``multichecklist/``, Ruder et al. 2021) is a table of
tab-separated columns. The first row names the languages; a language may have several columns,
each followed by ``<code>-placeholders``. Every further row starts with its field: ``Name`` and
``Capability`` open a test; ``Context`` rows and pairs of ``Question`` and ``Answer`` are its
templates; all other rows are the values of the slot they are named after, one meaning a row. An
empty row closes the test.

Several columns hold the variants that gender, animacy or idiom ask for: the text at the left is
for the English values (or properties, or contexts) that its placeholders list, and for all of
them if that is empty. In a row of answers the placeholders are a second wording instead.

Everything is chosen as English rows first and said in a language afterwards. So a sample is the
same in all languages that can say it, which is what makes the tests parallel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xltkit.keys import derive

# {first_name1}, {adj[0]}, {p.v1}, {a:vehicle}: name, number, index into a list, attribute
SLOT = re.compile(r"\{(?:[a-z]:)?([a-z_]+)(\d*)(?:\[(\d)\])?(?:\.(\w+))?\}")
NAME = "first_name"
ALIASES = {"s": "state"}  # the slot {s} is filled from the rows "state"
_LISTS = re.compile(r"\s*[,،，、၊]\s*")
_ARTICLE = re.compile(r"^(a|an|the) ")


class Variant(NamedTuple):
    """A wording, and the English items it is for (none: for all)."""

    text: str
    only: frozenset[str]


Row = Mapping[str, Sequence[Variant]]  # the wordings of one row of the table by language


@dataclass(frozen=True)
class Templates:
    """A test: templates and the values of its slots, by field."""

    name: str
    contexts: list[Row] = field(default_factory=list)
    questions: list[Row] = field(default_factory=list)
    answers: list[Row] = field(default_factory=list)
    values: dict[str, list[Row]] = field(default_factory=dict)


class Sample(NamedTuple):
    """What a question is about: a context, a question, names by slot, and a value for each slot."""

    context: int
    question: int
    names: tuple[tuple[str, int], ...]
    values: tuple[tuple[str, str, int], ...]  # slot, field, row


class Unsayable(LookupError):
    """A sample that a language has no words for."""


def items(text: str) -> frozenset[str]:
    """The parts of an English cell, comparable: without article, capitals and full stop."""
    parts = (_ARTICLE.sub("", part.strip().lower()).rstrip(".") for part in text.split(","))
    return frozenset(part for part in parts if part)


def slots(text: str) -> set[str]:
    """The slots of a template: ``first_name1``, ``adj``, ``p1``."""
    return {
        name + number if name == NAME else attribute or ALIASES.get(name, name)
        for name, number, _, attribute in SLOT.findall(text)
    }


def read(path: Path) -> list[Templates]:
    """The tests of a template file.

    Raises:
        ValueError: naming the line and what was expected there, if it is no such file.
    """
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    header = [name.strip() for name in lines[0].split("\t")] if lines else []
    if header[:1] != ["Field"] or "en" not in header:
        raise ValueError(
            f"{path} is not a template file: its first line should name the columns, beginning "
            f"with Field and with en among them; it begins with {lines[0][:60] if lines else ''!r}."
        )
    tests: list[Templates] = []
    for number, line in enumerate(lines[1:], 2):
        kind, *cells = (cell.strip() for cell in line.split("\t"))
        if not kind:
            continue
        if kind == "Name":
            tests.append(Templates(cells[0]))
        elif not tests:
            raise ValueError(f"{path}, line {number}: {kind!r} stands before the first Name.")
        elif kind != "Capability":
            _add(tests[-1], kind, _row(header[1:], cells, kind == "Answer"))
    tests = [_with_borrowed(test, tests) for test in tests]
    for test in tests:
        _check(test, path)
    return tests


def _row(header: Sequence[str], cells: Sequence[str], is_answer: bool) -> Row:
    row: dict[str, list[Variant]] = {}
    cells = [*(cell.replace("\\", "") for cell in cells), *[""] * (len(header) - len(cells) + 1)]
    for at, code in enumerate(header):
        base, _, suffix = code.partition("-")
        if suffix:
            if is_answer and cells[at]:
                row.setdefault(base, []).append(Variant(cells[at], frozenset()))
        elif cells[at]:
            has_only = header[at + 1 : at + 2] == [f"{code}-placeholders"] and not is_answer
            only = items(cells[at + 1]) if has_only else frozenset()
            row.setdefault(code, []).append(Variant(cells[at], only))
    return row


def _add(test: Templates, kind: str, row: Row) -> None:
    lists = {"Context": test.contexts, "Question": test.questions, "Answer": test.answers}
    rows = lists[kind] if kind in lists else test.values.setdefault(kind, [])
    if kind in lists or "en" in row:  # a value without a meaning in English is nobody's translation
        rows.append(row)


def _with_borrowed(test: Templates, tests: Sequence[Templates]) -> Templates:
    """The test with the values it lacks from another one: both tests of animals share theirs."""
    values = dict(test.values)
    for other in tests:
        for name, rows in other.values.items():
            if name in _fields(test):
                values.setdefault(name, rows)
    return Templates(test.name, test.contexts, test.questions, test.answers, values)


def _fields(test: Templates) -> set[str]:
    texts = [row["en"][0].text for row in (*test.contexts, *test.questions) if row.get("en")]
    return {slot for text in texts for slot in slots(text)}


def _check(test: Templates, path: Path) -> None:
    if not test.contexts or not test.questions or len(test.questions) != len(test.answers):
        raise ValueError(
            f"{path}: the test {test.name!r} has {len(test.contexts)} contexts, "
            f"{len(test.questions)} questions and {len(test.answers)} answers; expected at least "
            "one context and a row Answer after every row Question."
        )
    if any("en" not in row for row in (*test.contexts, *test.questions, *test.answers)):
        raise ValueError(f"{path}: a template of the test {test.name!r} has no English text.")
    known = set(test.values) | ({"p1", "p2", "v1", "v2"} if "property" in test.values else set())
    lacking = {slot for slot in _fields(test) if not slot.startswith(NAME)} - known
    if lacking:
        raise ValueError(
            f"{path}: the test {test.name!r} has the slots {sorted(lacking)} and no rows with "
            f"their values; it has rows for {sorted(test.values)}."
        )


def english(row: Row) -> str:
    """The English text of a row."""
    return row["en"][0].text


def draw(test: Templates, seed: int, names: int) -> Iterator[Sample]:
    """Samples of a test without end: every context with every question in turn, values at random.

    Each depends on the seed, the test and its own number alone. Slots that neither the template
    of the context nor that of the question has are not drawn.
    """
    pairs = [(c, q) for q in range(len(test.questions)) for c in range(len(test.contexts))]
    number = 0
    while True:
        context, question = pairs[number % len(pairs)]
        random = np.random.default_rng(derive("checklist", seed, test.name, number))
        asked = slots(english(test.contexts[context])) | slots(english(test.questions[question]))
        named = sorted(slot for slot in asked if slot.startswith(NAME))
        who = random.permutation(names)[: len(named)].tolist()
        chosen = []
        for slot in sorted(asked & set(test.values)):
            chosen.append((slot, slot, int(random.integers(len(test.values[slot])))))
        if asked & {"p1", "p2", "v1", "v2"}:
            chosen += _two_properties(test, random)
        yield Sample(context, question, tuple(zip(named, who, strict=True)), tuple(chosen))
        number += 1


def _two_properties(test: Templates, random: np.random.Generator) -> list[tuple[str, str, int]]:
    """Two different properties and a value of each; values lie in rows named like the property."""
    rows = test.values["property"]
    chosen = []
    for number, at in zip("12", random.permutation(len(rows))[:2].tolist(), strict=True):
        name = english(rows[at])
        value = int(random.integers(len(test.values[name])))
        chosen += [(f"p{number}", "property", at), (f"v{number}", name, value)]
    return chosen


class Speaker:
    """Says the samples of a test in one language."""

    def __init__(self, test: Templates, language: str, names: Sequence[str]):
        self.test, self.language, self.names = test, language, names
        self.known = {
            name: frozenset().union(*(items(english(row)) for row in rows))
            for name, rows in (test.values | {"context": test.contexts}).items()
        }

    def say(self, sample: Sample) -> tuple[str, str, str, int]:
        """Question, context, answer and where the answer starts in the context.

        Raises:
            Unsayable: if a wording is missing, or holds other slots than the English one, or the
                answer does not occur in the context.
        """
        test = self.test
        in_context, in_question = (
            english(test.contexts[sample.context]),
            english(test.questions[sample.question]),
        )
        template = self._pick(test.contexts[sample.context], self._facts(sample, "p1"))
        if slots(template) != slots(in_context):
            raise Unsayable(template)
        context = self._fill(template, sample)
        number = "p2" if "p2" in slots(in_question) else "p1"
        question = self._pick(test.questions[sample.question], self._facts(sample, number))
        named = {slot for slot in slots(in_context) if slot.startswith(NAME)}
        if slots(question) - slots(in_question) - named:
            raise Unsayable(question)
        for variant in test.answers[sample.question].get(self.language, ()):
            answer = re.escape(self._fill(variant.text, sample))
            if found := re.search(answer, context, re.IGNORECASE):
                return self._fill(question, sample), context, found[0], found.start()
        raise Unsayable(context)

    def _facts(self, sample: Sample, number: str = "p1") -> dict[str, frozenset[str]]:
        """What the sample holds, in English, by field: what variants are chosen by."""
        facts = {"context": items(english(self.test.contexts[sample.context]))}
        for slot, name, row in sample.values:
            if slot in (name, number):
                facts[name] = items(english(self.test.values[name][row]))
        return facts

    def _pick(self, row: Row, facts: Mapping[str, frozenset[str]]) -> str:
        """The first wording that is for these values, one for all of them last."""
        variants = sorted(row.get(self.language, ()), key=lambda variant: not variant.only)
        for variant in variants:
            listed = [name for name in facts if variant.only & self.known[name]]
            if not variant.only or (listed and all(variant.only & facts[name] for name in listed)):
                return variant.text
        raise Unsayable(f"{self.language}: {row}")

    def _fill(self, template: str, sample: Sample) -> str:
        rows = {slot: self.test.values[name][row] for slot, name, row in sample.values}
        names, facts = dict(sample.names), self._facts(sample)

        def value(match: re.Match) -> str:
            name, number, index, attribute = match.groups()
            if name == NAME:
                return self.names[names[name + number]]
            slot = attribute or ALIASES.get(name, name)
            if slot not in rows:
                raise Unsayable(template)
            text = self._pick(rows[slot], facts)
            if index:
                text = _part(text, int(index))
            before = template[: match.start()].rstrip()
            starts = not before or before[-1] in ".!?"
            # Title case, since the upper case of Georgian is not what begins its sentences.
            return text[:1].title() + text[1:] if starts else text

        return SLOT.sub(value, template)


def _part(text: str, index: int) -> str:
    """A part of a value such as "older, old", in the punctuation of any language, or none."""
    parts = [part for part in _LISTS.split(text) if part]
    parts = parts if len(parts) > 1 else text.split()
    if index >= len(parts):
        raise Unsayable(text)
    return parts[index]
