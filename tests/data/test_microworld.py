"""The microworld: languages derived as their table says, sentences and pictures that say it all."""

import numpy as np
import pytest

from xltkit.data import languages as registry
from xltkit.data.microworld import contact_sheet, generate, gloss, lexicon, pictures
from xltkit.data.microworld.grammar import Clause, Phrase, Sentence, verbalize
from xltkit.data.microworld.languages import ENGLISH, KNOBS, LANGUAGES, MicroLanguage, language
from xltkit.data.microworld.scenes import Fact, name, the, wordings

GIVE = Sentence(Clause(name("Anna"), "give", the("red ball"), ("to", name("Ben"))))
KEPT = (*lexicon.NAMES, *lexicon.SHARED_NAMES, *lexicon.PUNCTUATION)
WORDS = [word for word in lexicon.TAGS if word not in KEPT]
FIRM = Phrase("Arden", entity="ORG", more=("and", "Blake"))
HOW_MANY = Clause(name("Anna"), "find", Phrase("cup", number="two"), asked="how")
WHICH = Clause(the("ball", owner="Anna"), "is", predicate="red", asked="which")
CUP = ("", "big", "blue", "cup")
BALLS = ("two", "small", "red", "ball")


@pytest.mark.parametrize(
    ("clause", "sentence"),
    [
        (HOW_MANY, "how many cups does Anna find ?"),
        (WHICH, "what colour is the ball of Anna ?"),
        (Clause(FIRM, "hire", name("Anna")), "Arden and Blake hires Anna ."),
        (Fact("transfer", ("Anna", "give", "ball", "Ben")), "Ben gets the ball from Anna ."),
        (Fact("relation", ("cup", "under", "hat")), "the hat is over the cup ."),
    ],
)
def test_english_is_english(clause, sentence):
    clauses = wordings(clause) if isinstance(clause, Fact) else [clause]
    assert verbalize((Sentence(clauses[-1]),), ENGLISH) == sentence


def test_order_and_case_follow_the_table():
    traits = {"order": "sov", "nouns": "first", "marking": True}
    final = MicroLanguage("qaa", "X", "Kessic", "high", 1.0, **traits)
    concepts = [token.concept for token in GIVE.tokens(final)]
    assert concepts == ["Anna", "Ben", "to", "the", "ball", "red", "give", "."]
    assert verbalize((GIVE,), final) == "Anna Ben'esh to the ballot red givei ."


def test_cognates_are_nested_and_families_share_most_of_their_own_words():
    kept = {c: {w for w in WORDS if LANGUAGES[c].form(w) == w} for c in ("qad", "qbe", "qke")}
    assert kept["qke"] < kept["qbe"] < kept["qad"] < set(WORDS)
    for code, share in (("qad", 0.75), ("qbe", 0.5), ("qke", 0.35)):
        assert abs(len(kept[code]) / len(WORDS) - share) < 0.08
    high, low, other = (LANGUAGES[code] for code in ("qke", "qku", "qto"))
    changed = [word for word in WORDS if high.form(word) != word]
    shared = np.mean([high.form(word) == low.form(word) for word in changed])
    assert 0.5 < shared < 0.7  # each of the two has a quarter for itself
    assert not any(high.form(word) == other.form(word) for word in changed)


def test_another_script_shares_no_letter_but_the_names():
    texts = generate.rows("retrieval", "test", LANGUAGES["qto"], 200)["text"]
    words = {word for text in texts for word in text.split()} - set(".,?")
    latin = {word.split("'")[0] for word in words if any("a" <= c.lower() <= "z" for c in word)}
    assert latin <= set(KEPT)


def test_every_row_of_the_table():
    assert len({(lang.family, lang.resource) for lang in LANGUAGES.values()}) == 13
    assert all("qaa" <= code <= "qtz" for code in LANGUAGES if code != "en")
    stems = [tuple(lang.form(word) for word in lexicon.TAGS) for lang in LANGUAGES.values()]
    assert len(set(stems)) == 13
    assert all(len(set(words)) == len(words) for words in stems)  # no two words are the same


