"""Look up names, hash values, derive seeds: randomness is a pure function of a key."""

import hashlib
import json
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np


def unknown(what: str, given: object, allowed: Iterable[str]) -> str:
    """The error message for an unknown name, with the nearest allowed names.

    >>> unknown("task", "xnlii", ["xnli", "xquad"])
    "There is no task 'xnlii'. Did you mean 'xnli'? Allowed: xnli, xquad."
    """
    allowed = [str(name) for name in allowed]
    near = get_close_matches(str(given), allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if len(allowed) > 30:  # a wall of names would hide the message
        nearest = get_close_matches(str(given), allowed, n=12, cutoff=0)
        allowed = [*nearest, f"and {len(allowed) - len(nearest)} more"]
    return f"There is no {what} {given!r}.{hint} Allowed: {', '.join(allowed) or 'none'}."


def choose(what: str, given: str, allowed: Iterable[str]) -> str:
    """Return ``given`` if it is allowed. Raises ValueError with the message of ``unknown``."""
    allowed = list(allowed)
    if given not in allowed:
        raise ValueError(unknown(what, given, allowed))
    return given


def digest(value: Any, length: int = 16) -> str:
    """A short hash of a value made of plain types, the same on every machine."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:length]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, cached while its size and modification time stay the same."""
    state = path.stat()
    return _digest(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _digest(path: Path, size: int, modified: int) -> str:
    return file_digest(path)


def derive(*key: Any) -> int:
    """A seed that depends on the whole key: ``derive(seed, "heads")`` and the like."""
    return int(digest([str(k) for k in key]), 16) % 2**63


def hashed_uniform(seed: int, epoch: int, index: np.ndarray, width: int) -> np.ndarray:
    """Uniform numbers in [0, 1) as a pure function of seed, epoch, index and position.

    A generator would carry state from batch to batch, and a resumed run would draw other numbers
    than an uninterrupted one. Uses the mixing function of splitmix64. ``index`` has the indices of
    the rows, shape (rows,); the result has ``width`` numbers for each, shape (rows, width).
    """
    with np.errstate(over="ignore"):
        x = np.uint64(seed % 2**64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(epoch)
        x = (x + index.astype(np.uint64)[:, None]) * np.uint64(0xD1342543DE82EF95)
        x = x + np.arange(width, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) / 2**53
