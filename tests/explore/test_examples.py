"""Browsed examples agree with the predictions; asked as they are, models answer as measured."""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest
from bs4 import BeautifulSoup

from xltkit.data import microworld
from xltkit.evaluation.attacks import CodeMixing, Typos
from xltkit.explore import examples, html
from xltkit.explore.examples import (
    CERTAINTY,
    OUTCOMES,
    PROBABILITY,
    Playground,
    edited,
    errors,
    occurrences,
)
from xltkit.explore.html import MARKER, PART, cut, tokens
from xltkit.models import device
from xltkit.models.checkpoints import load_tokenizer
from xltkit.studies.results import Results
from xltkit.tasks import get

ARMS = ["none", "aligned"]
TASKS = ["nli", "choice", "pos", "qa"]
SCRIPT = "<script>alert('x')</script>"


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """As the study was made: in bf16 a batch of other rows rounds otherwise."""
    monkeypatch.setattr(device, "precision", lambda: "no")


@pytest.fixture(scope="module")
def qa(looked_at):
    return Playground(looked_at, "qa", "none", "qad", 0)


def table(shown) -> tuple[BeautifulSoup, dict[str, list]]:
    """A table that is shown, and its cells by what stands before them."""
    soup = BeautifulSoup(shown.data, "html.parser")
    rows = soup.select("tbody > tr")
    return soup, {row.th.contents[0]: row.find_all("td", recursive=False) for row in rows}


def predictions(results, task, arm, language, seed=0):
    rows = results.predictions
    rows = rows.query(f"task == {task!r} and language == {language!r} and seed == {seed}")
    return rows[rows["arm"] == arm].set_index("example_id")


@pytest.mark.parametrize("seed", [0, 1])
def test_counts_agree_with_the_predictions_and_pages_show_each_example_once(looked_at, seed):
    none, aligned = (predictions(looked_at, "nli", arm, "qad", seed)["score"] == 1 for arm in ARMS)
    soup, _ = table(errors(looked_at, "nli", ARMS, "qad", seed))
    caption = soup.caption.get_text()
    assert f"seed {seed}: 20 test examples, of which" in caption
    for (one, other), outcome in OUTCOMES.items():
        mask = (none == one) & (aligned == other)
        assert f"{mask.sum()} {outcome}" in caption
        pages = [
            table(errors(looked_at, "nli", ARMS, "qad", seed, outcome=outcome, skip=skip))[1]
            for skip in (0, 8, 16)
        ]
        assert [key for page in pages for key in page] == list(mask.index[mask])


@pytest.mark.parametrize("language", ["en", "qto"])
@pytest.mark.parametrize("task", TASKS)
def test_every_type_shows_its_input_its_gold_and_both_answers(looked_at, task, language):
    soup, rows = table(errors(looked_at, task, ARMS, language, 0, first=20))
    assert {th["scope"] for th in soup.find_all("th")} == {"col", "row"}
    assert soup.caption.get_text().endswith("Examples 1 to 20 of 20: all")
    by_arm = [predictions(looked_at, task, arm, language) for arm in ARMS]
    for key, (texts, gold, *answers) in rows.items():
        assert {element["lang"] for element in texts.select("[lang]")} <= {language, "en"}
        assert gold.get_text()
        for cell, of_arm in zip(answers, by_arm, strict=True):
            row = of_arm.loc[key]
            assert ("✓ right" if row["score"] == 1 else "✗ wrong") in cell.get_text()
            if task == "nli":
                probability = np.exp(row["log_probs"].max())
                assert row["pred"] in cell.get_text() and f"p {probability:.2f}" in cell.get_text()


def test_answers_are_marked_at_their_characters(looked_at):
    _, shown = table(errors(looked_at, "qa", ARMS, "en", 0, first=20))
    answers = {arm: predictions(looked_at, "qa", arm, "en")["pred"] for arm in ARMS}
    for row in microworld.rows("qa", "test", microworld.language("en"), 20):
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
    shown = BeautifulSoup(html.text(" ".join(words), "qto"), "html.parser").select("ruby")
    assert [word.contents[0] for word in shown] == words
    assert [bool(word.rt) for word in shown] == [True, True, False]
    assert shown[0].rt.get_text().split(" or ")[0] == "dog-PL"
    assert "ruby" not in html.text("who owns a ball ?", "en")


