"""Files that a power cut leaves as they were, or not there."""

from __future__ import annotations

import os
from pathlib import Path


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
