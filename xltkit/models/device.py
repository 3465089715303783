"""What this machine offers: device, precision, threads."""

from __future__ import annotations

import os
from functools import cache

import torch


@cache
def device() -> torch.device:
    """The device that stages run on: CUDA, Apple's MPS, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@cache
def precision() -> str:
    """``bf16`` where the hardware computes in it, else ``no`` (fp32): accelerate's words.

    The probe asks for the capability and measures nothing: a choice that hung on a timing could
    differ between two runs on one machine, and their results with it. ``XLTKIT_PRECISION``
    overrides it. The choice is recorded with every result.
    """
    asked = os.environ.get("XLTKIT_PRECISION", "")
    if asked not in ("", "bf16", "no"):
        raise ValueError(f"XLTKIT_PRECISION is {asked!r}; it can be 'bf16' or 'no' (fp32).")
    if asked:
        return asked
    if device().type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    if device().type == "cpu":
        # Without these instructions a CPU emulates bf16 and is slower than in fp32.
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16" if fast else "no"
    return "no"


def peak_gib() -> float:
    """The most memory used so far: of the device, or of this process on a CPU."""
    if device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def describe() -> str:
    """Device, precision and threads in one line."""
    where = torch.cuda.get_device_name() if device().type == "cuda" else device().type
    dtype = "bf16" if precision() == "bf16" else "fp32"
    return f"{where}, {dtype}, {torch.get_num_threads()} torch threads"
