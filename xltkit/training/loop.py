"""The training loop: one for every phase, ``loss = objective(model, batch)``."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
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

MAX_NORM = 1.0  # of the gradient; a larger one is scaled down


class Batch(NamedTuple):
    """Tensors of some examples. ``targets`` counts what the summed loss is a sum over."""

    training_set: int
    inputs: dict[str, Tensor]
    labels: Tensor
    targets: int


# The summed loss of a batch; robust training, alignment and the like enter here. One that needs
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
    on_step: Callable[[], None] | None = None,
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
        on_step: called after each step instead of showing progress; it may raise to end the work.

    Raises:
        Diverged: if the loss or the gradient is not finite.
    """
    if checkpoint_seconds is None:
        checkpoint_seconds = float(os.environ.get("XLTKIT_CHECKPOINT_SECONDS") or 60)

    # The model goes to the device, computes in bf16 where that is fast, and is wrapped if several
    # processes train it. A part of a step may be of one task, and leave the heads of others
    # without a gradient: that has to be allowed.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=device.precision(), kwargs_handlers=[unused])
    optimizer = torch.optim.AdamW(_groups(model, schedule.weight_decay), fused=True)
    model, optimizer = accelerator.prepare(model, optimizer)
    unwrapped = accelerator.unwrap_model(model)
    model.train()

    # Every process reads the last checkpoint; the first alone writes one, and the log.
    start, log = _resume(unwrapped, optimizer.optimizer, folder)
    is_main = accelerator.is_main_process
    if not is_main:
        log = Log(Path(os.devnull))
    last_checkpoint = time.monotonic()

    with track(schedule.steps, title, initial=start, disable=on_step is not None) as progress:
        for step in range(start, schedule.steps):
            rate = schedule.rate(step)
            for group in optimizer.param_groups:
                group["lr"] = rate

            # Forward and backward, in as many parts as memory asks for.
            loss = _backward(accelerator, model, objective, batches, schedule, seed, step)
            norm = accelerator.clip_grad_norm_(model.parameters(), MAX_NORM)

            # Before the weights change: what is in the last checkpoint stays usable.
            if not math.isfinite(loss) or not math.isfinite(norm):
                raise Diverged(
                    f"{title}: the loss is {loss} and the gradient norm {float(norm)} at step "
                    f"{step + 1} of {schedule.steps}, at learning rate {rate:.2g}. Lower "
                    "learning_rate or raise warmup; XLTKIT_PRECISION=no trains in fp32."
                )
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            log.add(step, loss=loss, rate=rate, norm=float(norm))
            progress.set_postfix(loss=loss, rate=rate, refresh=False)
            progress.update()
            if on_step is not None:
                on_step()
            # By the clock, not by the step: a kill costs as much time with any model.
            if is_main and time.monotonic() - last_checkpoint > checkpoint_seconds:
                _checkpoint(unwrapped, optimizer.optimizer, folder, step + 1, log)
                last_checkpoint = time.monotonic()
        log.close()

    if is_main:
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    return unwrapped


def _backward(
    accelerator: Accelerator,
    model: nn.Module,
    objective: Objective,
    batches: Batches,
    schedule: Schedule,
    seed: int,
    step: int,
) -> float:
    """Compute the gradients of one step; return the mean loss over all its targets."""
    world = accelerator.num_processes
    rank = accelerator.process_index
    # Each process takes every world-th part of the same step.
    parts = batches(step, schedule.accumulation * world)[rank::world]
    # The loss of each part is divided by the targets of the whole step, on all processes: a mean of
    # the parts' means would weigh the targets of short parts more.
    targets = torch.tensor(sum(part.targets for part in parts), device=accelerator.device)
    total = int(accelerator.reduce(targets, "sum")) if world > 1 else int(targets)
    total = max(1, total)
    summed = 0.0
    for i, part in enumerate(parts):
        # Dropout is a function of seed, step and part: a resumed run draws the same masks.
        torch.manual_seed(derive(seed, "step", step, i * world + rank))
        part = part._replace(
            inputs={name: value.to(accelerator.device) for name, value in part.inputs.items()},
            labels=part.labels.to(accelerator.device),
        )
        # Gradients are exchanged between processes only after the last part.
        is_last = i == len(parts) - 1
        sync = nullcontext() if is_last else accelerator.no_sync(model)
        with accelerator.autocast(), sync:
            losses = objective(model, part)
            for loss in (losses,) if isinstance(losses, Tensor) else losses:
                # Processes average their gradients; the sum over all of them is wanted.
                accelerator.backward(loss * (world / total))
                summed += float(loss.detach())
    return summed / max(1, int(targets))


