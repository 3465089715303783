"""One notebook, executed in a process of its own: watched, limited, started again if it dies."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from xltkit.batch.runs import Planned
from xltkit.progress import LAST_LINES, Board

DEAD_KERNEL = 4  # exit code of the process when the kernel died under it
GRACE = 10.0  # seconds to save a notebook in, before a process is killed
PERIOD = 0.5  # seconds between two looks at a run
GIB = 2**30


@dataclass
class Crew:
    """The processes that are at work, so that they can be stopped together."""

    root: Path
    environment: dict[str, str]
    board: Board
    retries: int = 1  # of a run whose kernel died
    stopping: threading.Event = field(default_factory=threading.Event)
    children: list[subprocess.Popen] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen | None:
        """Start a process; none once the crew is stopping."""
        with self.lock:
            if self.stopping.is_set():
                return None
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its end tells the child that this process is gone
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=self.root,
                env=self.environment | environment,
                start_new_session=True,  # Ctrl-C reaches the children through stop(), in order
            )
            self.children.append(child)
            return child

    def stop(self) -> None:
        """Interrupt every child, which saves its notebook; end those that do not listen."""
        with self.lock:
            self.stopping.set()
        for child in self._left():
            os.killpg(child.pid, signal.SIGINT)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and self._left():
            time.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """End every child and all that it started, at once."""
        for child in self._left():
            kill(below(child.pid))
            child.kill()

    def _left(self) -> list[subprocess.Popen]:
        return [child for child in self.children if child.poll() is None]


def below(pid: int) -> list[psutil.Process]:
    """All processes that a process has started, those of its children too."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def kill(processes: list[psutil.Process]) -> None:
    """End processes at once; those that are gone already are fine."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def held(pid: int) -> float:
    """GiB of memory that a process and all below it hold; what they share counts for each."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in (psutil.Process(pid), *below(pid)):
            with contextlib.suppress(psutil.Error):  # it ended in between
                total += process.memory_info().rss
    return total / GIB


def execute(run: Planned, crew: Crew) -> str:
    """Execute the notebook of a run; what went wrong, if anything.

    A run whose kernel died is started again, for something from outside ended it; one with a cell
    that raised would raise again. A time limit holds for all attempts together.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "result.json").unlink(missing_ok=True)  # a run that fails has no result
    deadline = time.monotonic() + run.timeout * 60 if run.timeout else float("inf")
    for attempt in range(crew.retries + 1):
        problem, died = _attempt(run, crew, deadline)
        if not died or attempt == crew.retries or crew.stopping.is_set():
            break
        crew.board.event(run.name, f"{problem}; starts again ({attempt + 1} of {crew.retries})")
    return problem


def _attempt(run: Planned, crew: Crew, deadline: float) -> tuple[str, bool]:
    """One attempt: what went wrong, if anything, and whether a process died of itself."""
    task = {"from": str(run.notebook), "to": str(run.file(".partial.ipynb"))}
    task |= {"parameters": run.given}
    own = {"XLTKIT_RUN": run.name, "XLTKIT_RUN_ID": run.run_id}
    child = crew.start(
        [sys.executable, "-m", "xltkit.batch.execute", json.dumps(task)],
        own | {"XLTKIT_RUN_FOLDER": str(run.folder)},
    )
    if child is None:
        return "stopped before it started", False
    ended, reasons = threading.Event(), []
    watch = threading.Thread(target=_watch, args=(run, child, deadline, ended, reasons))
    watch.start()
    for line in child.stdout:
        crew.board.line(run.name, line.rstrip("\n"))
    code = child.wait()
    ended.set()
    watch.join()
    if reasons:
        return reasons[0], False
    if code == DEAD_KERNEL or code < 0:
        return (
            "the kernel died, most often because the memory was too small: try fewer --jobs",
            True,
        )
    return f"the process ended with code {code}, see above" if code else "", False


def _watch(
    run: Planned,
    child: subprocess.Popen,
    deadline: float,
    ended: threading.Event,
    reasons: list[str],
) -> None:
    """Look at a run now and then until it has ended; end it when it passes a limit, and say why.

    The kernel is killed, not the process above it, which then saves the notebook.
    """
    while not ended.wait(PERIOD):
        if not reasons and (reason := _passed(run, child, deadline)):
            reasons.append(reason)
            last = time.monotonic() + GRACE
        if reasons:
            kill(below(child.pid))
            if time.monotonic() > last:
                child.kill()


def _passed(run: Planned, child: subprocess.Popen, deadline: float) -> str:
    """Which limit a run has passed, in words; empty while there is none."""
    resume = "finished stages are kept, and it goes on from them when it is started again"
    if time.monotonic() > deadline:
        return f"it took longer than {run.timeout:g} minutes, its --timeout; {resume}"
    if run.memory and (gib := held(child.pid)) > run.memory:
        return f"it held {gib:.2f} GiB of memory, more than its --memory {run.memory:g}; {resume}"
    return ""


def _child(task: Mapping[str, Any]) -> int:
    """Execute one notebook in this process; 0 when papermill met no error."""
    from jupyter_client.manager import AsyncKernelManager
    from papermill import execute_notebook

    notebook, partial = (task[key].replace("{", "{{").replace("}", "}}") for key in ("from", "to"))
    with tempfile.TemporaryDirectory(prefix="xlt-") as folder:

        class PrivateKernel(AsyncKernelManager):
            # Files of its own, not network ports: no clash between kernels, nobody else reads it.
            transport, ip = "ipc", os.path.join(folder, "kernel")

        # The kernel is told to be silent because it reports its own orderly end as an error.
        options: dict[str, Any] = {"extra_arguments": ["--IPKernelApp.log_level=50"]}
        if len(folder) < 80:  # longer names of sockets are refused by the system: then ports
            options["kernel_manager_class"] = PrivateKernel
        live = {"progress_bar": False, "stdout_file": sys.stdout, "stderr_file": sys.stderr}
        try:
            execute_notebook(notebook, partial, task["parameters"], **live, **options)
        except Exception as error:
            text = re.sub(r"\x1b\[[0-9;]*m", "", f"{type(error).__name__}: {error}")
            print("\n".join(text.strip().splitlines()[-LAST_LINES:]), flush=True)
            return DEAD_KERNEL if type(error).__name__ == "DeadKernelError" else 1
    return 0


def _end_with_parent() -> None:
    """End this process when the batch is gone, however it died; the kernel follows by itself."""
    os.read(0, 1)
    os._exit(3)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        sys.exit(_child(json.loads(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(130)
