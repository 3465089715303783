"""``xltkit data check`` on a small mirror and on a Hub that answers what the test says."""

from dataclasses import replace

import pytest
from tables import pairs

from xltkit import cli
from xltkit.data import readers
from xltkit.tasks import TASKS, check


@pytest.fixture(autouse=True)
def known(demo, monkeypatch):
    """The demo task by its name."""
    monkeypatch.setitem(TASKS, "demo", demo)


def statuses():
    return {language: status for _, _, language, status in check.check(["demo"])}


def test_what_is_there_agrees_and_what_is_missing_says_why(capsys):
    assert statuses() == {"de": "ok", "sw": "ok", "fr": "missing: HF_HUB_OFFLINE is set"}
    assert cli.main(["data", "check", "demo"]) == 0
    printed = capsys.readouterr().out
    assert "2 agree with the table, 0 differ; 1 are missing here" in printed
    assert [row[2] for row in check.check(["demo"], first=True)] == ["de"]


def without_french(rows, language):
    return readers.nli(rows, language).select(range(len(rows) if language == "de" else 0))


SHARED = {"configs": {"de": "de", "fr": "de"}, "read": without_french}
STATUSES = [  # changes of the source, the language that is looked at and its status
    (
        {"columns": ("premise", "gold")},
        "de",
        "MISMATCH: ValueError: There is no column gold; it has premise, hypo",
    ),
    ({"read": readers.qqp}, "de", "MISMATCH: ValueError: Column 'question1'"),
    ({"read": lambda rows, code: rows}, "de", "MISMATCH: KeyError"),
    (SHARED, "de", "ok"),
    (SHARED, "fr", "missing: the file in the mirror holds no rows in this language"),
]


@pytest.mark.parametrize(("changes", "language", "status"), STATUSES)
def test_a_difference_is_a_mismatch_and_the_exit_code_is_1(
    demo, monkeypatch, changes, language, status
):
    monkeypatch.setitem(TASKS, "demo", replace(demo, test=replace(demo.test, **changes)))
    assert statuses()[language].startswith(status)
    assert cli.main(["data", "check", "demo"]) == int(changes != SHARED)


def test_labels_that_the_task_has_not_are_a_mismatch(demo, put, monkeypatch):
    put(pairs([0, 1, 2] * 5), "demo/pairs/de/test.parquet")
    monkeypatch.setitem(TASKS, "demo", replace(demo, labels=("entailment", "neutral")))
    wrong = "Row '2' (number 2) has label 2; allowed: 0 to 1. So wrong are 5 of 15"
    assert wrong in statuses()["de"]


ON_HUB = [
    (pairs([0, 1, 2] * 10), "ok"),
    (
        pairs([0] * 9).rename_column("label", "gold_label"),
        "MISMATCH: ValueError: There is no column label; it has",
    ),
    (pairs([-1] * 9), "MISMATCH: ValueError: The test split cannot be scored: label holds [-1]"),
    (ValueError("no config 'fr'"), "MISMATCH: the Hub says: no config 'fr'"),
    (ConnectionError("reset by peer"), "missing: the Hub did not answer"),
]


@pytest.mark.parametrize(("gives", "status"), ON_HUB, ids=[status for _, status in ON_HUB])
def test_of_the_hub_eight_rows_are_streamed(hub, gives, status):
    is_error = isinstance(gives, Exception)
    asked = hub("a" * 40, gives if is_error else gives.to_iterable_dataset())
    assert statuses()["fr"].startswith(status)
    wanted = {"revision": "a" * 40, "streaming": True, "name": "fr", "split": "test"}
    assert ("demo/pairs", wanted) in asked


def test_generated_tasks_are_checked_when_named():
    assert {row[3] for row in check.check(["nli"])} == {"ok"}


def test_an_unknown_task_is_a_wrong_command(capsys):
    for command in (["data", "check"], ["tasks"]):
        assert cli.main([*command, "xnly"]) == 2
        assert "no task 'xnly'. Did you mean 'xnli'?" in capsys.readouterr().err
    assert cli.main(["tasks", "xnli"]) == 0
    assert "facebook/xnli" in capsys.readouterr().out
