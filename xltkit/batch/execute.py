"""Notebooks run without a person, each in a process of its own, then rendered and listed."""

import json
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from filelock import Timeout

from xltkit import progress
from xltkit.batch import report
from xltkit.batch.runs import PlannedRun, plan
from xltkit.files import hold, root, write
from xltkit.studies import cluster
from xltkit.studies.saved import record

ANSWER = re.compile(r"^(\| \*\*Answer\*\* \|).*\|$", re.MULTILINE)  # in the table at the top


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
    outputs: Path | None = None,
) -> int:
    """Run the named runs (all of them by default); the exit code.

    The options are those of the command line. ValueError, before anything starts, has every problem
    in a line. What is done is not done again.
    """
    if min(jobs, workers) < 1 or min(retries, timeout) < 0:
        raise ValueError("--jobs and --workers are at least 1, --retries and --timeout at least 0.")
    outputs = (outputs or root() / "outputs").resolve()
    planned = plan(names, smoke=smoke, overrides=overrides, outputs=outputs)
    environment = _environment(outputs, jobs, workers)
    # What is done needs no workers: they take seconds to start.
    workers = workers if any([run.todo for run in planned]) else 1
    with cluster.serving(workers, scheduler, environment) as environment:
        batch = Batch(environment, retries, timeout)
        statuses = batch.run_all(planned, jobs)
    for base in {run.base for run in planned}:
        if "done" in statuses.values():
            report.write_pages(base)  # those after a page in the course were not there yet
        report.write_index(base)
    print("\nstatus    page")
    for run in planned:
        status = statuses[run.name]
        page = run.file(".failed.html" if status == "failed" else ".html")
        print(f"{status:<8}  {page if page.exists() else run.name}")
    return 130 if batch.stopping.is_set() else int("failed" in statuses.values())


def _environment(outputs: Path, jobs: int, workers: int) -> dict[str, str]:
    """What every notebook's process is given."""
    package = str(Path(__file__).resolve().parents[2])  # the notebook uses this very package
    return {
        # They depend on the jobs asked for, not on those left to do: a run that is resumed must
        # compute with as many threads as before to end with the same bits.
        "OMP_NUM_THREADS": str(cluster.threads(jobs if workers == 1 else workers)),
        "OMP_WAIT_POLICY": "PASSIVE",  # idle threads must not spin
        "XLTKIT_STORE": str(outputs / "store"),
        **os.environ,
        "PYTHONPATH": package + os.pathsep + os.environ.get("PYTHONPATH", ""),
        "XLTKIT_BATCH": "1",
        "XLTKIT_WORKERS": str(workers),
        "PYTHONIOENCODING": "utf-8",  # whatever the console takes: notebooks print all scripts
        "TQDM_DISABLE": "1",  # bars of libraries would fill the executed notebook
    }


@dataclass
class Batch:
    """Brings runs to their ends, each in a process of its own; all can be stopped together."""

    environment: Mapping[str, str]
    retries: int
    timeout: float
    stopping: threading.Event = field(default_factory=threading.Event)
    processes: list[subprocess.Popen] = field(default_factory=list)

    def run_all(self, planned: Sequence[PlannedRun], jobs: int) -> dict[str, str]:
        """How each run ended, by name: ``done``, ``was done``, ``failed`` or ``stopped``."""
        with ThreadPoolExecutor(jobs) as pool:
            # The longest start first: a batch then ends together.
            longest_first = sorted(planned, key=lambda run: -run.minutes)
            futures = {run.name: pool.submit(self.run_one, run) for run in longest_first}
            try:
                wait(futures.values())
            except KeyboardInterrupt:
                print("\nstopping: what is finished is kept", flush=True)
                self.stopping.set()
                for process in self.processes:
                    process.kill()  # its kernel follows by itself
        return {name: future.result() for name, future in futures.items()}

    def run_one(self, run: PlannedRun) -> str:
        """Bring one run to its end, whatever happens: the other runs go on."""
        if self.stopping.is_set():
            return "stopped"
        if not run.todo:
            return "was done"
        try:
            waits = f"{run.name} | waits: another batch is running it"
            with hold(run.folder / ".lock", waits, self.stopping.is_set):
                if not (reason := run.todo):
                    return "was done"
                _say(run, f"starts ({reason})")
                (run.folder / "result.json").unlink(missing_ok=True)  # a failed run has no result
                problem = self._execute(run)
                if self.stopping.is_set():
                    return "stopped"
                if not problem and (reason := run.result_problem()):
                    problem = f"{reason}; the notebook has to end with run.finish(tables, answer)"
                _keep(run, problem)
        except Timeout:
            return "stopped"
        except Exception as error:  # such as a full disk: this run failed, and says why
            problem = f"{type(error).__name__}: {error}"
        if problem:
            _say(run, f"FAILED: {problem}")
        return "failed" if problem else "done"

    def _execute(self, run: PlannedRun) -> str:
        """Execute the notebook of a run in another process; what went wrong, if anything."""
        task = {
            "input_path": str(run.notebook),
            "output_path": str(run.file(".partial.ipynb")),
            "parameters": run.injected,
            "execution_timeout": math.ceil(self.timeout * 60) or None,
        }
        names = {"XLTKIT_RUN_FOLDER": str(run.folder), "XLTKIT_RUN_ID": run.run_id}
        process = subprocess.Popen(
            [sys.executable, "-m", "xltkit.batch.notebook", json.dumps([task, self.retries])],
            stdin=subprocess.PIPE,  # its end tells the process that this one is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env={**self.environment, **names},
            start_new_session=True,  # Ctrl-C reaches this process alone
        )
        self.processes.append(process)
        if self.stopping.is_set():  # since it was asked before: nobody else would end it
            process.kill()
        last = ""
        for line in process.stdout:
            last = line.rstrip() or last
            _say(run, line)
        if process.wait() < 0:
            return f"its process was ended by signal {-process.returncode}"
        return last if process.returncode else ""


def _say(run: PlannedRun, text: str) -> None:
    # One string: in a print of two, lines of runs beside each other would mix.
    print(f"{run.name} | {text.rstrip()}\n", end="", flush=True)


def _keep(run: PlannedRun, problem: str) -> None:
    """Give the executed notebook its name, the run's own or that of a failure, and its page."""
    partial = run.file(".partial.ipynb")
    failed = run.file(".failed.ipynb")
    done = run.file(".ipynb")
    # A kernel that died leaves no word in the notebook; one that never started, no notebook.
    never_started = problem and not partial.exists()
    node = nbformat.read(run.notebook if never_started else partial, as_version=4)
    for cell in node.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":  # the log has had its progress
                output.text = progress.LINES.sub("", output.text)
    if problem:
        (run.folder / "result.json").unlink(missing_ok=True)
        node.metadata["xltkit"] = {"failed": problem}
        write(failed, nbformat.writes(node))
    else:
        failed.unlink(missing_ok=True)
        failed.with_suffix(".html").unlink(missing_ok=True)
        answer = escape(record(run.folder)["answer"]).replace("|", "\\|")
        node.cells[0].source = ANSWER.sub(lambda row: f"{row[1]} {answer} |", node.cells[0].source)
        write(done, nbformat.writes(node))  # from now on the run is done, with a page or without
    partial.unlink(missing_ok=True)
    report.write_page(failed if problem else done)
