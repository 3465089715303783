"""The token view: every character is in a piece, and the counts are those of the tokenizer."""

import pytest
from bs4 import BeautifulSoup

from xltkit.explore.tokens import MARKER, cut, tokens
from xltkit.models.encoder import load_tokenizer


@pytest.mark.parametrize("text", ["Anna's ball is scarlet .", "Kira Max'უტს ფრომ", " two  spaces "])
def test_pieces_are_the_text_cut_up(text):
    tokenizer = load_tokenizer("micro")
    pieces = cut(text, tokenizer)
    assert len(pieces) == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert "".join(piece for piece, _ in pieces).replace(MARKER, "") == text.replace(" ", "")


def test_unknown_characters_and_punctuation_are_told_apart():
    expected = [(MARKER, 0), ("中?", 0), ("ball", 1), (",", -1)]
    assert cut("中 ball ,", load_tokenizer("micro")) == expected


def test_the_token_view_shows_boundaries_in_characters_and_counts():
    shown = tokens({"en": "who <b>owns</b> apples ?", "qke": "apple akot appleakot"}).data
    first, second = BeautifulSoup(shown, "html.parser").select("tbody > tr")
    assert [td.get_text() for td in second.select("td")[:3]] == ["3", "5", "1.67"]
    assert second.select_one("[lang]").get_text() == "apple a|kot apple|akot"
    assert first.select_one("[lang]")["dir"] == "ltr" and "<b>owns" not in str(first)
    assert "<td>–</td>" in tokens({"en": " ? "}).data
    with pytest.raises(ValueError, match="no language 'xx'"):
        tokens({"xx": "text"})
