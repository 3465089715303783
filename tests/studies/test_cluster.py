"""A real scheduler, worker processes, notebooks side by side: every stage is made once."""

import os
import signal
import socket
import ssl
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import cloudpickle
import dask
import pandas as pd
import pytest
from crew import WORKER, ask, free_port, numbers, serve, wait_for
from distributed import Client, wait
from threadpoolctl import threadpool_info

import xltkit as xlt
from xltkit.studies import cluster
from xltkit.studies import make as making
from xltkit.studies.stages import Recipe
from xltkit.studies.store import Store

SMALL = {"examples": 20, "languages": ["en", "qad"]}


def one_stage(encoder, steps=6, **options):
    """A study of two stages: one trained, one scored."""
    arms = {"text": Recipe(encoder).then(xlt.Intermediate(["pos"], steps=steps, **options))}
    return xlt.study(arms, ["retrieval"], [0], **SMALL)


def test_two_notebooks_share_their_stages_and_end_as_alone(tiny, tmp_path, crew):
    base = Recipe(tiny)
    arms = {"none": base, "text": base.then(xlt.Intermediate(["choice"], steps=8))}
    targets = {task: [task, "retrieval"] for task in ("pos", "nli")}
    studies = {t: xlt.study(arms, targets[t], [0, 1], steps=6, **SMALL) for t in targets}
    stages = [stage.key for study in studies.values() for stage in study.stages]
    assert len(set(stages)) < len(stages)
    crew.cluster(2)
    for name, study in studies.items():
        crew.start(name, ask, study, tmp_path / "shared", scheduler=crew.address)
    crew.assert_well("pos", "nli")
    assert {p.name for p in (tmp_path / "shared").iterdir() if p.is_dir()} == set(stages)
    # No worker was idle for a stage of the other's.
    assert "Waiting for stage" not in crew.log("worker 1") + crew.log("worker 2")
    with Client(crew.address) as client:  # nor did one compute with the cores of the other
        pools = chain.from_iterable(client.run(threadpool_info).values())
    assert {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"} == {1}
    crew.start("alone", ask, studies["pos"], tmp_path / "alone", workers=1)
    crew.assert_well("alone")
    assert numbers(tmp_path / "alone").items() <= numbers(tmp_path / "shared").items()


def wanted(dask_scheduler) -> int:
    """How many stages all notebooks together wait for."""
    return sum(len(client.wants_what) for client in dask_scheduler.clients.values())


def test_a_shared_stage_has_the_place_of_the_first_run_that_needs_it(tiny, store, crew):
    base = Recipe(tiny)
    arms = {steps: base.then(xlt.Intermediate(["pos"], steps=steps)) for steps in (6, 12, 18)}
    first, later = (
        xlt.study({str(n): arms[n] for n in steps}, ["retrieval"], [0], **SMALL)
        for steps in ([6], [18, 12, 6])
    )
    crew.cluster(0)
    with Client(crew.address) as client:
        for priority, study in enumerate((later, first)):
            # As in a batch, whose first run has the highest priority.
            environment = {"XLTKIT_PRIORITY": str(priority)}
            options = {"environment": environment, "scheduler": crew.address}
            crew.start(f"{priority}", ask, study, store.folder, **options)
            number = len(later.stages) + priority * len(first.stages)
            wait_for(lambda: client.run_on_scheduler(wanted) == number)  # noqa: B023
    crew.start("worker 1", serve, "Worker", crew.address, **WORKER)
    crew.assert_well("0", "1")
    made = sorted(
        (stage.key for stage in later.stages),
        key=lambda key: (store.folder / key / "signature.json").stat().st_mtime_ns,
    )
    # A worker that has just made one stage takes the next before the scheduler has another for it.
    assert {stage.key for stage in first.stages} <= set(made[: len(first.stages) + 1])


def fails_once(mark: Path, *arguments):
    """Like yesterday's attempt at a stage: the disk was full, and now is not."""
    if not mark.exists():
        mark.touch()
        raise OSError(28, "an attempt of yesterday")
    return cluster.make_in_worker(*arguments)


def test_an_error_is_the_stages_own_and_none_that_the_scheduler_remembers(
    tiny, tmp_path, store, crew
):
    crew.cluster(1)
    study = one_stage(tiny)
    stage = study.stages[0]
    arguments = (tmp_path / "mark", cloudpickle.dumps((stage, {}, {})), store.folder, None)
    with Client(crew.address) as other:
        name = cluster._task_name(stage, store.folder)
        remembered = other.submit(fails_once, *arguments, key=name)
        wait(remembered)
        assert remembered.status == "error"
        study.run(store, scheduler=crew.address)
    with pytest.raises(Exception, match="learning_rate") as caught:
        one_stage(tiny, 30, learning_rate=1e9, warmup=0.0).run(store, scheduler=crew.address)
    assert type(caught.value).__name__ == "Diverged"
    assert all(store.is_usable(stage.key) for stage in study.stages)


def test_a_stage_that_nobody_waits_for_is_left_at_a_checkpoint(tiny, store, crew):
    """It would go on for an hour, and the only worker with it."""
    crew.cluster(1)
    crew.start("long", ask, one_stage(tiny, 100_000), store.folder, scheduler=crew.address)
    wait_for(lambda: list(store.folder.glob("*.partial/checkpoint-*")))
    crew.kill("long")
    one_stage(tiny).run(store, scheduler=crew.address)
    assert list(store.folder.glob("*.partial/checkpoint-*")) and crew.code("worker 1") is None


def dies_at_work(log: Path, address: str) -> None:
    """A worker for which every stage is too large."""
    making.make = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    serve(log, "Worker", address, **WORKER)


def test_a_stage_that_ends_its_workers_is_given_up(tiny, store, crew):
    crew.cluster(0)
    crew.start("small", dies_at_work, crew.address)
    crew.start("asks", ask, one_stage(tiny), store.folder, scheduler=crew.address)

    def is_over() -> bool:
        if crew.code("small") is not None:
            crew.start("small")
        return crew.code("asks") is not None

    wait_for(is_over)
    assert crew.code("asks") == 1
    assert "memory was too small" in crew.log("asks")


def test_our_own_scheduler_asks_for_a_certificate():
    with cluster.serving(2, "", {"HERE": "1"}) as environment:
        address = environment["XLTKIT_SCHEDULER"]
        assert address.startswith("tls://127.0.0.1") and environment["HERE"] == "1"
        # A stranger is refused by the scheduler itself. No failed Client is left behind: collected
        # while another one starts, it locks Dask's loop for ten seconds.
        place = urlsplit(address)
        with socket.create_connection((place.hostname, place.port), timeout=60) as plain:
            with ssl._create_unverified_context().wrap_socket(plain) as stranger:
                with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                    stranger.recv(1)
        tls = dask.config.collect_env(env=environment)["distributed"]["comm"]["tls"]
        key = Path(environment["DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"])
        assert key.parent.stat().st_mode & 0o077 == 0  # the key is in a folder of this user alone
        settings = {f"distributed.comm.tls.{name.replace('_', '-')}": tls[name] for name in tls}
        with dask.config.set(settings), Client(address) as client:
            client.wait_for_workers(2)
            assert client.submit(os.getenv, "HERE").result() == "1"
            assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2
    with cluster.serving(1, "", {}) as environment:
        assert environment == {}
    with cluster.serving(2, "tcp://there:1", {}) as environment:
        assert environment == {"XLTKIT_SCHEDULER": "tcp://there:1"}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense"])
def test_without_a_scheduler_it_says_how_to_start_one(tiny, store, monkeypatch, address):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    with pytest.raises(ConnectionError, match="dask scheduler"):
        one_stage(tiny).run(store, scheduler=address)


def test_two_processes_train_one_stage_on_the_same_examples(tiny, tmp_path, crew):
    arms = {"both": Recipe(tiny).then(xlt.Intermediate(["choice", "pos"], steps=12))}
    study = xlt.study(arms, ["pos"], [0], steps=8, **SMALL)
    study.run(Store(tmp_path / "alone"))
    together = Store(tmp_path / "together")
    # As torchrun tells each of them of the other.
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    world |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for rank in ("0", "1"):
        environment = world | {"RANK": rank, "LOCAL_RANK": rank}
        options = {"environment": environment, "workers": 1}
        crew.start(f"rank {rank}", ask, study, together.folder, **options)
    crew.assert_well("rank 0", "rank 1")
    assert all(together.is_usable(stage.key) for stage in study.stages)
    assert not list(together.folder.glob("*.partial"))
    for stage in study.stages[:-1]:
        logs = [tmp_path / name / stage.key / "log.jsonl" for name in ("alone", "together")]
        one, two = (pd.read_json(log, lines=True).mean() for log in logs)
        # Each process has other dropout, and the loss in the log is the first one's half.
        assert one["step"] == two["step"] and one["rate"] == two["rate"]
        assert two["norm"] == pytest.approx(one["norm"], rel=0.1)
        assert two["loss"] == pytest.approx(one["loss"], rel=0.2)
