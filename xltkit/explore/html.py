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

STYLE = f"<style>{Path(__file__).with_suffix('.css').read_text(encoding='utf-8')}</style>"

Marks = Sequence[tuple[int, int, str]]  # start and end in characters, and whose words these are


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], note: str = ""
) -> HTML:
    """A table of cells, HTML already; the first of each row is its heading."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    return HTML(
        f'{STYLE}<div class="xlt"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>{note}</div>"
    )


def in_language(html: str, code: str) -> str:
    """HTML in an element that says which language it is in, and in which direction it runs."""
    direction = LANGUAGES[code].direction if code in LANGUAGES else "auto"
    return f'<span lang="{escape(code)}" dir="{direction}">{html}</span>'


def named_texts(texts: Mapping[str, str], code: str, marks: Marks = ()) -> str:
    """Texts one under the other, each after its name; marks are in the last one."""
    html = ""
    for name, words in texts.items():
        shown = text(words, code, marks if name == list(texts)[-1] else ())
        html += f"<div><small>{escape(name)}</small> {shown}</div>"
    return html


def text(words: str, code: str, marks: Marks = ()) -> str:
    """A text with some of its characters marked, and what words of the microworld mean.

    Args:
        words: the text.
        code: of its language; words of an invented language get their meaning below.
        marks: places in the text; the names of those who mark the same place stand together.
    """
    edges = {0, len(words), *(edge for mark in marks for edge in mark[:2])}
    html = ""
    for start, end in pairwise(sorted(edges)):
        names = dict.fromkeys(name for a, b, name in marks if a <= start and end <= b)
        part = _glossed(words[start:end], code)
        who = f'<span class="xlt-who">[{escape(", ".join(names))}]</span>'
        html += f"<mark>{part}{who}</mark>" if names else part
    return in_language(html, code)


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
