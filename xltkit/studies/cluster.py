"""Where stages are made: in this process, in several on this machine, or on any Dask cluster.

A stage is one Dask task, named by its key: notebooks that run in parallel share stages without
knowing of each other. Dask and torch are imported inside functions, since a batch imports this
module before it knows whether it has anything to train.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from xltkit.files import write
from xltkit.keys import digest
from xltkit.studies.store import Store

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, Worker

    from xltkit.studies.stages import Stage

ANSWER_SECONDS = 30  # for a scheduler to answer
NO_ANSWER = (
    "No scheduler answers at {!r}: {}. Start one with: dask scheduler. It prints its address, such "
    "as tcp://10.0.0.5:8786. Start workers with: dask worker ADDRESS --nworkers 4 --nthreads 1. "
    "Finished stages are kept."
)
NO_WORKERS = (
    "The workers could not be started. In a script, everything that trains belongs below the line "
    "`if __name__ == '__main__':`, since each worker imports the script."
)
GONE = "The scheduler is gone. Start it and run again: finished stages and checkpoints are kept."
TOO_LARGE = (
    "Several workers died while making {}: most likely the memory was too small. Use fewer "
    "--workers, or a smaller batch_size with more accumulation. Finished stages are kept."
)
SETTINGS = {  # of our own scheduler
    # Stages wait at workers, which begin with the first of their queue; idle ones take from others.
    # Dask would hold some kinds back until no other stage is left, of whatever notebook.
    "distributed.scheduler.worker-saturation": math.inf,
    "distributed.scheduler.worker-ttl": None,  # a worker may not respond for minutes
    "distributed.admin.tick.limit": "1 day",
    "distributed.nanny.pre-spawn-environ": {},  # would change this process, too
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,  # a hundred looks a second at a thread that trains
}


class Stopped(Exception):
    """No one is waiting for a stage anymore: its worker leaves it at the last checkpoint."""


def threads(processes: int) -> int:
    """The number of threads for each of several processes that share this machine's cores."""
    from dask.system import CPU_COUNT

    return max(1, CPU_COUNT // processes)


def make_all(
    stages: Sequence[Stage], store: Store, workers: int = 0, scheduler: str = ""
) -> Iterator[Stage]:
    """Make every stage once, parents before children, and yield it when it is finished.

    Stages are made in this process, in several ``workers`` on this machine, or on those of a Dask
    ``scheduler``, which must see the store's folder under the same path. Raises what making a stage
    raises (with workers, after a second attempt), ConnectionError if the scheduler does not answer
    or stops, and RuntimeError if no worker starts or several died of one stage.
    """
    from xltkit.studies.make import make

    workers = workers or int(os.environ.get("XLTKIT_WORKERS") or 1)
    scheduler = scheduler or os.environ.get("XLTKIT_SCHEDULER", "")
    left = []
    for stage in stages:
        if (workers > 1 or scheduler) and store.is_usable(stage.key):
            yield stage
        else:
            left.append(stage)
    workers = min(workers, len(left))  # more processes would only take time to start
    if not left or (workers == 1 and not scheduler):
        for stage in left:
            make(stage, store)
            yield stage
        return
    from distributed import Client

    with ExitStack() as stack:
        try:
            cluster = scheduler or stack.enter_context(_local(workers, os.environ))
        except RuntimeError as error:  # a worker that imports the script would start workers, too
            raise RuntimeError(NO_WORKERS) from error
        try:
            client = stack.enter_context(Client(cluster, timeout=ANSWER_SECONDS))
        except (OSError, ValueError, TypeError) as error:
            raise ConnectionError(NO_ANSWER.format(scheduler, error)) from error
        if not client.scheduler_info(n_workers=-1)["workers"]:
            print(f"The scheduler at {scheduler} has no workers yet; waiting for them.", flush=True)
        yield from _share(left, store, client)


@contextmanager
def serving(workers: int, scheduler: str, environment: Mapping[str, str]) -> Iterator[dict]:
    """The environment for processes that train on the same workers.

    These are the scheduler's, if an address is given, or are started here for the ``with`` block.
    """
    scheduler = scheduler or environment.get("XLTKIT_SCHEDULER", "")
    if scheduler or workers == 1:
        yield {**environment, **({"XLTKIT_SCHEDULER": scheduler} if scheduler else {})}
        return
    with _local(workers, environment) as cluster, TemporaryDirectory() as folder:
        environment = {**environment, "XLTKIT_SCHEDULER": cluster.scheduler_address}
        # Keys are in files that only this user can read: environments are inherited by every child
        # process and end up in logs.
        settings = cluster.security.get_tls_config_for_role("client")
        names = {"ca_file": "CA_FILE", "cert": "CLIENT__CERT", "key": "CLIENT__KEY"}
        for field, name in names.items():
            path = Path(folder, f"{field}.pem")
            write(path, settings[field])
            environment[f"DASK_DISTRIBUTED__COMM__TLS__{name}"] = str(path)
        yield environment


@contextmanager
def _local(workers: int, environment: Mapping[str, str]) -> Iterator[LocalCluster]:
    """A scheduler and workers on this machine, for as long as this process lives.

    Anyone who can connect to a scheduler can run code as its user, and other users of a login node
    can connect, so this one requires a certificate made for it.
    """
    import dask
    from distributed import LocalCluster, Security

    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",  # required, but serves nothing
            protocol="tls://",
            security=Security.temporary(),
            silence_logs="CRITICAL",
            preload=[__name__],  # see dask_setup
            env={"OMP_NUM_THREADS": str(threads(workers)), **environment},
        ) as cluster,
    ):
        yield cluster


