"""Stages in several processes on this machine: each may start as soon as its parent is there."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import dill

from xltkit.making import make
from xltkit.stages import Stage
from xltkit.store import Store


def number(asked: int | None = None) -> int:
    """How many processes make stages: the number asked for, ``XLTKIT_WORKERS``, or one.

    Raises:
        ValueError: if it is no whole number from 1 on.
    """
    given = os.environ.get("XLTKIT_WORKERS") or "1" if asked is None else str(asked)
    if not given.isdigit() or int(given) < 1:
        raise ValueError(f"workers is {given!r}; give a whole number from 1 on, such as 2.")
    return int(given)


def make_all(
    stages: Sequence[Stage], store: Store, workers: int, done: Callable[[Stage], None]
) -> None:
    """Make every stage once, parents before children; ``done`` hears of each.

    Args:
        stages: parents before children.
        store: where they are kept, and where another process may be making them, too.
        workers: processes; with one, this process does all the work itself.
        done: called in this process after each stage.

    Raises:
        whatever making a stage raises; finished stages are kept.
    """
    finished = [stage for stage in stages if store.has(stage.key)]
    left = [stage for stage in stages if stage not in finished]
    for stage in finished if workers > 1 and len(left) > 1 else stages:
        make(stage, store)  # what is finished is looked at, and made again if it is torn
        done(stage)
    if workers > 1 and len(left) > 1:
        _share(left, store, workers, done)


def _share(
    stages: Sequence[Stage], store: Store, workers: int, done: Callable[[Stage], None]
) -> None:
    """Make stages in a pool of fresh processes, each after its parent."""
    keys = {stage.key for stage in stages}
    children: dict[str, list[Stage]] = defaultdict(list)
    for stage in stages:
        waits = stage.parent is not None and stage.parent.key in keys
        children[stage.parent.key if waits else ""].append(stage)
    # Not forks: a fork copies the locks of threads that it does not have.
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), _begin, (dill.dumps(_registered()), _threads(workers))
    )
    try:
        running = {pool.submit(make, s, store): s for s in children[""]}
        while running:
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                future.result()
                stage = running.pop(future)
                done(stage)
                running |= {pool.submit(make, s, store): s for s in children[stage.key]}
        pool.shutdown()
    except BaseException as error:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()  # what it was making goes on from its checkpoint next time
        for process in processes:
            process.join()
        if isinstance(error, BrokenProcessPool):
            raise RuntimeError(
                "A worker ended before its work was done: the memory was too small, or the script "
                "calls run(workers=...) outside of: if __name__ == '__main__': ... Put the call "
                "there, or type workers=1. Finished stages are kept."
            ) from error
        raise


def _threads(workers: int) -> int:
    """Threads of a worker: as the batch runner says, or the cores shared out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, (cores or 1) // workers))


def _registered() -> tuple[dict, dict]:
    """The tasks and languages of this session, which a fresh process knows only in part."""
    from xltkit.languages import LANGUAGES
    from xltkit.tasks import TASKS

    return TASKS, LANGUAGES


def _begin(known: bytes, threads: int) -> None:
    """Prepare a worker: its threads, no bars, and the tasks of the session."""
    import torch

    from xltkit import progress

    torch.set_num_threads(threads)
    progress.silent = True
    for here, there in zip(_registered(), dill.loads(known), strict=True):
        here.update(there)
