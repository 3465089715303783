"""A real scheduler, worker processes, notebooks side by side: every stage is made once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from crew import Crew, ask, wait_for, work

import xltkit as xlt
from xltkit.studies import cluster
from xltkit.studies.recipe import Recipe
from xltkit.studies.store import Store

SMALL = {"examples": 20, "languages": ["en", "qad"]}


@pytest.fixture
def crew(tmp_path):
    with Crew(tmp_path) as crew:
        yield crew


def one_stage(encoder, steps=6, **options):
    """A study of two stages: one trained, one scored."""
    arms = {"text": Recipe(encoder).then(xlt.Intermediate(["pos"], steps=steps, **options))}
    return xlt.study(arms, ["retrieval"], [0], **SMALL)


def results(folder: Path, study) -> dict[tuple[str, str], bytes]:
    return {
        (stage.key, name): path.read_bytes()
        for stage in study.stages
        for name in ("model.safetensors", "result/predictions.parquet")
        if (path := folder / stage.key / name).exists()
    }


def ended(crew: Crew, *names: str) -> list[int]:
    wait_for(lambda: None not in [crew.ended(name) for name in names])
    return [crew.ended(name) for name in names]


def test_two_notebooks_share_their_stages_and_end_as_alone(tiny, tmp_path, crew):
    base = Recipe(tiny)
    arms = {"none": base, "text": base.then(xlt.Intermediate(["choice"], steps=8))}
    first, second = (
        xlt.study(arms, [task, "retrieval"], [0, 1], steps=6, **SMALL) for task in ("pos", "nli")
    )
    keys = {s.key for s in (*first.stages, *second.stages)}
    assert len(keys) < len(first.stages) + len(second.stages)
    crew.cluster()
    store, alone = tmp_path / "shared", tmp_path / "alone"
    for name, study in (("first", first), ("second", second)):
        crew.start(name, ask, study, store, {"scheduler": crew.address})
    assert ended(crew, "first", "second") == [0, 0], crew.log("first").read_text()
    assert {p.name for p in store.iterdir() if p.is_dir()} == keys
    said = "".join(crew.log(f"worker {n}").read_text() for n in (1, 2))
    assert "Waiting for stage" not in said  # no worker was idle for a stage of the other's
    crew.start("alone", ask, first, alone, {"workers": 1})
    assert ended(crew, "alone") == [0]
    assert results(alone, first) == results(store, first)


def test_an_error_is_the_stages_own_and_what_is_finished_stays(tiny, tmp_path, crew):
    crew.cluster(1)
    whole = one_stage(tiny)
    broken = one_stage(tiny, 30, learning_rate=1e9, warmup=0.0)
    store = Store(tmp_path / "store")
    whole.run(store, scheduler=crew.address)
    with pytest.raises(Exception, match="learning_rate") as caught:
        broken.run(store, scheduler=crew.address)
    assert type(caught.value).__name__ == "Diverged"
    assert all(store.is_usable(stage.key) for stage in whole.stages)


def fails_once(mark: Path, *given):
    """Like yesterday's attempt at a stage: the disk was full, and now is not."""
    if not mark.exists():
        mark.touch()
        raise OSError(28, "an attempt of yesterday")
    return cluster.make_in_worker(*given)


def test_an_error_that_the_scheduler_remembers_is_not_believed(tiny, tmp_path, crew):
    import cloudpickle
    from distributed import Client, wait

    crew.cluster(1)
    study, folder = one_stage(tiny), tmp_path / "store"
    session = cloudpickle.dumps(({}, {}))
    with Client(crew.address) as other:
        stage = study.stages[0]
        given = (cloudpickle.dumps(stage), folder, session, None)
        name = cluster._task_name(stage, folder)
        remembered = other.submit(fails_once, tmp_path / "mark", *given, key=name)
        wait(remembered)
        assert remembered.status == "error"
        study.run(Store(folder), scheduler=crew.address)
    assert all(Store(folder).is_usable(stage.key) for stage in study.stages)


def test_a_stage_that_nobody_waits_for_is_left_at_a_checkpoint(tiny, tmp_path, crew):
    """It would go on for an hour, and the only worker with it."""
    crew.cluster(1)
    store = tmp_path / "store"
    crew.start("long", ask, one_stage(tiny, 100_000), store, {"scheduler": crew.address})
    wait_for(lambda: list(store.glob("*.partial/checkpoint-*")))
    crew.kill("long")
    one_stage(tiny).run(Store(store), scheduler=crew.address)
    assert len(list(store.glob("*.partial/checkpoint-*"))) >= 1
    assert crew.ended("worker 1") is None


def dies_at_work(log: Path, port: int) -> None:
    """A worker for which every stage is too large."""
    from xltkit.studies import make as making

    making.make = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    work(log, port)


def test_a_stage_that_ends_its_workers_is_given_up(tiny, tmp_path, crew):
    crew.cluster(0)
    crew.start("small", dies_at_work, crew.port)
    crew.start("asks", ask, one_stage(tiny), tmp_path / "store", {"scheduler": crew.address})

    def asked() -> bool:
        if crew.ended("small") is not None:
            crew.start("small")
        return crew.ended("asks") is not None

    wait_for(asked)
    assert crew.ended("asks") == 1
    assert "memory was too small" in crew.log("asks").read_text()


def test_our_own_scheduler_asks_for_a_certificate():
    import dask
    from distributed import Client

    with cluster.serving(2, "", {"HERE": "1"}) as given:
        address = given["XLTKIT_SCHEDULER"]
        assert address.startswith("tls://127.0.0.1") and given["HERE"] == "1"
        with pytest.raises((OSError, TypeError)):
            Client(address, timeout=2)
        tls = dask.config.collect_env(env=given)["distributed"]["comm"]["tls"]
        key = Path(given["DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"])
        assert key.parent.stat().st_mode & 0o077 == 0  # the key is in a folder of this user alone
        told = {f"distributed.comm.tls.{name.replace('_', '-')}": tls[name] for name in tls}
        with dask.config.set(told), Client(address) as client:
            assert client.submit(os.getenv, "HERE").result() == "1"
            assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2
    with cluster.serving(1, "", {}) as given:
        assert given == {}
    with cluster.serving(2, "tcp://there:1", {}) as given:
        assert given == {"XLTKIT_SCHEDULER": "tcp://there:1"}


def test_without_a_scheduler_it_says_how_to_start_one(tiny, store, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(ConnectionError, match="dask scheduler"):
            one_stage(tiny).run(store, scheduler=address)
