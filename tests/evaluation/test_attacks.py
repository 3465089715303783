"""What attacks propose: in any script, of exactly the kinds they say, sound in every language."""

from __future__ import annotations

import time

import numpy as np
import pytest

from xltkit.data import lexicons
from xltkit.data.microworld.languages import language
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
from xltkit.evaluation.attacks import CodeMixing, Distractor, Typos
from xltkit.tasks import get, load

TEXTS = {
    "th": "กรุงเทพมหานคร เป็นเมืองหลวง และนครที่มีประชากรมากที่สุด ของประเทศไทย",
    "ar": "القاهِرة عاصمة جمهورية مصر العربية وأكبر مدنها وأهمها على الإطلاق",
    "ka": "თბილისი საქართველოს დედაქალაქი მდინარე მტკვრის ნაპირებზე მდებარეობს",
    "hi": "दिल्ली भारत की राजधानी है और एक महानगर क्षेत्र भी कहलाता आज इधर",
    "ru": "Москва столица России город федерального значения",
    "ko": "서울특별시는 대한민국의 수도이자 최대도시이다",
    "fa": "می‌خواهم کتاب‌ها را بخوانم",
}


def random(seed=0):
    return np.random.default_rng(seed)


def split(text):
    return [text[a:b] for a, b in word_spans(text)]


@pytest.mark.parametrize("code", TEXTS)
def test_typos_are_made_of_letters_and_marks_that_the_language_has(code):
    vocabulary = frozenset(word.lower() for word in split(TEXTS[code]))
    attested = {part for word in vocabulary for part in graphemes(word)}
    made = 0
    for word in split(TEXTS[code]):
        for typo in Typos(candidates=30).proposals(word, code, random(), vocabulary):
            made += 1
            assert graphemes(typo)[0] == graphemes(word)[0]
            assert {part.lower() for part in graphemes(typo)} <= attested
            assert {p[1:] for p in graphemes(typo)} <= {p[1:] for p in graphemes(word)}
            assert {script(c) for c in typo} <= {script(c) for c in TEXTS[code]}
            assert typo not in vocabulary
    assert made > 20


def test_the_four_kinds_of_typos_and_no_other():
    word = "Brisk"
    made = {t for seed in range(60) for t in typos(word, random(seed), frozenset())}
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, 4)}
    left_out = {word[:i] + word[i + 1 :] for i in range(1, 5)}
    doubled = {word[:i] + word[i] + word[i:] for i in range(1, 5)}
    beside = {k: row[max(0, i - 1) : i] + row[i + 1 : i + 2]
              for row in KEYBOARD for i, k in enumerate(row)}  # fmt: skip
    mistaken = {word[:i] + k + word[i + 1 :] for i in range(1, 5) for k in beside[word[i]]}
    assert made == swapped | left_out | doubled | mistaken


def test_proposals_are_few_and_the_same_every_time():
    vocabulary = frozenset({"harbour"})
    for attack in (Typos(candidates=2), CodeMixing(candidates=2)):
        for word in ("harbour", "Scarlet", "hides", "Unknownish"):
            made = attack.proposals(word, "en", random(3), vocabulary)
            assert made == attack.proposals(word, "en", random(3), vocabulary)
            assert len(set(made)) == len(made) <= 2 and word not in made


def test_a_name_that_is_the_same_abroad_is_no_change(tmp_path):
    (tmp_path / "en-de.txt").write_text("berlin berlin\nriver fluss\n")
    mix = CodeMixing(source=str(tmp_path), languages=("de",))
    assert mix.proposals("Berlin", "en", random(), frozenset()) == []
    assert mix.proposals("River", "en", random(), frozenset()) == ["Fluss"]
    assert CodeMixing(languages=("en",)).proposals("river", "en", random(), frozenset()) == []


@pytest.mark.parametrize(("code", "other"), [("en", "qto"), ("qbe", "en"), ("qke", "qad")])
def test_mixing_every_word_gives_the_other_language(code, other):
    attack, spoken = CodeMixing(languages=(other,)), language(other)
    said = {lexicons._said(concept, e, other) for concept, e in lexicons._inflected()}
    for row in load(get("nli"), "test", code).select(range(100)):
        found = enumerate(words("classification", row))
        some = {i: attack.proposals(w.text, code, random(), frozenset()) for i, w in found}
        made = replace_words("classification", row, {i: new[0] for i, new in some.items() if new})
        assert {w.text for w in words("classification", made)} <= said, spoken.name
        assert made["label"] == row["label"]


def test_no_distractor_holds_an_answer_however_capitalised():
    rows = [
        {"question": "Who owns the red ball?", "context": "Anna owns the red ball. She sings.",
         "answers": ["Anna"], "starts": [0]},
        {"question": "Where?", "context": "ANNA hates the red ball, they say.\nBen owns the ball!",
         "answers": ["Ben"], "starts": [35]},
    ]  # fmt: skip
    first, second = Distractor(tries=3).variants(rows)
    assert [v["context"] for v in first] == [f"{rows[0]['context']} Ben owns the ball!"]
    assert len(second) == 2  # both sentences of the other context


@pytest.mark.parametrize("code", ["en", "qto"])
def test_distractors_of_a_whole_test_set(code):
    rows = load(get("qa"), "test", code).to_list()
    began = time.monotonic()
    found = Distractor(tries=3).variants(rows)
    assert time.monotonic() - began < 5
    for row, made in zip(rows, found, strict=True):
        assert len(made) == 3
        for new in made:
            added = new["context"].removeprefix(row["context"])
            assert added != new["context"] and added.strip() not in row["context"]
            assert is_valid("span", new) and row["answers"][0].casefold() not in added.casefold()
