"""Words of rows, rows with some words changed, typing errors, and tables of words."""

import json

import numpy as np
import pytest
from tables import cases

from xltkit.data import lexicons
from xltkit.data.microworld import glosses
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.data.text import (
    KEYBOARD,
    graphemes,
    is_valid,
    replace_words,
    script,
    typos,
    word_spans,
    words,
)
from xltkit.tasks import get, load

CASES = cases("words")
SPAN = ("question", "context")
ROW = {
    "id": "1",
    "question": "Who won?",
    "context": "Beyoncé's band, not Ann, won in 2003. It won twice.",
    "answers": ["Ann", "won twice"],
    "starts": [20, 41],
}


@pytest.mark.parametrize(("text", "expected"), CASES["spans"].items())
def test_words_in_many_scripts(text, expected):
    assert [text[start:end] for start, end in word_spans(text)] == expected


def test_answers_stay_where_they_stand():
    row_words = words(SPAN, ROW)
    assert [word.text for word in row_words if word.fixed] == ["Ann", "won", "twice"]
    edits = {i: word.text * 2 for i, word in enumerate(row_words) if not word.fixed}
    new = replace_words(SPAN, ROW, edits)
    assert is_valid(SPAN, new) and new["context"].startswith("Beyoncé'sBeyoncé's bandband,")
    assert ROW["starts"] == [20, 41]  # the row itself is left alone
    assert not is_valid(SPAN, {**ROW, "starts": [21, 41]})
    assert not is_valid(SPAN, {**ROW, "question": " "})


def test_neither_punctuation_nor_an_absent_column_has_words():
    row = {"tokens": ["U.S.", ",", "東京", "..."], "tags": [1, 0, 1, 0]}
    assert [(word.part, word.text) for word in words(["tokens"], row)] == [(0, "U.S."), (2, "東京")]
    assert replace_words(["tokens"], row, {1: "Paris"})["tokens"] == ["U.S.", ",", "Paris", "..."]
    columns = ("query", "text")
    row = {"query": "a b", "key": "k"}
    assert [word.column for word in words(columns, row)] == ["query", "query"]
    assert replace_words(columns, row | {"text": "c"}, {2: "d"}) == row | {"text": "d"}


@pytest.mark.parametrize("task", ["nli", "choice", "pos", "qa"])
@pytest.mark.parametrize("code", ["en", "qto"])
def test_random_edits_keep_rows_valid(task, code):
    task = get(task)
    columns = task.type.texts
    random = np.random.default_rng(0)
    for row in load(task, "test", code).select(range(20)):
        free = [i for i, word in enumerate(words(columns, row)) if not word.fixed]
        chosen = random.choice(free, size=max(1, len(free) // 2), replace=False)
        edits = {int(i): "x" * int(random.integers(1, 9)) for i in chosen}
        new = replace_words(columns, row, edits)
        assert is_valid(columns, new)
        assert len(words(columns, new)) == len(words(columns, row))
        assert new.keys() == row.keys()
        assert replace_words(columns, row, {}) == row


def test_the_four_kinds_of_typos_and_no_other():
    word = "Brisk"
    generators = map(np.random.default_rng, range(60))
    slips = {slip for random in generators for slip in typos(word, random, frozenset())}
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, 4)}
    left_out = {word[:i] + word[i + 1 :] for i in range(1, 5)}
    doubled = {word[:i] + word[i] + word[i:] for i in range(1, 5)}
    keys = {i: next(row for row in KEYBOARD if word[i] in row) for i in range(1, 5)}
    mistaken = {
        word[:i] + key + word[i + 1 :]
        for i, row in keys.items()
        for key in row
        if abs(row.index(key) - row.index(word[i])) == 1
    }
    assert slips == swapped | left_out | doubled | mistaken


def test_marks_stay_with_their_letters_and_words_are_no_typos():
    random = np.random.default_rng(0)
    assert graphemes("है") == ["है"]
    assert graphemes("कविताओं") == ["क", "वि", "ता", "ओं"]
    assert typos("of", random, frozenset()) == typos("2003", random, frozenset()) == []
    slips = typos("trail", random, frozenset({"trial", "tail"}))
    assert slips and not {"trial", "tail"} & set(slips)
    assert all(typos("LİSE", random, frozenset()))  # in lower case, a letter and a mark


