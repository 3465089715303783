"""The device that models run on, and the precision they compute in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from xltkit.keys import choose


@cache
def device() -> torch.device:
    """The device that stages run on: CUDA, Apple's MPS, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@cache
def precision() -> str:
    """``bf16`` if the hardware supports it, else ``no`` (fp32), in accelerate's terms.

    This checks the capability: a timing could differ between two runs on one machine, and so would
    their results. ``XLTKIT_PRECISION`` overrides it; the choice is recorded with results.
    """
    if requested := os.environ.get("XLTKIT_PRECISION"):
        return choose("XLTKIT_PRECISION", requested, ["bf16", "no"])
    is_native = False
    if device().type == "cuda":
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device().type == "cpu":
        # Without these instructions a CPU emulates bf16 and is slower than in fp32.
        is_native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if is_native else "no"


def autocast() -> torch.autocast:
    """A context in which a forward pass computes in ``precision``."""
    return torch.autocast(device().type, torch.bfloat16, enabled=precision() == "bf16")


def seed(number: int) -> None:
    """Seed torch's generator for the device.

    ``torch.manual_seed`` seeds all kinds of devices, which takes longer than a small layer.
    """
    (torch.default_generator if device().type == "cpu" else torch).manual_seed(number)


@contextmanager
def without_launchers() -> Iterator[None]:
    """A context without environment variables of accelerate and MPI, which are not in stage keys.

    What torchrun sets (``WORLD_SIZE``, ``RANK``, ...) stays.
    """
    prefixes = ("ACCELERATE_", "OMPI_COMM_", "PMI_", "MV2_COMM_")
    hidden = {n: os.environ.pop(n) for n in list(os.environ) if n.startswith(prefixes)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def peak_gib() -> float:
    """The most memory used so far: of the device, or of this process on a CPU."""
    if device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def describe() -> str:
    """Device, precision and threads in one line."""
    name = torch.cuda.get_device_name() if device().type == "cuda" else device().type
    dtype = "bf16" if precision() == "bf16" else "fp32"
    return f"{name}, {dtype}, {torch.get_num_threads()} torch threads"
