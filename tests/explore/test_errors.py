"""What one looks at: counts that agree with the predictions, marks in the right place, no slip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bs4 import BeautifulSoup

import xltkit as xlt
from xltkit.data import loading as data
from xltkit.data import microworld
from xltkit.data.microworld.generate import items
from xltkit.data.microworld.glosses import label
from xltkit.explore import errors as views
from xltkit.explore import html as markup
from xltkit.explore.errors import occurrences
from xltkit.studies.results import Results
from xltkit.tasks import get

SCRIPT = "<script>alert('x')</script>"


def soup(shown) -> BeautifulSoup:
    return BeautifulSoup(shown.data, "html.parser")


def examples(shown):
    """The rows of the table of examples: id and cells."""
    rows = soup(shown).select("tbody > tr")
    return {row.th.contents[0]: row.find_all("td", recursive=False) for row in rows}


def plain(element) -> str:
    """The text without the names of those who point at it."""
    for who in element.select(".xlt-who"):
        who.decompose()
    return element.get_text()


def own(results, task, arm, language, seed=0):
    table = results.predictions
    table = table.query(f"task == {task!r} and language == {language!r} and seed == {seed}")
    return table[table["arm"] == arm].set_index("example_id")


@pytest.mark.parametrize("seed", [0, 1])
def test_counts_agree_with_the_predictions(looked_at, seed):
    table = views.outcomes(looked_at, "nli", language="qad", seed=seed).set_index("outcome")
    none, turned = (
        own(looked_at, "nli", arm, "qad", seed).eval("gold == pred") for arm in ("none", "turned")
    )
    assert list(table.index) == [
        "both right", "only arm none right", "only arm turned right", "both wrong"
    ]  # fmt: skip
    expected = [none & turned, none & ~turned, ~none & turned, ~none & ~turned]
    assert table["n"].tolist() == [sum(kind) for kind in expected]
    assert table["n"].sum() == 20 and table["share"].sum() == pytest.approx(100)
    shown = views.errors(looked_at, "nli", language="qad", seed=seed)
    said = soup(shown).p.get_text()
    assert f"seed {seed}: 20 test examples in all" in said
    for outcome, n in table["n"].items():
        assert f"{n} {outcome}" in said


def test_an_outcome_shows_its_examples_and_pages_show_each_once(looked_at):
    may = views.choices(looked_at, "nli")
    told = views.answers(looked_at, "nli").table["outcome"]
    for outcome in may.outcomes[1:]:
        shown = examples(views.errors(looked_at, "nli", outcome=outcome, first=20))
        assert list(shown) == list(told.index[told == outcome])
    pages = [examples(views.errors(looked_at, "nli", first=8, skip=skip)) for skip in (0, 8, 16)]
    assert [key for page in pages for key in page] == [f"test-{i}" for i in range(20)]
    past = views.errors(looked_at, "nli", skip=20)
    assert not examples(past) and "Nothing to show" in past.data


def test_one_arm_and_a_lower_bar_for_right(looked_at):
    strict = views.outcomes(looked_at, "pos", "none", language="qto").set_index("outcome")["n"]
    scores = own(looked_at, "pos", "none", "qto")["score"].astype(float)
    assert strict.to_dict() == {"right": (scores == 1).sum(), "wrong": (scores < 1).sum()}
    middle = scores.median()
    lower = views.outcomes(looked_at, "pos", ["none"], language="qto", right=middle)
    assert lower.set_index("outcome")["n"]["right"] == (scores >= middle).sum() >= 10


@pytest.mark.parametrize("language", ["en", "qto"])
@pytest.mark.parametrize("task", ["nli", "choice", "pos", "qa", "retrieval"])
def test_every_kind_shows_its_input_its_gold_and_both_answers(looked_at, task, language):
    shown = views.errors(looked_at, task, language=language, first=20)
    assert shown.data.count("<table>") == 1 and soup(shown).caption
    assert {th["scope"] for th in soup(shown).find_all("th")} == {"col", "row"}
    rows = {row["id"]: row for row in data.load(get(task), "test", language, 20)}
    both = [own(looked_at, task, arm, language) for arm in ("none", "turned")]
    cells = examples(shown)
    assert list(cells) == list(rows)
    for key, (told, _, *answered) in cells.items():
        tongue = {element["lang"] for element in told.select("[lang]")}
        assert (language in tongue) or task == "retrieval"
        assert all(element["dir"] == "ltr" for element in told.select("[lang]"))
        row = rows[key]
        said = [row[c] for c in ("text_a", "text_b", "premise", "question") if c in row]
        for text in [*said, *row.get("choices", ()), *row.get("tokens", ())]:
            for word in text.split():
                assert word in told.get_text()
        for cell, table in zip(answered, both, strict=True):
            word = "✓ right" if table["score"][key] == 1 else "✗ wrong"
            assert word in cell.get_text()
            if task == "nli":
                sure = np.exp(table["log_probs"][key].max())
                assert table["pred"][key] in cell.get_text() and f"p {sure:.2f}" in cell.get_text()


def test_answers_are_marked_at_their_characters(looked_at):
    shown = examples(views.errors(looked_at, "qa", language="en", first=20))
    answered = {arm: own(looked_at, "qa", arm, "en")["pred"] for arm in ("none", "turned")}
    marked = 0
    for row in data.load(get("qa"), "test", "en", 20):
        context = shown[row["id"]][0].select_one("div.xlt-line:nth-of-type(2) [lang]")
        at, pointed = 0, {}
        for part in context.children:
            names = part.select_one(".xlt-who") if part.name == "mark" else None
            text = (
                part.get_text() if names is None else plain(BeautifulSoup(str(part), "html.parser"))
            )
            for name in names.get_text().strip("[]").split(", ") if names else ():
                pointed.setdefault(name, set()).update(range(at, at + len(text)))
            at += len(text)
        start = row["starts"][0]
        assert pointed["gold"] == set(range(start, start + len(row["answers"][0])))
        for arm, pred in answered.items():
            places = occurrences(pred[row["id"]], row["context"])
            assert pointed[arm] == {i for a, b in places for i in range(a, b)}
            marked += len(places)
        assert plain(context) == row["context"]
    assert marked >= 40


def test_an_answer_stands_where_its_words_do():
    assert occurrences("Ben", "Benin is far . Ben is near") == [(15, 18)]
    assert occurrences("Ben", "Benin is far") == [(0, 3)]  # better than nowhere
    assert occurrences("a", "a b a") == [(0, 1), (4, 5)]
    assert occurrences("京", "北京市") == [(1, 2)] and occurrences("", "text") == []


@pytest.mark.parametrize("code", ["qad", "qbe", "qto", "qke-x-sov"])
def test_every_word_of_an_invented_language_stands_above_what_it_means(code):
    lang = microworld.language(code)
    for first, second, _ in items("nli", "test", 60):
        for part in (*first, *second):
            tokens = part.tokens(lang)
            said = " ".join(lang.form(t.concept, t.endings) for t in tokens)
            shown = BeautifulSoup(markup.text(said, code), "html.parser")
            stacks = shown.select(".xlt-word")
            assert [stack.span.get_text() for stack in stacks] == said.split()
            for stack, token in zip(stacks, tokens, strict=True):
                below = stack.small.get_text() if stack.small else token.concept
                assert label(token.concept, token.endings) in below.split(" or ")
    assert "xlt-word" not in markup.text("who owns a ball ?", "en")


def test_tags_that_differ_from_gold_are_crossed():
    tags = {"gold": ["NOUN", "VERB"], "none": ["NOUN", "ADJ"]}
    shown = BeautifulSoup(markup.tagged(["dogs", "bark"], "en", tags), "html.parser")
    stacks = [stack.get_text("|") for stack in shown.select(".xlt-word")]
    assert stacks == ["gold|none", "dogs|NOUN|NOUN", "bark|VERB|✗ ADJ"]


def test_whatever_stands_in_a_text_is_escaped(looked_at, monkeypatch):
    real = views.test_rows
    spoilt = lambda row: {"text_a": SCRIPT, "text_b": f'"{row["text_b"]}" & {SCRIPT}'}  # noqa: E731
    monkeypatch.setattr(views, "test_rows", lambda *a: real(*a).map(spoilt))
    for language in ("en", "qto"):
        shown = views.errors(looked_at, "nli", language=language, first=3)
        assert "<script" not in shown.data
        assert soup(shown).get_text().count(SCRIPT) == 6 or language == "qto"
    assert "<b>" not in markup.text("<b>", "en", [(0, 3, "<b>")])


def test_direction_is_the_language_s():
    assert 'lang="ar" dir="rtl"' in markup.text("القاهرة", "ar")
    assert 'lang="xx" dir="auto"' in markup.text("?", "xx")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"task": "mnli"}, r"no task 'mnli' here; type one of \['nli', 'choice'"),
        ({"arms": ["none", "text"]}, r"no arm 'text' here; type one of \['none', 'turned'\]"),
        ({"arms": ["none", "none"]}, "one or two different"),
        ({"language": "qbe"}, r"no language 'qbe' here; type one of \['qad', 'qto', 'en'\]"),
        ({"seed": 7}, r"no seed 7 here; type one of \[0, 1\]"),
        ({"outcome": "right"}, "type one of .*'only arm none right'"),
    ],
)
def test_a_name_that_is_not_there_is_refused(looked_at, asked, message):
    with pytest.raises(ValueError, match=message):
        views.errors(looked_at, **asked)


def test_a_kind_that_cannot_be_shown_is_refused(tiny, store):
    arms = {"none": xlt.encoder(tiny).then(xlt.Target(examples=20))}
    both = xlt.study(arms, ["linking", "nli"], [0], steps=2, examples=5, languages=["en"])
    with pytest.raises(ValueError, match="linking is ranking; tasks that can be shown are class"):
        views.choices(Results(both, store), "linking")
    assert views.choices(Results(both, store)).tasks == ["nli"]
    alone = xlt.study(arms, ["linking"], [0], steps=2, examples=5, languages=["en"])
    with pytest.raises(ValueError, match="No task of this study can be shown"):
        views.choices(Results(alone, store))


def test_results_of_other_texts_are_refused(looked_at):
    cells = [c for c in looked_at.study.runs if (c.arm, c.task, c.seed) == ("none", "nli", 0)]
    alone = Results(replace(looked_at.study, runs=tuple(cells)), looked_at.store)
    mixed = alone.rescore({"mixed": {"mixed": True, "languages": ("en", "qad")}})["mixed"]
    with pytest.raises(ValueError, match="nli was scored in mixed languages; give the results of"):
        views.errors(mixed)
