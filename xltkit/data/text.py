"""The words of a row: which of them may be changed, and the row with some of them changed."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

# The texts of a row by the kind of its task, in reading order.
FIELDS = {
    "classification": ("text_a", "text_b"),
    "choice": ("premise", "choices"),
    "tagging": ("tokens",),
    "span": ("question", "context"),
    "ranking": ("query", "text"),  # the text in training rows alone
}
APART = ("CJK", "HIRAGANA", "KATAKANA", "HANGZHOU")  # scripts whose characters stand for words
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # of Latin letters; neighbours stand side by side
EMPTY = "No text"  # how the reason begins why a row cannot be read
JOINERS = "\u200c\u200d"  # zero-width, they shape the letters beside them (Persian, Indic scripts)


class Word(NamedTuple):
    """A word of a row: the column, which of its texts, where in it; ``fixed`` in a gold answer."""

    field: str
    part: int
    start: int
    end: int
    text: str
    fixed: bool = False


@lru_cache(maxsize=65536)
def script(character: str) -> str:
    """The first word of a character's Unicode name, such as ``LATIN`` or ``GEORGIAN``."""
    return unicodedata.name(character, "").partition(" ")[0]


def is_mark(character: str) -> bool:
    """Whether a character belongs to the one before it: a combining mark or a joiner."""
    return character in JOINERS or unicodedata.category(character)[0] == "M"


@lru_cache(maxsize=65536)
def word_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Where the words of a text start and end.

    A word is a run of letters, marks and digits, with apostrophes and hyphens inside. Chinese
    characters and Japanese syllables are words one by one; in Thai, Lao and Khmer, which set no
    words apart, a word is a whole run of letters.
    """
    found: list[tuple[int, int]] = []
    start = -1
    for i, character in enumerate(text + " "):
        written = unicodedata.category(character)[0] in "LMN"
        if written and script(character) in APART:
            found += [(start, i)] if start >= 0 else []
            found.append((i, i + 1))
            start = -1
        elif written:
            start = i if start < 0 else start
        elif start >= 0:
            inside = character in "'’-" + JOINERS and text[i + 1 : i + 2].isalnum()
            if not inside:
                found.append((start, i))
                start = -1
    return tuple(found)


def texts(kind: str, row: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """The texts of a row: column, which of its texts, the text.

    Raises:
        ValueError: for a kind whose rows have no words to change.
    """
    if kind not in FIELDS:
        raise ValueError(f"Rows of {kind} have no words to change; {', '.join(FIELDS)} have.")
    found = []
    for field in FIELDS[kind]:
        if field not in row and (kind, field) == ("ranking", "text"):
            continue
        value = row[field]
        found += [
            (field, i, text) for i, text in enumerate([value] if isinstance(value, str) else value)
        ]
    return found


def words(kind: str, row: Mapping[str, Any]) -> list[Word]:
    """The words of a row in reading order; of ``tagging``, each token but punctuation is one."""
    answers = _answers(row) if kind == "span" else []
    found = []
    for field, part, text in texts(kind, row):
        if kind == "tagging":
            found += [Word(field, part, 0, len(text), text)] if word_spans(text) else []
            continue
        gold = answers if field == "context" else []
        found += [
            Word(field, part, a, b, text[a:b], any(a < end and start < b for start, end in gold))
            for a, b in word_spans(text)
        ]
    return found


def _answers(row: Mapping[str, Any]) -> list[tuple[int, int]]:
    return [
        (start, start + len(answer))
        for answer, start in zip(row["answers"], row["starts"], strict=True)
    ]


def replace_words(kind: str, row: Mapping[str, Any], edits: Mapping[int, str]) -> dict[str, Any]:
    """The row with some of its words, by their place in ``words``, changed.

    The starts of answers move with the text before them.

    Raises:
        ValueError: if a word of a gold answer is to be changed.
    """
    every = words(kind, row)
    if held := [every[i].text for i in edits if every[i].fixed]:
        raise ValueError(f"{held} stand in a gold answer and must stay.")
    new = {k: list(v) if isinstance(v, list) else v for k, v in row.items()}
    for i in sorted(edits, reverse=True):  # from the end, so that places before stay right
        word, other = every[i], edits[i]
        text = _text(new, word)
        changed = text[: word.start] + other + text[word.end :]
        if isinstance(new[word.field], list):
            new[word.field][word.part] = changed
        else:
            new[word.field] = changed
        if kind == "span" and word.field == "context":
            longer = len(other) - (word.end - word.start)
            new["starts"] = [s + longer if s >= word.end else s for s in new["starts"]]
    return new


def _text(row: Mapping[str, Any], word: Word) -> str:
    value = row[word.field]
    return value[word.part] if isinstance(value, list) else value


def is_valid(kind: str, row: Mapping[str, Any]) -> bool:
    """Whether a row can still be answered: answers stand at their starts, no text is empty."""
    if kind == "span":
        pairs = zip(row["answers"], row["starts"], strict=True)
        if any(row["context"][s : s + len(answer)] != answer for answer, s in pairs):
            return False
    if kind == "tagging" and len(row["tokens"]) != len(row["tags"]):
        return False
    return all(text.strip() for _, _, text in texts(kind, row))


def named(kind: str, row: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a row, each under a name: ``choice_1`` is the first of ``choices``."""
    if kind == "tagging":
        return {"tokens": " ".join(row["tokens"])}
    return {
        f"{column.removesuffix('s')}_{part + 1}" if column == "choices" else column: text
        for column, part, text in texts(kind, row)
    }


