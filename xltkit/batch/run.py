"""Run notebooks without a person: several at a time, then rendered and listed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xltkit.batch import pages, report
from xltkit.batch.execute import Crew, below, execute, kill
from xltkit.batch.runs import BatchError, Planned, damage, plan
from xltkit.files import root as root_folder
from xltkit.progress import Board
from xltkit.studies import cluster


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``done``, ``was done``, ``failed`` or ``stopped``."""

    run: Planned
    status: str
    seconds: float = 0.0
    note: str = ""


def run_batch(
    names: Sequence[str] = (),
    *,
    smoke: bool = False,
    overrides: Mapping[str, Any] | None = None,
    jobs: int = 1,
    workers: int = 1,
    scheduler: str = "",
    retries: int = 1,
    timeout: float | None = None,
    memory: float | None = None,
    overwrite: str = "missing",
    only_failed: bool = False,
    root: Path | None = None,
    outputs: Path | None = None,
) -> int:
    """Run the named runs (all of them by default), ``jobs`` at a time; the exit code.

    All train in the same ``workers`` processes, or on those of a Dask ``scheduler``. A run may take
    ``timeout`` minutes and ``memory`` GiB (0: no limit; None: what its block says), and is started
    again ``retries`` times if its kernel dies. Everything is checked before anything starts; what
    is done is not done again, unless ``overwrite`` (a word of ``plan.OVERWRITE``) says so.
    """
    limits = {"timeout": timeout, "memory": memory}
    _check({"jobs": (jobs, 1), "workers": (workers, 1), "retries": (retries, 0)}, limits)
    root = (root or root_folder()).resolve()
    planned = plan(
        names,
        smoke=smoke,
        overrides=overrides,
        overwrite=overwrite,
        only_failed=only_failed,
        limits=limits,
        root=root,
        outputs=outputs,
    )
    if only_failed and not planned:
        print("No run has failed: there is nothing to do.", flush=True)
    outputs = outputs or root / "outputs"
    board = Board(len(planned))
    # What is done needs no workers: they take seconds to start.
    workers = workers if any(run.todo for run in planned) else 1
    environment = _environment(root, outputs, jobs, workers)
    with cluster.serving(workers, scheduler, environment) as given:
        crew = Crew(root, given, board, retries)
        outcomes = _run_all(planned, jobs, crew)
    board.close()
    for base in {run.base for run in planned}:
        report.write_index(base, root)
    _summarise(outcomes)
    if crew.stopping.is_set():
        return 130
    return int(any(outcome.status == "failed" for outcome in outcomes))


def _check(numbers: Mapping[str, tuple[int, int]], limits: Mapping[str, float | None]) -> None:
    """Raise a BatchError for a number that cannot be."""
    for name, (given, least) in numbers.items():
        if given < least:
            raise BatchError(f"{name} is {given}, the least is {least}. Type --{name} {least}.")
    for name, limit in limits.items():
        if limit is not None and not 0 <= limit < float("inf"):
            raise BatchError(f"{name} is {limit}; type a number from 0 (no limit) on.")


def _run_all(planned: Sequence[Planned], jobs: int, crew: Crew) -> list[Outcome]:
    """Bring all runs to their ends, the longest first: a batch then ends together."""
    pool = ThreadPoolExecutor(jobs)
    try:  # around the handler, too: a second interrupt may come at any moment of the first
        longest = sorted(planned, key=lambda run: -run.minutes)
        futures = [pool.submit(_settle, run, crew) for run in longest]
        try:
            _await(futures, crew)
        except KeyboardInterrupt:
            print("\nstopping: what is finished is kept (Ctrl-C again: end at once)", flush=True)
            crew.stop()
            _await(futures, crew)
    except KeyboardInterrupt:
        crew.stopping.set()  # a thread that sees its process die must not start it again
        kill(below(os.getpid()))
        os._exit(130)  # an orderly end would wait for the threads
    pool.shutdown()
    return [future.result() for future in futures]


