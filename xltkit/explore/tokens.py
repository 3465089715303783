"""How an encoder cuts words in pieces, and how many pieces a word costs in each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd
from IPython.display import HTML

from xltkit.data.languages import columns
from xltkit.data.text import word_spans
from xltkit.explore import html as markup
from xltkit.models.encoder import load_tokenizer

MARKER = "▁"  # the space before a word, in the vocabularies of SentencePiece


class Piece(NamedTuple):
    """A piece of a text: as it is written, the number of its word, whether it is unknown.

    Punctuation is of no word: -1.
    """

    text: str
    word: int
    unknown: bool


def cut(text: str, tokenizer: Any) -> list[Piece]:
    """The pieces that a tokenizer cuts a text in, special tokens aside; words are ``words.pieces``.

    A piece that holds two words (of Chinese, say) counts for the first.
    """
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    places, found = word_spans(text), []
    ids = encoding["input_ids"]
    names = tokenizer.convert_ids_to_tokens(ids)
    for key, name, (start, end) in zip(ids, names, encoding["offset_mapping"], strict=True):
        shown = MARKER if name == MARKER else text[start:end].strip() or MARKER
        if shown == MARKER:  # belongs to the word that it opens
            mine = (i for i, (a, _) in enumerate(places) if a in (start, end))
        else:
            start = end - len(text[start:end].lstrip())
            mine = (i for i, (a, b) in enumerate(places) if a < end and start < b)
        found.append(Piece(shown, next(mine, -1), key == tokenizer.unk_token_id))
    return found


def fertility(
    encoder: str = "micro",
    texts: Mapping[str, Sequence[str]] | None = None,
    *,
    sentences: int = 200,
) -> pd.DataFrame:
    """Pieces per word, by language ("fertility": Rust et al. 2021, arXiv 2012.15613).

    Args:
        encoder: whose tokenizer cuts.
        texts: some sentences by language; unless given, the same test sentences of the microworld
            in all its languages.
        sentences: how many of the microworld.

    Returns:
        One row a language, as ordered in ``texts``: ``language``, ``words``, ``pieces`` (of words:
        punctuation is left out), ``pieces_per_word``, ``whole`` (%, of words that are one piece),
        ``unknown`` (%, of pieces that the vocabulary has no name for), ``sentences``, and the
        columns of ``xltkit.data.languages.columns``.

    Raises:
        ValueError: for an unknown encoder or language, or one without a word.
    """
    texts = _sample(sentences) if texts is None else texts
    if alone := [code for code, some in texts.items() if isinstance(some, str)]:
        raise ValueError(f"texts of {alone} are one string; give a list of sentences.")
    tokenizer = load_tokenizer(encoder)
    made = {code: [cut(text, tokenizer) for text in some] for code, some in texts.items()}
    table = _table(made)
    if (wordless := table.loc[table["words"] == 0, "language"]).size:
        raise ValueError(f"There is no word in the texts of {', '.join(wordless)}.")
    return table


def _sample(count: int) -> dict[str, list[str]]:
    from xltkit.data.microworld import LANGUAGES, rows

    return {code: rows("retrieval", "test", one, count)["text"][:]
            for code, one in LANGUAGES.items()}  # fmt: skip


def _table(made: Mapping[str, Sequence[Sequence[Piece]]]) -> pd.DataFrame:
    """The table of ``fertility`` for sentences that are cut already."""
    rows = [
        {"language": code, "sentences": len(some)} | _counts(some) for code, some in made.items()
    ]
    return pd.DataFrame(rows).join(columns([_known(code) for code in made]), on="language")


def _known(code: str) -> str:
    """The code; the microworld's with knobs turned is entered in the table of languages first."""
    if "-x-" in code:
        from xltkit.data.microworld import language

        language(code)
    return code


def _counts(made: Sequence[Sequence[Piece]]) -> dict[str, float]:
    """What the pieces of some sentences come to."""
    counted = [
        len(list(own))
        for some in made
        for word, own in groupby(some, key=lambda piece: piece.word)
        if word >= 0
    ]
    unknown = [piece.unknown for some in made for piece in some if piece.word >= 0]
    return {
        "words": len(counted),
        "pieces": sum(counted),
        "pieces_per_word": sum(counted) / max(1, len(counted)),
        "whole": 100 * counted.count(1) / max(1, len(counted)),
        "unknown": 100 * sum(unknown) / max(1, len(unknown)),
    }


def tokens(texts: Mapping[str, str], encoder: str = "micro") -> HTML:
    """The token view: sentences cut in the pieces that an encoder reads.

    Args:
        texts: a sentence by language, such as ``{"en": "Anna owns a ball .", "qto": ...}``.
        encoder: whose tokenizer cuts.

    Raises:
        ValueError: for an unknown encoder or language.
    """
    tokenizer, rows = load_tokenizer(encoder), []
    made = {code: [cut(text, tokenizer)] for code, text in texts.items()}
    for row in _table(made).itertuples():
        name = f"{escape(row.language_name)} <small>{escape(row.language)}</small>"
        rate = f"{row.pieces_per_word:.2f}" if row.words else "–"
        shown = _boxes(*made[row.language], row.language)
        rows.append([name, str(row.words), str(row.pieces), rate, shown])
    heads = ["language", "words", "pieces", "pieces per word", "the sentence in pieces"]
    caption = (
        f"What the encoder {escape(encoder)} reads. A box is a piece, | divides the pieces of a "
        f"word, ? follows one that the vocabulary does not have. Punctuation is not counted."
    )
    return markup.view(markup.table(caption, heads, rows))


def _boxes(made: Sequence[Piece], code: str) -> str:
    bound = '<span class="xlt-cut">|</span>'
    said = []
    for word, own in groupby(made, key=lambda piece: piece.word):
        boxes = [
            f'<span class="xlt-piece">{escape(piece.text)}{"<b>?</b>" * piece.unknown}</span>'
            for piece in own
        ]
        said.append((bound if word >= 0 else " ").join(boxes))
    return markup.in_language(" ".join(said), code, "div")
