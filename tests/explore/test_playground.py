"""The attack playground: rows as they are give what was measured, and edits move it."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from bs4 import BeautifulSoup

from xltkit.data.text import fresh, moved, named, rewritten, word_spans
from xltkit.evaluation.attacks import CodeMixing, Distractor, EmbeddingPGD, Typos
from xltkit.explore import playground
from xltkit.explore.playground import Playground
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


@pytest.mark.parametrize("arm", ["none", "turned"])
@pytest.mark.parametrize("task", TASKS)
def test_a_row_as_it_is_gives_what_was_measured(looked_at, task, arm):
    play = Playground(looked_at, task, arm, language="qad", seed=1)
    told = looked_at.predictions.query(
        f"task == {task!r} and arm == {arm!r} and language == 'qad' and seed == 1"
    ).set_index("example_id")
    for i, row in enumerate(play.rows.select(range(8))):
        before, after = play.readings(i)
        measured = told.loc[row["id"]]
        pred = int(before.pred) - 1 if task == "choice" else before.pred
        assert str(pred) == measured["pred"] and before.score == measured["score"]
        assert before is after
        if before.labels:
            assert np.allclose(
                np.log(list(before.labels.values())), measured["log_probs"], atol=1e-5
            )
            assert sum(before.labels.values()) == pytest.approx(1, abs=1e-5)
        if task == "qa":
            start, end = before.place
            assert row["context"][start:end] == before.pred
            assert 0 < before.gold <= 1 and 0 < before.probability <= 1
            if before.place == (row["starts"][0], row["starts"][0] + len(row["answers"][0])):
                assert before.probability == pytest.approx(before.gold, rel=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_an_edit_moves_the_numbers(looked_at, task):
    play = Playground(looked_at, task, language="qad")
    name, text = next(iter(play.texts(0).items()))
    words = text.split()
    edit = {name: " ".join([words[1], words[0], *words[2:]])}
    before, after = play.readings("test-0", **edit)
    assert named(play.task.kind, after.row) == play.texts(0) | edit
    assert after.gold != before.gold and not after.problem
    heads = BeautifulSoup(play.ask(0, **edit).data, "html.parser").select("thead th")
    assert [th.get_text() for th in heads] == ["", "as it is", "edited", "moved"]
    same = BeautifulSoup(play.ask(0).data, "html.parser")
    assert [th.get_text() for th in same.select("thead th")] == ["", "as it is"]
    assert {th["scope"] for th in same.find_all("th")} == {"row", "col"} and same.caption


def test_what_is_shown_are_the_numbers(looked_at):
    play = Playground(looked_at, "nli", "turned", language="qto")
    edit = {"text_a": play.texts(3)["text_b"]}
    before, after = play.readings(3, **edit)
    shown = BeautifulSoup(play.ask(3, **edit).data, "html.parser")
    rows = {tr.th.get_text(): [td.get_text() for td in tr.find_all("td")]
            for tr in shown.select("tbody tr")}  # fmt: skip
    gold = play.task.labels[before.row["label"]]
    for label, one in before.labels.items():
        head = f"probability of {label}" + (" [gold]" if label == gold else "")
        step = f"{after.labels[label] - one:+.2f}".replace("-", "−")
        assert rows[head][:2] == [f"{one:.2f}", f"{after.labels[label]:.2f}"]
        assert rows[head][2] in (step, "0.00")
    assert before.labels[gold] == before.gold and before.pred in rows["answer"][0]


def test_the_right_answer_moves_with_the_text_around_it(qa):
    row = qa.rows[2]
    _, after = qa.readings(2, context=f"Anna owns a cup . {row['context']}")
    assert after.row["starts"] == [row["starts"][0] + 18] and not after.problem
    assert after.row["answers"] == row["answers"]
    shown = BeautifulSoup(
        qa.ask(2, context=f"Anna owns a cup . {row['context']}").data, "html.parser"
    )
    marks = [mark.get_text() for mark in shown.select("mark.xlt-edited")]
    assert marks == ["AnnaAnna ownsown-3SG aa cupcup . [edited]"] or "Anna" in marks[0]


def test_an_answer_that_was_edited_away_is_not_compared_with(qa):
    row = qa.rows[2]
    answer = row["answers"][0]
    start = row["starts"][0]
    cut = row["context"][:start] + "Zzz" + row["context"][start + len(answer) :]
    for context in (cut, f"{cut} {answer} ."):  # the same words elsewhere are no answer
        before, after = qa.readings(2, context=context)
        assert after.problem == f"The edit removed the answer, {answer}, from the context."
        assert isnan(after.score) and isnan(after.gold) and after.pred and after.probability > 0
        assert before.gold > 0
        shown = qa.ask(2, context=context).data
        assert "The edit removed the answer" in shown and "nothing to compare with" in shown
    with pytest.raises(ValueError, match="removed the answer"):
        qa.attacked(2, Typos(), context=cut)


def test_an_empty_text_is_said_to_be_empty(looked_at, qa):
    assert "No text stands in context." in qa.ask(0, context=" ").data
    play = Playground(looked_at, "choice")
    assert "No text stands in choice_2." in play.ask(0, choice_2="").data


def test_tags_are_compared_if_there_are_as_many_words(looked_at):
    play = Playground(looked_at, "pos", language="qto")
    words = play.texts(0)["tokens"].split()
    _, after = play.readings(0, tokens=" ".join(["Anna", *words[1:]]))
    assert not isnan(after.score) and len(after.pred.split()) == len(words)
    _, longer = play.readings(0, tokens=" ".join(["Anna", *words]))
    assert isnan(longer.score) and len(longer.pred.split()) == len(words) + 1
    assert (
        longer.problem == f"There are {len(words) + 1} words now, and right tags for {len(words)}."
    )
    assert longer.problem in play.ask(0, tokens=" ".join(["Anna", *words])).data


def test_whatever_is_typed_is_escaped(looked_at):
    for task, language in (*((task, "qto") for task in TASKS), ("qa", "en")):
        play = Playground(looked_at, task, language=language)
        typed = {name: f"{text} <script>1</script>" for name, text in play.texts(0).items()}
        assert "<script" not in play.ask(0, **typed).data


def test_a_model_is_loaded_once(looked_at, monkeypatch):
    loaded, real = [], playground.reader
    monkeypatch.setattr(playground, "reader", lambda *a: loaded.append(a) or real(*a))
    playground._attacked_model.cache_clear()
    for language in ("en", "qad", "en"):
        Playground(looked_at, "nli", "none", language=language).ask(0)
    assert len(loaded) == 1
    Playground(looked_at, "nli", "none", seed=1)
    assert len(loaded) == 2


def test_an_attack_gives_texts_to_read(looked_at, qa):
    typed = qa.attacked(0, Typos(strength=0.5))
    assert typed.keys() == qa.texts(0).keys() and typed != qa.texts(0)
    assert typed == qa.attacked("test-0", Typos(strength=0.5))
    assert qa.attacked(0, Typos(strength=0.5, seed=1)) != typed
    _, after = qa.readings(0, **typed)
    assert not after.problem and after.row["answers"] == qa.rows[0]["answers"]
    longer = qa.attacked(0, Distractor())
    assert longer["context"].startswith(qa.rows[0]["context"]) and longer != qa.texts(0)
    # what was typed before is attacked too
    twice = qa.attacked(0, Distractor(), question=typed["question"])
    assert twice["question"] == typed["question"] and twice["context"] != qa.texts(0)["context"]
    for task in ("nli", "choice", "pos"):
        play = Playground(looked_at, task, "turned", language="qad")
        mixed = play.attacked(1, CodeMixing(strength=1, languages=("qto",)))
        assert mixed.keys() == play.texts(1).keys() and mixed != play.texts(1)
        with pytest.raises(ValueError, match="Distractor needs a context"):
            play.attacked(1, Distractor())
    with pytest.raises(ValueError, match="EmbeddingPGD changes no text: try Typos"):
        qa.attacked(0, EmbeddingPGD())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"task": "retrieval"}, r"no task 'retrieval' here; type one of \['nli', 'choice', 'pos'"),
        ({"arm": "text"}, r"no arm 'text' here; type one of \['none', 'turned'\]"),
        ({"language": "de"}, "no language 'de' here"),
        ({"seed": 5}, "no seed 5 here"),
    ],
)
def test_a_name_that_is_not_there_is_refused(looked_at, asked, message):
    with pytest.raises(ValueError, match=message):
        Playground(looked_at, **asked)


def test_an_example_or_a_text_that_is_not_there_is_refused(qa):
    with pytest.raises(ValueError, match="no example 20: type 0 to 19, or an id as 'test-0'"):
        qa.ask(20)
    with pytest.raises(ValueError, match=r"no text \['premise'\] in this row; it has question, co"):
        qa.ask(0, premise="text")


def test_a_model_that_is_gone_is_said_to_be_gone(looked_at, store):
    with pytest.raises(FileNotFoundError, match=r"arm 'none' for nli is gone .*trains it again"):
        Playground(Results(looked_at.study, store), "nli")


def test_words_keep_their_place_through_an_edit():
    old = "Ben owns a ball . Ben is here ."
    assert moved(old, old, 18, 21) == 18
    assert moved(old, "Ben owns a red ball . Ben is here .", 18, 21) == 22
    assert moved(old, "Ben owns a ball . Benny is here .", 18, 21) is None
    assert moved(old, "Ben owns a ball .", 18, 21) is None
    assert moved(old, "Ben owns a ball . today Ben was here", 18, 21) == 24
    assert moved("a red ball", "a red big ball", 2, 10) is None
    assert fresh("a red ball", "a blue ball") == [(2, 6)] and fresh("a b", "a b") == []
    assert moved("北京市很大", "今天北京市很大", 0, 2) == 2


def test_all_answers_that_are_left_count():
    row = {
        "question": "who ?",
        "context": "Ann or Ben",
        "answers": ["Ann", "Ben"],
        "starts": [0, 7],
    }
    new, problem = rewritten("span", row, {"context": "Eve or Ben"})
    assert (new["answers"], new["starts"], problem) == (["Ben"], [7], "")
    assert row["answers"] == ["Ann", "Ben"] and len(word_spans(new["context"])) == 3


def test_words_with_a_space_inside_stay_one_until_they_are_edited():
    row = {"tokens": ["New York", "is", "big"], "tags": [0, 1, 2]}
    assert rewritten("tagging", row, {"tokens": "New York is big"}) == (row, "")
    new, problem = rewritten("tagging", row, {"tokens": "New York is small"})
    assert new["tokens"] == ["New", "York", "is", "small"] and problem.startswith("There are 4")
