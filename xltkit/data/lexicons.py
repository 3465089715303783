"""Lexicons: synonyms of words, and translations into other languages."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from xltkit.data.microworld import LANGUAGES, glosses
from xltkit.data.text import word_spans
from xltkit.files import is_litter, read
from xltkit.keys import digest, known_digest

Lexicon = Mapping[str, tuple[str, ...]]
# The share of entries with a foreign word in the first 150 of Robust-XLT's counterfitted_neighbors.
FOREIGN_SHARE = 0.28


def look_up(word: str, table: Lexicon) -> tuple[str, ...]:
    """The entries of a word, or else those of its lower-case form with its case restored."""
    if word in table:
        return table[word]
    return tuple(_cased(other, word) for other in table.get(word.lower(), ()))


def _cased(word: str, like: str) -> str:
    """A word in the case of another."""
    # Georgian has capitals, but begins no word with one: title case, unlike upper, leaves it alone.
    if like.isupper() and len(like) > 1 and word.lower().title() != word.lower():
        return word.upper()
    return word[:1].title() + word[1:] if like[:1].isupper() else word


def synonyms(source: str) -> Lexicon:
    """Synonyms of English words, from a file or the ``microworld``.

    A file is JSON, ``{word: [words]}``, or a ``.tsv``: on each line a word, a tab and its synonyms
    separated by spaces. ``microworld-released`` also has words of other languages of the
    microworld, as the released table has foreign words.
    """
    if source == "microworld":
        return glosses.synonyms("en")
    if source == "microworld-released":
        return _released()
    return _read_synonyms(*_files(source))


def translations(source: str, language: str, others: Sequence[str]) -> Lexicon:
    """Translations of the words of a language into others, except the language itself.

    ``source`` is ``microworld``, or a folder of ``<language>-<other>.txt`` or ``.tsv``, each line a
    word, a tab or space, and a translation (the format of MUSE). ``<other>-<language>`` is read
    backward. Languages without a dictionary are left out; raises ValueError if all are.
    """
    others = tuple(code for code in others if code != language)
    if source == "microworld":
        return glosses.translations(language, others)
    folder = Path(source).expanduser()
    found: dict[str, bool] = {}  # paths, and whether they are read backward
    for other in others:
        for is_backwards, (one, two) in enumerate([(language, other), (other, language)]):
            paths = [folder / f"{one}-{two}{ending}" for ending in (".txt", ".tsv")]
            found |= {str(path): bool(is_backwards) for path in paths if path.is_file()}
    if others and not found:
        raise ValueError(
            f"{folder} has no dictionary of {language!r} and one of {', '.join(others)}; it needs "
            f"{language}-{others[0]}.txt or {others[0]}-{language}.tsv, for example."
        )
    return _read_pairs(*zip(_files(*found), found.values(), strict=True))


def fingerprint(source: str) -> str:
    """An identifier of a lexicon, as a part of the key of a stage."""
    if source in ("microworld", "microworld-released"):
        tables = (_released(), glosses.synonyms("qbe"))
        return f"{source}/{digest([sorted(table.items()) for table in tables])}"
    path = Path(source).expanduser()
    found = sorted([*path.glob("*.txt"), *path.glob("*.tsv")]) if path.is_dir() else [path]
    files = _files(*found)
    return digest({file.name: content for file, content in files if not is_litter(file.name)})


def _files(*paths: str | Path) -> list[tuple[Path, str]]:
    """Files with their digests, under which their content is cached."""
    files = [Path(path).expanduser() for path in paths]
    for file in files:
        if not file.is_file():
            raise ValueError(f"There is no {file}; give an existing path, or 'microworld'.")
    return [(file, known_digest(file)) for file in files]


@lru_cache(maxsize=8)
def _read_synonyms(file: tuple[Path, str]) -> Lexicon:
    text = read(file[0])
    if file[0].suffix == ".tsv":
        lines = (line.partition("\t") for line in text.splitlines())
        table = {word: others.split() for word, _, others in lines}
    else:
        table = json.loads(text)
    return {word: tuple(others) for word, others in table.items() if others}


@lru_cache(maxsize=64)
def _read_pairs(*files: tuple[tuple[Path, str], bool]) -> Lexicon:
    table: dict[str, dict[str, None]] = {}
    for (file, _), is_backwards in files:
        for line in read(file).split("\n"):
            word, _, other = line.strip().partition("\t" if "\t" in line else " ")
            if is_backwards:
                word, other = other, word
            if word and other:
                table.setdefault(word, {})[other.strip()] = None
    return {word: tuple(others) for word, others in table.items()}


def in_english(table: Lexicon, texts: Iterable[str]) -> Lexicon:
    """The table with only those words that occur in English texts; it does not mark languages."""
    vocabulary = {text[start:end].lower() for text in texts for start, end in word_spans(text)}
    filtered = {
        word: tuple(other for other in others if other.lower() in vocabulary)
        for word, others in table.items()
    }
    return {word: others for word, others in filtered.items() if others}


@cache
def _released() -> Lexicon:
    """English synonyms, and in some entries a word of another language of the microworld."""
    codes = [code for code in LANGUAGES if code != "en"]
    table = dict(glosses.synonyms("en"))
    for word, others in table.items():
        draw = int(digest(["released", word]), 16)
        if draw % 100 < 100 * FOREIGN_SHARE:
            code = codes[draw // 100 % len(codes)]
            table[word] = (*others, *glosses.translations("en", (code,)).get(word, ()))
    return table
