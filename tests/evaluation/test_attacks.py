"""What attacks propose: of exactly the kinds they say, sound in every language."""

import numpy as np
import pytest

from xltkit.data.microworld import glosses
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.data.text import is_valid, replace_words, words
from xltkit.evaluation.attacks import CodeMixing, Distractor, EmbeddingPGD, Typos
from xltkit.tasks import get, load


def propose(attack, word, code="en"):
    return attack.proposals(word, code, np.random.default_rng(0), frozenset())


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
        proposals = [propose(attack, word.text, code) for word in words(columns, row)]
        mixed = replace_words(columns, row, {i: p[0] for i, p in enumerate(proposals) if p})
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


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        (Typos, {"strength": 0}, "strength is 0"),
        (Typos, {"strength": 1.2}, "1 at most"),
        (Typos, {"beam": -1}, "beam is -1"),
        (Distractor, {"tries": 0}, "tries is 0"),
        (Distractor, {"at": "middle"}, "Allowed: end, start"),
        (EmbeddingPGD, {"norm": "l1"}, "Allowed: l2"),
        (EmbeddingPGD, {"radius": 0}, "radius is 0"),
    ],
)
def test_bad_settings_are_named(attack, settings, message):
    with pytest.raises(ValueError, match=message):
        attack(**settings)
