"""The microworld: languages derived as their table says, tasks that cannot be solved by a trick."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from xltkit.data import languages as registry
from xltkit.data.microworld import contact_sheet, gloss, lexicon, pictures
from xltkit.data.microworld import generate as tasks
from xltkit.data.microworld.grammar import Clause, Phrase, Sentence, verbalize
from xltkit.data.microworld.languages import ENGLISH, KNOBS, LANGUAGES, MicroLanguage, language
from xltkit.data.microworld.scenes import Fact, name, the, wordings

GIVE = Sentence(Clause(name("Anna"), "give", the("ball", "red"), ("to", name("Ben"))))


PROPER = (*lexicon.NAMES, *lexicon.SHARED_NAMES, *lexicon.PUNCTUATION)


def english(clause):
    return verbalize((Sentence(clause),), ENGLISH)


def test_english_is_english():
    assert verbalize((GIVE,), ENGLISH) == "Anna gives the red ball to Ben ."
    asked = Clause(name("Anna"), "find", Phrase("cup", number="two"), asked="how")
    assert english(asked) == "how many cups does Anna find ?"
    owned = Clause(the("ball", owner="Anna"), "is", predicate="red", asked="which")
    assert english(owned) == "what colour is the ball of Anna ?"
    firm = Phrase("Arden", entity="ORG", more=("and", "Blake"))
    assert english(Clause(firm, "hire", name("Anna"))) == "Arden and Blake hires Anna ."


def test_both_sides_of_a_fact():
    give = Fact("transfer", ("Anna", "give", "ball", "Ben"))
    assert [english(c) for c in wordings(give)] == [
        "Anna gives the ball to Ben .",
        "Ben gets the ball from Anna .",
    ]
    under = Fact("relation", ("cup", "under", "hat"))
    assert [english(c) for c in wordings(under)] == [
        "the cup is under the hat .",
        "the hat is over the cup .",
    ]


def test_order_and_case_follow_the_table():
    final = MicroLanguage(
        "qaa", "X", "Kessic", "high", 1.0, order="sov", nouns="first", marking=True
    )
    concepts = [t.concept for t in GIVE.tokens(final)]
    assert concepts == ["Anna", "Ben", "to", "the", "ball", "red", "give", "."]
    assert verbalize((GIVE,), final) == "Anna Ben'esh to the ballot red givei ."


def test_cognates_are_nested():
    words = [w for w in lexicon.TAGS if w not in PROPER]
    kept = {
        code: {w for w in words if LANGUAGES[code].form(w) == w} for code in ("qad", "qbe", "qke")
    }
    assert kept["qke"] < kept["qbe"] < kept["qad"] < set(words)
    for code, share in (("qad", 0.75), ("qbe", 0.5), ("qke", 0.35)):
        assert abs(len(kept[code]) / len(words) - share) < 0.08


def test_families_share_most_of_their_own_words():
    words = [w for w in lexicon.TAGS if w not in PROPER]
    high, low, other = (LANGUAGES[c] for c in ("qke", "qku", "qto"))
    own = [w for w in words if high.form(w) != w]
    shared = np.mean([high.form(w) == low.form(w) for w in own])
    assert 0.5 < shared < 0.7  # each of the two has a quarter for itself
    assert not any(high.form(w) == other.form(w) for w in own)


def test_another_script_shares_no_letter_but_the_names():
    rows = tasks.rows("retrieval", "test", LANGUAGES["qto"], 200)["text"]
    words = {w for row in rows for w in row.split()} - set(".,?")
    latin = {w.split("'")[0] for w in words if any("a" <= c.lower() <= "z" for c in w)}
    assert latin <= set(PROPER)


def test_every_row_of_the_table():
    assert len(LANGUAGES) == 13
    assert (
        Counter((lang.family, lang.resource) for lang in LANGUAGES.values()).most_common(1)[0][1]
        == 1
    )
    assert all("qaa" <= code <= "qtz" for code in LANGUAGES if code != "en")
    forms = [tuple(lang.form(w) for w in lexicon.TAGS) for lang in LANGUAGES.values()]
    assert len(set(forms)) == 13
    for lang in LANGUAGES.values():  # no two words of a language are the same
        stems = [lang.form(w) for w in lexicon.TAGS]
        assert len(set(stems)) == len(stems), lang.name
    with pytest.raises(ValueError, match="qad"):
        language("de")


def test_a_counterfactual_language_differs_in_its_knob_alone():
    bera = LANGUAGES["qbe"]
    assert [t.concept for t in GIVE.tokens(language("qbe-x-sov"))][-2:] == ["give", "."]
    for knob in [*KNOBS, "cog20"]:
        made = language(f"qbe-x-{knob}")
        assert made == bera.but(knob) and made.code == f"qbe-x-{knob}"
        assert registry.language(made.code).name == f"Bera ({knob})"
    assert language("qbe-x-sov").form("dog") == bera.form("dog")
    assert language("qbe-x-noanchor").form("Anna") != "Anna" == bera.form("Anna")
    assert bera.but("sov").but("noanchor") == language("qbe-x-sov-noanchor")
    kept = [sum(language(c).form(w) == w for w in lexicon.TAGS) for c in ("qbe", "qbe-x-cog20")]
    assert kept[0] > kept[1] > 0
    for wrong in ("qbe-x-upside", "qbe-x-cog", "en-x-sov", "qxx-x-sov"):
        with pytest.raises(ValueError, match=r"knob|no language"):
            language(wrong)


@pytest.mark.parametrize("task", tasks.GENERATORS)
def test_splits_share_no_item_and_come_out_the_same(task):
    splits = {s: set(tasks.items(task, s, 400)) for s in ("train", "validation", "test")}
    assert [len(s) for s in splits.values()] == [400] * 3
    assert not splits["train"] & splits["test"] and not splits["train"] & splits["validation"]
    assert not splits["validation"] & splits["test"]
    tasks.items.cache_clear()
    assert set(tasks.items(task, "test", 400)) == splits["test"]


@pytest.mark.parametrize("task", [t for t in tasks.GENERATORS if t != "text"])
def test_test_sets_are_parallel(task):
    english, far = (tasks.rows(task, "test", LANGUAGES[c], 100) for c in ("en", "qte"))
    assert english["id"][:] == far["id"][:]
    if "label" in english.column_names:
        assert english["label"][:] == far["label"][:]


def test_plain_text_is_not_parallel():
    first, second = (
        tasks.rows("text", "train", LANGUAGES[code], 50)["text"][:] for code in ("en", "qad")
    )
    names = [
        [{w for w in row.split() if w in lexicon.NAMES} for row in rows] for rows in (first, second)
    ]
    assert sum(a == b for a, b in zip(*names, strict=True)) < 5


def test_a_gloss_is_a_table_with_languages_and_directions():
    out = gloss(GIVE, ["en", "qto", "qbe-x-sov"]).data
    assert out.count("<tr>") == 3 and 'lang="qto" dir="ltr"' in out
    assert "give-3SG" in out and "ball-ACC" in out and "ball-ACC" not in out.split("<tr>")[1]
    assert gloss(7).data == gloss(7).data != gloss(8).data


VIEW = Fact("view", (("two", "small", "red", "ball"), "over", ("", "big", "blue", "cup")))
OTHERS = {
    "number": (("three", "small", "red", "ball"), "over", ("", "big", "blue", "cup")),
    "size": (("two", "big", "red", "ball"), "over", ("", "big", "blue", "cup")),
    "colour": (("two", "small", "green", "ball"), "over", ("", "big", "blue", "cup")),
    "kind": (("two", "small", "red", "apple"), "over", ("", "big", "blue", "cup")),
    "relation": (("two", "small", "red", "ball"), "under", ("", "big", "blue", "cup")),
    "depth": (("two", "small", "red", "ball"), "behind", ("", "big", "blue", "cup")),
    "second": (("two", "small", "red", "ball"), "over", ("", "big", "white", "cup")),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_picture_shows_every_fact(what):
    picture, other = (
        np.asarray(pictures.render(f), int) for f in (VIEW, Fact("view", OTHERS[what]))
    )
    assert picture.shape == (64, 64, 3)
    differs = np.abs(picture - other).max(-1) > 60
    assert differs.sum() > 25  # pixels that a person can tell apart


def test_words_that_mean_the_same_look_the_same():
    said = (("two", "tiny", "scarlet", "ball"), "over", ("", "large", "navy", "cup"))
    assert pictures.render(VIEW).tobytes() == pictures.render(Fact("view", said)).tobytes()
    turned = Fact("view", (VIEW.about[2], "under", VIEW.about[0]))
    assert pictures.render(VIEW).tobytes() == pictures.render(turned).tobytes()


def test_all_pictures_differ():
    rows = tasks.rows("captions", "test", ENGLISH, 300)
    assert len({row["image"].tobytes() for row in rows}) == len(
        set(map(str, tasks.items("captions", "test", 300)))
    )
    seen = {pictures.render(i[0]).tobytes() for i in tasks.items("captions", "train", 2000)}
    assert len(seen) == 2000  # nor is a picture in two splits, however it is told
    assert not seen & {
        pictures.render(i[0]).tobytes() for i in tasks.items("captions", "test", 300)
    }
    sheet = contact_sheet(rows.select(range(5)), columns=3)
    shown = [axis for axis in sheet.axes if axis.images]
    assert len(shown) == 5 and shown[0].get_title().endswith(".")
