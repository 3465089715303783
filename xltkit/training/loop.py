"""The training loop: one for every phase, ``loss = objective(model, batch)``."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xltkit.files import to_disk
from xltkit.keys import derive
from xltkit.models import device
from xltkit.progress import track

CLIP = 1.0  # largest gradient norm


class Batch(NamedTuple):
    """Tensors of some examples. ``targets`` counts what the summed loss is a sum over."""

    training_set: int
    inputs: dict[str, Tensor]
    labels: Tensor
    targets: int


# Adds up the loss of a batch; robust training, alignment and the like enter here. One that needs
# gradients on the way yields losses: each is backpropagated before the next is asked for.
Objective = Callable[[nn.Module, Batch], Tensor | Iterator[Tensor]]
# The batches of a step: (step, parts) -> the step's examples in that many parts.
Batches = Callable[[int, int], Sequence[Batch]]


class Diverged(RuntimeError):
    """The loss or the gradient is no longer a number."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    learning_rate: float
    warmup: float = 0.1
    weight_decay: float = 0.0
    accumulation: int = 1

    def rate(self, step: int) -> float:
        """The learning rate of a step: linear warm-up to the peak, then linear decay to 0."""
        warm = self.warmup * self.steps
        rising = (step + 1) / warm if warm else 1.0
        falling = (self.steps - step) / max(1.0, self.steps - warm)
        return self.learning_rate * min(1.0, rising, falling)


