"""Run notebooks without a person: each in its own process, then rendered and listed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xltkit import cluster, report
from xltkit.plan import BatchError, Planned, damage, plan, read_runs
from xltkit.provenance import root as root_folder

LAST_LINES = 15  # of an error, on the console; the notebook has it all


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``done``, ``was done``, ``failed`` or ``stopped``."""

    run: Planned
    status: str
    seconds: float = 0.0
    note: str = ""


@dataclass
class Crew:
    """The processes that are at work, so that they can be stopped together."""

    root: Path
    environment: dict[str, str]
    stopping: threading.Event = field(default_factory=threading.Event)
    children: list[subprocess.Popen] = field(default_factory=list)

    def stop(self) -> None:
        """Interrupt every child, which saves its notebook; end those that do not listen."""
        self.stopping.set()
        for end in (signal.SIGINT, signal.SIGKILL):
            for child in [c for c in self.children if c.poll() is None]:
                os.killpg(child.pid, end)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and any(c.poll() is None for c in self.children):
                time.sleep(0.05)


def run_batch(
    names: Sequence[str] = (),
    *,
    smoke: bool = False,
    overrides: Mapping[str, Any] | None = None,
    jobs: int = 1,
    workers: int = 1,
    scheduler: str = "",
    overwrite: bool = False,
    root: Path | None = None,
    outputs: Path | None = None,
) -> int:
    """Run the named runs (all of them by default), ``jobs`` at a time; the exit code.

    All train in the same ``workers`` processes, or on those of a Dask ``scheduler``. Everything
    is checked before anything starts; what is done already is not done again.
    """
    if jobs < 1:
        raise BatchError(f"jobs is {jobs}; at least one notebook has to run. Type --jobs 1.")
    if workers < 1:
        raise BatchError(f"workers is {workers}; at least one has to train. Type --workers 1.")
    root = (root or root_folder()).resolve()
    options = {"smoke": smoke, "overrides": overrides, "overwrite": overwrite}
    planned = plan(names, root=root, outputs=outputs, **options)
    environment = _environment(root, outputs or root / "outputs", jobs, workers)
    todo = any(run.todo for run in planned)
    outcomes: list[Outcome] = []
    with (
        cluster.serving(workers if todo else 1, scheduler, environment) as given,
        ThreadPoolExecutor(jobs) as pool,
    ):
        crew = Crew(root, given)
        waiting = [pool.submit(_settle, run, crew) for run in planned]
        try:
            outcomes += [future.result() for future in as_completed(waiting)]
        except KeyboardInterrupt:
            print("stopping: what is finished is kept", flush=True)
            crew.stop()
            outcomes = [future.result() for future in waiting]
    for base in {run.base for run in planned}:
        _write_index(base, root, smoke=base.name == "smoke")
    _summarise(outcomes)
    if crew.stopping.is_set():
        return 130
    return int(any(outcome.status == "failed" for outcome in outcomes))


