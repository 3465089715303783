"""Exported encoders: the card repeats what the store says, and the folder beside it loads."""

import re
import shutil

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from repository import write_repository

import xltkit as xlt
from xltkit.batch.parameters import Run
from xltkit.cli import main
from xltkit.studies.results import Results
from xltkit.studies.stages import Recipe
from xltkit.studies.store import Store

LANGUAGES = ["en", "qad", "qto"]


@pytest.fixture(scope="module")
def results(tiny, tmp_path_factory):
    phases = xlt.Intermediate(["choice"], steps=2), xlt.Target(robust=xlt.Adversarial(), steps=2)
    arms = {"none": Recipe(tiny), "text": Recipe(tiny, phases)}
    options = {"steps": 2, "examples": 20, "languages": LANGUAGES}
    study = xlt.study(arms, ["nli", "retrieval"], [0, 1], **options)
    return study.run(Store(tmp_path_factory.mktemp("cards") / "store"))


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    return xlt.export(results, "text", tmp_path_factory.mktemp("out") / "x", task="nli", seed=1)


def tables(text: str) -> list[pd.DataFrame]:
    parsed = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.M):
        head, _, *rows = (line.strip("| ").split(" | ") for line in block.strip().splitlines())
        parsed.append(pd.DataFrame(rows, columns=head))
    return parsed


def test_the_card_repeats_the_scores_of_the_study(results, folder):
    text = (folder / "README.md").read_text()
    phases, data, scores = tables(text)
    assert list(phases["phase"]) == ["Intermediate(choice)", "Target(nli, Adversarial)"]
    assert list(phases["steps"]) == ["2", "2"] and "seed 1" in text
    assert list(data["task"]) == ["choice", "nli"] and set(data["data"]) == {"microworld"}
    main = results.main.query("arm == 'text' and task == 'nli'").set_index(["language", "seed"])
    assert list(scores["language"]) == LANGUAGES  # the source first
    for row in scores.to_dict("records"):
        both = main["value"][row["language"]]
        assert row["score"] == f"{both[1]:.1f}" and row["seeds"] == "2"
        assert row["mean over seeds"] == f"{both.mean():.1f}"


def test_the_head_says_whose_data_it_is_and_no_folder_is_told(folder, tiny):
    head = ModelCard.load(folder / "README.md").data
    assert head.language == LANGUAGES and head["library_name"] == "transformers"
    assert head.base_model is None and head.license == "other"  # that folder may be anybody's
    text = (folder / "README.md").read_text()
    assert "**Microworld.**" in text
    assert tiny.rpartition("/")[0] not in text and "**A control.**" not in text


def test_the_folder_loads_as_the_card_says(folder, monkeypatch):
    monkeypatch.chdir(folder)
    code = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    names: dict = {}
    exec(code, names)
    assert names["vectors"].shape == (2, 32)
    files = {path.name for path in folder.iterdir()}
    assert files >= {"heads.safetensors", "tokenizer.json"} and "signature.json" not in files


def test_without_a_task_it_is_the_encoder_before_its_targets(results, tmp_path):
    text = (xlt.export(results, "text", tmp_path / "x") / "README.md").read_text()
    assert "> Intermediate(choice)\n" in text and "seed 0" in text
    assert set(tables(text)[2]["task"]) == {"nli", "retrieval"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arm": "txet"}, "Did you mean 'text'"),
        ({"arm": "text", "task": "qa"}, "no task 'qa'.* Allowed: nli, retrieval"),
        ({"arm": "text", "seed": 7}, "no seed 7. Allowed: 0, 1"),
        ({"arm": "none"}, "trains nothing before its targets"),
        ({"arm": "none", "task": "retrieval"}, "trains nothing for retrieval"),
    ],
)
def test_what_was_not_trained_is_refused(results, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        xlt.export(results, to=tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())


def test_the_command_line_takes_a_finished_run(results, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XLTKIT_STORE", str(results.store.folder))
    monkeypatch.chdir(write_repository(tmp_path, {}))
    Run({"smoke": False}, tmp_path / "outputs/a").finish({"scores": results.scores}, "Well.")
    command = ["card", "a", "--arm", "text", "--task", "nli", "--seed", "1", "--to", "run"]
    assert main(command) == 0 and "Nothing was uploaded" in capsys.readouterr().out
    assert (tmp_path / "run/README.md").read_text() == (folder / "README.md").read_text()
    assert main(command) == 2 and "exists already" in capsys.readouterr().err
    assert main(["card", "a", "--to", "z"]) == 2
    assert "There is no arm ''" in capsys.readouterr().err


def test_a_damaged_stage_is_not_given_away(results, tmp_path):
    store = Store(shutil.copytree(results.store.folder, tmp_path / "store"))
    scores = results.scores.query("arm == 'text' and task == 'nli'")
    key = store.record(scores["stage"].iloc[0])["signature"]["parent"]
    (store.path(key) / "config.json").write_text("{}")
    damaged = Results(results.study, store)
    with pytest.raises(ValueError, match="damaged"):
        xlt.export(damaged, "text", tmp_path / "x", task="nli")
