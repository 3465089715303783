"""The folder of finished stages, addressed by key."""

from __future__ import annotations

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

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from xltkit.files import flush, root, to_disk
from xltkit.keys import file_digest

# What a stage may hold: nothing that could execute code when it is loaded.
FORMATS = {".safetensors", ".json", ".jsonl", ".parquet", ".txt", ".model"}
SIGNATURE = "signature.json"


class Store:
    """Finished stages, one folder each, written to a temporary name and renamed when complete.

    Args:
        folder: ``XLTKIT_STORE``, or ``outputs/store`` of the repository, unless given.
    """

    def __init__(self, folder: Path | str | None = None):
        folder = folder or os.environ.get("XLTKIT_STORE") or root() / "outputs" / "store"
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """Where the stage with this key lies once it is finished."""
        return self.folder / key

    def has(self, key: str) -> bool:
        """Whether the stage is there; ``get`` and ``is_usable`` also check that it is undamaged."""
        return (self.path(key) / SIGNATURE).is_file()

    def record(self, key: str) -> dict[str, Any]:
        """The signature and the cost of a finished stage."""
        return json.loads((self.path(key) / SIGNATURE).read_text())

    def records(self) -> list[dict[str, Any]]:
        """The records of all finished stages that can be read."""
        records = []
        for path in sorted(self.folder.glob(f"{'?' * 16}/{SIGNATURE}")):
            with suppress(OSError, ValueError):
                records.append(json.loads(path.read_text()))
        return records

    def is_usable(self, key: str) -> bool:
        """Whether the stage is there and undamaged."""
        return not self._problem(key)

    def get(
        self, key: str, signature: Mapping[str, Any], make: Callable[[Path], Mapping[str, Any]]
    ) -> Path:
        """The folder of a stage; it is made first if it is missing or damaged.

        Args:
            key: of the stage.
            signature: what the key is a hash of.
            make: fills a folder, and returns what that cost. It may find the checkpoints of an
                earlier attempt there. If another process is making the stage, this one waits.

        Raises:
            OSError: if the disk is full or the folder cannot be written; other stages are safe.
        """
        # Most stages are finished, and need no lock: a stage gets its name when it is complete.
        if not self._problem(key):
            return self.path(key)
        with self._lock(key):
            # Who held the lock before us has made the stage, unless it was killed.
            if self._problem(key):
                self._set_aside(key)
                self._make(key, signature, make)
        return self.path(key)

    def _make(self, key: str, signature: Mapping[str, Any], make: Callable) -> None:
        partial = self.folder / f"{key}.partial"
        try:
            _prepare(partial)
            cost = make(partial)
            files = {name: file_digest(path) for name, path in _files(partial).items()}
            files.pop(SIGNATURE, None)
            # The record lists every file with its digest, so it is written last. All must be on
            # the disk before the folder is renamed: a crash of the machine may not leave a stage
            # that has its final name and empty files.
            record = {"key": key, "signature": signature, "cost": cost, "files": files}
            text = json.dumps(record, indent=1, ensure_ascii=False)
            (partial / SIGNATURE).write_text(text)
            to_disk(partial)
            os.replace(partial, self.path(key))
            flush(self.folder)
        except (OSError, SafetensorError) as error:
            # safetensors gives the number of the system's error in words only.
            in_words = re.search(r"\(os error (\d+)\)", str(error))
            number = getattr(error, "errno", None) or (in_words and int(in_words[1]))
            if not number:
                raise
            raise OSError(
                number,
                f"The stage {key} could not be written to {self.folder}: {error}. Finished "
                "stages are safe. Make room, or name another folder with XLTKIT_STORE, and run "
                "again: training continues from its last checkpoint.",
            ) from error

    def _problem(self, key: str) -> str:
        """Why a stage cannot be used; empty if it is complete and holds nothing else.

        Every file is hashed: a store may be shared, copied, or on a failing disk, and a changed
        file would be read as a result. Links are refused, for they may lead outside of the store.
        """
        folder = self.path(key)
        if folder.is_symlink():
            return "it is a link"
        try:
            files = _files(folder)
            digests = self.record(key)["files"]
            unlisted = sorted(set(files) ^ {SIGNATURE, *digests})
            if unlisted:
                return f"{', '.join(unlisted)}: missing, or not listed in {SIGNATURE}"
            changed = [name for name, sha in digests.items() if file_digest(files[name]) != sha]
            return f"{', '.join(changed)} changed" if changed else ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return f"{type(error).__name__}: {error}"

    def _set_aside(self, key: str) -> None:
        """Move a damaged stage out of the way; somebody may want to see what happened to it."""
        reason = self._problem(key)
        if not reason or not os.path.lexists(self.path(key)):
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
    def _lock(self, key: str) -> Iterator[None]:
        """Let one process at a time make a stage; the system frees the lock of a dead process.

        The lock file stays: to delete it while another process waits for it would let two in.
        """
        lock = FileLock(self.folder / f"{key}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(Timeout):
                lock.acquire(blocking=False)
            if not lock.is_locked:
                print(f"Waiting for stage {key}: another process is training it.", flush=True)
                lock.acquire(poll_interval=0.2)
        except OSError as error:
            raise OSError(
                error.errno,
                f"The stage {key} is missing in {self.folder}, or damaged, and cannot be made "
                f"there: {error}. Finished stages can be read. Name a folder that you may write to "
                "with XLTKIT_STORE; copy the finished stages there first to keep their work.",
            ) from error
        try:
            yield
        finally:
            lock.release()


def _prepare(partial: Path) -> None:
    """Create the folder of an attempt; of an earlier attempt only what this kit writes is kept."""
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
    """The files of a stage by their path below its folder; ValueError for a link or a pickle."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"A stage holds files and folders only, not links: {path.name}.")
        if path.is_file():
            if path.suffix not in FORMATS:
                allowed = ", ".join(sorted(FORMATS))
                raise ValueError(f"A stage holds {allowed} only, not {path.name}.")
            files[path.relative_to(folder).as_posix()] = path
    return files