@pytest.mark.parametrize("text", CASES["typos"])
def test_typos_are_made_of_letters_and_marks_that_the_language_has(text):
    text_words = [text[start:end] for start, end in word_spans(text)]
    vocabulary = frozenset(word.lower() for word in text_words)
    attested = {letter for word in vocabulary for letter in graphemes(word)}
    slips = {word: typos(word, np.random.default_rng(0), vocabulary) for word in text_words}
    for word, typo in [(word, typo) for word, some in slips.items() for typo in some]:
        assert graphemes(typo)[0] == graphemes(word)[0]
        assert {letter.lower() for letter in graphemes(typo)} <= attested
        assert {letter[1:] for letter in graphemes(typo)} <= {g[1:] for g in graphemes(word)}
        assert set(map(script, typo)) <= set(map(script, text))
    assert sum(map(len, slips.values())) > 20


@pytest.mark.parametrize("code", LANGUAGES)
def test_synonyms_are_inflected_and_go_both_ways(code):
    table = glosses.synonyms(code)
    assert all(word in table[other] for word, others in table.items() for other in others)
    bought, purchased = (LANGUAGES[code].form(verb, ("3sg",)) for verb in ("buy", "purchase"))
    assert table[bought] == (purchased,)


def test_the_released_table_has_foreign_words_and_the_filter_removes_them():
    plain = lexicons.synonyms("microworld")
    released = lexicons.synonyms("microworld-released")
    foreign = {word for word in released if released[word] != plain[word]}
    assert 0.15 < len(foreign) / len(released) < 0.4
    texts = [" ".join(row["tokens"]) for row in load(get("pos"), "train", "en")]
    filtered = lexicons.in_english(released, texts)
    english = {other for others in plain.values() for other in others}
    strange = {other for word in foreign for other in released[word]} - english
    assert strange and not strange & {o for others in filtered.values() for o in others}


def test_look_up_restores_capitals_where_words_begin_with_them():
    table = {"red": ("scarlet", "ბა"), "US": ("we",)}
    expected = {"Red": ("Scarlet", "ბა"), "RED": ("SCARLET", "ბა"), "US": ("we",), "green": ()}
    assert {word: lexicons.look_up(word, table) for word in expected} == expected


def test_files_of_the_users(tmp_path):
    file = tmp_path / "table.json"
    file.write_text(json.dumps({"good": ["fine"], "the": []}))
    assert lexicons.synonyms(str(file)) == {"good": ("fine",)}
    before = lexicons.fingerprint(str(file))
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"good": ["nice"]}).encode())
    assert lexicons.synonyms(str(file)) == {"good": ("nice",)}
    file = tmp_path / "synonyms.tsv"
    file.write_bytes(b"good\tfine nice\r\nbad\tevil\n")
    assert lexicons.synonyms(str(file)) == {"good": ("fine", "nice"), "bad": ("evil",)}
    assert lexicons.fingerprint(str(file)) != before
    pairs = "\ufeffcat Katze\r\ncat\tKater\ndog H\u2028nd\n"  # as editors of other systems write
    (tmp_path / "en-de.txt").write_bytes(pairs.encode())
    table = lexicons.translations(str(tmp_path), "en", ["en", "de"])
    assert table == {"cat": ("Katze", "Kater"), "dog": ("H\u2028nd",)}
    with pytest.raises(ValueError, match=r"no dictionary of 'en'.*en-fr.txt"):
        lexicons.translations(str(tmp_path), "en", ["fr"])
    # One is read in both directions, and a language without one is left out.
    before = lexicons.fingerprint(str(tmp_path))
    (tmp_path / "en-es.tsv").write_text("hot dog\tperrito caliente\nhouse\tcasa\n")
    assert lexicons.fingerprint(str(tmp_path)) != before
    folder = str(tmp_path)
    assert lexicons.translations(folder, "es", ["en", "fr"])["casa"] == ("house",)
    table = lexicons.translations(folder, "en", ["de", "es", "fr"])
    assert table["hot dog"] == ("perrito caliente",) and "casa" in table["house"]
