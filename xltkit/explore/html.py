"""Texts as HTML, escaped and readable in any theme: with marks, glosses or tags, or in pieces."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from IPython.display import HTML

from xltkit.data.languages import LANGUAGES
from xltkit.data.languages import language as find_language
from xltkit.data.microworld.glosses import meanings
from xltkit.data.text import word_spans
from xltkit.files import read
from xltkit.models.checkpoints import load_tokenizer

STYLE = f"<style>{read(Path(__file__).with_suffix('.css'))}</style>"

NO_MATH = "mathjax_ignore"  # a class: in JupyterLab, two dollar signs would become a formula
MARKER = "▁"  # the space before a word, in the vocabularies of SentencePiece
PART = "·"  # another piece of the character before it, in byte-level vocabularies

Mark = tuple[int, int, str]  # start and end in characters, and whose words these are


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> HTML:
    """A table of HTML cells; the first of each row is its heading."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    return HTML(
        f'{STYLE}<div class="xlt {NO_MATH}"><table><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def in_language(html: str, code: str) -> str:
    """HTML in an element that gives its language and text direction."""
    direction = LANGUAGES[code].direction if code in LANGUAGES else "auto"
    return f'<span lang="{escape(code)}" dir="{direction}">{html}</span>'


def text(words: str, code: str, marks: Sequence[Mark] = ()) -> str:
    """A text with some of its characters marked; invented words are above what they mean.

    Names of marks in the same place are listed together.
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
    """Words with a note below each, such as its tag; a word with an empty note has none."""
    words = []
    for word, note in pairs:
        below = f'<rp> (</rp><rt lang="en" dir="ltr">{escape(note)}</rt><rp>)</rp>'
        words.append(f"<ruby>{escape(word)}{below if note else ''}</ruby>")
    return " ".join(words)


def cut(text: str, tokenizer: Any) -> list[tuple[str, int]]:
    """The pieces of a text without special tokens, each with the number of its word.

    Punctuation belongs to no word: -1. A piece with two words (of Chinese, say) counts for the
    first. An unknown piece ends in ``?``; if a character has several pieces, the later ones are
    ``PART``.
    """
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = encoding["input_ids"]
    names = tokenizer.convert_ids_to_tokens(ids)
    pieces = []
    shown_to = 0  # characters
    for key, name, (start, end) in zip(ids, names, encoding["offset_mapping"], strict=True):
        if name == MARKER or not text[start:end].strip():
            shown = MARKER
            end += 1  # it belongs to the word that it opens
        else:
            shown = text[max(start, shown_to) : end].strip() or PART
            start = end - len(text[start:end].lstrip())
            shown_to = end
        words = [i for i, (a, b) in enumerate(word_spans(text)) if a < end and start < b]
        unknown = "?" if key == tokenizer.unk_token_id else ""
        pieces.append((shown + unknown, words[0] if words else -1))
    return pieces


def tokens(texts: Mapping[str, str], encoder: str = "micro") -> HTML:
    """Sentences by language, cut into the pieces that an encoder reads, with the pieces per word.

    Pieces per word are called fertility (Rust et al. 2021, arXiv 2012.15613).
    """
    tokenizer = load_tokenizer(encoder)
    rows = []
    for code, text in texts.items():
        pieces = cut(text, tokenizer)
        numbers = [number for _, number in pieces if number >= 0]
        count = len(set(numbers))
        rate = f"{len(numbers) / count:.2f}" if count else "–"
        words = []
        for number, group in groupby(pieces, key=lambda piece: piece[1]):
            boxes = [f'<span class="xlt-piece">{escape(piece)}</span>' for piece, _ in group]
            words.append((" " if number < 0 else '<span class="xlt-cut">|</span>').join(boxes))
        name = f"{escape(find_language(code).name)} <small>{escape(code)}</small>"
        shown = in_language(" ".join(words), code)
        rows.append([name, str(count), str(len(numbers)), rate, shown])
    heads = ["language", "words", "pieces", "pieces per word", "the sentence in pieces"]
    caption = (
        f"What the encoder {escape(encoder)} reads. A box is a piece, | divides the pieces of a "
        f"word, ? follows one that is not in the vocabulary, {PART} is another piece of the "
        "character before it. Punctuation is not counted."
    )
    return table(caption, heads, rows)
