"""One stage in two processes, as torchrun starts them: the same examples, one store."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from crew import Crew, ask, free_port, wait_for

import xltkit as xlt
from xltkit.studies.recipe import Recipe
from xltkit.studies.store import Store


def member(log: Path, rank: int, port: int, study, folder: Path) -> None:
    """One of two processes, told of the other as torchrun would."""
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ask(log, study, folder, {"workers": 1})


def test_two_processes_train_one_stage_on_the_same_examples(tiny, tmp_path):
    arms = {"both": Recipe(tiny).then(xlt.Intermediate(["choice", "pos"], steps=12))}
    study = xlt.study(arms, ["pos"], [0], steps=8, examples=20, languages=["en", "qad"])
    alone, together, port = tmp_path / "alone", tmp_path / "together", free_port()
    study.run(Store(alone))
    with Crew(tmp_path) as crew:
        for rank in (0, 1):
            crew.start(f"rank {rank}", member, rank, port, study, together)
        wait_for(lambda: None not in [crew.ended(f"rank {rank}") for rank in (0, 1)])
        said = [crew.log(f"rank {rank}").read_text() for rank in (0, 1)]
        assert [crew.ended(f"rank {rank}") for rank in (0, 1)] == [0, 0], said
    assert all(Store(together).is_usable(stage.key) for stage in study.stages)
    assert not list(together.glob("*.partial"))
    for stage in study.stages[:-1]:
        one, two = (
            pd.read_json(folder / stage.key / "log.jsonl", lines=True).mean()
            for folder in (alone, together)
        )
        # Each has dropout of its own, and the loss told is the first process's half.
        assert one["step"] == two["step"] and one["rate"] == two["rate"]
        assert two["norm"] == pytest.approx(one["norm"], rel=0.1)
        assert two["loss"] == pytest.approx(one["loss"], rel=0.2)