def _await(futures: Sequence[Future], crew: Crew) -> None:
    while wait(futures, timeout=0.5).not_done:
        crew.board.refresh()


def _environment(root: Path, outputs: Path, jobs: int, workers: int) -> dict[str, str]:
    """What every notebook's process is given."""
    environment = dict(os.environ)
    # The threads depend on the jobs asked for, not on those left to do: a run that is resumed
    # must compute with as many threads as before to end with the same bits.
    # With workers of their own the notebooks leave the work to them.
    threads = cluster.threads(jobs if workers == 1 else workers)
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not spin
    named = {"XLTKIT_STORE": str(outputs / "store"), "XLTKIT_HUB": ""}
    for name, usual in named.items():
        if folder := environment.get(name) or usual:
            environment[name] = str(Path(folder).resolve())  # the kernel may start elsewhere
    here = str(Path(__file__).resolve().parents[2])  # the notebook uses this very package
    paths = [here, *filter(None, [environment.get("PYTHONPATH")])]
    # TQDM_DISABLE: bars of libraries would fill the executed notebook.
    fixed = {"XLTKIT_BATCH": "1", "TQDM_DISABLE": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    asked = {"XLTKIT_WORKERS": str(workers), "PYTHONPATH": os.pathsep.join(paths)}
    return environment | fixed | asked


def _settle(run: Planned, crew: Crew) -> Outcome:
    """Bring one run to its end, whatever happens: the other runs go on."""
    began, problem = time.monotonic(), ""
    try:
        if crew.stopping.is_set():
            return Outcome(run, "stopped")
        if not run.todo:
            crew.board.event(run.name, "done before, not run again")
            if not run.file(".html").exists():
                pages.write_page(run.file(".ipynb"), run.file(".html"))
            return Outcome(run, "was done")
        about = f", about {run.minutes:g} min" if run.minutes else ""
        crew.board.started(run.name, f"starts{about} ({run.todo})")
        problem = execute(run, crew) or _pending(run) or _unwritten(run)
        if problem and crew.stopping.is_set():
            problem = ""  # it was stopped, and did not fail
            return Outcome(run, "stopped", time.monotonic() - began)
        _keep(run, problem)
    except Exception as error:  # a full disk, a missing renderer: this run failed, and says why
        problem = f"{type(error).__name__}: {error}"
    finally:
        crew.board.ended(run.name, problem)
    seconds = time.monotonic() - began
    return Outcome(run, "failed" if problem else "done", seconds, problem)


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
    partial, failed = run.file(".partial.ipynb"), run.file(".failed.ipynb")
    if problem:
        (run.folder / "result.json").unlink(missing_ok=True)
        if partial.exists():
            os.replace(partial, failed)
        else:  # it ended before it began
            shutil.copyfile(run.notebook, failed)
        with contextlib.suppress(Exception):  # the run's own problem is the one to tell
            pages.mark_failed(failed, problem)
            pages.write_page(failed, run.file(".failed.html"))
        return
    pages.write_page(partial, run.file(".html"))
    failed.unlink(missing_ok=True)
    run.file(".failed.html").unlink(missing_ok=True)
    os.replace(partial, run.file(".ipynb"))


def _summarise(outcomes: Sequence[Outcome]) -> None:
    width = max((len(outcome.run.name) for outcome in outcomes), default=3)
    print(f"\n{'run':<{width}}  {'status':<8}  minutes  where")
    for outcome in sorted(outcomes, key=lambda each: each.run.name):
        run, minutes = outcome.run, f"{outcome.seconds / 60:7.1f}"
        page = run.file(".failed.html" if outcome.status == "failed" else ".html")
        where = page if page.exists() and outcome.status != "stopped" else outcome.note
        print(f"{run.name:<{width}}  {outcome.status:<8}  {minutes}  {where}")
