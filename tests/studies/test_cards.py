"""Model cards: what they say is what the store says, and the folder beside them loads."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest
from huggingface_hub import ModelCard

import xltkit as xlt
from xltkit.cli import main
from xltkit.studies import cards
from xltkit.studies.recipe import Recipe
from xltkit.studies.store import Store

LANGUAGES = ["en", "qad", "qto"]


@pytest.fixture(scope="module")
def results(tiny, tmp_path_factory):
    base = Recipe(tiny)
    robust = base.then(
        xlt.Intermediate(["choice"], steps=2), xlt.Target(robust=xlt.Adversarial(), steps=2)
    )
    study = xlt.study(
        {"none": base, "text": robust}, ["nli", "retrieval"], [0, 1],
        steps=2, examples=20, languages=LANGUAGES,
    )  # fmt: skip
    return study.run(Store(tmp_path_factory.mktemp("cards") / "store"))


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    return xlt.card(results, "text", tmp_path_factory.mktemp("out") / "x", task="nli", seed=1)


def tables(text: str) -> list[pd.DataFrame]:
    found = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.M):
        head, _, *rows = (line.strip("| ").split(" | ") for line in block.strip().splitlines())
        found.append(pd.DataFrame(rows, columns=head))
    return found


def test_the_card_tells_the_scores_of_the_study(results, folder):
    text = (folder / "README.md").read_text()
    phases, data, overall, languages, made = tables(text)
    assert list(phases["phase"]) == ["Intermediate(choice)", "Target(nli, Adversarial)"]
    assert list(phases["steps"]) == ["2", "2"] and set(phases["seed"]) == {"1"}
    assert list(data["for"]) == ["choice", "nli"] and set(data["data"]) == {"microworld"}
    wanted = xlt.summary(results).query("arm == 'text' and task == 'nli'").iloc[0]
    for name in ("source", "transfer", "low", "high", "gap", "worst five"):
        assert overall[name].item() == f"{wanted[name]:.1f}", name
    assert overall["seeds"].item() == "2" and overall["degenerate"].item() == str(
        wanted["degenerate"]
    )
    own = results.main.query("arm == 'text' and task == 'nli'")
    assert list(languages["language"]) == LANGUAGES  # the source first
    for row in languages.to_dict("records"):
        both = own.loc[own["language"] == row["language"]].set_index("seed")["value"]
        assert row["seed 1"] == f"{both[1]:.1f}"
        assert row["mean over seeds"] == f"{both.mean():.1f}"
    assert set(made["device"]) == {"cpu"}
    assert set(made["versions"]) and "torch 2" in made["versions"].iloc[0]
    assert "chance 33.3" in text and "seeds 0, 1" in text and "the last checkpoint is" in text


def test_the_head_is_read_back_by_the_hub_s_own_library(folder, tiny):
    head = ModelCard.load(folder / "README.md").data
    assert head.language == LANGUAGES and head.library_name == "transformers"
    assert "microworld" in head.tags and head.eval_results is None  # they would look like results
    assert head.base_model is None and head.license == "other"  # that folder may be anybody's
    text = (folder / "README.md").read_text()
    assert tiny.rpartition("/")[0] not in text and "**Microworld.**" in text
    assert "**A control.**" not in text
    json.loads(text.partition("```json\n")[2].partition("```")[0])


def test_the_folder_loads_as_the_card_says(folder, monkeypatch, results):
    monkeypatch.chdir(folder)
    code = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    names: dict = {}
    exec(code, names)
    assert names["vectors"].shape == (2, 32)
    assert {path.name for path in folder.iterdir()} >= {"heads.safetensors", "tokenizer.json"}
    assert not (folder / "signature.json").exists()
    key = cards.find(results.scores, results.store, "text", "nli", 1)
    assert results.store.ready(key)  # whole: nothing was written into it
    weights = (results.store.path(key) / "model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == weights


def test_without_a_task_it_is_the_encoder_before_its_targets(results, tmp_path):
    folder = xlt.card(results, "text", tmp_path / "x")
    text = (folder / "README.md").read_text()
    assert "> Intermediate(choice)\n" in text and "seed 0" in text
    assert "after Target(nli, Adversarial), 2 steps, trained on top" in text
    assert "### retrieval" in text  # scored as it is


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"arm": "txet"}, "arm is 'txet'; there are 'none', 'text'"),
        ({"arm": "text", "task": "qa"}, "task is 'qa'; there are 'nli', 'retrieval'"),
        ({"arm": "text", "seed": 7}, "seed is 7; there are 0, 1"),
        ({"arm": "none"}, "trains nothing before its targets"),
        ({"arm": "none", "task": "retrieval"}, "trains nothing for retrieval"),
    ],
)
def test_what_was_not_trained_is_refused(results, tmp_path, asked, says):
    with pytest.raises(ValueError, match=says):
        xlt.card(results, to=tmp_path / "x", **asked)
    assert not list(tmp_path.iterdir())


def test_the_command_line_takes_a_key_a_folder_and_a_run(
    results, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XLTKIT_STORE", str(results.store.folder))
    key = cards.find(results.scores, results.store, "text", "nli", 1)
    scored = results.scores.query("arm == 'text' and task == 'nli' and seed == 1")["stage"].iloc[0]
    for number, what in enumerate([key, str(results.store.path(key)), scored]):
        assert main(["card", what, "--to", str(tmp_path / str(number))]) == 0
        made = tmp_path / str(number) / "README.md"
        assert made.read_text() == (folder / "README.md").read_text()
    assert "Nothing was uploaded" in capsys.readouterr().out
    assert main(["card", key, "--to", str(tmp_path / "0")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["card", "f" * 16, "--to", str(tmp_path / "y")]) == 2
    assert "There is no stage 'ffffffffffffffff'" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()

    from xltkit.batch.parameters import start

    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "runs.toml").touch()
    monkeypatch.chdir(tmp_path)
    start({"seeds": [0, 1]}).finish({"scores": results.scores}, "It went well.")
    asked = ["--arm", "text", "--task", "nli", "--seed", "1", "--to", str(tmp_path / "run")]
    (run,) = [path.parent.name for path in (tmp_path / "outputs").glob("*/result.json")]
    assert main(["card", run, *asked]) == 0
    assert (tmp_path / "run/README.md").read_text() == (folder / "README.md").read_text()
    assert main(["card", run, "--to", str(tmp_path / "z")]) == 2
    assert "arm is ''; there are 'none', 'text'" in capsys.readouterr().err


def test_a_damaged_stage_is_not_given_away(results, tmp_path):
    store = Store(tmp_path / "store")
    shutil.copytree(results.store.folder, store.folder)
    key = cards.find(results.scores, store, "text", "nli", 1)
    (store.path(key) / "config.json").write_text("{}")
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(ValueError, match="damaged"):
        cards.export(key, tmp_path / "x", store)


def test_scores_of_real_tasks_are_in_the_head_too(store):
    """The records are made by hand: nobody fine-tunes XLM-R in a test."""
    base = "FacebookAI/xlm-roberta-base"
    target = {
        "encoder": base, "parent": f"{base}@{'c' * 40}", "seed": 0,
        "data": {"mnli/en": "hub@" + "d" * 40}, "phase": "Target", "task": "mnli",
        "language": "en", "shuffled": True, "steps": 10, "batch_size": 32, "learning_rate": 2e-5,
        "pooling": "first",
    }  # fmt: skip
    cost = {"wall_s": 60.0, "device": "cuda", "dtype": "bf16", "threads": 1}
    store.get("a" * 16, target, lambda folder: cost)
    scores = pd.DataFrame(
        {"language": ["en", "de"], "metric": "accuracy", "value": [80.125, 70.0], "n": 5010}
    )
    rows = {"language": ["en", "de"] * 2, "id": list("aabb"), "gold": "0", "pred": list("0110")}

    def fill(folder):
        (folder / "result").mkdir()
        scores.to_parquet(folder / "result" / "scores.parquet")
        pd.DataFrame(rows).to_parquet(folder / "result" / "predictions.parquet")
        return cost

    about = {"phase": "Evaluate", "task": "xnli", "split": "test", "languages": ["en", "de"]}
    store.get("b" * 16, {"parent": "a" * 16, "seed": 0, "encoder": "-", "data": {}} | about, fill)
    made = cards.write("a" * 16, store)
    head = ModelCard(str(made)).data
    assert head.base_model == base and head.license == "other"
    assert head.datasets == ["nyu-mll/glue"] and head.language == ["de", "en"]
    found = {(r.dataset_type, r.dataset_config): r.metric_value for r in head.eval_results}
    assert found == {("facebook/xnli", "en"): 80.12, ("facebook/xnli", "de"): 70.0}
    assert "**A control.**" in str(made) and "**Microworld.**" not in str(made)
    assert "hidden[:, 0]" in str(made) and "c" * 40 in str(made)
    assert "not recorded" in str(made)  # versions, of a stage from before they were


def test_nothing_uploads():
    folder = cards.TEMPLATE.parent
    source = "".join(path.read_text() for path in folder.rglob("*.py"))
    assert not re.search(r"push_to_hub|upload_folder|upload_file|create_repo", source)
