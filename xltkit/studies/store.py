"""The folder of finished stages, addressed by key."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from xltkit.files import flush, root, to_disk
from xltkit.keys import file_digest

FORMATS = {".safetensors", ".json", ".jsonl", ".parquet", ".txt", ".model"}
SIGNATURE = "signature.json"


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
        """Whether the stage is there. ``get`` and ``ready`` also make sure that it is whole."""
        return (self.path(key) / SIGNATURE).is_file()

    def record(self, key: str) -> dict[str, Any]:
        """The signature and the cost of a finished stage."""
        return json.loads((self.path(key) / SIGNATURE).read_text())

    def records(self) -> list[dict[str, Any]]:
        """Those of all finished stages that tell both; a damaged one teaches nothing."""
        found = []
        for path in sorted(self.folder.glob(f"{'?' * 16}/{SIGNATURE}")):
            with suppress(OSError, ValueError, KeyError):
                found.append(self.record(path.parent.name))
        return [record for record in found if {"signature", "cost"} <= record.keys()]

    def ready(self, key: str) -> bool:
        """Whether the stage is there and whole; one that is not is set aside, with a warning."""
        if not self._wrong(key):
            return True
        if os.path.lexists(self.path(key)):
            with suppress(OSError), self._lock(key, wait=False):  # else whoever makes it does so
                self._set_aside(key)
        return False

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
        if not self._wrong(key):
            return self.path(key)
        with self._lock(key):
            if self._wrong(key):
                self._set_aside(key)
                self._make(key, signature, make)
        return self.path(key)

    def _make(self, key: str, signature: Mapping[str, Any], make: Callable) -> None:
        partial = self.folder / f"{key}.partial"
        try:
            _clean(partial)
            cost = make(partial)
            record = {"key": key, "signature": signature, "cost": cost, "files": _digests(partial)}
            text = json.dumps(record, indent=1, ensure_ascii=False)
            (partial / SIGNATURE).write_text(text)
            to_disk(partial)
            os.replace(partial, self.path(key))
            flush(self.folder)
        except (OSError, SafetensorError) as error:
            number = getattr(error, "errno", None) or _number(str(error))
            if not number:
                raise
            raise OSError(
                number,
                f"The stage {key} could not be written to {self.folder}: {error}. Finished "
                "stages are safe. Make room, or name another folder with XLTKIT_STORE, and run "
                "again: training goes on from its last checkpoint.",
            ) from error

    def _wrong(self, key: str) -> str:
        """Why a stage cannot be used; empty if it is there, whole, and holds nothing else."""
        folder = self.path(key)
        try:
            if folder.is_symlink():
                return "it is a link, and nobody knows where to"
            there = _files(folder)
            listed = self.record(key)["files"]
            if other := sorted(set(there) ^ {SIGNATURE, *listed}):
                return f"{', '.join(other)}: there and not listed in {SIGNATURE}, or the reverse"
            changed = [name for name, sha in listed.items() if file_digest(there[name]) != sha]
            return f"{', '.join(changed)} changed" if changed else ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return f"{type(error).__name__}: {error}"

    def _set_aside(self, key: str) -> None:
        """Move a stage that is torn out of the way; it may be wanted to see what happened."""
        if not os.path.lexists(self.path(key)) or not (reason := self._wrong(key)):
            return
        aside = self.folder / "torn" / f"{key}-{uuid.uuid4().hex[:8]}"
        aside.parent.mkdir(exist_ok=True)
        os.replace(self.path(key), aside)
        warnings.warn(
            f"The stage {key} in {self.folder} is damaged ({reason}). It was moved to {aside} and "
            "is made again; delete it if you do not need it.",
            stacklevel=4,
        )

    @contextmanager
    def _lock(self, key: str, wait: bool = True) -> Iterator[None]:
        """One process at a time; the system releases the lock when its holder dies."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Not through a link, which may lead to a file of somebody's.
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
            file = os.open(self.folder / f"{key}.lock", flags, 0o666)
        except OSError as error:
            raise OSError(
                error.errno,
                f"The stage {key} is not in {self.folder}, or not whole, and cannot be made there: "
                f"{error}. What is there can be read. Name a folder that you may write to with "
                "XLTKIT_STORE; copy the finished stages there first to keep their work.",
            ) from error
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                print(f"Waiting for stage {key}: another process is training it.", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)
        # The lock file stays: to delete it while another process waits on it would let two in.

    def clear(self, key: str) -> None:
        """Delete a stage and what is left of earlier attempts at it."""
        for name in (key, f"{key}.partial"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def _number(error: str) -> int:
    """The system's number of an error that safetensors tells in words only."""
    found = re.search(r"\(os error (\d+)\)", error)
    return int(found[1]) if found else 0


def _clean(partial: Path) -> None:
    """Make the folder of an attempt; of an earlier one only what this kit writes is kept."""
    try:
        if partial.is_symlink():
            raise ValueError(f"{partial} is a link.")
        partial.mkdir(exist_ok=True)
        _files(partial)
    except (ValueError, FileExistsError) as error:
        warnings.warn(f"{error} What was left of an earlier attempt is deleted.", stacklevel=5)
        if partial.is_dir() and not partial.is_symlink():
            shutil.rmtree(partial)
        else:
            partial.unlink()
        partial.mkdir()


def _files(folder: Path) -> dict[str, Path]:
    """The files of a stage by their path below its folder; links are never followed.

    Raises:
        ValueError: for a link, and for a format that nobody may load.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"A stage holds files and folders only, not links: {path.name}.")
        if path.is_file():
            if path.suffix not in FORMATS:
                wanted = ", ".join(sorted(FORMATS))
                raise ValueError(f"A stage holds {wanted} only, not {path.name}.")
            found[path.relative_to(folder).as_posix()] = path
    return found


def _digests(folder: Path) -> dict[str, str]:
    """The digest of every file. Refuses what nobody may unpickle."""
    files = _files(folder)
    return {name: file_digest(path) for name, path in files.items() if name != SIGNATURE}
