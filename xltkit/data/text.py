"""The words of a row: finding them, replacing them, and typos."""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import regex
from numpy.random import Generator

Row = Mapping[str, Any]
# Words by Unicode's rules (UAX 29, flag ``w``), with two additions: a Chinese or Japanese character
# is a word, and a hyphen or an apostrophe joins the letters on both sides of it.
_CHARACTER = r"[\p{Han}\p{Hiragana}\p{WB=Katakana}]"
_LETTERS = rf"(?!{_CHARACTER})[\p{{L}}\p{{N}}].*?\b"
WORD = regex.compile(rf"(?V1w){_CHARACTER}\p{{WB=Extend}}*|{_LETTERS}(?:[-‐‑'’]?{_LETTERS})*")
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # Latin letters; neighbors are adjacent
_BESIDE = {
    key: keys[max(0, i - 1) : i] + keys[i + 1 : i + 2]
    for keys in KEYBOARD
    for i, key in enumerate(keys)
}


class Word(NamedTuple):
    """A word of a row."""

    column: str
    part: int  # the number of the text in its column
    start: int
    end: int
    text: str
    fixed: bool = False  # it overlaps a gold answer and must stay


@lru_cache(maxsize=65536)
def script(character: str) -> str:
    """The first word of a character's Unicode name, such as ``LATIN`` or ``GEORGIAN``."""
    return unicodedata.name(character, "").partition(" ")[0]


@lru_cache(maxsize=65536)
def word_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Where the words of a text start and end; without spaces, as in Thai, they are long."""
    return tuple(match.span() for match in WORD.finditer(text))


def texts(columns: Sequence[str], row: Row) -> list[tuple[str, int, str]]:
    """The texts of a row: column, number within the column, text; absent columns are left out."""
    entries = []
    for column in columns:
        value = row.get(column, [])
        parts = [value] if isinstance(value, str) else value
        entries += [(column, part, text) for part, text in enumerate(parts)]
    return entries


def _answers(row: Row) -> list[tuple[int, str]]:
    """The gold answers of a question, each after its start; none for other rows."""
    return list(zip(row.get("starts", ()), row.get("answers", ()), strict=True))


def words(columns: Sequence[str], row: Row) -> list[Word]:
    """The words in some columns of a row, in reading order; of ``tokens``, all but punctuation."""
    row_words = []
    answers = [(start, start + len(answer)) for start, answer in _answers(row)]
    for column, part, text in texts(columns, row):
        spans = word_spans(text)
        if column == "tokens":
            spans = ((0, len(text)),) if spans else ()
        for start, end in spans:
            fixed = column == "context" and any(a < end and start < b for a, b in answers)
            row_words.append(Word(column, part, start, end, text[start:end], fixed))
    return row_words


def replace_words(columns: Sequence[str], row: Row, edits: Mapping[int, str]) -> dict[str, Any]:
    """A copy of a row with new words, by their index in ``words``; answer starts are adjusted."""
    row_words = words(columns, row)
    new = {name: list(value) if isinstance(value, list) else value for name, value in row.items()}
    for i in sorted(edits, reverse=True):  # from the end, so that earlier offsets stay right
        column, part, start, end, *_ = row_words[i]
        value = new[column]
        if isinstance(value, list):
            value[part] = value[part][:start] + edits[i] + value[part][end:]
        else:
            new[column] = value[:start] + edits[i] + value[end:]
        if column == "context":
            growth = len(edits[i]) - (end - start)
            new["starts"] = [s + growth if s >= end else s for s in new["starts"]]
    return new


def is_valid(columns: Sequence[str], row: Row) -> bool:
    """Whether a row can still be answered: answers are at their starts and no text is empty."""
    stands = [row["context"][s : s + len(answer)] == answer for s, answer in _answers(row)]
    return all(stands) and all(text.strip() for _, _, text in texts(columns, row))


def graphemes(word: str) -> list[str]:
    """The letters of a word as people see them, each with its marks and joiners (UAX 29)."""
    return regex.findall(r"\X", word)


def typos(word: str, random: Generator, vocabulary: frozenset[str]) -> list[str]:
    """All typos of a word: a letter swapped, dropped, doubled or replaced.

    The first letter stays, and so do words of two letters; marks stay with their letters. Words of
    the vocabulary (in lower case) are not typos; it also has the letters that may replace others.
    """
    letters = graphemes(word)
    slips = []
    for i in range(1, len(letters) if len(letters) > 2 else 0):
        letter, marks = letters[i][0], letters[i][1:]
        before, after = letters[:i], letters[i + 1 :]
        if not letter.isalpha():
            continue
        if after and after[0] != letters[i] and after[0][0].isalpha():
            slips.append([*before, after[0], letters[i], *after[1:]])
        slips.append([*before, *after])
        slips.append([*before, letters[i], *letters[i:]])
        # Off the Latin keyboard, all letters of the script that the vocabulary has with the same
        # marks: nobody types a vowel sign on an independent vowel, for example.
        lower = letter.lower()[0]
        alike = _letters(vocabulary).get((script(lower), marks), "").replace(lower, "")
        if neighbors := _BESIDE.get(lower, alike):
            neighbor = neighbors[random.integers(len(neighbors))]
            neighbor = neighbor.upper() if letter.isupper() else neighbor
            slips.append([*before, neighbor + marks, *after])
    unique = dict.fromkeys("".join(slip) for slip in slips)
    return [slip for slip in unique if slip != word and slip.lower() not in vocabulary]


@lru_cache(maxsize=64)
def _letters(vocabulary: frozenset[str]) -> dict[tuple[str, str], str]:
    """The letters of some words by script and the marks they occur with."""
    letters: dict[tuple[str, str], str] = {}
    for grapheme in sorted({g for word in vocabulary for g in graphemes(word.lower())}):
        is_modifier = unicodedata.category(grapheme[0]) == "Lm"  # lengthens or repeats another
        if grapheme[0].isalpha() and not is_modifier:
            key = script(grapheme[0]), grapheme[1:]
            letters[key] = letters.get(key, "") + grapheme[0]
    return letters
