"""The attack playground: rows as they are give what was measured, and edits move it."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from bs4 import BeautifulSoup

from xltkit.evaluation.attacks import CodeMixing, Typos
from xltkit.explore.playground import Playground, changed_spans, edited, moved
from xltkit.models import device
from xltkit.studies.results import Results

TASKS = ("nli", "choice", "pos", "qa")


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """As the study was made: in bf16 a batch of other rows rounds otherwise."""
    monkeypatch.setattr(device, "precision", lambda: "no")


@pytest.fixture(scope="module")
def qa(looked_at):
    return Playground(looked_at, "qa", "none", language="qad")


@pytest.mark.parametrize("arm", ["none", "aligned"])
@pytest.mark.parametrize("task", TASKS)
def test_a_row_as_it_is_gives_what_was_measured(looked_at, task, arm):
    play = Playground(looked_at, task, arm, language="qad", seed=1)
    measured = looked_at.predictions.query(
        f"task == {task!r} and arm == {arm!r} and language == 'qad' and seed == 1"
    ).set_index("example_id")
    for i, row in enumerate(play.rows.select(range(8))):
        reading = play.compare(i)["as it is"]
        prediction = measured.loc[row["id"]]
        answer = reading["answer"]
        if task == "choice":
            answer = str(int(answer.removeprefix("choice ")) - 1)
        assert answer == prediction["pred"] and reading["score"] == prediction["score"]
        probabilities = reading.drop(["answer", "score"]).astype(float)
        if task in ("nli", "choice"):
            assert np.allclose(np.log(probabilities), prediction["log_probs"], atol=1e-5)
            names = [name for name in probabilities.index if "[gold]" in name]
            assert names == [probabilities.index[row["label"]]]
        else:
            assert probabilities.between(0, 1).all() and len(probabilities) == 1


@pytest.mark.parametrize("task", TASKS)
def test_an_edit_moves_the_numbers_that_are_shown(looked_at, task):
    play = Playground(looked_at, task, language="qad")
    name, text = next(iter(play.texts(0).items()))
    words = text.split()
    edit = {name: " ".join([words[1], words[0], *words[2:]])}
    table = play.compare(0, **edit)
    numbers = table.drop(["answer", "score"])
    assert (numbers["edited"] != numbers["as it is"]).all()
    shown = BeautifulSoup(play.ask(0, **edit).data, "html.parser")
    assert [th.get_text() for th in shown.select("thead th")] == ["", "as it is", "edited", "moved"]
    assert {th["scope"] for th in shown.find_all("th")} == {"row", "col"} and shown.caption
    rows = {tr.th.get_text(): tr.find_all("td") for tr in shown.select("tbody tr")}
    for name, (before, after) in numbers.iterrows():
        cells = [td.get_text() for td in rows[name]]
        assert cells == [f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}"]
    assert "[edited]" in rows["input"][1].get_text()
    same = BeautifulSoup(play.ask(0).data, "html.parser")
    assert [th.get_text() for th in same.select("thead th")] == ["", "as it is"]


def test_an_answer_that_was_edited_away_is_not_compared_with(qa):
    row = qa.rows[2]
    answer = row["answers"][0]
    start = row["starts"][0]
    cut = row["context"][:start] + "Zzz" + row["context"][start + len(answer) :]
    for context in (cut, f"{cut} {answer} ."):  # the same words elsewhere are no answer
        reading = qa.compare(2, context=context)["edited"]
        assert isnan(reading["score"]) and isnan(reading["probability of gold"])
        assert reading["answer"]
        shown = qa.ask(2, context=context).data
        assert f"The edit removed the answer, {answer}, from the context." in shown
        assert "nothing to compare with" in shown


def test_a_row_that_cannot_be_predicted_says_why(looked_at, qa):
    assert "No text stands in context." in qa.ask(0, context=" ").data
    play = Playground(looked_at, "pos", language="qto")
    words = play.texts(0)["tokens"].split()
    longer = {"tokens": " ".join(["Anna", *words])}
    assert isnan(play.compare(0, **longer)["edited"]["score"])
    problem = f"There are {len(words) + 1} words now, and right tags for {len(words)}."
    assert problem in play.ask(0, **longer).data
    as_many = play.compare(0, tokens=" ".join(["Anna", *words[1:]]))["edited"]
    assert as_many["score"] >= 0 and len(as_many["answer"].split()) == len(words)


def test_an_attack_gives_texts_to_ask(looked_at, qa):
    for play in (qa, Playground(looked_at, "choice", "aligned", language="qad")):
        for attack in (Typos(strength=0.5), CodeMixing(strength=1, languages=("qto",))):
            attacked = [play.attacked(i, attack) for i in range(3)]
            assert attacked != [play.texts(i) for i in range(3)]
            assert attacked[0].keys() == play.texts(0).keys()
            assert not isnan(play.compare(0, **attacked[0]).loc["score"].iloc[-1])


def test_typed_text_is_escaped_and_unknown_names_are_refused(looked_at, qa, store):
    typed = {name: f"{text} <script>1</script>" for name, text in qa.texts(0).items()}
    assert "<script" not in qa.ask(0, **typed).data
    with pytest.raises(ValueError, match=r"no text 'premise'.* Allowed: question, context"):
        qa.ask(0, premise="text")
    with pytest.raises(ValueError, match=r"no task 'retrieval'.* Allowed: nli, choice, pos"):
        Playground(looked_at, "retrieval")
    with pytest.raises(FileNotFoundError, match=r"arm 'none' for nli is gone .*trains it again"):
        Playground(Results(looked_at.study, store), "nli")


def test_words_keep_their_place_through_an_edit():
    old = "Ben owns a ball . Ben is here ."
    assert moved(old, old, 18, 21) == 18
    assert moved(old, "Ben owns a red ball . Ben is here .", 18, 21) == 22
    assert moved(old, "Ben owns a ball . Benny is here .", 18, 21) is None
    assert moved(old, "Ben owns a ball .", 18, 21) is None
    assert moved("a red ball", "a red big ball", 2, 10) is None
    assert moved("北京市很大", "今天北京市很大", 0, 2) == 2
    assert changed_spans("a red ball", "a blue ball") == [(2, 6)]
    row = {"tokens": ["New York", "is", "big"], "tags": [0, 1, 2]}
    assert edited(("tokens",), row, {"tokens": "New York is big"}) == (row, "")
