"""Stages in several processes on this machine: each may start as soon as its parent is there."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context

import dill

from xltkit.stages import Stage, make
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
    if workers == 1:
        for stage in stages:
            make(stage, store)
            done(stage)
        return
    children: dict[str, list[Stage]] = defaultdict(list)
    for stage in stages:
        children[stage.parent.key if stage.parent else ""].append(stage)
    # Fresh processes, not forks: a fork copies the locks of threads that it does not have.
    with ProcessPoolExecutor(
        workers, get_context("spawn"), _begin, (dill.dumps(_registered()),)
    ) as pool:
        running = {pool.submit(make, s, store): s for s in children[""]}
        try:
            while running:
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
                    stage = running.pop(future)
                    done(stage)
                    running |= {pool.submit(make, s, store): s for s in children[stage.key]}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list((pool._processes or {}).values()):
                process.terminate()  # what it was making goes on from its checkpoint next time
            raise


def _registered() -> tuple[dict, dict]:
    """The tasks and languages of this session, which a fresh process knows only in part."""
    from xltkit.languages import LANGUAGES
    from xltkit.tasks import TASKS

    return TASKS, LANGUAGES


def _begin(known: bytes) -> None:
    """Prepare a worker: one thread, no bars, and the tasks of the session."""
    import torch

    from xltkit import progress

    torch.set_num_threads(1)
    progress.silent = True
    for here, there in zip(_registered(), dill.loads(known), strict=True):
        here.update(there)
