"""What attacks propose: in any script, of exactly the kinds they say, sound in every language."""

from __future__ import annotations

import numpy as np
import pytest

from xltkit.data.microworld import glosses
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.data.text import graphemes, is_valid, replace_words, script, word_spans, words
from xltkit.evaluation.attacks import CodeMixing, Distractor, EmbeddingPGD, Typos
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


def propose(attack, word, code="en", vocabulary=(), seed=0):
    return attack.proposals(word, code, np.random.default_rng(seed), frozenset(vocabulary))


@pytest.mark.parametrize("code", TEXTS)
def test_typos_are_made_of_letters_and_marks_that_the_language_has(code):
    text = TEXTS[code]
    text_words = [text[start:end] for start, end in word_spans(text)]
    vocabulary = {word.lower() for word in text_words}
    attested = {letter for word in vocabulary for letter in graphemes(word)}
    count = 0
    for word in text_words:
        for typo in propose(Typos(candidates=30), word, code, vocabulary):
            count += 1
            assert graphemes(typo)[0] == graphemes(word)[0]
            assert {letter.lower() for letter in graphemes(typo)} <= attested
            assert {p[1:] for p in graphemes(typo)} <= {p[1:] for p in graphemes(word)}
            assert {script(c) for c in typo} <= {script(c) for c in text}
            assert typo not in vocabulary
    assert count > 20


def test_what_is_another_word_is_no_typo():
    slips = propose(Typos(candidates=100), "trail", vocabulary=["trial", "tail"])
    assert slips and not {"trial", "tail"} & set(slips)


def test_proposals_are_few_and_the_same_every_time():
    for attack in (Typos(candidates=2), CodeMixing(candidates=2)):
        for word in ("harbour", "Scarlet", "hides", "Unknownish"):
            proposals = propose(attack, word, vocabulary=["harbour"], seed=3)
            assert proposals == propose(attack, word, vocabulary=["harbour"], seed=3)
            assert len(set(proposals)) == len(proposals) <= 2 and word not in proposals


def test_a_name_that_is_the_same_abroad_is_no_change(tmp_path):
    (tmp_path / "en-de.txt").write_text("berlin berlin\nriver fluss\n")
    mix = CodeMixing(source=str(tmp_path), languages=("de",))
    assert propose(mix, "Berlin") == []
    assert propose(mix, "River") == ["Fluss"]
    assert propose(CodeMixing(languages=("en",)), "river") == []
    big = LANGUAGES["qbe"].form("big")
    expected = {LANGUAGES[code].form("big") for code in ("qke", "qto")} - {big}
    assert set(propose(CodeMixing(), big, "qbe")) == expected


@pytest.mark.parametrize(("code", "other"), [("en", "qto"), ("qbe", "en"), ("qke", "qad")])
def test_mixing_every_word_gives_the_other_language(code, other):
    attack = CodeMixing(languages=(other,))
    forms = set(glosses.word_forms(other).values())
    columns = get("nli").type.texts
    for row in load(get("nli"), "test", code).select(range(50)):
        edits = {}
        for i, word in enumerate(words(columns, row)):
            if proposals := propose(attack, word.text, code):
                edits[i] = proposals[0]
        mixed = replace_words(columns, row, edits)
        assert {word.text for word in words(columns, mixed)} <= forms
        assert mixed["label"] == row["label"]


def test_distractors_resemble_the_question_and_do_not_answer_it():
    questions = [
        ("where does Anna live ?", "Anna lives in Rome .", "Rome", 14),
        ("where does Ben live ?", "Ben lives in Oslo . ANNA is in ROME .", "Oslo", 13),
        ("what ?", "does Anna like tea ?", "tea", 15),
    ]
    names = ("question", "context", "answers", "starts")
    rows = [dict(zip(names, (q, c, [a], [s]), strict=True)) for q, c, a, s in questions]
    for at in ("end", "start"):
        ((first,),) = Distractor(at=at).variants(rows[:1], rows)
        # "ANNA is in ROME ." is more alike, but holds the answer
        assert "does Anna like tea ?" in first["context"]
        assert is_valid(names[:2], first)
    (variants,) = Distractor(tries=3).variants(rows[:1], rows)
    assert len({variant["context"] for variant in variants}) == 2  # no other is usable


@pytest.mark.parametrize("code", ["en", "qke"])
def test_distractors_of_a_whole_test_set(code):
    task = get("qa")
    rows = load(task, "test", code).to_list()
    for row, variants in zip(rows, Distractor(tries=3).variants(rows, rows), strict=True):
        assert len(variants) == 3
        for variant in variants:
            added = variant["context"].removeprefix(row["context"])
            assert added != variant["context"] and added.strip() not in row["context"]
            assert is_valid(task.type.texts, variant)
            assert row["answers"][0].casefold() not in added.casefold()


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        (Typos, {"strength": 0}, "strength is 0"),
        (Typos, {"beam": -1}, "beam -1"),
        (Distractor, {"at": "middle"}, "Allowed: end, start"),
        (EmbeddingPGD, {"norm": "l1"}, "Allowed: l2, linf"),
    ],
)
def test_bad_settings_are_named(attack, settings, message):
    with pytest.raises(ValueError, match=message):
        attack(**settings)
