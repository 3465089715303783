"""What a worker does: it makes stages as the session that asks for them would."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from xltkit import progress
from xltkit.studies.store import Store

if TYPE_CHECKING:  # Dask, and torch, are imported by those who use them
    from distributed import Worker

    from xltkit.studies.stages import Stage


class Stopped(Exception):
    """Nobody waits for a stage any more: its worker leaves it at its last checkpoint."""


def dask_setup(worker: Worker) -> None:
    """Called by Dask in a worker of ours: Ctrl-C is for who started it, and will end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def registered() -> tuple[dict, dict]:
    """The tasks and languages of this session, which a fresh process knows only in part."""
    from xltkit.data.languages import LANGUAGES
    from xltkit.tasks import TASKS

    return TASKS, LANGUAGES


_alone = threading.Lock()  # torch's random state is the process's: one stage at a time
_last = b""  # whose tasks this worker knows
_HUB = os.environ.get("XLTKIT_HUB", "")


def make_there(
    pickled: bytes, folder: Path, session: bytes, asking: str, parent: str | None
) -> str:
    """Make a stage in a worker, as the session that asks for it would."""
    import cloudpickle

    from xltkit.studies.make import make

    with _alone:
        _become(session)
        stage: Stage = cloudpickle.loads(pickled)
        progress.silent, progress.check = True, _stop_if_unwanted
        try:
            make(stage, Store(folder))
        except BaseException as error:
            error.asking = asking
            raise
        finally:
            progress.silent, progress.check = False, None
    return stage.key


def _become(session: bytes) -> None:
    """Know what the session knows: its tasks and languages, where its data lies."""
    global _last
    import cloudpickle
    import torch

    from xltkit.studies import make as making
    from xltkit.tasks import rows

    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    if session == _last:
        return
    known, hub = cloudpickle.loads(session)
    for here, there in zip(registered(), known, strict=True):
        here.update(there)
    os.environ["XLTKIT_HUB"] = hub or _HUB
    # Another session may mean another task by the same name.
    making._encoded.cache_clear()
    rows._training_rows.cache_clear()
    _last = session


def _stop_if_unwanted() -> None:
    """Leave a stage that nobody waits for any more; Dask itself would let it run to its end."""
    from distributed import get_worker
    from distributed.worker import WORKER_ANY_RUNNING, thread_state

    worker = get_worker()
    state = worker.state.tasks.get(thread_state.key)
    if worker.status not in WORKER_ANY_RUNNING or state is None or state.state == "cancelled":
        raise Stopped("Nobody waits for this stage any more.")
