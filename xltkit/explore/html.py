"""The HTML that examples are shown in: escaped, told apart by words and lines, in any theme.

Colours are faint tints over whatever background there is, and never the only sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from IPython.display import HTML

from xltkit.data.languages import LANGUAGES
from xltkit.data.lexicons import meanings

GOLD = "gold"  # who says the right answer
EDITED = "edited"  # nobody: an edit put it there
RIGHT, WRONG = "✓", "✗"
Marks = Sequence[tuple[int, int, str]]  # from, to (characters), and who says so

# Named twice, because JupyterLab's own rules for tables are more particular than one class.
STYLE = """<style>
.xlt {overflow-x: auto; line-height: 1.45}
.xlt.xlt table {border-collapse: collapse; margin: .3em 0; font-size: inherit; width: auto}
.xlt.xlt caption {caption-side: top; text-align: start; padding: .2em 0; font-style: italic}
.xlt.xlt tr, .xlt.xlt tbody tr:nth-child(odd) {background: none}
.xlt.xlt :is(td, th) {text-align: start; vertical-align: top; padding: .35em .7em .35em 0;
  border: 0; border-top: 1px solid rgba(128, 128, 128, .45); max-width: none; white-space: normal}
.xlt.xlt th[scope=row] {width: 8em; overflow-wrap: anywhere}
.xlt.xlt td.xlt-number {text-align: end; font-variant-numeric: tabular-nums}
.xlt p {margin: .3em 0} .xlt ol {margin: 0; padding-inline-start: 1.6em}
.xlt small {font-size: .8em; opacity: .8}
.xlt .xlt-word {display: inline-flex; flex-direction: column; margin-inline-end: .45em;
  line-height: 1.25; vertical-align: top}
.xlt mark {color: inherit; padding: 0 .15em; background: rgba(240, 150, 40, .22);
  border-bottom: 2px dashed}
.xlt mark.xlt-edited {background: none; border-bottom: 2px dotted}
.xlt mark.xlt-gold {background: rgba(60, 140, 220, .22); border-bottom: 3px double}
.xlt mark:has(.xlt-word) {display: inline-block; margin-inline-end: .3em}
.xlt .xlt-who {font-size: .75em; font-weight: 600; vertical-align: top; margin-inline-start: .3em}
.xlt .xlt-line {display: flex; gap: .5em; align-items: baseline}
.xlt .xlt-line > small {min-width: 4em}
.xlt .xlt-said {min-width: 5.5em}
.xlt .xlt-piece {border: 1px solid rgba(128, 128, 128, .8); border-radius: 3px; padding: 0 .2em}
.xlt .xlt-cut {margin: 0 .15em; font-weight: 600}
.xlt .xlt-bar {display: inline-block; height: .7em; background: currentColor; opacity: .45;
  margin-inline-end: .4em}
</style>"""


def view(*parts: str) -> HTML:
    """Parts of HTML, escaped already, as what a notebook shows."""
    return HTML(f'{STYLE}<div class="xlt">{"".join(parts)}</div>')


def in_language(inner: str, code: str, tag: str = "span") -> str:
    """HTML in an element that says which language it is in, and from where it is read."""
    known = LANGUAGES.get(code)
    direction = known.direction if known else "auto"
    return f'<{tag} lang="{escape(code)}" dir="{direction}">{inner}</{tag}>'


def text(said: str, code: str, marks: Marks = (), tag: str = "span") -> str:
    """A text with some of its characters marked, and what words of the microworld mean.

    Args:
        said: the text.
        code: of its language; words of an invented language stand above their meaning.
        marks: places that somebody points at; those who point at the same one are named together.
        tag: the element it is put in.
    """
    edges = {0, len(said), *(edge for start, end, _ in marks for edge in (start, end))}
    parts = []
    for start, end in pairwise(sorted(edges)):
        who = [name for a, b, name in marks if a <= start and end <= b]
        inner = glossed(said[start:end], code)
        parts.append(pointed(inner, who) if who else inner)
    return in_language("".join(parts), code, tag)


def pointed(inner: str, who: Sequence[str]) -> str:
    """HTML that is marked, with the names of those who point at it."""
    kind = "xlt-gold" if GOLD in who else "xlt-edited" if set(who) == {EDITED} else "xlt-other"
    names = escape(", ".join(dict.fromkeys(who)))
    return f'<mark class="{kind}">{inner}<span class="xlt-who">[{names}]</span></mark>'


def glossed(said: str, code: str) -> str:
    """A text, escaped, each word of an invented language above its meaning."""
    known = meanings(code)
    if not known:
        return escape(said)
    return " ".join(stacked([word, *_meaning(word, known)]) for word in said.split())


def _meaning(word: str, known: Mapping[str, Sequence[str]]) -> list[str]:
    return [" or ".join(known[word])] if word in known else []


def stacked(lines: Sequence[str]) -> str:
    """A word with what is said of it below, line by line."""
    word, *below = lines
    under = "".join(
        f'<small lang="en" dir="ltr">{escape(line) or "&nbsp;"}</small>' for line in below
    )
    return f'<span class="xlt-word"><span>{escape(word)}</span>{under}</span>'


def tagged(words: Sequence[str], code: str, tags: Mapping[str, Sequence[str]]) -> str:
    """Words with the tags that each of some gives them below; those unlike the gold ones crossed.

    Args:
        words: of a sentence.
        code: of its language.
        tags: by who says so, ``GOLD`` among them; one for each word, if there is one.
    """
    known, gold = meanings(code), tags[GOLD]
    stacks = [stacked(["", *(["means"] if known else []), *tags])]
    for i, word in enumerate(words):
        lines = [" ".join(_meaning(word, known))] if known else []
        for given in tags.values():
            said = given[i] if i < len(given) else "–"
            wrong = i < len(gold) and said != gold[i]
            lines.append(f"{WRONG} {said}" if wrong else said)
        stacks.append(stacked([word, *lines]))
    return in_language("".join(stacks), code, "div")


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of HTML cells; the first of each row is its heading."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(map(_cell, rest))}</tr>' for first, *rest in rows
    )
    return (
        f"<table><caption>{caption}</caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _cell(inner: str) -> str:
    """A cell; numbers stand one under the other."""
    number = inner.lstrip("+-−").replace(".", "").replace("%", "").strip().isdigit()
    return f'<td class="xlt-number">{inner}</td>' if number else f"<td>{inner}</td>"


def verdict(inner: str, right: bool, more: str = "") -> str:
    """What somebody answered, and below whether it is right, in a sign and a word."""
    word = f"{RIGHT} right" if right else f"{WRONG} wrong"
    return f"{inner}<br><small>{word}{', ' if more else ''}{escape(more)}</small>"


def bar(share: float) -> str:
    """A bar for a share of 1, beside the number that says the same."""
    return f'<span class="xlt-bar" aria-hidden="true" style="width: {6 * share:.2f}em"></span>'