def _share(stages: Sequence[Stage], store: Store, client: Client) -> Iterator[Stage]:
    """Make stages on the workers of a scheduler, each after its parent; retry a failed one.

    Dask's own ``retries`` would not work: a scheduler returns the error that it remembers from an
    earlier run, such as a full disk. A second attempt continues from the last checkpoint.
    """
    import cloudpickle
    from distributed import KilledWorker, as_completed

    from xltkit.data.languages import LANGUAGES
    from xltkit.tasks import TASKS

    folder = store.folder.resolve()
    of_run = 10**6 * int(os.environ.get("XLTKIT_PRIORITY") or 0)  # the first runs of a batch first
    futures = {}
    for stage in stages:
        futures[stage] = client.submit(
            make_in_worker,
            # Bytes, which a scheduler reads without torch. A fresh process lacks the tasks and
            # languages that were registered in this session.
            cloudpickle.dumps((stage, TASKS, LANGUAGES)),
            folder,
            futures.get(stage.parent),
            key=_task_name(stage, folder, of_run),
            priority=of_run + stage.phase.steps,  # the longest first
        )
    by_name = {future.key: stage for stage, future in futures.items()}
    retried = set()
    ended = as_completed(list(futures.values()))
    for future in ended:
        stage = by_name[future.key]
        status = future.status
        if status == "finished":
            yield stage
            continue
        if status == "cancelled":
            raise ConnectionError(GONE)
        if status == "error":  # otherwise its parent, or another notebook, tries again
            error = future.exception()
            if not isinstance(error, Stopped):  # another notebook gave it up, we do not
                if stage in retried and isinstance(error, KilledWorker):
                    raise RuntimeError(TOO_LARGE.format(stage.title)) from error
                if stage in retried:
                    future.result()  # raises the error
                retried.add(stage)
            try:
                future.retry()
            except (KeyError, OSError) as unknown:  # the scheduler was restarted in between
                raise ConnectionError(GONE) from unknown
        ended.add(future)


def _task_name(stage: Stage, folder: Path, of_run: int = 0) -> str:
    """Dask's name of a stage: its key and its store, since a scheduler may serve several stores.

    Each run of a batch has names of its own: a stage that a later run has asked for first would
    keep that run's place in the queue. Whoever comes second finds the stage in the store.
    """
    return f"{type(stage.phase).__name__.lower()}-{stage.key}-{digest(f'{folder} {of_run}', 8)}"


# In a worker -------------------------------------------------------------------------------------

_one_at_a_time = threading.Lock()  # torch's random state belongs to the whole process


def dask_setup(worker: Worker) -> None:
    """Called by Dask in our workers: Ctrl-C is for the process that started and ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_in_worker(pickled: bytes, folder: Path, parent: str | None) -> str:
    """Make a pickled stage with the session's own tasks, once Dask has the key of its parent."""
    import cloudpickle
    import torch
    from threadpoolctl import threadpool_limits

    from xltkit.data.languages import LANGUAGES
    from xltkit.studies.make import make
    from xltkit.tasks import TASKS

    with _one_at_a_time:
        if count := os.environ.get("OMP_NUM_THREADS"):  # which Dask sets after numpy is loaded
            torch.set_num_threads(int(count))
            threadpool_limits(int(count), user_api="blas")
        stage, tasks, languages = cloudpickle.loads(pickled)
        TASKS.update(tasks)
        LANGUAGES.update(languages)
        make(stage, Store(folder), on_step=_stop_if_unwanted)
    return stage.key


def _stop_if_unwanted() -> None:
    """Stop a stage that no one is waiting for; Dask itself would let it finish."""
    from distributed import get_worker
    from distributed.worker import WORKER_ANY_RUNNING, thread_state

    worker = get_worker()
    state = worker.state.tasks.get(thread_state.key)
    if worker.status not in WORKER_ANY_RUNNING or state is None or state.state == "cancelled":
        raise Stopped("No one is waiting for this stage anymore.")
