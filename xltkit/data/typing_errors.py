"""Typing errors in any script that is written with letters."""

from __future__ import annotations

from functools import lru_cache
from unicodedata import category

import numpy as np

from xltkit.data.text import is_mark, script

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # of Latin letters; neighbours stand side by side
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
        if part[0].isalpha() and category(part[0]) != "Lm":  # it lengthens or repeats another
            key = script(part[0]), part[1:]
            found[key] = found.get(key, "") + part[0]
    return found
