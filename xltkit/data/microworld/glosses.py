"""Interlinear glosses: a sentence of the microworld, word by word, with what each word means."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from random import Random

from IPython.display import HTML

from xltkit.data.microworld import meanings as makers
from xltkit.data.microworld.grammar import Said
from xltkit.data.microworld.languages import LANGUAGES, MicroLanguage, language

# Short labels of the endings, as in the Leipzig Glossing Rules.
LABELS = {"pl": "PL", "3sg": "3SG", "acc": "ACC", "obl": "OBL"}
_CELL = "text-align:left;padding:2px 8px 6px 0;border:0"


def gloss(
    sentence: Said | int, languages: Sequence[str | MicroLanguage] = tuple(LANGUAGES)
) -> HTML:
    """A sentence in some languages, each word above its meaning, as an HTML table.

    Args:
        sentence: what is said, or a number: the sentence that is drawn with it.
        languages: codes, with knobs if wanted (``qbe-x-sov``), or languages.
    """
    said = makers.sentence(Random(sentence))[0] if isinstance(sentence, int) else sentence
    rows = [_row(said, language(c) if isinstance(c, str) else c) for c in languages]
    return HTML(f'<div style="overflow-x:auto"><table>{"".join(rows)}</table></div>')


def label(concept: str, endings: Sequence[str]) -> str:
    """A word as a gloss writes it, such as ``ball-PL``."""
    return "-".join((concept, *(LABELS[e] for e in endings)))


def _row(said: Said, lang: MicroLanguage) -> str:
    # Every script of the table is written from left to right; dir says so to a screen reader.
    tag = f'lang="{lang.code}" dir="ltr"'
    cells = "".join(
        f'<td style="{_CELL}"><span {tag}>{escape(lang.form(t.concept, t.endings))}</span><br>'
        f"<small>{escape(label(t.concept, t.endings))}</small></td>"
        for t in said.tokens(lang)
    )
    about = escape(f"{lang.family}, {lang.resource}" if not lang.is_english else "source")
    head = f'<th scope="row" style="{_CELL}">{escape(lang.name)}<br><small>{about}</small></th>'
    return f"<tr>{head}{cells}</tr>"
