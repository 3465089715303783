"""The folder of finished stages, addressed by key."""

import json
import os
import re
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from xltkit.files import flush, hold, is_litter, read, root, write
from xltkit.keys import file_digest, known_digest
from xltkit.models.checkpoints import INDEX

# What a stage may hold: nothing that could execute code when loaded.
FORMATS = {".safetensors", ".json", ".jsonl", ".parquet", ".txt", ".model"}
SIGNATURE = "signature.json"
REMEDY = (
    "Finished stages are safe and can be read. Make room, or name another folder with XLTKIT_STORE "
    "(copy the finished stages there first), and run again: training resumes from its checkpoint."
)


class Store:
    """Finished stages, one folder each, written to a temporary name and renamed when complete."""

    def __init__(self, folder: Path | str | None = None):
        folder = folder or os.environ.get("XLTKIT_STORE") or root() / "outputs" / "store"
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """The folder of the stage with this key, once it is finished."""
        return self.folder / key

    def has(self, key: str) -> bool:
        """Whether the stage exists; ``get`` and ``is_usable`` also check that it is undamaged."""
        return (self.path(key) / SIGNATURE).is_file()

    def record(self, key: str) -> dict[str, Any]:
        """The signature and the cost of a finished stage."""
        return json.loads(read(self.path(key) / SIGNATURE))

    def is_usable(self, key: str) -> bool:
        """Whether the stage exists and is undamaged."""
        return not self._problem(key)

    def get(self, key: str, signature: Mapping[str, Any], make: Callable[[Path], Mapping]) -> Path:
        """The folder of a stage; it is made first if it is missing or damaged.

        ``make`` fills a folder, which may have checkpoints of an earlier attempt, and returns the
        cost. If another process is making the stage, this one waits. Raises OSError if the disk is
        full or the folder cannot be written; other stages are safe.
        """
        # Most stages are finished, and need no lock: a stage gets its name when it is complete.
        if self.is_usable(key):
            return self.path(key)
        waits = f"Waiting for stage {key}: another process is training it."
        try:
            with hold(self.folder / f"{key}.lock", waits):
                # The process that held the lock has made the stage, unless it was killed.
                if problem := self._problem(key):
                    self._set_aside(key, problem)
                    self._make(key, signature, make)
        except (OSError, SafetensorError) as error:
            # safetensors gives the system's error number only in its message.
            in_words = re.search(r"\(os error (\d+)\)", str(error))
            number = getattr(error, "errno", None) or (in_words and int(in_words[1]))
            if not number:
                raise
            raise OSError(
                number, f"The stage {key} cannot be made in {self.folder}: {error}. {REMEDY}"
            ) from error
        return self.path(key)

    def _make(self, key: str, signature: Mapping[str, Any], make: Callable) -> None:
        """Fill a folder under a temporary name, and rename it when it is complete."""
        partial = self.folder / f"{key}.partial"
        if partial.is_symlink():
            partial.unlink()
        partial.mkdir(exist_ok=True)
        # Keep the checkpoints of an earlier attempt, but no links and nothing that could be a
        # pickle. If killed while writing a checkpoint, it left a temporary file of safetensors.
        for path in list(partial.rglob("*")):
            if path.is_symlink() or (not path.is_dir() and path.suffix not in FORMATS):
                path.unlink()
        cost = make(partial)
        files = {name: _digest(name, path) for name, path in _files(partial).items()}
        files.pop(SIGNATURE, None)
        # The record lists every file, so it is written last. All must be on the disk before the
        # folder is renamed: a crash must not leave a stage with its final name and empty files.
        record = {"key": key, "signature": signature, "cost": cost, "files": files}
        write(partial / SIGNATURE, json.dumps(record, indent=1, ensure_ascii=False))
        for path in (*partial.rglob("*"), partial):
            flush(path)
        os.replace(partial, self.path(key))
        flush(self.folder)

    def _problem(self, key: str) -> str:
        """Why a stage cannot be used; empty if it is complete and has no other files.

        Every file is hashed: a store may be shared, copied, or on a failing disk, and a changed
        file would be read as a result.
        """
        try:
            files = _files(self.path(key))
            digests = self.record(key)["files"]
            unlisted = sorted(set(files) ^ {SIGNATURE, *digests})
            if unlisted:
                return f"{', '.join(unlisted)}: missing, or not listed in {SIGNATURE}"
            changed = [name for name, sha in digests.items() if _digest(name, files[name]) != sha]
            return f"{', '.join(changed)} changed" if changed else ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return f"{type(error).__name__}: {error}"

    def _set_aside(self, key: str, reason: str) -> None:
        """Move a damaged stage out of the way, in case someone wants to inspect it."""
        if not os.path.lexists(self.path(key)):
            return
        aside = self.folder / "torn" / f"{key}-{uuid.uuid4().hex[:8]}"
        aside.parent.mkdir(exist_ok=True)
        os.replace(self.path(key), aside)
        warnings.warn(
            f"The stage {key} in {self.folder} is damaged ({reason}). It was moved to {aside} and "
            "will be made again; delete it if you do not need it.",
            stacklevel=3,
        )


def _files(folder: Path) -> dict[str, Path]:
    """The files of a stage by relative path. Raises ValueError for links and pickles."""
    files = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        if is_litter(path.relative_to(folder)):
            continue
        is_allowed = path.suffix in FORMATS if path.is_file() else path.is_dir()
        if path.is_symlink() or (path.exists() and not is_allowed):  # a link may lead elsewhere
            allowed = ", ".join(sorted(FORMATS))
            raise ValueError(f"A stage may hold only {allowed}, not {path.name}.")
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = path
    # Frozen weights are in a file that stages share: a stage without it is damaged.
    if INDEX in files:
        places = json.loads(read(files[INDEX]))["weight_map"].values()
        for place in set(places) - files.keys():
            path = folder / place
            if not re.fullmatch(r"\.\./frozen/\w+\.safetensors", place) or path.is_symlink():
                raise ValueError(f"A stage may only point to frozen weights, not {place}.")
            files[place] = path
    return files


def _digest(name: str, path: Path) -> str:
    """The hash of a file; the large files that stages share are hashed once per process."""
    return known_digest(path) if name.startswith("..") else file_digest(path)
