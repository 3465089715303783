"""Vectors that a frozen network gives: computed once, kept by the content they were made from."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from xltkit.keys import digest

FOLDER = "vectors"  # in the store, beside the stages
AT_ONCE = 64  # inputs that are computed together
SHARD = 4096  # inputs after which what was computed is written: a kill costs no more


def kept(
    folder: Path, contents: Sequence[str], compute: Callable[[Sequence[int]], np.ndarray]
) -> np.ndarray:
    """The vectors of some inputs in half precision: an array (inputs, width).

    Inputs with equal content are computed once, whichever data set and stage they come from.
    Two processes that want the same vectors do not compute them twice.

    Args:
        folder: of the network that computes them.
        contents: a digest of each input, in hexadecimal.
        compute: the vectors (n, width) of the inputs at some positions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read(folder, set(contents))
        first = {content: i for i, content in reversed(list(enumerate(contents)))}
        left = sorted(i for content, i in first.items() if content not in known)
        for at in range(0, len(left), SHARD):
            shard = left[at : at + SHARD]
            parts = [shard[i : i + AT_ONCE] for i in range(0, len(shard), AT_ONCE)]
            made = np.concatenate([compute(part) for part in parts]).astype(np.float16)
            if not np.isfinite(made).all():
                raise ValueError(
                    f"A vector does not fit half precision: a value is above "
                    f"{np.finfo(np.float16).max:.0f}, or is no number. Take another tower."
                )
            _write(folder, [contents[i] for i in shard], made)
            known |= {contents[i]: row for i, row in zip(shard, made, strict=True)}
    return np.stack([known[content] for content in contents])


def _write(folder: Path, contents: Sequence[str], made: np.ndarray) -> None:
    name = folder / f"{digest(list(contents))}.safetensors"
    keys = np.array([list(bytes.fromhex(content)) for content in contents], dtype=np.uint8)
    save_file({"keys": keys, "vectors": made}, f"{name}.partial")
    os.replace(f"{name}.partial", name)


def _read(folder: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    """The vectors that are there; a shard that cannot be read is computed again."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "numpy") as shard:
                keys = [bytes(key).hex() for key in shard.get_tensor("keys")]
                if mine := [i for i, key in enumerate(keys) if key in wanted and key not in found]:
                    vectors = shard.get_tensor("vectors")
                    found |= {keys[i]: vectors[i] for i in mine}
        except SafetensorError:
            path.unlink()
    return found
