"""Run notebooks unattended, each in its own process, then render and list them."""

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
    """Run the named runs (default: see ``runs.select``); return the exit code.

    The options are those of the command line. Runs that are done are skipped. Raises ValueError,
    before anything starts, with one line per problem.
    """
    if min(jobs, workers) < 1 or min(retries, timeout) < 0:
        raise ValueError("--jobs and --workers must be at least 1, --retries and --timeout 0.")
    outputs = (outputs or root() / "outputs").resolve()
    planned = plan(names, smoke=smoke, overrides=overrides, outputs=outputs)
    environment = _environment(outputs, jobs, workers)
    # Runs that are done need no workers, which take seconds to start.
    workers = workers if any([run.todo for run in planned]) else 1
    with cluster.serving(workers, scheduler, environment) as environment:
        batch = Batch(environment, retries, timeout)
        statuses = batch.run_all(planned, jobs)
    for base in {run.base for run in planned}:
        if "done" in statuses.values():
            report.write_pages(base)  # pages link to later ones, which were not there yet
        report.write_index(base)
    print("\nstatus    page")
    for run in planned:
        status = statuses[run.name]
        page = run.file(".failed.html" if status == "failed" else ".html")
        print(f"{status:<8}  {page if page.exists() else run.name}")
    return 130 if batch.stopping.is_set() else int("failed" in statuses.values())


def _environment(outputs: Path, jobs: int, workers: int) -> dict[str, str]:
    """The environment of every notebook's process."""
    package = str(Path(__file__).resolve().parents[2])  # the notebook uses this very package
    paths = filter(None, [package, os.environ.get("PYTHONPATH")])  # an empty one means this folder
    return {
        # This depends on the jobs requested, not on those left to do: a resumed run must compute
        # with as many threads as before to end with the same bits.
        "OMP_NUM_THREADS": str(cluster.threads(jobs if workers == 1 else workers)),
        "OMP_WAIT_POLICY": "PASSIVE",  # idle threads must not spin
        "XLTKIT_STORE": str(outputs / "store"),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "XLTKIT_BATCH": "1",
        "XLTKIT_WORKERS": str(workers),
        "PYTHONIOENCODING": "utf-8",  # whatever the console uses: notebooks print all scripts
        "TQDM_DISABLE": "1",  # libraries' progress bars would fill the executed notebook
    }


@dataclass
class Batch:
    """Completes runs, each in its own process; all can be stopped together."""

    environment: Mapping[str, str]
    retries: int
    timeout: float
    stopping: threading.Event = field(default_factory=threading.Event)
    processes: list[subprocess.Popen] = field(default_factory=list)
    listing: threading.Lock = field(default_factory=threading.Lock)  # of the index

    def run_all(self, planned: Sequence[PlannedRun], jobs: int) -> dict[str, str]:
        """How each run ended, by name: ``done``, ``was done``, ``failed`` or ``stopped``."""
        with ThreadPoolExecutor(jobs) as pool:
            # Workers serve earlier runs first: pages appear one by one, not all at the end.
            futures = {
                run.name: pool.submit(self.run_one, run, -i) for i, run in enumerate(planned)
            }
            try:
                wait(futures.values())
            except KeyboardInterrupt:
                print("\nstopping: what is finished is kept", flush=True)
                self.stopping.set()
                for process in self.processes:
                    process.kill()  # its kernel ends with it
        return {name: future.result() for name, future in futures.items()}

    def run_one(self, run: PlannedRun, priority: int) -> str:
        """Complete one run; whatever happens, the other runs go on."""
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
                problem = self._execute(run, priority)
                if self.stopping.is_set():
                    return "stopped"
                if not problem and (reason := run.result_problem()):
                    problem = f"{reason}; the notebook has to end with run.finish(tables, answer)"
                _keep(run, problem)
                with self.listing:
                    report.write_index(run.base)
        except Timeout:
            return "stopped"
        except Exception as error:  # such as a full disk: this run fails and says why
            problem = f"{type(error).__name__}: {error}"
        if problem:
            _say(run, f"FAILED: {problem}")
        return "failed" if problem else "done"

    def _execute(self, run: PlannedRun, priority: int) -> str:
        """Execute the notebook of a run in another process; return what went wrong, if anything."""
        task = {
            "input_path": str(run.notebook),
            "output_path": str(run.file(".partial.ipynb")),
            "parameters": run.injected,
            "execution_timeout": math.ceil(self.timeout * 60) or None,
        }
        names = {
            "XLTKIT_RUN_FOLDER": str(run.folder),
            "XLTKIT_RUN_ID": run.run_id,
            "XLTKIT_PRIORITY": str(priority),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "xltkit.batch.notebook", json.dumps([task, self.retries])],
            stdin=subprocess.PIPE,  # its end tells the process that this one has died
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env={**self.environment, **names},
            start_new_session=True,  # Ctrl-C reaches only this process
        )
        self.processes.append(process)
        if self.stopping.is_set():  # in the meantime: nothing else would end it
            process.kill()
        last = ""
        for line in process.stdout:
            last = line.rstrip() or last
            _say(run, line)
        if process.wait() < 0:
            return f"its process was ended by signal {-process.returncode}"
        return last if process.returncode else ""


def _say(run: PlannedRun, text: str) -> None:
    # One string: if printed in two, the lines of parallel runs would mix.
    print(f"{run.name} | {text.rstrip()}\n", end="", flush=True)


def _keep(run: PlannedRun, problem: str) -> None:
    """Rename the executed notebook to that of a done or failed run, and write its page."""
    partial = run.file(".partial.ipynb")
    failed = run.file(".failed.ipynb")
    done = run.file(".ipynb")
    # A kernel that died leaves no message in the notebook; one that never started, no notebook.
    never_started = problem and not partial.exists()
    node = nbformat.read(run.notebook if never_started else partial, as_version=4)
    for cell in node.cells:
        outputs = cell.get("outputs", [])
        for output in outputs:
            if output.output_type == "stream":  # progress is in the log
                output.text = progress.LINES.sub("", output.text)
        outputs[:] = [output for output in outputs if output.get("text") != ""]
    if problem:
        (run.folder / "result.json").unlink(missing_ok=True)
        node.metadata["xltkit"] = {"failed": problem}
        write(failed, nbformat.writes(node))
    else:
        failed.unlink(missing_ok=True)
        failed.with_suffix(".html").unlink(missing_ok=True)
        answer = escape(record(run.folder)["answer"]).replace("|", "\\|")
        node.cells[0].source = ANSWER.sub(lambda row: f"{row[1]} {answer} |", node.cells[0].source)
        write(done, nbformat.writes(node))  # from now on the run is done, even without a page
    partial.unlink(missing_ok=True)
    report.write_page(failed if problem else done)
