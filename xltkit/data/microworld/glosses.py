"""What the words of the microworld mean: interlinear glosses, and dictionaries of all forms."""

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from random import Random

from IPython.display import HTML

from xltkit.data.microworld import meanings as makers
from xltkit.data.microworld.grammar import Sentence
from xltkit.data.microworld.languages import CASES, LANGUAGES, language
from xltkit.data.microworld.lexicon import SYNONYMS, TAGS

_CELL = "text-align:left;padding:2px 8px 6px 0;border:0"
Inflection = tuple[str, tuple[str, ...]]  # a concept and its grammatical endings


def gloss(sentence: Sentence | int, languages: Sequence[str] = tuple(LANGUAGES)) -> HTML:
    """A sentence (or a random one by number) in some languages, glossed word by word, as HTML."""
    if isinstance(sentence, int):
        (sentence,) = makers.sentence(Random(sentence))
    rows = []
    for code in languages:
        lang = language(code)
        about = "source" if lang.is_english else f"{lang.family}, {lang.resource}"
        head = f'<th scope="row" style="{_CELL}">{escape(lang.name)}<br><small>{about}</small></th>'
        # Every script of the table is written from left to right; dir says so to a screen reader.
        cells = "".join(
            f'<td style="{_CELL}"><span lang="{lang.code}" dir="ltr">'
            f"{escape(lang.form(token.concept, token.endings))}</span><br>"
            f"<small>{escape(_label(token.concept, token.endings))}</small></td>"
            for token in sentence.tokens(lang)
        )
        rows.append(f"<tr>{head}{cells}</tr>")
    return HTML(f'<div style="overflow-x:auto"><table>{"".join(rows)}</table></div>')


def _label(concept: str, endings: Sequence[str]) -> str:
    """A word as a gloss writes it, by the Leipzig Glossing Rules: ``ball-PL``."""
    return "-".join((concept, *map(str.upper, endings)))


@cache
def word_forms(code: str) -> Mapping[Inflection, str]:
    """Every word form of a language, with all the endings that sentences give a word."""
    lang = language(code)
    cases = [(), *((case,) for case in CASES)]
    endings = {
        "NOUN": [*cases, *(("pl", *case) for case in cases)],
        "PROPN": cases,
        "VERB": [(), ("3sg",)],
        "PUNCT": [],
    }
    return {
        (concept, inflection): lang.form(concept, inflection)
        for concept, tag in TAGS.items()
        for inflection in endings.get(tag, [()])
    }


@cache
def meanings(code: str) -> Mapping[str, tuple[str, ...]]:
    """Every word form of an invented language and what it may mean; empty for other languages."""
    if code == "en" or code.partition("-x-")[0] not in LANGUAGES:
        return {}
    lang = language(code)
    table: dict[str, tuple[str, ...]] = {}
    for (concept, endings), word in word_forms(code).items():
        marked = [ending for ending in endings if lang.marking or ending not in CASES]
        meaning = _label(concept, marked)
        table[word] = tuple(dict.fromkeys((*table.get(word, ()), meaning)))
    return table


@cache
def synonyms(code: str) -> Mapping[str, tuple[str, ...]]:
    """Every word form of a language that has a synonym, in the same inflection."""
    pairs = SYNONYMS | {other: word for word, other in SYNONYMS.items()}
    forms = word_forms(code)
    return {
        word: (forms[pairs[concept], endings],)
        for (concept, endings), word in forms.items()
        if concept in pairs
    }


@cache
def translations(code: str, others: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Every word form of a language and its different forms in others, in the same inflection."""
    table: dict[str, tuple[str, ...]] = {}
    for inflection, word in word_forms(code).items():
        forms = dict.fromkeys(word_forms(other)[inflection] for other in others)
        if different := tuple(form for form in forms if form != word):
            table.setdefault(word, different)
    return table
