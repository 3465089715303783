"""A real scheduler, two worker processes, notebooks side by side: every stage is made once."""

from __future__ import annotations

import pytest
from crew import Crew, ask, wait_for

import xltkit as xlt
from xltkit.recipe import Recipe

SMALL = {"steps": 6, "examples": 20, "languages": ["en", "qad"]}


@pytest.fixture
def crew(tmp_path):
    with Crew(tmp_path) as crew:
        yield crew


def results(folder, study):
    return {
        (stage.key, name): path.read_bytes()
        for stage in study.stages
        for name in ("model.safetensors", "result/predictions.parquet")
        if (path := folder / stage.key / name).exists()
    }


def test_two_notebooks_share_their_stages_and_end_as_alone(tiny, tmp_path, crew):
    """The second one also has a task of its own, and another by the name of one of the first's."""
    base = Recipe(tiny)
    shared = {"none": base, "text": base.then(xlt.Intermediate(["choice"], steps=8))}
    first = xlt.study(shared, ["pos", "retrieval"], [0, 1], **SMALL)
    second = xlt.study(shared, ["nli", "retrieval"], [0, 1], **SMALL)
    assert {s.key for s in first.stages} & {s.key for s in second.stages}
    crew.cluster()
    store = tmp_path / "shared"
    for name, study in (("first", first), ("second", second)):
        crew.start(name, ask, study, store, {"scheduler": crew.address})
    assert (
        wait_for(
            lambda: (
                [crew.ended(n) for n in ("first", "second")] == [0, 0]
                or any(crew.ended(n) for n in ("first", "second"))
            )
        )
        and crew.ended("first") == crew.ended("second") == 0
    ), crew.log("first").read_text()
    keys = {s.key for s in (*first.stages, *second.stages)}
    assert {p.name for p in store.iterdir() if p.is_dir()} == keys
    said = "".join(crew.log(f"worker {n}").read_text() for n in (1, 2))
    assert "Waiting for stage" not in said  # no worker was idle for a stage of another's
    alone = tmp_path / "alone"
    crew.start("alone", ask, first, alone, {"workers": 1})
    wait_for(lambda: crew.ended("alone") == 0)
    assert results(alone, first) == results(store, first)
