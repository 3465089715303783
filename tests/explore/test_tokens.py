"""How words are cut: every character is in a piece, and the counts are those of the tokenizer."""

from __future__ import annotations

import numpy as np
import pytest
from bs4 import BeautifulSoup

from xltkit import tokens as subwords
from xltkit.models.encoder import load_tokenizer
from xltkit.tasks.tagging import word_pieces


@pytest.fixture(scope="module")
def table():
    return subwords.fertility(sentences=40)


def test_counts_are_those_of_the_words_one_by_one(table):
    tokenizer, known = load_tokenizer("micro"), {}
    for code, texts in subwords._sample(40).items():
        words = [w for text in texts for w in text.split() if any(map(str.isalnum, w))]
        row = table.set_index("language").loc[code]
        counts = np.array([len(word_pieces(word, tokenizer, known)) for word in words])
        assert (row["words"], row["pieces"]) == (len(words), counts.sum())
        assert row["pieces_per_word"] == counts.mean()
        assert row["whole"] == pytest.approx(100 * (counts == 1).mean())
        assert row["unknown"] == 0
    by_level = table[table["language"] != "en"].groupby("resource")["pieces_per_word"].mean()
    assert by_level["high"] < by_level["mid"] < by_level["low"]  # what is rarely read is cut more


@pytest.mark.parametrize("text", ["Anna's ball is scarlet .", "Kira Max'უტს ფრომ", " two  spaces "])
def test_pieces_are_the_text_cut_up(text):
    tokenizer = load_tokenizer("micro")
    made = subwords.cut(text, tokenizer)
    assert len(made) == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert "".join(p.text for p in made).replace(subwords.MARKER, "") == text.replace(" ", "")


def test_unknown_characters_and_punctuation_are_told_apart():
    made = subwords.cut("中 ball ,", load_tokenizer("micro"))
    assert [tuple(piece) for piece in made] == [
        (subwords.MARKER, 0, False), ("中", 0, True), ("ball", 1, False), (",", -1, False)
    ]  # fmt: skip


def test_the_token_view_shows_boundaries_in_characters_and_counts():
    shown = BeautifulSoup(
        subwords.tokens({"en": "who <b>owns</b> apples ?", "qke": "apple akot appleakot"}).data,
        "html.parser",
    )
    first, second = shown.select("tbody > tr")
    assert [td.get_text() for td in second.select("td")[:3]] == ["3", "5", "1.67"]
    assert second.select_one("[lang]").get_text() == "apple a|kot apple|akot"
    assert first.select_one("[lang]")["dir"] == "ltr" and not first.select_one("[lang] > b")
    assert "<b>owns" not in str(first)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(ValueError, match="no language 'xx'"):
        subwords.tokens({"xx": "text"})
    with pytest.raises(ValueError, match="no word in the texts of en"):
        subwords.fertility(texts={"en": [" ? "]})
    assert "<td>–</td>" in subwords.tokens({"en": " ? "}).data
    with pytest.raises(ValueError, match=r"texts of \['en'\] are one string; give a list"):
        subwords.fertility(texts={"en": "Anna owns a ball ."})
    assert "qbe-x-sov" in subwords.tokens({"qbe-x-sov": "a ball"}).data
