"""``xltkit data check`` on a small mirror and on a Hub that answers what the test says."""

from dataclasses import replace

import datasets
import huggingface_hub
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from xltkit import cli
from xltkit.data import loading as data
from xltkit.data import readers
from xltkit.data.loading import Source
from xltkit.tasks import TASKS, check
from xltkit.tasks.base import Task

NAMES = ["entailment", "neutral", "contradiction"]


def pairs(labels, names=NAMES):
    text = Value("string")
    kinds = Features({"premise": text, "hypothesis": text, "label": ClassLabel(names=names)})
    columns = {"premise": ["p"] * len(labels), "hypothesis": ["h"] * len(labels)}
    return Dataset.from_dict(columns | {"label": labels}, features=kinds)


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """A task whose test rows the mirror has in German and Swahili, and not in French."""
    folder = tmp_path / "hub/demo/pairs"
    card = "---\nconfigs:\n"
    for code, labels in (("de", [0, 1, 2] * 5), ("sw", [0, 2])):
        (folder / code).mkdir(parents=True)
        pairs(labels).to_parquet(folder / code / "test.parquet")
        files = f"[{{split: test, path: {code}/test.parquet}}]"
        card += f"- {{config_name: {code}, data_files: {files}}}\n"
    (folder / "README.md").write_text(card + "---\n")
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    configs = {"fr": "fr", "de": "de", "sw": "sw"}
    columns = ("premise", "hypothesis", "label")
    source = Source("demo/pairs", "test", configs, readers.nli, "a" * 40, columns)
    task = Task("demo", "classification", "accuracy", 100 / 3, test=source, labels=tuple(NAMES))
    monkeypatch.setitem(TASKS, "demo", task)
    return task


def statuses():
    return {language: status for _, _, language, status in check.check(["demo"])}


def test_what_is_there_agrees_and_what_is_missing_says_why(demo, capsys):
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


def test_labels_that_the_task_has_not_are_a_mismatch(demo, monkeypatch):
    monkeypatch.setitem(TASKS, "demo", replace(demo, labels=("entailment", "neutral")))
    assert (
        "Row '2' (number 2) has label 2; allowed: 0 to 1. So wrong are 5 of 15" in statuses()["de"]
    )


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
def test_of_the_hub_eight_rows_are_streamed(demo, monkeypatch, gives, status):
    def dataset_info(api, hub, revision):
        return huggingface_hub.hf_api.DatasetInfo(id=hub, sha="a" * 40, tags=[])

    def load_dataset(hub, *, revision, streaming, name, split):
        assert (hub, revision, streaming, split) == ("demo/pairs", "a" * 40, True, "test")
        if isinstance(gives, Exception):
            raise gives
        return gives.to_iterable_dataset()

    monkeypatch.delenv("XLTKIT_HUB")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data._ask_hub.cache_clear()
    assert statuses()["fr"].startswith(status)
    data._ask_hub.cache_clear()


def test_generated_tasks_are_checked_when_named():
    assert {row[3] for row in check.check(["nli"])} == {"ok"}


def test_an_unknown_task_is_a_wrong_command(capsys):
    assert cli.main(["data", "check", "xnly"]) == 2
    assert "Did you mean 'xnli'?" in capsys.readouterr().err
    assert cli.main(["tasks", "xnly"]) == 2
    assert cli.main(["tasks", "xnli"]) == 0
    assert "facebook/xnli" in capsys.readouterr().out