def _environment(root: Path, outputs: Path, jobs: int, workers: int) -> dict[str, str]:
    """What every notebook's process is given."""
    environment = dict(os.environ)
    # The threads depend on the jobs asked for, not on those left to do: a run that is resumed
    # must compute with as many threads as before to end with the same bits.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # With workers of their own the notebooks leave the work to them.
    threads = max(1, (cores or 1) // (jobs if workers == 1 else workers))
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not spin
    named = {"XLTKIT_STORE": str(outputs / "store"), "XLTKIT_HUB": ""}
    for name, usual in named.items():
        if folder := environment.get(name) or usual:
            environment[name] = str(Path(folder).resolve())  # the kernel may start elsewhere
    here = str(Path(__file__).resolve().parents[1])  # the notebook uses this very package
    paths = [here, *filter(None, [environment.get("PYTHONPATH")])]
    # TQDM_DISABLE: bars of libraries would fill the executed notebook.
    fixed = {"XLTKIT_BATCH": "1", "TQDM_DISABLE": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    asked = {"XLTKIT_WORKERS": str(workers), "PYTHONPATH": os.pathsep.join(paths)}
    return environment | fixed | asked


def _settle(run: Planned, crew: Crew) -> Outcome:
    """Bring one run to its end, whatever happens: the other runs go on."""
    began = time.monotonic()
    try:
        if crew.stopping.is_set():
            return Outcome(run, "stopped")
        if not run.todo:
            print(f"{run.name} | done before, not run again", flush=True)
            if not run.file(".html").exists():
                report.write_page(run.file(".ipynb"), run.file(".html"))
            return Outcome(run, "was done")
        about = f", about {run.minutes:g} min" if run.minutes else ""
        print(f"{run.name} | starts{about} ({run.todo})", flush=True)
        problem = _execute(run, crew) or _pending(run) or _unwritten(run)
        if problem and crew.stopping.is_set():
            return Outcome(run, "stopped", time.monotonic() - began)
        _keep(run, problem)
    except Exception as error:  # a full disk, a missing renderer: this run failed, and says why
        problem = f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - began
    if problem:
        print(f"{run.name} | FAILED: {problem}", flush=True)
        return Outcome(run, "failed", seconds, problem)
    return Outcome(run, "done", seconds)


def _execute(run: Planned, crew: Crew) -> str:
    """Execute the notebook in a process of its own; what went wrong, if anything."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "result.json").unlink(missing_ok=True)  # a run that fails has no result
    task = {"from": str(run.notebook), "to": str(run.file(".partial.ipynb"))}
    task |= {"parameters": run.given}
    own = {"XLTKIT_RUN": run.name, "XLTKIT_RUN_ID": run.run_id}
    child = subprocess.Popen(
        [sys.executable, "-m", "xltkit.batch", json.dumps(task)],
        stdin=subprocess.PIPE,  # its end tells the child that this process is gone
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=crew.root,
        env=crew.environment | own | {"XLTKIT_RUN_FOLDER": str(run.folder)},
        start_new_session=True,  # Ctrl-C reaches the children through stop(), in order
    )
    crew.children.append(child)
    for line in child.stdout:
        print(f"{run.name} | {line.rstrip()}", flush=True)
    code = child.wait()
    return f"the process ended with code {code}, see above" if code else ""


def _pending(run: Planned) -> str:
    """Which cell never ran: after ``sys.exit(0)`` papermill reports no error."""
    notebook = json.loads(run.file(".partial.ipynb").read_text(encoding="utf-8"))
    for number, cell in enumerate(notebook["cells"], start=1):
        empty = not "".join(cell["source"]).strip()
        if cell["cell_type"] == "code" and not empty and cell["execution_count"] is None:
            return f"the notebook stopped before its cell {number}"
    return ""


def _unwritten(run: Planned) -> str:
    """What is wrong with the result that the notebook was to write."""
    reason = damage(run)
    return reason and f"{reason}; the notebook has to end with run.finish(tables, answer)"


def _keep(run: Planned, problem: str) -> None:
    """Give the executed notebook its name: the run's own, or that of a failure."""
    partial = run.file(".partial.ipynb")
    if problem:
        (run.folder / "result.json").unlink(missing_ok=True)
        if partial.exists():
            os.replace(partial, run.file(".failed.ipynb"))
        return
    report.write_page(partial, run.file(".html"))
    run.file(".failed.ipynb").unlink(missing_ok=True)
    os.replace(partial, run.file(".ipynb"))


def _write_index(base: Path, root: Path, smoke: bool) -> None:
    base.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, block in read_runs(root).items():
        variants = sorted(path.name for path in base.glob(f"{name}-??????") if path.is_dir())
        rows += [_row(base, each, block["question"]) for each in (name, *variants)]
    report.write_index(base / "index.html", rows, smoke=smoke)


def _row(base: Path, name: str, question: str) -> report.Row:
    """What the index says of a run."""
    try:
        result = json.loads((base / name / "result.json").read_text(encoding="utf-8"))
        minutes = f"{result['seconds'] / 60:.1f}"
        return report.Row(name, question, result["answer"], minutes, "done", f"{name}.html")
    except (OSError, ValueError, KeyError):
        failed = f"{name}.failed.ipynb"
        ended = ("failed", failed) if (base / failed).exists() else ("not run", "")
        return report.Row(name, question, "", "", *ended)


def _summarise(outcomes: Sequence[Outcome]) -> None:
    width = max((len(outcome.run.name) for outcome in outcomes), default=3)
    print(f"\n{'run':<{width}}  {'status':<8}  minutes  where")
    for outcome in sorted(outcomes, key=lambda each: each.run.name):
        run, minutes = outcome.run, f"{outcome.seconds / 60:7.1f}"
        page = run.file(".failed.ipynb" if outcome.status == "failed" else ".html")
        where = page if page.exists() and outcome.status != "stopped" else outcome.note
        print(f"{run.name:<{width}}  {outcome.status:<8}  {minutes}  {where}")


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
            if type(error).__name__ == "DeadKernelError":
                print("Most often the memory was too small: try fewer --jobs.", flush=True)
            return 1
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
