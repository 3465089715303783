"""Where stages run: in this process, in several on this machine, or on any Dask cluster.

A stage is one Dask task that is named by its key, and starts as soon as its parent is there.
Whoever asks one scheduler for a stage that is being made waits for that one: notebooks that run
side by side share stages without knowing of each other.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xltkit.keys import digest
from xltkit.studies import worker
from xltkit.studies.store import Store

if TYPE_CHECKING:  # Dask, and torch, are imported by those who use them
    from distributed import Client, Future, LocalCluster

    from xltkit.studies.stages import Stage

ANSWER_SECONDS = 30  # for a scheduler to answer
GONE = (
    "The scheduler is gone. Finished stages are kept: start it and run again, and what was under "
    "way goes on from its last checkpoint."
)
_TLS = "DASK_DISTRIBUTED__COMM__TLS__"


def number(asked: int | None = None) -> int:
    """How many processes make stages: the number asked for, ``XLTKIT_WORKERS``, or one.

    Raises:
        ValueError: if it is no whole number from 1 on.
    """
    given = os.environ.get("XLTKIT_WORKERS") or "1" if asked is None else str(asked)
    if not given.isdigit() or int(given) < 1:
        raise ValueError(f"workers is {given!r}; give a whole number from 1 on, such as 2.")
    return int(given)


def threads(processes: int) -> int:
    """The threads of each of so many processes that share the cores of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // processes)


