"""Schedulers, workers and notebooks as processes that a test can kill; they start at once.

All are forked from a process that has imported what they need and does nothing else.
"""

import asyncio
import multiprocessing
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path

import pytest

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["crew", "distributed", "xltkit.studies.make", "warm"])
PATIENCE = 600.0  # seconds until a test gives up; none of them waits so long when it passes


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def wait_for(condition):
    """What the function returns as soon as it is true."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return value


def numbers(folder: Path) -> dict[str, bytes]:
    """The weights and predictions of all finished stages of a store."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.glob(f"{'?' * 16}/**/*")
        if path.suffix in (".safetensors", ".parquet")
    }


def _end_with(parent: int) -> None:
    """A test that is killed itself leaves nothing running."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _quiet(log: Path) -> None:
    """Another process: what it says goes to a file, and every step is a checkpoint."""
    import torch

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = sys.stderr = os.fdopen(file, "w", buffering=1)
    os.environ |= {"OMP_NUM_THREADS": "1", "XLTKIT_CHECKPOINT_SECONDS": "0"}
    torch.set_num_threads(1)


async def _serve(server, *address, **options) -> None:
    """A scheduler or a worker of Dask, to its end."""
    async with server(*address, **options) as running:
        await running.finished()


def serve(log: Path, port: int) -> None:
    from distributed import Scheduler

    _quiet(log)
    options = {"host": "127.0.0.1", "port": port, "dashboard_address": "127.0.0.1:0"}
    asyncio.run(_serve(Scheduler, **options))


def work(log: Path, port: int) -> None:
    from distributed import Worker

    _quiet(log)
    asyncio.run(_serve(Worker, f"tcp://127.0.0.1:{port}", nthreads=1, memory_limit=None))


def ask(log: Path, study, folder: Path, **options) -> None:
    """What a notebook does: run a study."""
    from xltkit.studies.store import Store

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
            order = {"target": target, "args": (self.folder / f"{name}.log", *arguments)}
            self.orders[name] = order | {"kwargs": options}
        # The process that all are forked from finds modules by its environment only.
        folders = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("PYTHONPATH", os.pathsep.join(folders))
            forkserver.ensure_running()
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

    def wait(self, *names: str) -> list[int]:
        """The exit codes of some processes, after their ends."""
        wait_for(lambda: None not in [self.code(name) for name in names])
        return [self.code(name) for name in names]

    def cluster(self, workers: int) -> None:
        """A scheduler and its workers, ``worker 1`` and so on."""
        self.start("scheduler", serve, self.port)
        for number in range(1, workers + 1):
            self.start(f"worker {number}", work, self.port)
