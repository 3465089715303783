"""Schedulers, workers and notebooks as processes that a test can kill; they start at once.

All are forked from a process that has imported what they need and does nothing else.
"""

import asyncio
import contextlib
import multiprocessing
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["crew", "distributed", "xltkit.studies.make", "warm"])
PATIENCE = 600.0  # seconds until a test gives up; none of them waits so long when it passes
WORKER = {"nthreads": 1, "memory_limit": None}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(condition):
    """What the function returns as soon as it is true."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return value


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        # A process that nobody has waited for yet is dead all the same.
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def numbers(folder: Path) -> dict[str, bytes]:
    """The weights and predictions of all finished stages of a store."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.glob(f"{'?' * 16}/**/*")
        if path.suffix in (".safetensors", ".parquet")
    }


def _quiet(log: Path) -> None:
    """Another process: what it says goes to a file, and every step is a checkpoint."""
    import torch

    def end_with(parent: int) -> None:  # a test that is killed itself leaves nothing running
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    sys.stdout = sys.stderr = log.open("a", buffering=1)
    for descriptor in (1, 2):
        os.dup2(sys.stdout.fileno(), descriptor)
    os.environ |= {"OMP_NUM_THREADS": "1", "XLTKIT_CHECKPOINT_SECONDS": "0"}
    torch.set_num_threads(1)


def serve(log: Path, kind: str, *address, **options) -> None:
    """A ``Scheduler`` or a ``Worker`` of Dask, to its end."""
    import distributed

    async def run() -> None:
        async with getattr(distributed, kind)(*address, **options) as running:
            await running.finished()

    _quiet(log)
    asyncio.run(run())


def ask(log: Path, study, folder: Path, environment: dict | None = None, **options) -> None:
    """What a notebook does: run a study."""
    from xltkit.studies.store import Store

    os.environ |= environment or {}
    _quiet(log)
    study.run(Store(folder), **options)


@dataclass
class Crew:
    """Processes by name; one that has ended can be started again as it was."""

    folder: Path
    port: int = field(default_factory=free_port)
    orders: dict = field(default_factory=dict)
    running: dict = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self, name: str, target=None, *arguments, **options) -> None:
        if target is not None:
            arguments = (self.folder / f"{name}.log", *arguments)
            self.orders[name] = {"target": target, "args": arguments, "kwargs": options}
        self.running[name] = FORKS.Process(**self.orders[name])
        self.running[name].start()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].join()

    def code(self, name: str) -> int | None:
        """The exit code of a process, None while it lives."""
        return self.running[name].exitcode

    def assert_well(self, *names: str) -> None:
        """Wait for the ends of some processes, which must be good ones."""
        for name in names:
            self.running[name].join(PATIENCE)
            assert self.code(name) == 0, self.log(name)

    def cluster(self, workers: int) -> None:
        """A scheduler and its workers, ``worker 1`` and so on."""
        options = {"host": "127.0.0.1", "port": self.port, "dashboard_address": "127.0.0.1:0"}
        self.start("scheduler", serve, "Scheduler", **options)
        for number in range(1, workers + 1):
            self.start(f"worker {number}", serve, "Worker", self.address, **WORKER)
