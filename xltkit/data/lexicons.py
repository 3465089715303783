"""Tables of words and what may stand for them: synonyms, and counterparts in other languages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from xltkit.data.text import word_spans
from xltkit.keys import digest, known_digest

Lexicon = Mapping[str, tuple[str, ...]]
GENERATED = ("microworld", "microworld-released")
# The share of entries with a foreign word, counted in the first 150 of the released table (Robust-
# XLT, counterfitted_neighbors.json).
FOREIGN_SHARE = 0.28
CASES = ("acc", "obl")


def look_up(word: str, table: Lexicon) -> tuple[str, ...]:
    """What may stand for a word: as it is, else in lower case with its capital put back."""
    if word in table:
        return table[word]
    found = table.get(word.lower(), ())
    return tuple(_cased(other, word) for other in found)


def _cased(word: str, like: str) -> str:
    lower = word.lower()
    # Georgian has capitals, but begins no word with one: title case, unlike upper, leaves it alone.
    if lower.title() == lower:
        return word
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[:1].title() + word[1:] if like[:1].isupper() else word


def synonyms(source: str, language: str = "en") -> Lexicon:
    """Synonyms of the words of a language.

    Args:
        source: ``microworld``, every language of which has them; ``microworld-released``, its
            English ones with words of other languages among them, in as many entries as in the
            table released with the robust-training paper; or a JSON file ``{word: [words]}``.
        language: the code of a language; a file is taken to be in it.

    Raises:
        ValueError: if there is no such table.
    """
    if source not in GENERATED:
        return _json(_file(source, "a JSON file {word: [words]}"))
    return _released() if source == GENERATED[1] else _synonyms(language)


def counterparts(source: str, language: str, others: Sequence[str]) -> Lexicon:
    """What the words of a language are in others.

    Args:
        source: ``microworld``, or a folder of files ``<language>-<other>.txt`` with a word and its
            translation a line, set apart by a tab or a space (the format of MUSE).
        language: of the words.
        others: of the counterparts; the language itself is left out.

    Raises:
        ValueError: if a file is missing.
    """
    others = tuple(code for code in others if code != language)
    if source == "microworld":
        return _counterparts(language, others)
    files = [
        _file(Path(source, f"{language}-{c}.txt"), "a word and another a line") for c in others
    ]
    return _translations(tuple((str(file), known_digest(file)) for file in files))


@lru_cache(maxsize=64)
def _translations(files: tuple[tuple[str, str], ...]) -> Lexicon:
    """Of files by path and digest: an attack looks every word up anew."""
    table: dict[str, list[str]] = {}
    for file, _ in files:
        for line in Path(file).read_text().splitlines():
            word, _, other = line.strip().replace("\t", " ").partition(" ")
            if other:
                table.setdefault(word, []).append(other.strip())
    return {word: tuple(dict.fromkeys(found)) for word, found in table.items()}


def in_english(table: Lexicon, texts: Iterable[str]) -> Lexicon:
    """The table without the words that stand in none of some English texts (our filter).

    Which of the released table's words are English nobody has marked; those of a training set of
    hundreds of thousands of sentences nearly all are.
    """
    known = {text[a:b].lower() for text in texts for a, b in word_spans(text)}
    kept = {w: tuple(o for o in others if o.lower() in known) for w, others in table.items()}
    return {word: others for word, others in kept.items() if others}


def fingerprint(source: str) -> str:
    """What identifies a table, as a part of the key of a stage."""
    if source in GENERATED:
        return f"{source}/{digest([sorted(_released().items()), sorted(_synonyms('qbe').items())])}"
    path = Path(source).expanduser()
    files = sorted(path.glob("*.txt")) if path.is_dir() else [_file(path, "a table of words")]
    return digest({file.name: known_digest(file) for file in files})


def _file(path: str | Path, what: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise ValueError(
            f"There is no {found}, {what}. Give the path of one, or 'microworld' for its languages."
        )
    return found


def _json(file: Path) -> Lexicon:
    return _read(str(file), known_digest(file))


@lru_cache(maxsize=8)
def _read(file: str, state: str) -> Lexicon:
    table = json.loads(Path(file).read_text())
    if not isinstance(table, dict):
        raise ValueError(f"{file} holds a {type(table).__name__}; expected {{word: [words]}}.")
    return {word: tuple(others) for word, others in table.items() if others}


def _inflected() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every concept with every ending that sentences give it."""
    from xltkit.data.microworld.lexicon import TAGS

    cases = ((), *((case,) for case in CASES))
    for concept, tag in TAGS.items():
        if tag == "PUNCT":
            continue
        endings = {"NOUN": [(*n, *c) for n in ((), ("pl",)) for c in cases], "PROPN": cases}
        for ending in endings.get(tag, [(), ("3sg",)] if tag == "VERB" else [()]):
            yield concept, ending


def _said(concept: str, endings: tuple[str, ...], code: str) -> str:
    from xltkit.data.microworld.languages import language

    spoken = language(code)
    return spoken.form(concept, tuple(e for e in endings if spoken.marking or e not in CASES))


@cache
def meanings(code: str) -> Lexicon:
    """Every word of a language of the microworld, and what it may mean, as in ``gloss``.

    Empty for English, which needs none, and for languages that are not of the microworld.
    """
    from xltkit.data.microworld.glosses import label
    from xltkit.data.microworld.languages import language

    try:
        spoken = language(code)
    except ValueError:
        return {}
    if spoken.is_english:
        return {}
    table: dict[str, tuple[str, ...]] = {}
    for concept, endings in _inflected():
        kept = tuple(e for e in endings if spoken.marking or e not in CASES)
        word, meaning = spoken.form(concept, kept), label(concept, kept)
        table[word] = tuple(dict.fromkeys((*table.get(word, ()), meaning)))
    return table


@cache
def _synonyms(code: str) -> Lexicon:
    from xltkit.data.microworld.lexicon import SYNONYMS

    both = SYNONYMS | {other: word for word, other in SYNONYMS.items()}
    return {
        _said(concept, endings, code): (_said(both[concept], endings, code),)
        for concept, endings in _inflected()
        if concept in both
    }


@cache
def _counterparts(code: str, others: tuple[str, ...]) -> Lexicon:
    table: dict[str, tuple[str, ...]] = {}
    for concept, endings in _inflected():
        word = _said(concept, endings, code)
        found = (_said(concept, endings, other) for other in others)
        kept = tuple(dict.fromkeys(o for o in found if o != word))
        if kept:
            table.setdefault(word, kept)
    return table


@cache
def _released() -> Lexicon:
    """English synonyms, and in some entries the word of a language of the microworld."""
    from xltkit.data.microworld.languages import LANGUAGES

    codes = [code for code in LANGUAGES if code != "en"]
    table = dict(_synonyms("en"))
    for word, others in table.items():
        draw = int(digest(["released", word]), 16)
        foreign = _counterparts("en", (codes[draw // 100 % len(codes)],)).get(word, ())
        if draw % 100 < 100 * FOREIGN_SHARE:
            table[word] = (*others, *foreign)
    return table