def test_a_counterfactual_language_differs_in_its_knob_alone():
    bera = LANGUAGES["qbe"]
    assert [token.concept for token in GIVE.tokens(language("qbe-x-sov"))][-2:] == ["give", "."]
    for knob in [*KNOBS, "cog20"]:
        assert registry.language(language(f"qbe-x-{knob}").code).name == f"Bera ({knob})"
    assert language("qbe-x-sov").form("dog") == bera.form("dog")
    assert language("qbe-x-noanchor").form("Anna") != "Anna" == bera.form("Anna")
    both = language("qbe-x-sov-noanchor")
    assert (both.order, both.anchors, both.nouns) == ("sov", False, bera.nouns)
    kept = [sum(language(c).form(w) == w for w in lexicon.TAGS) for c in ("qbe", "qbe-x-cog20")]
    assert kept[0] > kept[1] > 0
    for wrong in ("qbe-x-upside", "qbe-x-cog", "en-x-sov", "qxx-x-sov", "de"):
        with pytest.raises(ValueError, match=r"knob|no language"):
            language(wrong)


@pytest.mark.parametrize("task", generate.GENERATORS)
def test_splits_share_no_item_come_out_the_same_and_are_parallel(task):
    splits = {s: generate.items(task, s, 400) for s in ("train", "validation", "test")}
    assert len({item for items in splits.values() for item in items}) == 3 * 400
    generate.items.cache_clear()
    assert generate.items(task, "test", 400) == splits["test"]
    english, far = (generate.rows(task, "test", LANGUAGES[code], 100) for code in ("en", "qte"))
    assert english["id"][:] == far["id"][:]
    if "label" in english.column_names:
        assert english["label"][:] == far["label"][:]


def test_plain_text_is_not_parallel():
    texts = [generate.rows("text", "train", LANGUAGES[c], 50)["text"] for c in ("en", "qad")]
    names = [[set(text.split()) & set(lexicon.NAMES) for text in rows] for rows in texts]
    assert sum(a == b for a, b in zip(*names, strict=True)) < 5


def test_a_gloss_is_a_table_with_languages_and_directions():
    html = gloss(GIVE, ["en", "qto", "qbe-x-sov"]).data
    assert html.count("<tr>") == 3 and 'lang="qto" dir="ltr"' in html
    assert "give-3SG" in html and "ball-ACC" in html and "ball-ACC" not in html.split("<tr>")[1]
    assert gloss(7).data == gloss(7).data != gloss(8).data


@pytest.mark.parametrize(
    "about",
    [
        (("three", "small", "red", "ball"), "over", CUP),
        (("two", "big", "red", "ball"), "over", CUP),
        (("two", "small", "green", "ball"), "over", CUP),
        (("two", "small", "red", "apple"), "over", CUP),
        (BALLS, "under", CUP),
        (BALLS, "behind", CUP),
        (BALLS, "over", ("", "big", "white", "cup")),
    ],
)
def test_a_picture_shows_every_fact(about):
    facts = [Fact("view", (BALLS, "over", CUP)), Fact("view", about)]
    picture, other = (np.asarray(pictures.render(fact), int) for fact in facts)
    assert picture.shape == (64, 64, 3)
    assert (np.abs(picture - other).max(-1) > 60).sum() > 25  # pixels that a person can tell apart


def test_pictures_are_the_same_if_they_mean_the_same_and_differ_otherwise():
    synonyms = (("two", "tiny", "scarlet", "ball"), "over", ("", "large", "navy", "cup"))
    views = [(BALLS, "over", CUP), synonyms, (CUP, "under", BALLS)]
    assert len({pictures.render(Fact("view", about)).tobytes() for about in views}) == 1
    train, test = (
        {pictures.render(fact).tobytes() for (fact,) in generate.items("captions", split, count)}
        for split, count in (("train", 2000), ("test", 300))
    )
    # Nor is a picture in two splits, however it is told.
    assert (len(train), len(test), len(train & test)) == (2000, 300, 0)


def test_a_contact_sheet_shows_pictures_with_captions():
    sheet = contact_sheet(generate.rows("captions", "test", ENGLISH, 5))
    shown = [axis for axis in sheet.axes if axis.images]
    assert len(shown) == 5 and shown[0].get_title().endswith(".")