def rewritten(
    kind: str, row: Mapping[str, Any], edits: Mapping[str, str]
) -> tuple[dict[str, Any], str]:
    """A row with other texts, and why there is nothing to compare with or to read, if so.

    Answers move with the text around them; tags stay with their words if these are as many.
    """
    there = named(kind, row)
    if unknown := [name for name in edits if name not in there]:
        raise ValueError(f"There is no text {unknown} in this row; it has {', '.join(there)}.")
    said, new, problem = there | dict(edits), dict(row), ""
    if said == there:  # words with a space inside (of a tagging) stay one
        return new, problem
    if nothing := [name for name, text in said.items() if not text.strip()]:
        problem = f"{EMPTY} stands in {', '.join(nothing)}."
    if kind == "tagging":
        new["tokens"] = said["tokens"].split()
        if len(new["tokens"]) != len(row["tags"]):
            new["tags"] = [0] * len(new["tokens"])
            problem = problem or (
                f"There are {len(new['tokens'])} words now, and right tags for {len(row['tags'])}."
            )
        return new, problem
    new |= {column: said[column] for column in FIELDS[kind] if column in said}
    if kind == "choice":
        new["choices"] = [said[f"choice_{i + 1}"] for i in range(len(row["choices"]))]
    if kind == "span":
        pairs = zip(row["answers"], row["starts"], strict=True)
        at = [(a, moved(row["context"], new["context"], s, s + len(a))) for a, s in pairs]
        new["answers"] = [a for a, start in at if start is not None]
        new["starts"] = [start for _, start in at if start is not None]
        if not new["answers"]:
            lost = " / ".join(dict.fromkeys(row["answers"]))
            problem = problem or f"The edit removed the answer, {lost}, from the context."
            # Something has to stand where a target is read; it is not compared with.
            new["answers"], new["starts"] = [""], [0]
    return new, problem


def moved(old: str, new: str, start: int, end: int) -> int | None:
    """Where characters of a text start after an edit; None if their words are no longer there."""
    before, after = _units(old), _units(new)
    first = max(i for i, (a, _) in enumerate(before) if a <= start)
    last = min(i for i, (_, b) in enumerate(before) if b >= end)
    written = [[text[a:b] for a, b in units] for text, units in ((old, before), (new, after))]
    for i, j, size in SequenceMatcher(None, *written, autojunk=False).get_matching_blocks():
        if i <= first and last < i + size:
            return after[first - i + j][0] + start - before[first][0]
    return None


def _units(text: str) -> list[tuple[int, int]]:
    """Words, and what stands between them."""
    edges = sorted({0, len(text), *(edge for word in word_spans(text) for edge in word)})
    return list(pairwise(edges))


def fresh(old: str, new: str) -> list[tuple[int, int]]:
    """The places of a text that an edit changed: runs of words."""
    units = [_units(old), _units(new)]
    written = [[t[a:b] for a, b in own] for t, own in zip((old, new), units, strict=True)]
    steps = SequenceMatcher(None, *written, autojunk=False).get_opcodes()
    return [(units[1][c][0], units[1][d - 1][1]) for step, _, _, c, d in steps
            if step in ("replace", "insert")]  # fmt: skip


# Typing errors

# The letters of a language, by script and the marks they are seen with.
Letters = dict[tuple[str, str], str]


def typos(word: str, random: np.random.Generator, vocabulary: frozenset[str]) -> list[str]:
    """All slips of the finger in a word, of mistaken letters one a place, each once.

    Args:
        word: as it stands in the text; of fewer than three letters it has no typos.
        random: draws the mistaken letters.
        vocabulary: words of the language, whose letters are mistaken for one another.
    """
    letters = graphemes(word)
    if len(letters) < 3:
        return []
    slips = []
    for at in range(1, len(letters)):
        if not letters[at][0].isalpha():
            continue
        before, letter, after = letters[:at], letters[at], letters[at + 1 :]
        if after and after[0] != letter and after[0][0].isalpha():
            slips.append([*before, after[0], letter, *after[1:]])
        slips.append([*before, *after])
        slips.append([*before, letter, letter, *after])
        others = _mistaken(letter, vocabulary)
        if others:
            other = others[random.integers(len(others))]
            other = other.upper() if letter[0].isupper() else other
            slips.append([*before, other + letter[1:], *after])
    return list(dict.fromkeys("".join(slip) for slip in slips))


def graphemes(word: str) -> list[str]:
    """The letters of a word, each with the marks and joiners that follow it."""
    found: list[str] = []
    for character in word:
        if found and is_mark(character):
            found[-1] += character
        else:
            found.append(character)
    return found


def _mistaken(part: str, vocabulary: frozenset[str]) -> str:
    letter = part[0].lower()
    for row in KEYBOARD:
        if letter in row:
            at = row.index(letter)
            return row[max(0, at - 1) : at] + row[at + 1 : at + 2]
    # A vowel sign on an independent vowel, say, is not what one types: the marks tell.
    return _letters(vocabulary).get((script(letter), part[1:]), "").replace(letter, "")


@lru_cache(maxsize=64)
def _letters(vocabulary: frozenset[str]) -> Letters:
    """The letters of some words."""
    found: Letters = {}
    for part in sorted({part for word in vocabulary for part in graphemes(word.lower())}):
        if (
            part[0].isalpha() and unicodedata.category(part[0]) != "Lm"
        ):  # it lengthens or repeats another
            key = script(part[0]), part[1:]
            found[key] = found.get(key, "") + part[0]
    return found
