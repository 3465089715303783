"""The HTML that examples are shown in: escaped, told apart by words and lines, in any theme.

Colors are faint tints over whatever background there is, and never the only sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from IPython.display import HTML

from xltkit.data.languages import LANGUAGES
from xltkit.data.microworld.glosses import meanings

GOLD = "gold"  # names the right answer
EDITED = "edited"  # names the words that an edit put there
STYLE = f"<style>{Path(__file__).with_suffix('.css').read_text(encoding='utf-8')}</style>"

Marks = Sequence[tuple[int, int, str]]  # start and end in characters, and whose words these are


def view(*parts: str) -> HTML:
    """Parts of HTML, escaped already, as what a notebook shows."""
    return HTML(f'{STYLE}<div class="xlt">{"".join(parts)}</div>')


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML cells; the first of each row is its heading."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = ""
    for first, *rest in rows:
        body += f'<tr><th scope="row">{first}</th>{"".join(map(_cell, rest))}</tr>'
    return (
        f"<table><caption>{caption}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(html: str) -> str:
    """A cell; numbers are aligned at their end."""
    is_number = html.lstrip("+-").replace(".", "").isdigit()
    return f'<td class="xlt-number">{html}</td>' if is_number else f"<td>{html}</td>"


def in_language(html: str, code: str, tag: str = "span") -> str:
    """HTML in an element that says which language it is in, and in which direction it runs."""
    direction = LANGUAGES[code].direction if code in LANGUAGES else "auto"
    return f'<{tag} lang="{escape(code)}" dir="{direction}">{html}</{tag}>'


def named_texts(texts: Mapping[str, str]) -> str:
    """Texts, HTML already, one under the other, each after its name."""
    return "".join(f"<div><small>{name}</small> {html}</div>" for name, html in texts.items())


def text(words: str, code: str, marks: Marks = ()) -> str:
    """A text with some of its characters marked, and what words of the microworld mean.

    Args:
        words: the text.
        code: of its language; words of an invented language get their meaning below.
        marks: places in the text; the names of those who mark the same place stand together.
    """
    edges = {0, len(words)}
    for start, end, _ in marks:
        edges |= {start, end}
    parts = []
    for start, end in pairwise(sorted(edges)):
        names = dict.fromkeys(name for a, b, name in marks if a <= start and end <= b)
        parts.append(_marked(_glossed(words[start:end], code), list(names)))
    return in_language("".join(parts), code)


def _marked(html: str, names: Sequence[str]) -> str:
    """HTML marked with the names of those whose words these are, if there are any."""
    if not names:
        return html
    style = "xlt-edited" if names == [EDITED] else "xlt-gold" if GOLD in names else ""
    who = f'<span class="xlt-who">[{escape(", ".join(names))}]</span>'
    return f'<mark class="{style}">{html}{who}</mark>'


def _glossed(words: str, code: str) -> str:
    """A text, escaped, each word of an invented language above its meaning."""
    glosses = meanings(code)
    if not glosses:
        return escape(words)
    return annotated((word, " or ".join(glosses.get(word, ()))) for word in words.split())


def annotated(pairs: Iterable[tuple[str, str]]) -> str:
    """Words with a note below each, such as its tag; a word with an empty note stands alone."""
    words = []
    for word, note in pairs:
        below = f'<rp> (</rp><rt lang="en" dir="ltr">{escape(note)}</rt><rp>)</rp>'
        words.append(f"<ruby>{escape(word)}{below if note else ''}</ruby>")
    return " ".join(words)


def verdict(html: str, is_right: bool, note: str = "") -> str:
    """An answer, and below whether it is right, in a sign and a word."""
    word = "✓ right" if is_right else "✗ wrong"
    return f"{html}<br><small>{word}{', ' if note else ''}{escape(note)}</small>"
