"""Schedulers, workers and notebooks as processes that a test can kill; they start at once.

All are forked from a process that has imported what they need and does nothing else.
"""

from __future__ import annotations

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
FORKS.set_forkserver_preload(["crew", "distributed", "warm"])
PATIENCE = 600.0  # seconds until a test gives up; none of them waits so long when it passes


def _warm_up() -> None:
    """Start the process that all are forked from; it finds modules by its environment only."""
    here = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(here))
        forkserver.ensure_running()


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def wait_for(what, patience: float = PATIENCE):
    """What the function returns as soon as it is true."""
    end = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return found


def _end_with(parent: int) -> None:
    """A test that is killed itself leaves nothing running."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _quiet(log: Path) -> None:
    """A process of its own: what it says goes to a file, and every step is a checkpoint."""
    import torch

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = sys.stderr = os.fdopen(file, "w", buffering=1)
    os.environ |= {"OMP_NUM_THREADS": "1", "XLTKIT_CHECKPOINT_SECONDS": "0"}
    torch.set_num_threads(1)


def serve(log: Path, port: int) -> None:
    from distributed import Scheduler

    async def main():
        options = {"host": "127.0.0.1", "port": port, "dashboard_address": "127.0.0.1:0"}
        async with Scheduler(**options) as scheduler:
            await scheduler.finished()

    _quiet(log)
    asyncio.run(main())


def work(log: Path, port: int) -> None:
    from distributed import Worker

    async def main():
        async with Worker(f"tcp://127.0.0.1:{port}", nthreads=1, memory_limit=None) as worker:
            await worker.finished()

    _quiet(log)
    asyncio.run(main())


def ask(log: Path, study, folder: Path, options: dict) -> None:
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

    def start(self, name: str, target=None, *given) -> None:
        if target is not None:
            self.orders[name] = (target, given)
        target, given = self.orders[name]
        _warm_up()
        self.running[name] = FORKS.Process(target=target, args=(self.log(name), *given))
        self.running[name].start()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].join()

    def ended(self, name: str) -> int | None:
        """The exit code of a process, None while it lives."""
        return self.running[name].exitcode

    def cluster(self, workers: int = 2) -> list[str]:
        """A scheduler and its workers; the names of the latter."""
        self.start("scheduler", serve, self.port)
        names = [f"worker {n}" for n in range(1, workers + 1)]
        for name in names:
            self.start(name, work, self.port)
        return names

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_) -> None:
        for name in self.running:
            self.kill(name)