def _groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameters in two groups: biases and normalizations are not decayed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


class Log:
    """``log.jsonl``: one line per interval, with means over the interval.

    Args:
        path: of the file.
        every: steps in an interval.
        lines: how many lines of an earlier attempt stay.
        sums: of the interval that was open then.
    """

    def __init__(self, path: Path, every: int = 20, lines: int = 0, sums: dict | None = None):
        kept = path.read_text().splitlines()[:lines] if lines else []
        path.write_text("".join(f"{line}\n" for line in kept))
        self.path = path
        self.every = every
        self.lines = len(kept)
        self.sums = sums or {"count": 0}
        self.step = 0
        self.began = time.monotonic()

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


# --- checkpoints -------------------------------------------------------------------------------


def _checkpoint(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, step: int, log: Log
) -> None:
    """Write weights, optimizer state and the place in the log, and delete older checkpoints."""
    checkpoint = folder / f"checkpoint-{step}"
    shutil.rmtree(checkpoint, ignore_errors=True)
    checkpoint.mkdir()
    weights = {name: value.detach().contiguous() for name, value in _state(model)}
    save_file(weights, checkpoint / "model.safetensors")
    moments = {}
    for name, parameter in _parameters(optimizer):
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{name}.{key}"] = value
    save_file(moments, checkpoint / "optimizer.safetensors")
    # state.json comes last and makes the checkpoint whole: a power cut must not leave it alone.
    to_disk(checkpoint)
    state = {"step": step, "lines": log.lines, "sums": log.sums}
    (checkpoint / "state.json").write_text(json.dumps(state))
    for other in folder.glob("checkpoint-*"):
        if other != checkpoint:
            shutil.rmtree(other)


def _resume(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> tuple[int, Log]:
    """Put the last whole checkpoint back, if there is one; return the step to go on with."""
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda c: -int(c.name.split("-")[1]))
    for checkpoint in checkpoints:
        try:
            state = json.loads((checkpoint / "state.json").read_text())
            weights = load_file(checkpoint / "model.safetensors")
            moments = load_file(checkpoint / "optimizer.safetensors")
            break
        except (OSError, ValueError, SafetensorError):
            continue  # it was being written, or is damaged
    else:
        return 0, Log(folder / "log.jsonl")
    with torch.no_grad():
        for name, value in _state(model):
            value.copy_(weights[name])
    states: dict[str, dict[str, Tensor]] = {}
    for key, value in moments.items():
        name, _, part = key.rpartition(".")
        states.setdefault(name, {})[part] = value
    for name, parameter in _parameters(optimizer):
        if name in states:
            optimizer.state[parameter] = {
                part: value.to(parameter.device) for part, value in states[name].items()
            }
    return state["step"], Log(folder / "log.jsonl", lines=state["lines"], sums=state["sums"])


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """The parameters of an optimizer, named by their group and place."""
    for g, group in enumerate(optimizer.param_groups):
        for p, parameter in enumerate(group["params"]):
            yield f"{g}.{p}", parameter


def _state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What training changes: weights, and what a module keeps of earlier steps.

    Buffers that are the same in every step, such as positions, may share memory or be views.
    """
    yield from model.named_parameters()
    for name, buffer in model.named_buffers():
        owner, _, attribute = name.rpartition(".")
        if attribute not in model.get_submodule(owner)._non_persistent_buffers_set:
            yield name, buffer
