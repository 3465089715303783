"""Notebooks run without a person: several at a time, then rendered and listed.

Each runs in a process of its own under papermill. What is done is kept: a run that was killed or
failed goes on from its finished stages when it is started again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from xltkit.batch import pages, report
from xltkit.batch.notebook import DEAD_KERNEL
from xltkit.batch.runs import BatchError, PlannedRun, plan, result_problem
from xltkit.files import root as root_folder
from xltkit.studies import cluster

CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0a-\x1f\x7f-\x9f]")  # colors, and the rest


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``done``, ``was done``, ``failed`` or ``stopped``."""

    run: PlannedRun
    status: str
    seconds: float = 0.0


def run_batch(
    names: Sequence[str] = (),
    *,
    smoke: bool = False,
    overrides: Mapping[str, Any] | None = None,
    jobs: int = 1,
    workers: int = 1,
    scheduler: str = "",
    retries: int = 1,
    timeout: float = 0,
    root: Path | None = None,
    outputs: Path | None = None,
) -> int:
    """Run the named runs (all of them by default); the exit code.

    Everything is checked before anything starts, and what is done is not done again.

    Args:
        names: of runs, or patterns (see ``runs.select``), with ``overrides`` of their parameters.
        jobs: notebooks at a time.
        workers: processes that all notebooks train in; or those of a Dask ``scheduler``.
        retries: new starts of a run whose kernel died.
        timeout: minutes that a cell may take, 0 for any number.
        outputs: where results are kept; ``outputs`` of the repository ``root`` unless given.

    Raises:
        BatchError: every problem with what was asked for; nothing was started.
    """
    for name, number, least in (
        ("jobs", jobs, 1),
        ("workers", workers, 1),
        ("retries", retries, 0),
        ("timeout", timeout, 0),
    ):
        if not least <= number < math.inf:
            raise BatchError(f"{name} is {number}; type a number from {least} on.")
    root = (root or root_folder()).resolve()
    outputs = outputs or root / "outputs"
    planned = plan(names, smoke=smoke, overrides=overrides, root=root, outputs=outputs)
    environment = _environment(outputs, jobs, workers)
    # What is done needs no workers: they take seconds to start.
    workers = workers if any(run.todo for run in planned) else 1
    with cluster.serving(workers, scheduler, environment) as shared:
        runner = Runner(root, shared, retries, timeout)
        outcomes = runner.run_all(planned, jobs)
    for base in {run.base for run in planned}:
        report.write_index(base, root)
    _summarize(outcomes)
    if runner.stopping.is_set():
        return 130
    return int(any(outcome.status == "failed" for outcome in outcomes))


