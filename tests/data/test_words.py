"""Words of rows, tables of words, synonyms in training, and what attacks propose."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from datasets import Dataset

from xltkit.data import lexicons
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.data.text import is_valid, replace_words, script, word_spans, words
from xltkit.evaluation.attacks import CodeMixing, Distractor, Typos
from xltkit.tasks import get, load
from xltkit.training.synonyms import SynonymSmoothing, coverage

ROW = {
    "id": "1",
    "question": "Who won?",
    "context": "Beyoncé's band, not Ann, won in 2003. It won twice.",
    "answers": ["Ann", "won twice"],
    "starts": [20, 41],
}


def split(text):
    return [text[a:b] for a, b in word_spans(text)]


def test_words_in_many_scripts():
    assert split("Don't stop, well-known (no)!") == ["Don't", "stop", "well-known", "no"]
    assert split("हिन्दी में है।") == ["हिन्दी", "में", "है"]
    assert split("我喜欢NLP。") == ["我", "喜", "欢", "NLP"]
    assert split("ภาษาไทย ง่าย") == ["ภาษาไทย", "ง่าย"]
    assert split("هل هذا؟") == ["هل", "هذا"]
    assert split("") == [] and split("...") == []


def test_answers_stay_where_they_stand():
    assert [w.text for w in words("span", ROW) if w.fixed] == ["Ann", "won", "twice"]
    every = words("span", ROW)
    longer = {i: w.text * 2 for i, w in enumerate(every) if not w.fixed}
    new = replace_words("span", ROW, longer)
    assert is_valid("span", new) and new["context"].startswith("Beyoncé'sBeyoncé's bandband,")
    assert ROW["starts"] == [20, 41]  # the row itself is left alone
    with pytest.raises(ValueError, match=r"'Ann'.*gold answer"):
        replace_words("span", ROW, {next(i for i, w in enumerate(every) if w.text == "Ann"): "Bob"})
    assert not is_valid("span", {**ROW, "starts": [21, 41]})
    assert not is_valid("tagging", {"tokens": ["a", "b"], "tags": [0]})
    with pytest.raises(ValueError, match="mining have no words"):
        words("mining", {})


@pytest.mark.parametrize("task", ["nli", "choice", "pos", "qa"])
@pytest.mark.parametrize("code", ["en", "qbe", "qto"])
def test_random_edits_keep_rows_valid(task, code):
    kind, random = get(task).kind, np.random.default_rng(0)
    for row in load(get(task), "test", code).select(range(30)):
        free = [i for i, w in enumerate(words(kind, row)) if not w.fixed]
        chosen = random.choice(free, size=max(1, len(free) // 2), replace=False)
        new = replace_words(kind, row, {int(i): "x" * int(random.integers(1, 9)) for i in chosen})
        assert is_valid(kind, new)
        assert len(words(kind, new)) == len(words(kind, row))
        assert new.keys() == row.keys()
        assert replace_words(kind, row, {}) == row


def test_counterparts_say_a_sentence_word_by_word():
    table = lexicons.counterparts("microworld", "en", ["qto"])
    rows = {c: load(get("pos"), "test", c).select(range(40)) for c in ("en", "qto")}
    for english, other in zip(rows["en"], rows["qto"], strict=True):
        said = {lexicons.look_up(w, table)[0] if w in table else w for w in english["tokens"]}
        stems = set(other["tokens"])
        # order and case endings differ; words without endings must all be found
        assert len(said & stems) >= len(stems) / 2
    assert "qto" not in lexicons.counterparts("microworld", "qto", ["qto"])


def test_the_released_table_has_foreign_words_and_the_filter_removes_them():
    plain, released = (lexicons.synonyms(s) for s in ("microworld", "microworld-released"))
    foreign = {w for w in released if released[w] != plain[w]}
    assert 0.15 < len(foreign) / len(released) < 0.4
    texts = [" ".join(row["tokens"]) for row in load(get("pos"), "train", "en")]
    filtered = lexicons.in_english(released, texts)
    others = {o for word in foreign for o in released[word]} - {
        o for words_ in plain.values() for o in words_
    }
    assert others and not others & {o for words_ in filtered.values() for o in words_}


def test_files_of_the_users(tmp_path):
    file = tmp_path / "table.json"
    file.write_text(json.dumps({"good": ["fine"], "the": []}))
    assert lexicons.synonyms(str(file)) == {"good": ("fine",)}
    assert lexicons.look_up("Good", lexicons.synonyms(str(file))) == ("Fine",)
    before = lexicons.fingerprint(str(file))
    file.write_text(json.dumps({"good": ["nice"]}))
    assert lexicons.synonyms(str(file)) == {"good": ("nice",)}
    assert lexicons.fingerprint(str(file)) != before
    (tmp_path / "en-de.txt").write_text("cat Katze\ncat\tKater\ndog Hund\n")
    table = lexicons.counterparts(str(tmp_path), "en", ["en", "de"])
    assert table == {"cat": ("Katze", "Kater"), "dog": ("Hund",)}
    with pytest.raises(ValueError, match=r"There is no .*en-fr.txt"):
        lexicons.counterparts(str(tmp_path), "en", ["fr"])
    with pytest.raises(ValueError, match=r"There is no .*nowhere"):
        lexicons.synonyms(str(tmp_path / "nowhere"))


def test_synonyms_are_drawn_as_in_the_release(tmp_path):
    """A word with k neighbours changes with probability k / (k + 1), and case and commas count."""
    file = tmp_path / "table.json"
    file.write_text(json.dumps({"good": ["fine", "nice", "well"], "cat": ["pet"]}))
    row = {"id": "a", "text_a": "a good cat", "text_b": "Good cat, cat.", "label": 1}
    rows = Dataset.from_list([row])
    copies = SynonymSmoothing(source=str(file), copies=4000).augment(get("nli"), rows)
    said = [text.split(" ") for text in copies["text_a"]]
    assert np.mean([w[1] != "good" for w in said]) == pytest.approx(3 / 4, abs=0.03)
    assert np.mean([w[1] == "nice" for w in said]) == pytest.approx(1 / 4, abs=0.03)
    assert np.mean([w[2] == "pet" for w in said]) == pytest.approx(1 / 2, abs=0.03)
    assert set(copies["text_b"]) == {"Good cat, cat."}  # neither case nor commas match
    assert set(copies["label"]) == {1} and len(set(copies["id"])) == 4000
    some = SynonymSmoothing(source=str(file), copies=4000, rate=0.1).augment(get("nli"), rows)
    changed = [text.split(" ")[1] != "good" for text in some["text_a"]]
    assert np.mean(changed) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("task", ["nli", "choice", "pos", "qa", "linking"])
def test_copies_are_seeded_and_the_control_changes_nothing(task):
    rows = load(get(task), "train", "en").select(range(20))
    kind = get(task).kind
    one, same, other = (SynonymSmoothing(seed=s).augment(get(task), rows) for s in (0, 0, 1))
    assert one[:] == same[:]
    if task in ("nli", "pos", "qa"):  # the others are about names, states and deeds
        assert one[:] != other[:] and coverage(kind, rows, lexicons.synonyms("microworld")) > 2
    assert len(one) == 60 and one.features == rows.features
    assert all(is_valid(kind, row) for row in one)
    control = SynonymSmoothing(empty=True, copies=2).augment(get(task), rows)
    assert control.remove_columns("id")[::2] == rows.remove_columns("id")[:]
    assert coverage(kind, rows, {}) == 0


def test_bad_settings_are_named():
    for make, named in (
        (lambda: SynonymSmoothing(copies=0), "copies is 0"),
        (lambda: Typos(strength=0), "strength is 0"),
        (lambda: Typos(beam=-1), "beam -1"),
        (lambda: Distractor(at="middle"), "'end' or 'start'"),
    ):
        with pytest.raises(ValueError, match=named):
            make()


@pytest.mark.parametrize(
    ("word", "name"),
    [("Strasse", "LATIN"),
     ("გამარჯობა", "GEORGIAN"), ("कविताओं", "DEVANAGARI"), ("كتابها", "ARABIC"),
     ("ภาษาไทย", "THAI")],
)  # fmt: skip
def test_typos_stay_in_the_script(word, name):
    attack = Typos(candidates=100)
    vocabulary = frozenset([word.lower(), "წიგნი", "घरेलू", "مدرسة", "เมือง"])
    found = attack.proposals(word, "xx", np.random.default_rng(0), vocabulary)
    assert len(found) >= 5 and word not in found
    for slip in found:
        assert slip[0] == word[0] and abs(len(slip) - len(word)) <= 3
        assert {script(c) for c in slip if c.isalpha()} == {name}
        # no mark is left without its letter, and none comes twice on one
        assert unicodedata.category(slip[1])[0] != "M" or unicodedata.category(word[1])[0] == "M"
    again = attack.proposals(word, "xx", np.random.default_rng(0), vocabulary)
    assert (
        found == again
        and len(Typos().proposals(word, "xx", np.random.default_rng(1), vocabulary)) == 3
    )


def test_what_is_another_word_is_no_typo():
    attack = Typos(candidates=100)
    found = attack.proposals("trail", "en", np.random.default_rng(0), frozenset(["trial", "tail"]))
    assert found and not {"trial", "tail"} & set(found)
    assert attack.proposals("of", "en", np.random.default_rng(0), frozenset()) == []
    assert attack.proposals("2003", "en", np.random.default_rng(0), frozenset()) == []


def test_mixes_are_of_other_languages():
    random = np.random.default_rng(0)
    for code in ("en", "qbe", "qto"):
        lang = LANGUAGES[code]
        big = lang.form("big")
        found = CodeMixing(candidates=9).proposals(big, code, random, frozenset())
        wanted = {LANGUAGES[c].form("big") for c in ("qbe", "qke", "qto") if c != code} - {big}
        assert set(found) == wanted


def test_distractors_resemble_the_question_and_do_not_answer_it():
    rows = [
        {"question": "where does Anna live ?", "context": "Anna lives in Rome .",
         "answers": ["Rome"], "starts": [14]},
        {"question": "where does Ben live ?", "context": "Ben lives in Oslo . Anna is in Rome .",
         "answers": ["Oslo"], "starts": [13]},
        {"question": "what ?", "context": "does Anna like tea ?",
         "answers": ["tea"], "starts": [15]},
    ]  # fmt: skip
    for at in ("end", "start"):
        (first,), *_ = Distractor(at=at).variants(rows)
        # "Anna is in Rome ." is more alike, but holds the answer
        assert "does Anna like tea ?" in first["context"]
        assert is_valid("span", first)
    both = Distractor(tries=2, at="start").variants(rows)
    assert all(len({v["context"] for v in variants}) == 2 for variants in both[:1])
    real = list(load(get("qa"), "test", "qke").select(range(60)))
    for row, (variant,) in zip(real, Distractor(at="start").variants(real), strict=True):
        added = variant["context"].removesuffix(row["context"])
        assert added and not any(answer in added for answer in row["answers"])
        assert is_valid("span", variant)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("می‌خواهم بروم؟", ["می‌خواهم", "بروم"]),  # a zero-width non-joiner inside
        ("क्‍या", ["क्‍या"]),
        ("ジョン・スミス", [*"ジョン", *"スミス"]),  # the dot in the middle is punctuation
        ("l’homme -- 'go'", ["l’homme", "go"]),
    ],
)
def test_joiners_are_inside_words_and_punctuation_is_not(text, expected):
    assert split(text) == expected


def test_punctuation_is_no_word_of_a_tagging():
    row = {"tokens": ["U.S.", ",", "東京", "..."], "tags": [1, 0, 1, 0]}
    assert [(w.part, w.text) for w in words("tagging", row)] == [(0, "U.S."), (2, "東京")]
    assert replace_words("tagging", row, {1: "Paris"})["tokens"] == ["U.S.", ",", "Paris", "..."]


def test_the_text_of_a_candidate_has_words_where_it_is_known():
    row = {"query": "a b", "key": "k"}
    assert [w.field for w in words("ranking", row)] == ["query", "query"]
    assert [w.field for w in words("ranking", row | {"text": "c"})][2:] == ["text"]
    assert replace_words("ranking", row | {"text": "c"}, {2: "d"}) == row | {"text": "d"}
