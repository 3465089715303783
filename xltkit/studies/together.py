"""One stage in several processes, as ``accelerate launch`` and torchrun start them.

All train; the first alone writes to the store, waits for its locks, and scores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from xltkit.models import device
from xltkit.studies.store import Store

# The others wait while the first one scores, writes, or waits for another run's stage.
PATIENCE = timedelta(days=7)


def several() -> bool:
    """Whether this process is one of several that train the same stage."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def get(
    store: Store,
    key: str,
    signature: Mapping[str, Any],
    make: Callable[[Path], Mapping[str, Any]],
    alone: bool,
) -> Path:
    """As ``Store.get``, which only the first process calls; the others help it to make a stage.

    Args:
        alone: the first process needs no help to make it.
    """
    state = PartialState(cpu=device.device().type == "cpu", timeout=PATIENCE)
    if not state.is_main_process:
        while folder := _told(""):
            make(Path(folder))
        return store.path(key)

    def helped(folder: Path) -> Mapping[str, Any]:
        if not alone:
            _told(str(folder))
        return make(folder)

    path = store.get(key, signature, helped)
    _told("")
    return path


def _told(what: str) -> str:
    """What the first process says to all: a folder to help with, or that the stage is there."""
    return broadcast_object_list([what])[0]