def test_whatever_stands_in_a_text_is_escaped(looked_at, qa, monkeypatch):
    typed = {name: f"{text} {SCRIPT}" for name, text in qa.texts(0).items()}
    shown = qa.ask(0, **typed).data
    assert "<script" not in shown and html.NO_MATH in shown  # two dollar signs are no formula
    assert "<b>" not in html.text("<b>", "en", [(0, 3, "<b>")])
    assert 'lang="ar" dir="rtl"' in html.text("القاهرة", "ar")

    def spoil(row):
        return {"text_a": SCRIPT, "text_b": f'"{row["text_b"]}" & {SCRIPT}'}

    test_rows = examples.test_rows
    monkeypatch.setattr(examples, "test_rows", lambda *a: test_rows(*a).map(spoil))
    for language in ("en", "qto"):
        assert "<script" not in errors(looked_at, "nli", ARMS, language, 0).data


def test_what_does_not_exist_or_cannot_be_shown_is_refused(looked_at, qa, store):
    assert examples.shown_tasks(looked_at) == TASKS
    with pytest.raises(ValueError, match=r"no arm 'text'.* Allowed: none, aligned"):
        errors(looked_at, "nli", ["none", "text"], "qad", 0)
    with pytest.raises(ValueError, match=r"no seed 7. Allowed: 0, 1"):
        errors(looked_at, "nli", ARMS, "qad", 7)
    with pytest.raises(ValueError, match=r"no task with texts 'retrieval'.* Allowed: nli, choice"):
        errors(looked_at, "retrieval", ARMS, "qad", 0)
    run = next(run for run in looked_at.study.runs if run.task == "nli")
    mixed = replace(run, stage=replace(run.stage, phase=replace(run.stage.phase, mixed=True)))
    with pytest.raises(ValueError, match="nli was scored anew; give the study's own results"):
        examples.choices(Results(replace(looked_at.study, runs=(mixed,)), looked_at.store), "nli")
    with pytest.raises(ValueError, match=r"no text 'premise'.* Allowed: question, context"):
        qa.ask(0, premise="text")
    with pytest.raises(ValueError, match="No text stands in context"):
        qa.ask(0, context=" ")
    with pytest.raises(FileNotFoundError, match=r"arm none, seed 0 for nli is gone.*trains it"):
        Playground(Results(looked_at.study, store), "nli", "none", "qad", 0)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("task", TASKS)
