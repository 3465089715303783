"""The attack playground: rows as they are give what was measured, and edits move it."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from bs4 import BeautifulSoup

from xltkit.evaluation.attacks import CodeMixing, Typos
from xltkit.explore.playground import PROBABILITY, Playground, edited
from xltkit.models import device
from xltkit.studies.results import Results
from xltkit.tasks import get

TASKS = ("nli", "choice", "pos", "qa")


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """As the study was made: in bf16 a batch of other rows rounds otherwise."""
    monkeypatch.setattr(device, "precision", lambda: "no")


@pytest.fixture(scope="module")
def qa(looked_at):
    return Playground(looked_at, "qa", "none", "qad", 0)


@pytest.mark.parametrize("arm", ["none", "aligned"])
@pytest.mark.parametrize("task", TASKS)
def test_a_row_as_it_is_gives_what_was_measured(looked_at, task, arm):
    play = Playground(looked_at, task, arm, "qad", 1)
    measured = looked_at.predictions.query(
        f"task == {task!r} and arm == {arm!r} and language == 'qad' and seed == 1"
    ).set_index("example_id")
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


@pytest.mark.parametrize("task", TASKS)
def test_an_edit_moves_the_numbers_that_are_shown(looked_at, task):
    play = Playground(looked_at, task, "none", "qad", 0)
    name, text = next(iter(play.texts(0).items()))
    words = text.split()
    edit = {name: " ".join([words[1], words[0], *words[2:]])}
    table = play.compare(0, **edit)
    before, after = table.loc[PROBABILITY]
    assert before != after and list(table.loc[name]) == [text, edit[name]]
    shown = BeautifulSoup(play.ask(0, **edit).data, "html.parser")
    assert [th.get_text() for th in shown.select("thead th")] == ["", "as it is", "edited"]
    rows = {tr.th.get_text(): tr.find_all("td") for tr in shown.select("tbody tr")}
    assert [td.get_text() for td in rows[PROBABILITY]] == [f"{before:.2f}", f"{after:.2f}"]
    same = BeautifulSoup(play.ask(0).data, "html.parser")
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
    assert edited(get("pos"), row, {"tokens": "New York is big"}) == (row, True)


def test_an_attack_gives_texts_to_ask(looked_at, qa):
    for play in (qa, Playground(looked_at, "choice", "aligned", "qad", 0)):
        for attack in (Typos(strength=0.5), CodeMixing(strength=1, languages=("qto",))):
            attacked = [play.attacked(i, attack) for i in range(3)]
            assert attacked != [play.texts(i) for i in range(3)]
            assert attacked[0].keys() == play.texts(0).keys()
            assert not isnan(play.compare(0, **attacked[0]).loc["score"].iloc[-1])


def test_typed_text_is_escaped_and_what_cannot_be_asked_is_refused(looked_at, qa, store):
    typed = {name: f"{text} <script>1</script>" for name, text in qa.texts(0).items()}
    assert "<script" not in qa.ask(0, **typed).data
    with pytest.raises(ValueError, match=r"no text 'premise'.* Allowed: question, context"):
        qa.ask(0, premise="text")
    with pytest.raises(ValueError, match="No text stands in context"):
        qa.ask(0, context=" ")
    with pytest.raises(
        FileNotFoundError, match=r"arm none, seed 0 for nli is gone .*trains it again"
    ):
        Playground(Results(looked_at.study, store), "nli", "none", "qad", 0)
