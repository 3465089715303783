"""Tables of words and what may stand for them: synonyms, and translations into other languages."""

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
    """What may stand for a word: as it is, else in lower case with its capital put back."""
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
    """Synonyms of English words, from a JSON file ``{word: [words]}`` or the ``microworld``.

    ``microworld-released`` has words of its other languages among them, as the released table has.
    """
    if source == "microworld":
        return glosses.synonyms("en")
    return _released() if source == "microworld-released" else _read_json(*_files(source))


def translations(source: str, language: str, others: Sequence[str]) -> Lexicon:
    """What the words of a language are in others, without the language itself.

    ``source`` is ``microworld``, or a folder of ``<language>-<other>.txt``, each line a word, a tab
    or space and its translation (the format of MUSE).
    """
    others = tuple(code for code in others if code != language)
    if source == "microworld":
        return glosses.translations(language, others)
    return _read_pairs(*_files(*(f"{source}/{language}-{other}.txt" for other in others)))


def fingerprint(source: str) -> str:
    """What identifies a table, as a part of the key of a stage."""
    if source in ("microworld", "microworld-released"):
        tables = (_released(), glosses.synonyms("qbe"))
        return f"{source}/{digest([sorted(table.items()) for table in tables])}"
    path = Path(source).expanduser()
    files = _files(*(sorted(path.glob("*.txt")) if path.is_dir() else [path]))
    return digest({file.name: content for file, content in files if not is_litter(file.name)})


def _files(*paths: str | Path) -> list[tuple[Path, str]]:
    """Files with their digests, under which their content is remembered."""
    files = [Path(path).expanduser() for path in paths]
    for file in files:
        if not file.is_file():
            raise ValueError(f"There is no {file}; give an existing path, or 'microworld'.")
    return [(file, known_digest(file)) for file in files]


@lru_cache(maxsize=8)
def _read_json(file: tuple[Path, str]) -> Lexicon:
    table = json.loads(read(file[0]))
    return {word: tuple(others) for word, others in table.items() if others}


@lru_cache(maxsize=64)
def _read_pairs(*files: tuple[Path, str]) -> Lexicon:
    table: dict[str, dict[str, None]] = {}
    for file, _ in files:
        for line in read(file).split("\n"):
            word, _, other = line.strip().replace("\t", " ").partition(" ")
            if other:
                table.setdefault(word, {})[other.strip()] = None
    return {word: tuple(others) for word, others in table.items()}


def in_english(table: Lexicon, texts: Iterable[str]) -> Lexicon:
    """The table without words that occur in none of some English texts; it does not mark them."""
    vocabulary = {text[start:end].lower() for text in texts for start, end in word_spans(text)}
    filtered = {
        word: tuple(other for other in others if other.lower() in vocabulary)
        for word, others in table.items()
    }
    return {word: others for word, others in filtered.items() if others}


@cache
def _released() -> Lexicon:
    """English synonyms, and in some entries the word of a language of the microworld."""
    codes = [code for code in LANGUAGES if code != "en"]
    table = dict(glosses.synonyms("en"))
    for word, others in table.items():
        draw = int(digest(["released", word]), 16)
        if draw % 100 < 100 * FOREIGN_SHARE:
            code = codes[draw // 100 % len(codes)]
            table[word] = (*others, *glosses.translations("en", (code,)).get(word, ()))
    return table