def train(
    model: nn.Module,
    objective: Objective,
    batches: Batches,
    schedule: Schedule,
    *,
    seed: int,
    folder: Path,
    title: str = "training",
    checkpoint_seconds: float | None = None,
) -> nn.Module:
    """Train a model in place and return it.

    Everything random is a function of (seed, step), so a run that is killed and started again
    continues from its last checkpoint and ends with the very weights of an uninterrupted run on
    the same machine and thread count.

    Args:
        model: fresh from disk; a model that was prepared before would keep its old precision.
        objective: the summed loss of a batch.
        batches: the batches of a step, as a pure function.
        schedule: steps, learning rate, accumulation.
        seed: of dropout and whatever else the objective draws.
        folder: where ``log.jsonl`` and ``checkpoint-<step>/`` are written.
        title: what the progress bar says.
        checkpoint_seconds: how much work a kill may cost; ``XLTKIT_CHECKPOINT_SECONDS``, or 60,
            unless given.

    Raises:
        Diverged: if the loss or the gradient is not finite.
    """
    if checkpoint_seconds is None:
        checkpoint_seconds = float(os.environ.get("XLTKIT_CHECKPOINT_SECONDS") or 60)
    # A part of a step may be of one task, and leave the heads of others without a gradient.
    several = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=device.precision(), kwargs_handlers=[several])
    optimizer = torch.optim.AdamW(_groups(model, schedule.weight_decay), fused=True)
    model, optimizer = accelerator.prepare(model, optimizer)
    plain = accelerator.unwrap_model(model)
    model.train()
    start, log = _resume(plain, optimizer.optimizer, folder)
    main = accelerator.is_main_process
    if not main:
        log = Log(Path(os.devnull))
    saved = time.monotonic()
    with track(schedule.steps, title, done=start) as bar:
        for step in range(start, schedule.steps):
            rate = schedule.rate(step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _backward(accelerator, model, objective, batches, schedule, seed, step)
            norm = accelerator.clip_grad_norm_(model.parameters(), CLIP)
            if not math.isfinite(loss) or not math.isfinite(norm):
                raise Diverged(
                    f"{title}: the loss is {loss} and the gradient norm {float(norm)} at step "
                    f"{step + 1} of {schedule.steps}, at learning rate {rate:.2g}. Lower "
                    "learning_rate or raise warmup; XLTKIT_PRECISION=no trains in fp32."
                )
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            log.add(step, loss=loss, rate=rate, norm=float(norm))
            bar.update(loss=loss, rate=rate)
            if time.monotonic() - saved > checkpoint_seconds and main:
                _checkpoint(plain, optimizer.optimizer, folder, step + 1, log)
                saved = time.monotonic()
        log.close()
    if main:
        for old in folder.glob("checkpoint-*"):
            shutil.rmtree(old)
    return plain


def _backward(
    accelerator: Accelerator, model: nn.Module, objective: Objective, batches: Batches,
    schedule: Schedule, seed: int, step: int,
) -> float:  # fmt: skip
    """Gradients of one step; returns the mean loss over all its targets.

    The loss of each part is divided by the targets of the whole step, on all processes: a mean
    of the parts' means would weigh the targets of short parts more.
    """
    world, rank = accelerator.num_processes, accelerator.process_index
    parts = batches(step, schedule.accumulation * world)[rank::world]
    counts = torch.tensor(sum(p.targets for p in parts), device=accelerator.device)
    total = max(1, int(accelerator.reduce(counts, "sum"))) if world > 1 else max(1, int(counts))
    summed = 0.0
    for i, part in enumerate(parts):
        torch.manual_seed(derive(seed, "step", step, i * world + rank))
        moved = part._replace(
            inputs={k: v.to(accelerator.device) for k, v in part.inputs.items()},
            labels=part.labels.to(accelerator.device),
        )
        last = i == len(parts) - 1
        with accelerator.autocast(), _sync(accelerator, model, last):
            losses = objective(model, moved)
            for loss in (losses,) if isinstance(losses, Tensor) else losses:
                # Processes average their gradients; the sum over all of them is wanted.
                accelerator.backward(loss * (world / total))
                summed += float(loss.detach())
    return summed / max(1, int(counts))


def _sync(accelerator: Accelerator, model: nn.Module, last: bool):
    """Exchange gradients between processes only after the last part of a step."""
    return nullcontext() if last else accelerator.no_sync(model)


def _groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameters in two groups: biases and normalisations are not decayed."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decayed = [p for _, p in named if p.ndim > 1]
    plain = [p for _, p in named if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


class Log:
    """``log.jsonl``: one line per interval, with means over the interval."""

    def __init__(self, path: Path, every: int = 20, lines: int = 0, sums: dict | None = None):
        kept = path.read_text().splitlines()[:lines] if lines else []
        path.write_text("".join(f"{line}\n" for line in kept))
        self.path, self.every, self.lines = path, every, len(kept)
        self.sums = sums or {"count": 0}
        self.step, self.began = 0, time.monotonic()

    def add(self, step: int, **values: float) -> None:
        """Add the values of a step."""
        self.step = step + 1
        self.sums["count"] += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.sums["count"] == self.every:
            self.close()

    def close(self) -> None:
        """Write the interval that is open, if it holds anything."""
        count = self.sums.pop("count")
        if count:
            means = {name: value / count for name, value in self.sums.items()}
            line = {"step": self.step, **means, "seconds": time.monotonic() - self.began}
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            self.lines += 1
        self.sums = {"count": 0}


def _parameters(optimizer: torch.optim.Optimizer) -> Iterable[tuple[str, Tensor]]:
    for g, group in enumerate(optimizer.param_groups):
        for p, parameter in enumerate(group["params"]):
            yield f"{g}.{p}", parameter


def _state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What training changes: weights, and what a module keeps of earlier steps.

    Buffers that are the same in every step, such as positions, may share memory or be views.
    """
    yield from model.named_parameters()
    for name, buffer in model.named_buffers():
        owner = model.get_submodule(name.rpartition(".")[0])
        if name.rpartition(".")[2] not in owner._non_persistent_buffers_set:
            yield name, buffer


def _checkpoint(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, step: int, log: Log
) -> None:
    """Write weights and optimiser state; ``state.json`` comes last and makes it whole."""
    where = folder / f"checkpoint-{step}"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir()
    weights = {n: p.detach().contiguous() for n, p in _state(model)}
    save_file(weights, where / "model.safetensors")
    state = {
        f"{name}.{key}": value
        for name, parameter in _parameters(optimizer)
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    save_file(state, where / "optimizer.safetensors")
    to_disk(where)  # a power cut must not leave state.json without the others
    (where / "state.json").write_text(
        json.dumps({"step": step, "lines": log.lines, "sums": log.sums})
    )
    for old in folder.glob("checkpoint-*"):
        if old != where:
            shutil.rmtree(old)


def _resume(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> tuple[int, Log]:
    """Put the last whole checkpoint back, if there is one; returns the step to go on with."""
    for where in sorted(folder.glob("checkpoint-*"), key=lambda c: -int(c.name.split("-")[1])):
        try:
            state = json.loads((where / "state.json").read_text())
            weights = load_file(where / "model.safetensors")
            moments = load_file(where / "optimizer.safetensors")
            break
        except (OSError, ValueError, SafetensorError):
            continue  # it was being written, or is damaged
    else:
        return 0, Log(folder / "log.jsonl")
    with torch.no_grad():
        for name, value in _state(model):
            value.copy_(weights[name])
    for name, parameter in _parameters(optimizer):
        mine = {k.rsplit(".", 1)[1]: v for k, v in moments.items() if k.rsplit(".", 1)[0] == name}
        if mine:
            optimizer.state[parameter] = {k: v.to(parameter.device) for k, v in mine.items()}
    return state["step"], Log(folder / "log.jsonl", lines=state["lines"], sums=state["sums"])
