"""The folder of finished stages, addressed by key."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xltkit.keys import file_digest
from xltkit.provenance import root

FORMATS = {".safetensors", ".json", ".jsonl", ".parquet", ".txt", ".model"}


class Store:
    """Finished stages, one folder each, written to a temporary name and renamed when complete.

    Args:
        folder: ``XLTKIT_STORE``, or ``outputs/store`` of the repository, unless given.
    """

    def __init__(self, folder: Path | str | None = None):
        named = folder or os.environ.get("XLTKIT_STORE") or root() / "outputs" / "store"
        self.folder = Path(named)

    def path(self, key: str) -> Path:
        """Where the stage with this key lies once it is finished."""
        return self.folder / key

    def has(self, key: str) -> bool:
        """Whether the stage is there. ``get`` also makes sure that it is whole."""
        return (self.path(key) / "signature.json").is_file()

    def record(self, key: str) -> dict[str, Any]:
        """The signature and the cost of a finished stage."""
        return json.loads((self.path(key) / "signature.json").read_text())

    def get(
        self, key: str, signature: Mapping[str, Any], make: Callable[[Path], Mapping[str, Any]]
    ) -> Path:
        """The folder of a stage; ``make`` fills it first if it is not there, or not whole.

        If another process is making the stage, this one waits for it. ``make`` may find the
        checkpoints of an earlier attempt in the folder it is given, and returns what the stage
        cost.

        Raises:
            OSError: if the disk is full or the folder cannot be written; other stages are safe.
        """
        if self._whole(key):
            return self.path(key)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock(key):
            if not self._whole(key):
                self._set_aside(key)
                self._make(key, signature, make)
        return self.path(key)

    def _make(self, key: str, signature: Mapping[str, Any], make: Callable) -> None:
        partial = self.folder / f"{key}.partial"
        partial.mkdir(exist_ok=True)
        try:
            cost = make(partial)
            record = {"key": key, "signature": signature, "cost": cost, "files": _digests(partial)}
            text = json.dumps(record, indent=1, ensure_ascii=False)
            (partial / "signature.json").write_text(text)
        except OSError as error:
            raise OSError(
                error.errno,
                f"The stage {key} could not be written to {self.folder}: {error}. Finished "
                "stages are safe. Make room, or name another folder with XLTKIT_STORE, and run "
                "again: training goes on from its last checkpoint.",
            ) from error
        os.replace(partial, self.path(key))

    def _whole(self, key: str) -> bool:
        folder = self.path(key)
        try:
            files = self.record(key)["files"]
            return all(file_digest(folder / name) == sha for name, sha in files.items())
        except (OSError, ValueError, KeyError):
            return False

    def _set_aside(self, key: str) -> None:
        """Move a stage that is torn out of the way; it may be wanted to see what happened."""
        if not self.path(key).exists():
            return
        aside = self.folder / "torn" / f"{key}-{time.time_ns()}"
        aside.parent.mkdir(exist_ok=True)
        os.replace(self.path(key), aside)
        warnings.warn(
            f"The stage {key} in {self.folder} is damaged (a file is missing or was changed). It "
            f"was moved to {aside} and is made again; delete it if you do not need it.",
            stacklevel=4,
        )

    @contextmanager
    def _lock(self, key: str):
        """One process at a time; the system releases the lock when its holder dies."""
        with (self.folder / f"{key}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"Waiting for stage {key}: another process is training it.", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        # The lock file stays: to delete it while another process waits on it would let two in.

    def clear(self, key: str) -> None:
        """Delete a stage and what is left of earlier attempts at it."""
        for name in (key, f"{key}.partial"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def _digests(folder: Path) -> dict[str, str]:
    """The digest of every file, by its path below the folder. Refuses what nobody may unpickle."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for file in files:
        if file.suffix not in FORMATS:
            raise ValueError(f"A stage holds {', '.join(sorted(FORMATS))} only, not {file.name}.")
    return {str(f.relative_to(folder)): file_digest(f) for f in files if f.name != "signature.json"}
