"""The token view: how an encoder cuts words in pieces, and how many pieces a word costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any, NamedTuple

from IPython.display import HTML

from xltkit.data.languages import language as find_language
from xltkit.data.text import word_spans
from xltkit.explore import html
from xltkit.models.encoder import load_tokenizer

MARKER = "▁"  # the space before a word, in the vocabularies of SentencePiece


class Piece(NamedTuple):
    """A piece of a text: as it is written, the number of its word, whether it is unknown.

    Punctuation belongs to no word: -1.
    """

    text: str
    word: int
    unknown: bool


def cut(text: str, tokenizer: Any) -> list[Piece]:
    """The pieces that a tokenizer cuts a text in, special tokens aside.

    Words are those of ``data.text.word_spans``; a piece that holds two words (of Chinese, say)
    counts for the first.
    """
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = word_spans(text)
    ids = encoding["input_ids"]
    names = tokenizer.convert_ids_to_tokens(ids)
    pieces = []
    for key, name, (start, end) in zip(ids, names, encoding["offset_mapping"], strict=True):
        shown = MARKER if name == MARKER else text[start:end].strip() or MARKER
        if shown == MARKER:  # belongs to the word that it opens
            words = [i for i, (first, _) in enumerate(spans) if first in (start, end)]
        else:
            start = end - len(text[start:end].lstrip())
            words = [i for i, (first, last) in enumerate(spans) if first < end and start < last]
        pieces.append(Piece(shown, words[0] if words else -1, key == tokenizer.unk_token_id))
    return pieces


def tokens(texts: Mapping[str, str], encoder: str = "micro") -> HTML:
    """Sentences cut in the pieces that an encoder reads, with the number of pieces per word.

    Pieces per word are called fertility (Rust et al. 2021, arXiv 2012.15613).

    Args:
        texts: a sentence by language, such as ``{"en": "Anna owns a ball .", "qto": ...}``.
        encoder: whose tokenizer cuts.

    Raises:
        ValueError: for an unknown encoder or language.
    """
    tokenizer = load_tokenizer(encoder)
    rows = []
    for code, text in texts.items():
        pieces = cut(text, tokenizer)
        in_words = [piece.word for piece in pieces if piece.word >= 0]
        count = len(set(in_words))
        rate = f"{len(in_words) / count:.2f}" if count else "–"
        name = f"{escape(find_language(code).name)} <small>{escape(code)}</small>"
        rows.append([name, str(count), str(len(in_words)), rate, _boxes(pieces, code)])
    heads = ["language", "words", "pieces", "pieces per word", "the sentence in pieces"]
    caption = (
        f"What the encoder {escape(encoder)} reads. A box is a piece, | divides the pieces of a "
        f"word, ? follows one that the vocabulary does not have. Punctuation is not counted."
    )
    return html.view(html.table(caption, heads, rows))


def _boxes(pieces: Sequence[Piece], code: str) -> str:
    """Pieces in boxes, those of one word together."""
    words = []
    for word, group in groupby(pieces, key=lambda piece: piece.word):
        boxes = []
        for piece in group:
            unknown = "<b>?</b>" if piece.unknown else ""
            boxes.append(f'<span class="xlt-piece">{escape(piece.text)}{unknown}</span>')
        between = '<span class="xlt-cut">|</span>' if word >= 0 else " "
        words.append(between.join(boxes))
    return html.in_language(" ".join(words), code, "div")