def make_all(
    stages: Sequence[Stage],
    store: Store,
    done: Callable[[Stage], None],
    workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Make every stage once, parents before children; ``done`` hears of each.

    Args:
        stages: parents before children.
        store: where they are kept, and where another process may be making them, too.
        done: called in this process after each stage.
        workers: processes on this machine; with one, this process does all the work itself.
            ``XLTKIT_WORKERS``, or one, unless given.
        scheduler: the address of a Dask scheduler, whose workers are used instead. They must see
            the folder of the store under the same name. ``XLTKIT_SCHEDULER`` unless given.

    Raises:
        ConnectionError: if the scheduler does not answer, or is gone in the middle.
        RuntimeError: if several workers died of one stage.
        whatever making a stage raises; finished stages are kept, and the others go on from their
            checkpoints when they are asked for again.
    """
    from xltkit.studies.make import make

    workers, scheduler = number(workers), scheduler or os.environ.get("XLTKIT_SCHEDULER", "")
    left = []
    for stage in stages:
        if workers == 1 and not scheduler:
            make(stage, store)
        elif not store.ready(stage.key):
            left.append(stage)
            continue
        done(stage)
    if len(left) == 1 and not scheduler:
        make(left[0], store)  # a process of its own would take longer to start
        done(left[0])
    elif left:
        with _client(min(workers, len(left)), scheduler) as client:
            _share(left, store, client, done)


@contextmanager
def serving(workers: int, scheduler: str, environment: Mapping[str, str]) -> Iterator[dict]:
    """The environment of processes that are to train on the same workers.

    Args:
        workers: to be started on this machine, for the time of the ``with``, if more than one.
        scheduler: the address of the one to use; then none is started.
        environment: of the processes, and of the workers.
    """
    scheduler = scheduler or environment.get("XLTKIT_SCHEDULER", "")
    if scheduler or workers == 1:
        yield {**environment} | ({"XLTKIT_SCHEDULER": scheduler} if scheduler else {})
        return
    with _local(workers, environment) as cluster:
        tls = cluster.security.get_tls_config_for_role("client")
        named = {"CA_FILE": "ca_file", "CLIENT__CERT": "cert", "CLIENT__KEY": "key"}
        secrets = {f"{_TLS}{name}": tls[field] for name, field in named.items()}
        yield {**environment} | secrets | {"XLTKIT_SCHEDULER": cluster.scheduler_address}


@contextmanager
def _local(workers: int, environment: Mapping[str, str]) -> Iterator[LocalCluster]:
    """A scheduler and workers on this machine, for as long as this process lives.

    Whoever reaches a scheduler can run code as its user: this one wants a certificate that is
    made for it, and kept in memory.
    """
    import dask
    from distributed import LocalCluster, Security

    own = environment.get("OMP_NUM_THREADS") or str(threads(workers))
    settings = {
        "distributed.scheduler.worker-saturation": 1.0,  # stages wait where any worker finds them
        "distributed.scheduler.worker-ttl": None,  # a stage may be deaf for minutes
        "distributed.admin.tick.limit": "1 day",
        "distributed.nanny.pre-spawn-environ": {},  # it would change this process's, too
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",  # it cannot be left out; it serves nothing
            protocol="tls://",
            security=Security.temporary(),
            silence_logs="CRITICAL",
            preload=[worker.__name__],  # see its dask_setup
            env={**environment, "OMP_NUM_THREADS": own},
        ) as cluster,
    ):
        yield cluster


@contextmanager
def _client(workers: int, scheduler: str) -> Iterator[Client]:
    """A connection to the scheduler, or to one of our own with so many workers."""
    from distributed import Client

    if not scheduler:
        with _local(workers, os.environ) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"No scheduler answers at {scheduler!r}: {error}. Start one by typing: dask scheduler. "
            "It prints its address, such as tcp://10.0.0.5:8786; workers are started by: dask "
            "worker ADDRESS --nworkers 4 --nthreads 1. Finished stages are kept."
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            print(f"The scheduler at {scheduler} has no workers yet; waiting for them.", flush=True)
        yield client


def _share(
    stages: Sequence[Stage], store: Store, client: Client, done: Callable[[Stage], None]
) -> None:
    """Make stages on the workers of a scheduler, each after its parent.

    Stages are given as bytes: the scheduler, which reads what it is given, needs no torch.
    """
    import cloudpickle
    from distributed import as_completed

    asking = uuid.uuid4().hex
    folder = store.folder.resolve()
    session = cloudpickle.dumps((worker.registered(), os.environ.get("XLTKIT_HUB")))
    below = _steps_below(stages)
    futures: dict[str, Future] = {}
    try:
        for stage in stages:
            parent = futures.get(stage.parent.key) if stage.parent else None
            futures[stage.key] = client.submit(
                worker.make_there, cloudpickle.dumps(stage), folder, session, asking, parent,
                key=_name(stage, folder), priority=below[stage.key],
            )  # fmt: skip
        named = {futures[stage.key].key: stage for stage in stages}
        ended, again = as_completed(list(futures.values())), set()
        for future in ended:
            if future.status == "finished":
                done(named[future.key])
            elif _to_repeat(future, asking, future.key in again):
                again.add(future.key)
                _retry(future)
                ended.add(future)
            else:
                _fail(named[future.key], future)
    except BaseException:
        if client.status == "running":
            client.cancel(list(futures.values()))  # what others wait for, too, goes on
        raise


def _to_repeat(future: Future, asking: str, repeated: bool) -> bool:
    """Whether an error is not ours: a scheduler remembers those of earlier attempts."""
    if future.cancelled():
        return False
    error = future.exception()
    return isinstance(error, worker.Stopped) or not (
        repeated or getattr(error, "asking", None) == asking
    )


def _retry(future: Future) -> None:
    """Try a stage again; a scheduler that was started anew in between does not know it."""
    try:
        future.retry()
    except (KeyError, OSError) as error:
        raise ConnectionError(GONE) from error


def _fail(stage: Stage, future: Future) -> None:
    """Raise what a stage ended with, in words of this kit if they are Dask's."""
    from distributed import KilledWorker

    if future.cancelled():
        raise ConnectionError(GONE)
    if isinstance(error := future.exception(), KilledWorker):
        raise RuntimeError(
            f"Several workers ended while they made {stage.title} ({stage.key}): most often the "
            "memory was too small. Type fewer --workers, or give a smaller batch_size with more "
            "accumulation. Finished stages are kept."
        ) from error
    future.result()


def _name(stage: Stage, folder: Path) -> str:
    """What Dask calls a stage: its key, and where it is kept, for schedulers serve many stores."""
    return f"{type(stage.phase).__name__.lower()}-{stage.key}-{digest(str(folder), 8)}"


def _steps_below(stages: Sequence[Stage]) -> dict[str, int]:
    """The steps of the longest chain that waits for each stage: the longest goes first."""
    below: dict[str, int] = {}
    for stage in reversed(stages):
        own = below.setdefault(stage.key, 0)
        if stage.parent:
            steps = own + getattr(stage.phase, "steps", 1)
            below[stage.parent.key] = max(below.get(stage.parent.key, 0), steps)
    return below
