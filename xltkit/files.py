"""Atomic file writes, and what a result depends on: the repository, its commit, versions."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

# Names of files that systems leave behind: Finder, Explorer, Jupyter, network folders.
LITTER = (".*", "@eaDir", "[Tt]humbs.db", "[Dd]esktop.ini")


def root() -> Path:
    """The nearest parent with ``notebooks/runs.toml``, else the package's or current folder."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "runs.toml").is_file():
            return folder
    package = Path(__file__).resolve().parents[1]
    return package if (package / "notebooks").is_dir() else here


def bring_notebooks() -> None:
    """Copy the notebooks of an installed package, unless this folder or a parent has some."""
    target = root() / "notebooks"
    if target.exists():
        return
    files = metadata.files("xltkit") or ()
    shipped = [file.locate() for file in files if file.parts[-3:-1] == ("xltkit", "notebooks")]
    for path in shipped:
        target.mkdir(exist_ok=True)
        shutil.copy(path, target)
    if shipped:
        print(f"The notebooks are in {target}", flush=True)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and the main packages, without importing them."""
    packages = ("xltkit", "torch", "transformers", "datasets")
    return {"python": platform.python_version()} | {p: metadata.version(p) for p in packages}


def commit() -> str:
    """The short commit of the repository, with ``-dirty`` if files differ; ``none`` without one."""
    # Without a named folder, git would search upward and describe an enclosing repository.
    git = ["git", f"--git-dir={root()}/.git", f"--work-tree={root()}"]
    git += ["describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.check_output(git, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


def without_folder(value: Any) -> Any:
    """The name of a file or folder given as a full path, which means nothing on other machines."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def is_litter(path: Path | str) -> bool:
    """Whether a file, or a folder that it is in, was left behind by a system."""
    return any(fnmatchcase(part, name) for part in Path(path).parts for name in LITTER)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write a file under, so that it is complete or unchanged."""
    partial = path.with_name(path.name + ".partial")
    yield partial
    os.replace(partial, path)


def read(path: Path) -> str:
    """The text of a file, in UTF-8 with or without a byte order mark; lines end at ``\\n``."""
    return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")


def write(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def hold(
    path: Path, message: str, stopped: Callable[[], bool] | None = None
) -> AbstractContextManager:
    """Lock a file; if another process holds it, print a message and wait (Timeout if stopped).

    The system frees the lock of a dead process. The file stays: deleting it while another process
    waits for it would let two in.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        print(message, flush=True)
        return lock.acquire(poll_interval=0.2, cancel_check=stopped)


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
