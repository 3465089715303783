"""Files and where they come from: whole or not there, the repository, its commit, versions."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def root() -> Path:
    """The repository: the nearest folder upwards that holds ``notebooks/runs.toml``.

    A notebook is opened from its own folder and a batch starts at the top; both must find the
    same outputs. Without such a folder it is where the package lies, or the current folder.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "runs.toml").is_file():
            return folder
    package = Path(__file__).resolve().parents[1]
    return package if (package / "notebooks").is_dir() else here


def versions() -> dict[str, str]:
    """Versions of what a result depends on; asked of the installer, so nothing is imported."""
    found = {"python": sys.version.split()[0]}
    for package in ("xltkit", "torch", "transformers", "datasets"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """The commit of the repository in short, and whether files differ from it."""
    git, options = ["git", "-C", str(root())], {"text": True, "stderr": subprocess.DEVNULL}
    try:
        commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], **options)
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"], **options)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return commit.strip() + (" (files changed since)" if changed else "")


def write(path: Path, text: str) -> None:
    """Write a text under a temporary name first: a file is whole, or the one from before."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def to_disk(folder: Path) -> None:
    """Let the system write out a folder and all that is in it."""
    for path in (*(p for p in folder.rglob("*") if p.is_file()), folder):
        flush(path)


def flush(path: Path) -> None:
    """Let the system write out one file, or the names in one folder."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
