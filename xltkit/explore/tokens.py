"""The token view: how an encoder cuts words in pieces, and how many pieces a word costs."""

from collections.abc import Mapping
from html import escape
from itertools import groupby
from typing import Any

from IPython.display import HTML

from xltkit.data.languages import language as find_language
from xltkit.data.text import word_spans
from xltkit.explore import html
from xltkit.models.encoder import load_tokenizer

MARKER = "▁"  # the space before a word, in the vocabularies of SentencePiece


def cut(text: str, tokenizer: Any) -> list[tuple[str, int]]:
    """The pieces of a text, special tokens aside, each with the number of its word.

    Words are those of ``word_spans``; punctuation belongs to none: -1. A piece that holds two words
    (of Chinese, say) counts for the first. One that the vocabulary does not have ends in ``?``.
    """
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = encoding["input_ids"]
    names = tokenizer.convert_ids_to_tokens(ids)
    pieces = []
    for key, name, (start, end) in zip(ids, names, encoding["offset_mapping"], strict=True):
        shown = MARKER if name == MARKER else text[start:end].strip() or MARKER
        if shown == MARKER:
            end += 1  # it belongs to the word that it opens
        else:
            start = end - len(text[start:end].lstrip())
        words = [i for i, (a, b) in enumerate(word_spans(text)) if a < end and start < b]
        unknown = "?" if key == tokenizer.unk_token_id else ""
        pieces.append((shown + unknown, words[0] if words else -1))
    return pieces


def tokens(texts: Mapping[str, str], encoder: str = "micro") -> HTML:
    """Sentences cut in the pieces that an encoder reads, with the number of pieces per word.

    Pieces per word are called fertility (Rust et al. 2021, arXiv 2012.15613). ``texts`` has a
    sentence by language, such as ``{"en": "Anna owns a ball .", "qto": ...}``.
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
        shown = html.in_language(" ".join(words), code)
        rows.append([name, str(count), str(len(numbers)), rate, shown])
    heads = ["language", "words", "pieces", "pieces per word", "the sentence in pieces"]
    caption = (
        f"What the encoder {escape(encoder)} reads. A box is a piece, | divides the pieces of a "
        "word, ? follows one that the vocabulary does not have. Punctuation is not counted."
    )
    return html.table(caption, heads, rows)
