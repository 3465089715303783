"""The HTML that examples are shown in: escaped, told apart by words and lines, in any theme.

Colors are faint tints over whatever background there is, and never the only sign.
"""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from IPython.display import HTML

from xltkit.data.languages import LANGUAGES
from xltkit.data.microworld.glosses import meanings

STYLE = f"<style>{Path(__file__).with_suffix('.css').read_text(encoding='utf-8')}</style>"

Mark = tuple[int, int, str]  # start and end in characters, and whose words these are


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> HTML:
    """A table of cells, HTML already; the first of each row is its heading."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    return HTML(
        f'{STYLE}<div class="xlt"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def in_language(html: str, code: str) -> str:
    """HTML in an element that says which language it is in, and in which direction it runs."""
    direction = LANGUAGES[code].direction if code in LANGUAGES else "auto"
    return f'<span lang="{escape(code)}" dir="{direction}">{html}</span>'


def text(words: str, code: str, marks: Sequence[Mark] = ()) -> str:
    """A text with some of its characters marked, and what words of the microworld mean.

    Args:
        words: the text.
        code: of its language; words of an invented language get their meaning below.
        marks: places in the text; the names of those who mark the same place stand together.
    """
    glosses = meanings(code)
    edges = {0, len(words), *(edge for mark in marks for edge in mark[:2])}
    html = ""
    for start, end in pairwise(sorted(edges)):
        shown = escape(words[start:end])
        if glosses:
            part = words[start:end].split()
            shown = annotated((word, " or ".join(glosses.get(word, ()))) for word in part)
        names = dict.fromkeys(name for a, b, name in marks if a <= start and end <= b)
        if names:
            who = escape(", ".join(names))
            shown = f'<mark>{shown}<span class="xlt-who">[{who}]</span></mark>'
        html += shown
    return in_language(html, code)


def annotated(pairs: Iterable[tuple[str, str]]) -> str:
    """Words with a note below each, such as its tag; a word with an empty note stands alone."""
    words = []
    for word, note in pairs:
        below = f'<rp> (</rp><rt lang="en" dir="ltr">{escape(note)}</rt><rp>)</rp>'
        words.append(f"<ruby>{escape(word)}{below if note else ''}</ruby>")
    return " ".join(words)
