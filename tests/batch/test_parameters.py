"""What a notebook starts and ends with: the guard, which words stop it, progress, the result."""

import json
import re
import subprocess
import sys
import types
from unittest.mock import Mock

import pandas
import pytest

from xltkit import files, progress
from xltkit.batch.parameters import PARAMETERS, SMOKE_LANGUAGES, SMOKE_ROWS, check, parse, start


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Results go to a folder of the test, and torch need not be imported."""
    monkeypatch.setenv("XLTKIT_RUN_FOLDER", str(tmp_path / "a_run"))
    monkeypatch.setenv("XLTKIT_RUN_ID", "abc")
    runtime = types.SimpleNamespace(describe=lambda: "cpu, fp32, 1 torch threads")
    monkeypatch.setitem(sys.modules, "xltkit.models.device", runtime)


GOOD = {"suite": "microworld", "targets": ["nli"], "seeds": [0, 1], "smoke": False, "guess": "1"}


def declared(**values) -> dict:
    """The namespace of a notebook that declares these parameters."""
    return {**values, "__annotations__": dict.fromkeys(values, "...")}


def test_every_example_of_the_table_is_a_good_value():
    examples = {name: row["example"] for name, row in PARAMETERS.items()}
    assert check(examples) == examples


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("smoke", "false", "must be bool"),
        ("steps", True, "must be int"),
        ("steps", -1, "smallest number allowed is 0"),
        ("seeds", 3, "must be list[int]"),
        ("seeds", [1, 1], "may be in it once"),
        ("axis", "sise", "allowed are 'size', 'language'"),
    ],
)
def test_wrong_values_are_named_with_what_is_allowed_and_what_to_type(name, value, says):
    sentence = f"{name} is {value!r}; .*{says}. Type for example {name}: "
    with pytest.raises(ValueError, match=sentence.replace("[", r"\[")):
        check({name: value})


def test_all_problems_are_reported_at_once_and_how_to_go_on():
    namespace = declared(sedes=[0], smoke="false", targets=["nli"])
    with pytest.raises(ValueError, match=r"(?s)Did you mean 'seeds'.*smoke is 'false'.*del sedes"):
        start(namespace)
    del namespace["sedes"]
    assert start(namespace | {"smoke": True}).targets == ["nli"]


def test_a_good_start_gives_what_is_declared_and_prints_six_lines(capsys):
    run = start({"In": [], "json": json, "other": [1, 2], **declared(**GOOD)})
    assert (run.suite, run.seeds, run.smoke) == ("microworld", [0, 1], False)
    assert run.guessed == "Your guess: 1. "
    assert len(capsys.readouterr().out.splitlines()) == 6
    with pytest.raises(AttributeError, match="no parameter in this notebook called 'encoder'"):
        _ = run.encoder


def test_a_notebook_run_by_hand_has_a_folder_of_its_own(monkeypatch):
    monkeypatch.delenv("XLTKIT_RUN_FOLDER")
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/12_mine.ipynb")
    assert start(declared(**GOOD)).folder.parts[-2:] == ("interactive", "12_mine")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("suite", "xtreme-r", "xtreme-r"),
        ("steps", "200", 200),
        ("guess", "-1", "-1"),
        ("learning_rate", "1", 1.0),
        ("smoke", "false", False),
        ("languages", '["en", "no"]', ["en", "no"]),
    ],
)
def test_the_command_line_is_read_as_the_declared_type(name, text, value):
    parsed = parse([(name, text)])
    assert parsed == {name: value}
    assert type(parsed[name]) is type(value)


def test_the_command_line_refuses_the_rest():
    typed = {"smoke": "False", "steps": "1e3", "languages": "en", "sedes": "[0]"}
    with pytest.raises(ValueError, match=r"^(.+\n){3}.+$"):
        parse(list(typed.items()))


def test_a_smoke_run_is_cut_down_and_others_are_not():
    given = {**GOOD, "seeds": [3, 1, 2], "steps": 300, "languages": [], "targets": [*"abcde"]}
    full, tiny = (start(declared(**given | {"smoke": smoke})) for smoke in (False, True))
    # In a full run all training rows.
    expected = {"steps": 300, "seeds": [3, 1, 2], "languages": [], "targets": [*"abcde"], "rows": 0}
    assert expected.items() <= (full.parameters | full.options).items()
    expected = {"steps": 2, "seeds": [3, 1], "languages": SMOKE_LANGUAGES, "targets": ["a", "e"]}
    assert expected.items() <= tiny.parameters.items() and tiny.options["rows"] == SMOKE_ROWS
    real = start(declared(**given | {"smoke": True, "suite": "xtreme", "languages": ["de"]}))
    assert real.languages == ["de"]


def test_finish_writes_tables_and_then_the_result(tmp_path):
    run = start(declared(**GOOD))
    scores = pandas.DataFrame({"value": [1.0, 2.0], "stage": ["b", "a"]})
    run.finish({"scores": scores}, "It is 3.")
    result = json.loads((tmp_path / "a_run" / "result.json").read_text())
    expected = {"run": "a_run", "run_id": "abc", "answer": "It is 3.", "smoke": False}
    expected |= {"parameters": GOOD, "stages": ["a", "b"]}
    assert expected.items() <= result.items()
    table = result["tables"]["scores"]
    assert len(pandas.read_parquet(tmp_path / "a_run" / table["file"])) == table["rows"] == 2
    assert not list((tmp_path / "a_run").glob("*.partial"))


def test_a_full_disk_or_an_empty_answer_leaves_no_result(tmp_path, monkeypatch):
    run = start(declared(**GOOD))
    tables = {"scores": pandas.DataFrame({"value": [1.0]})}
    with pytest.raises(ValueError, match="type the answer"):
        run.finish(tables, " ")

    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr(pandas.DataFrame, "to_parquet", full)
    with pytest.raises(OSError, match="No space left"):
        run.finish(tables, "An answer.")
    assert not (tmp_path / "a_run" / "result.json").exists()


@pytest.mark.parametrize("interval", [0, 1e9])
def test_a_batch_gets_one_line_an_interval_and_none_for_what_takes_less(
    monkeypatch, capsys, interval
):
    monkeypatch.setenv("XLTKIT_BATCH", "1")
    monkeypatch.setattr(progress, "INTERVAL", interval)
    with progress.track(5, "training", initial=2) as bar:
        for _ in range(3):
            bar.set_postfix(loss=0.123456, refresh=False)
            bar.update()
    assert list(progress.track(["a", "b"], "reading", unit="file")) == ["a", "b"]
    printed = capsys.readouterr()
    assert printed.err == "" and "\r" not in printed.out and not progress.interactive()
    assert bool(printed.out) == (interval == 0)
    if printed.out:
        assert "training: step 3/5, loss=0.123" in printed.out
        assert re.search("reading: file 2/2.* left.*\n$", printed.out)
    assert progress.LINES.sub("", printed.out) == ""  # they are told apart from all other output


def test_the_commit_is_that_of_the_repository_and_of_none_around_it(tmp_path, monkeypatch):
    git = ["git", "-C", tmp_path, "-c", "user.email=a@b.c", "-c", "user.name=a"]
    for command in (["init"], ["commit", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    commits = []
    for folder in (tmp_path, tmp_path / "unpacked"):
        (folder / "notebooks").mkdir(parents=True)
        (folder / "notebooks" / "runs.toml").touch()
        monkeypatch.chdir(folder)
        commits.append(files.commit())
    assert commits[0] != "none" == commits[1]