def test_a_row_as_it_is_gives_what_was_measured(looked_at, task, arm):
    play = Playground(looked_at, task, arm, "qad", 1)
    measured = predictions(looked_at, task, arm, "qad", 1)
    for i, row in enumerate(play.rows[:8]):
        reading = play.compare(i)["as it is"]
        prediction = measured.loc[row["id"]]
        answer = reading["answer"]
        if task == "choice":
            answer = str(int(answer.removeprefix("choice_")) - 1)
        assert answer == prediction["pred"] and reading["score"] == prediction["score"]
        assert 0 <= reading[PROBABILITY] <= 1
        if task in ("nli", "choice"):
            log_prob = prediction["log_probs"][row["label"]]
            assert np.isclose(np.log(reading[PROBABILITY]), log_prob, atol=1e-4)
            highest = np.exp(prediction["log_probs"].max())
            assert np.isclose(reading[CERTAINTY], highest, atol=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_an_edit_moves_the_numbers_that_are_shown(looked_at, task):
    play = Playground(looked_at, task, "none", "qad", 0)
    name, text = next(iter(play.texts(0).items()))
    words = text.split()
    edit = {name: " ".join([words[1], words[0], *words[2:]])}
    numbers = play.compare(0, **edit)
    before, after = numbers.loc[PROBABILITY]
    assert before != after and list(numbers.loc[name]) == [text, edit[name]]
    soup, rows = table(play.ask(0, **edit))
    assert [th.get_text() for th in soup.select("thead th")] == ["", "as it is", "edited"]
    assert [td.get_text() for td in rows[PROBABILITY]] == [f"{before:.2f}", f"{after:.2f}"]
    same, _ = table(play.ask(0))
    assert [th.get_text() for th in same.select("thead th")] == ["", "as it is"]


def test_gold_moves_with_the_text_and_is_not_compared_with_once_it_is_gone(looked_at, qa):
    row = qa.rows[2]
    answer = row["answers"][0]
    start = row["starts"][0]
    longer, has_gold = edited(qa.task, row, {"context": f"Ben is far . {row['context']}"})
    assert has_gold and longer["context"][longer["starts"][0] :].startswith(answer)
    cut = row["context"][:start] + "Zzz" + row["context"][start + len(answer) :]
    reading = qa.compare(2, context=cut)["edited"]
    assert isnan(reading["score"]) and isnan(reading[PROBABILITY]) and reading["answer"]
    assert "<td>–</td>" in qa.ask(2, context=cut).data

    play = Playground(looked_at, "pos", "none", "qto", 0)
    words = play.texts(0)["tokens"].split()
    assert isnan(play.compare(0, tokens=" ".join(["Anna", *words]))["edited"]["score"])
    as_many = play.compare(0, tokens=" ".join(["Anna", *words[1:]]))["edited"]
    assert as_many["score"] >= 0 and len(as_many["answer"].split()) == len(words)
    row = {"tokens": ["New York", "is", "big"], "tags": [0, 1, 2]}
    new, has_gold = edited(get("pos"), row, {"tokens": "New\u00a0York is small"})
    assert (new["tokens"], has_gold) == (["New York", "is", "small"], True)


def test_an_attack_gives_texts_to_ask(looked_at, qa):
    for play in (qa, Playground(looked_at, "choice", "aligned", "qad", 0)):
        for attack in (Typos(strength=0.5), CodeMixing(strength=1, languages=("qto",))):
            attacked = [play.texts(i, attack) for i in range(3)]
            assert attacked != [play.texts(i) for i in range(3)]
            assert attacked[0].keys() == play.texts(0).keys()
            assert not isnan(play.compare(0, **attacked[0]).loc["score"].iloc[-1])


# Tokens


@pytest.mark.parametrize("text", ["Anna's ball is scarlet .", "Kira Max'უტს ფრომ", " two  spaces "])
def test_pieces_are_the_text_cut_up(text):
    tokenizer = load_tokenizer("micro")
    pieces = cut(text, tokenizer)
    assert len(pieces) == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert "".join(piece for piece, _ in pieces).replace(MARKER, "") == text.replace(" ", "")


def test_unknown_characters_and_punctuation_are_told_apart(byte_level):
    expected = [(MARKER, 0), ("中?", 0), ("ball", 1), (",", -1)]
    assert cut("中 ball ,", load_tokenizer("micro")) == expected
    expected = [("国", 0), (PART, 0), (PART, 0), ("王", 1), (PART, 1), (PART, 1), (MARKER, 2)]
    assert cut("国王 x", byte_level) == [*expected, ("x", 2)]


def test_the_token_view_shows_boundaries_in_characters_and_counts():
    shown = tokens({"en": "who <b>owns</b> apples ?", "qke": "apple akot appleakot"}).data
    first, second = BeautifulSoup(shown, "html.parser").select("tbody > tr")
    assert [td.get_text() for td in second.select("td")[:3]] == ["3", "5", "1.67"]
    assert second.select_one("[lang]").get_text() == "apple a|kot apple|akot"
    assert first.select_one("[lang]")["dir"] == "ltr" and "<b>owns" not in str(first)
    assert "<td>–</td>" in tokens({"en": " ? "}).data
    with pytest.raises(ValueError, match="no language 'xx'"):
        tokens({"xx": "text"})
