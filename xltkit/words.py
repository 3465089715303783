"""The words of a row: which of them may be changed, and the row with some of them changed."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

# The texts of a row by the kind of its task, in reading order.
FIELDS = {
    "classification": ("text_a", "text_b"),
    "choice": ("premise", "choices"),
    "tagging": ("tokens",),
    "span": ("question", "context"),
    "ranking": ("query", "text"),  # the text in training rows alone
}
APART = ("CJK", "HIRAGANA", "KATAKANA", "HANGZHOU")  # scripts whose characters stand for words
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
def pieces(text: str) -> tuple[tuple[int, int], ...]:
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
            found += [Word(field, part, 0, len(text), text)] if pieces(text) else []
            continue
        gold = answers if field == "context" else []
        found += [
            Word(field, part, a, b, text[a:b], any(a < end and start < b for start, end in gold))
            for a, b in pieces(text)
        ]
    return found


def _answers(row: Mapping[str, Any]) -> list[tuple[int, int]]:
    return [
        (start, start + len(answer))
        for answer, start in zip(row["answers"], row["starts"], strict=True)
    ]


def replaced(kind: str, row: Mapping[str, Any], edits: Mapping[int, str]) -> dict[str, Any]:
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


def valid(kind: str, row: Mapping[str, Any]) -> bool:
    """Whether a row can still be answered: answers stand at their starts, no text is empty."""
    if kind == "span":
        pairs = zip(row["answers"], row["starts"], strict=True)
        if any(row["context"][s : s + len(answer)] != answer for answer, s in pairs):
            return False
    if kind == "tagging" and len(row["tokens"]) != len(row["tags"]):
        return False
    return all(text.strip() for _, _, text in texts(kind, row))