def _environment(outputs: Path, jobs: int, workers: int) -> dict[str, str]:
    """What every notebook's process is given."""
    environment = dict(os.environ)
    # The threads depend on the jobs asked for, not on those left to do: a run that is resumed
    # must compute with as many threads as before to end with the same bits.
    # With workers of their own the notebooks leave the work to them.
    threads = cluster.threads(jobs if workers == 1 else workers)
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not spin
    environment.setdefault("XLTKIT_STORE", str(outputs / "store"))
    for name in ("XLTKIT_STORE", "XLTKIT_HUB"):
        if environment.get(name):
            environment[name] = str(Path(environment[name]).resolve())  # kernels start elsewhere
    package = str(Path(__file__).resolve().parents[2])  # the notebook uses this very package
    paths = filter(None, [package, environment.get("PYTHONPATH")])
    return environment | {
        "PYTHONPATH": os.pathsep.join(paths),
        "XLTKIT_BATCH": "1",
        "XLTKIT_WORKERS": str(workers),
        "TQDM_DISABLE": "1",  # bars of libraries would fill the executed notebook
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


@dataclass
class Runner:
    """Brings runs to their ends, each in a process of its own; all can be stopped together."""

    root: Path
    environment: Mapping[str, str]
    retries: int
    timeout: float
    stopping: threading.Event = field(default_factory=threading.Event)
    processes: list[subprocess.Popen] = field(default_factory=list)

    def run_all(self, planned: Sequence[PlannedRun], jobs: int) -> list[Outcome]:
        """Bring all runs to their ends, the longest first: a batch then ends together."""
        longest_first = sorted(planned, key=lambda run: -run.minutes)
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(self.run_one, run) for run in longest_first]
            try:
                return [future.result() for future in futures]
            except KeyboardInterrupt:
                print("\nstopping: what is finished is kept", flush=True)
                self.stopping.set()
                for process in self.processes:
                    _kill(process)
                return [future.result() for future in futures]

    def run_one(self, run: PlannedRun) -> Outcome:
        """Bring one run to its end, whatever happens: the other runs go on."""
        if self.stopping.is_set():
            return Outcome(run, "stopped")
        began = time.monotonic()
        try:
            if not run.todo:
                _say(run, "done before, not run again")
                if not run.file(".html").exists():
                    pages.write_page(run.file(".ipynb"), run.file(".html"))
                return Outcome(run, "was done")
            _say(run, f"starts ({run.todo})")
            problem = self._execute(run) or _unexecuted(run) or _unwritten(run)
            if self.stopping.is_set():
                return Outcome(run, "stopped", time.monotonic() - began)
            _keep(run, problem)
        except Exception as error:  # a full disk, a missing renderer: this run failed, and says why
            problem = f"{type(error).__name__}: {error}"
        if problem:
            _say(run, f"FAILED: {problem}")
        return Outcome(run, "failed" if problem else "done", time.monotonic() - began)

    def _execute(self, run: PlannedRun) -> str:
        """Execute the notebook of a run; what went wrong, if anything.

        A run whose kernel died is started again, for something from outside ended it; one with a
        cell that raised would raise again.
        """
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "result.json").unlink(missing_ok=True)  # a run that fails has no result
        for attempt in range(self.retries + 1):
            code, problem = self._attempt(run)
            if code != DEAD_KERNEL or attempt == self.retries or self.stopping.is_set():
                break
            _say(run, f"{problem}; starts again ({attempt + 1} of {self.retries})")
        return problem

    def _attempt(self, run: PlannedRun) -> tuple[int, str]:
        """Execute a notebook once: the exit code of its process, and what went wrong."""
        task = {
            "input_path": str(run.notebook),
            "output_path": str(run.file(".partial.ipynb")),
            "parameters": run.injected,
            "execution_timeout": math.ceil(self.timeout * 60) or None,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "xltkit.batch.notebook", json.dumps(task)],
            stdin=subprocess.PIPE,  # its end tells the process that this one is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.root,
            env={
                **self.environment,
                "XLTKIT_RUN_FOLDER": str(run.folder),
                "XLTKIT_RUN_ID": run.run_id,
            },
            start_new_session=True,  # Ctrl-C reaches this process alone
        )
        self.processes.append(process)
        if self.stopping.is_set():  # since it was asked before: nobody else would end this process
            _kill(process)
        last = ""
        for line in process.stdout:
            last = line.rstrip() or last
            _say(run, line)
        code = process.wait()
        if code == DEAD_KERNEL or code < 0:
            died = "the kernel died, most often because the memory was too small: try fewer --jobs"
            return DEAD_KERNEL, died
        return code, last if code else ""


def _say(run: PlannedRun, text: str) -> None:
    """Print a line about a run, without control characters; of a bar that moved, its last state."""
    text = CONTROL.sub("", text.rstrip().rpartition("\r")[2])
    print(f"{run.name} | {text}\n", end="", flush=True)


def _kill(process: subprocess.Popen) -> None:
    """End a process at once, and all that it has started."""
    if process.poll() is not None:
        return  # its number may be another's by now
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.kill()


def _unexecuted(run: PlannedRun) -> str:
    """Which cell never ran: after ``sys.exit(0)`` papermill reports no error."""
    notebook = json.loads(run.file(".partial.ipynb").read_text(encoding="utf-8"))
    for number, cell in enumerate(notebook["cells"], start=1):
        is_empty = not "".join(cell["source"]).strip()
        if cell["cell_type"] == "code" and not is_empty and cell["execution_count"] is None:
            return f"the notebook stopped before its cell {number}"
    return ""


def _unwritten(run: PlannedRun) -> str:
    """What is wrong with the result that the notebook was to write."""
    reason = result_problem(run)
    return reason and f"{reason}; the notebook has to end with run.finish(tables, answer)"


def _keep(run: PlannedRun, problem: str) -> None:
    """Give the executed notebook its name: the run's own, or that of a failure."""
    partial = run.file(".partial.ipynb")
    failed = run.file(".failed.ipynb")
    if problem:
        (run.folder / "result.json").unlink(missing_ok=True)
        if not partial.exists():  # it ended before it began
            shutil.copyfile(run.notebook, partial)
        os.replace(partial, failed)
        pages.mark_failed(failed, problem)
        pages.write_page(failed, run.file(".failed.html"))
        return
    pages.write_page(partial, run.file(".html"))
    failed.unlink(missing_ok=True)
    run.file(".failed.html").unlink(missing_ok=True)
    os.replace(partial, run.file(".ipynb"))  # last: from now on the run is done


def _summarize(outcomes: Sequence[Outcome]) -> None:
    """Print how each run ended, and where to read it."""
    width = max((len(outcome.run.name) for outcome in outcomes), default=3)
    print(f"\n{'run':<{width}}  {'status':<8}  minutes  where")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.run.name):
        page = outcome.run.file(".failed.html" if outcome.status == "failed" else ".html")
        where = page if page.exists() and outcome.status != "stopped" else ""
        minutes = outcome.seconds / 60
        print(f"{outcome.run.name:<{width}}  {outcome.status:<8}  {minutes:7.1f}  {where}")
