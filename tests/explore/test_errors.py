"""The error browser: counts agree with the predictions, marks are in the right place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bs4 import BeautifulSoup

from xltkit.data import microworld
from xltkit.explore import errors as module
from xltkit.explore import html
from xltkit.explore.errors import OUTCOMES, choices, errors, occurrences, shown_tasks
from xltkit.studies.results import Results

ARMS = ["none", "aligned"]
SCRIPT = "<script>alert('x')</script>"


def soup(shown) -> BeautifulSoup:
    return BeautifulSoup(shown if isinstance(shown, str) else shown.data, "html.parser")


def examples(shown):
    """The rows of the table of examples: id and cells."""
    rows = soup(shown).select("tbody > tr")
    return {row.th.contents[0]: row.find_all("td", recursive=False) for row in rows}


def predictions(results, task, arm, language, seed=0):
    table = results.predictions
    table = table.query(f"task == {task!r} and language == {language!r} and seed == {seed}")
    return table[table["arm"] == arm].set_index("example_id")


@pytest.mark.parametrize("seed", [0, 1])
def test_counts_agree_with_the_predictions_and_pages_show_each_example_once(looked_at, seed):
    none, aligned = (
        predictions(looked_at, "nli", arm, "qad", seed).eval("gold == pred")
        for arm in ("none", "aligned")
    )
    caption = soup(errors(looked_at, "nli", ARMS, "qad", seed)).caption.get_text()
    assert f"seed {seed}: 20 test examples, of which" in caption
    for (one, other), outcome in OUTCOMES.items():
        mask = (none == one) & (aligned == other)
        assert f"{mask.sum()} {outcome}" in caption
        pages = [
            errors(looked_at, "nli", ARMS, "qad", seed, outcome=outcome, skip=skip)
            for skip in (0, 8, 16)
        ]
        assert [key for page in pages for key in examples(page)] == list(mask.index[mask])


@pytest.mark.parametrize("language", ["en", "qto"])
@pytest.mark.parametrize("task", ["nli", "choice", "pos", "qa"])
def test_every_type_shows_its_input_its_gold_and_both_answers(looked_at, task, language):
    shown = errors(looked_at, task, ARMS, language, 0, first=20)
    assert {th["scope"] for th in soup(shown).find_all("th")} == {"col", "row"}
    assert soup(shown).caption.get_text().endswith("Examples 1 to 20 of 20: all")
    tables = [predictions(looked_at, task, arm, language) for arm in ("none", "aligned")]
    for key, (texts, gold, *answers) in examples(shown).items():
        assert {element["lang"] for element in texts.select("[lang]")} <= {language, "en"}
        assert gold.get_text()
        for cell, table in zip(answers, tables, strict=True):
            row = table.loc[key]
            assert ("✓ right" if row["score"] == 1 else "✗ wrong") in cell.get_text()
            if task == "nli":
                probability = np.exp(row["log_probs"].max())
                assert row["pred"] in cell.get_text() and f"p {probability:.2f}" in cell.get_text()


def test_answers_are_marked_at_their_characters(looked_at):
    shown = examples(errors(looked_at, "qa", ARMS, "en", 0, first=20))
    answers = {arm: predictions(looked_at, "qa", arm, "en")["pred"] for arm in ("none", "aligned")}
    rows = microworld.rows("qa", "test", microworld.language("en"), 20)
    for row in rows:
        context = shown[row["id"]][0].select("[lang]")[1]
        places = {}
        end = 0
        for part in context.children:
            who = part.select_one(".xlt-who") if part.name == "mark" else None
            names = who.extract().get_text().strip("[]").split(", ") if who else ()
            start, end = end, end + len(part.get_text())
            for name in names:
                places.setdefault(name, set()).update(range(start, end))
        assert context.get_text() == row["context"]
        start = row["starts"][0]
        assert places["gold"] == set(range(start, start + len(row["answers"][0])))
        for arm, answer in answers.items():
            spans = occurrences(answer[row["id"]], row["context"])
            assert places.get(arm, set()) == {i for a, b in spans for i in range(a, b)}


def test_an_answer_stands_where_its_words_do():
    assert occurrences("Ben", "Benin is far . Ben is near") == [(15, 18)]
    assert occurrences("Ben", "Benin is far") == [(0, 3)]  # better than nowhere
    assert occurrences("a", "a b a") == [(0, 1), (4, 5)]
    assert occurrences("京", "北京市") == [(1, 2)] and occurrences("", "text") == []


def test_every_word_of_an_invented_language_stands_above_what_it_means():
    language = microworld.language("qto")
    words = [language.form("dog", ("pl",)), language.form("cat", ()), "Zzz"]
    shown = soup(html.text(" ".join(words), "qto")).select("ruby")
    assert [word.contents[0] for word in shown] == words
    assert [bool(word.rt) for word in shown] == [True, True, False]
    assert shown[0].rt.get_text().split(" or ")[0] == "dog-PL"
    assert "ruby" not in html.text("who owns a ball ?", "en")


def test_whatever_stands_in_a_text_is_escaped(looked_at, monkeypatch):
    def spoil(row):
        return {"text_a": SCRIPT, "text_b": f'"{row["text_b"]}" & {SCRIPT}'}

    test_rows = module.test_rows
    monkeypatch.setattr(module, "test_rows", lambda *a: test_rows(*a).map(spoil))
    for language in ("en", "qto"):
        assert "<script" not in errors(looked_at, "nli", ARMS, language, 0).data
    assert "<b>" not in html.text("<b>", "en", [(0, 3, "<b>")])
    assert 'lang="ar" dir="rtl"' in html.text("القاهرة", "ar")


def test_what_does_not_exist_or_cannot_be_shown_is_refused(looked_at):
    with pytest.raises(ValueError, match=r"no arm 'text'.* Allowed: none, aligned"):
        errors(looked_at, "nli", ["none", "text"], "qad", 0)
    with pytest.raises(ValueError, match=r"no seed 7. Allowed: 0, 1"):
        errors(looked_at, "nli", ARMS, "qad", 7)
    assert shown_tasks(looked_at) == ["nli", "choice", "pos", "qa"]
    with pytest.raises(ValueError, match=r"no task with texts 'retrieval'.* Allowed: nli, choice"):
        errors(looked_at, "retrieval", ARMS, "qad", 0)
    run = next(run for run in looked_at.study.runs if run.task == "nli")
    mixed = replace(run, stage=replace(run.stage, phase=replace(run.stage.phase, mixed=True)))
    with pytest.raises(ValueError, match="nli was scored anew; give the study's own results"):
        choices(Results(replace(looked_at.study, runs=(mixed,)), looked_at.store), "nli")
