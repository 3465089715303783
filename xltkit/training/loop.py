"""The training loop of all phases, with ``loss = objective(model, batch)``."""

import json
import math
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, recursively_apply, send_to_device
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW

from xltkit.files import flush, read
from xltkit.keys import derive
from xltkit.models import device
from xltkit.progress import track
from xltkit.training.supervised import Batch, Supervised

MAX_NORM = 1.0  # of the gradient; a larger one is scaled down
UNREAD = 16  # steps whose losses stay on the device, since reading them waits for it


FLAT = 0.99  # a loss above this share of the first losses has not fallen
NOT_FALLING = (
    "{}: in {} of {} steps the loss has not fallen ({:.3f}, then {:.3f}) at learning rate {:.2g}. "
    "Compare other rates on the source language: xlt.sweep(base, task, [{:.2g}, {:.2g}, {:.2g}])."
)
DIVERGED = (
    "{}: the loss is {loss} and the gradient norm {norm} at step {step} of {}, at learning rate "
    "{rate:.2g}. Lower learning_rate or raise warmup; XLTKIT_PRECISION=no trains in fp32."
)


class Diverged(RuntimeError):
    """The loss or the gradient is no longer finite."""


def learning_rate(phase: Any, step: int) -> float:
    """The learning rate of a step: linear warm-up to the peak, then linear decay to 0."""
    warm = phase.warmup * phase.steps
    rising = (step + 1) / warm if warm else 1.0
    falling = (phase.steps - step) / max(1.0, phase.steps - warm)
    return phase.learning_rate * min(1.0, rising, falling)


def train(
    model: nn.Module,
    objective: Supervised,
    folder: Path,
    *,
    title: str = "training",
    on_step: Callable[[], None] | None = None,
) -> nn.Module:
    """Train a model in place, with the settings of the objective's phase, and return it.

    All randomness is a function of (seed, step): a run that is killed and started again resumes
    from its last checkpoint and ends with exactly the weights of an uninterrupted run on the same
    machine and thread count. ``log.jsonl`` and checkpoints are written to the folder; a kill may
    cost ``XLTKIT_CHECKPOINT_SECONDS`` of work (60, if it is not set). ``on_step`` is called after
    each step instead of showing progress; it may raise to stop.

    The model must be freshly loaded: one that was prepared before would keep its old precision.
    Raises Diverged if the loss or the gradient is not finite.
    """
    checkpoint_seconds = float(os.environ.get("XLTKIT_CHECKPOINT_SECONDS") or 60)
    phase = objective.phase

    # No weight decay for biases and normalization.
    trainable = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trainable if p.ndim > 1]
    vectors = [p for p in trainable if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": phase.weight_decay}, {"params": vectors}]
    optimizer = AdamW(groups, weight_decay=0.0, fused=True)

    # The model goes to the device, computes in bf16 where that is fast, and is wrapped if several
    # processes train it. A part of a step may be of one task and leave the heads of others without
    # a gradient, which must be allowed.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=device.precision(), kwargs_handlers=[unused])
    model = accelerator.prepare(model)
    unwrapped = accelerator.unwrap_model(model)
    model.train()
    # The running mean of the weights after the last steps, if it is asked for.
    before = phase.steps - round(phase.average * phase.steps)
    means = [torch.zeros_like(weight) for weight in trainable if before < phase.steps]

    # Every process reads the last checkpoint; only the first writes checkpoints and the log.
    start = _resume(unwrapped, optimizer, means, folder)
    is_main = accelerator.is_main_process
    path = folder / "log.jsonl"
    lines = read(path).splitlines(keepends=True) if start else []
    last_checkpoint = time.monotonic()

    with (
        (path if is_main else Path(os.devnull)).open("w", encoding="utf-8") as log,
        track(phase.steps, title, initial=start, disable=on_step is not None) as progress,
        ThreadPoolExecutor(1) as ahead,
    ):
        log.writelines(lines[:start])
        losses = [json.loads(line)["loss"] for line in lines[:start]]
        unread: list[dict[str, Any]] = []
        coming = ahead.submit(_parts, accelerator, objective, start)
        for step in range(start, phase.steps):
            rate = learning_rate(phase, step)
            for group in optimizer.param_groups:
                group["lr"] = rate

            # Forward and backward, in as many parts as memory requires. While the device works on
            # them, the next ones are collated.
            parts = coming.result()
            if step + 1 < phase.steps:
                coming = ahead.submit(_parts, accelerator, objective, step + 1)
            loss = _backward(accelerator, model, objective, parts, step)
            norm = nn.utils.clip_grad_norm_(trainable, MAX_NORM)
            optimizer.step()
            optimizer.zero_grad()
            if step >= before:
                for mean, weight in zip(means, trainable, strict=True):
                    mean.lerp_(weight.detach(), 1 / (step - before + 1))
            unread.append({"step": step + 1, "loss": loss, "rate": rate, "norm": norm})
            progress.update()
            if on_step is not None:
                on_step()

            # By the clock, not by steps: a kill costs the same time with any model.
            is_due = is_main and time.monotonic() - last_checkpoint > checkpoint_seconds
            if is_due or len(unread) == UNREAD or step + 1 == phase.steps:
                for line in unread:
                    line |= {"loss": float(line["loss"]), "norm": float(line["norm"])}
                    if not math.isfinite(line["loss"]) or not math.isfinite(line["norm"]):
                        raise Diverged(DIVERGED.format(title, phase.steps, **line))
                    log.write(json.dumps(line) + "\n")
                    losses.append(line["loss"])
                # After a fifth of the steps, while it can still be fixed, and at the end.
                for mark in (phase.steps // 5, phase.steps):
                    if len(losses) - len(unread) < mark <= len(losses):
                        _warn_if_flat(losses[:mark], objective, title)
                progress.set_postfix(loss=line["loss"], rate=rate, refresh=False)
                unread.clear()
            # Only after all losses were finite: every checkpoint can be resumed from.
            if is_due:
                log.flush()
                _checkpoint(unwrapped, optimizer, means, folder, step + 1)
                last_checkpoint = time.monotonic()

    if means:
        for mean, weight in zip(means, trainable, strict=True):
            weight.detach().copy_(mean)
    if is_main:
        for checkpoint in folder.glob("checkpoint*.safetensors"):
            checkpoint.unlink()
    return unwrapped


def _warn_if_flat(losses: list[float], objective: Supervised, title: str) -> None:
    """Warn if the loss is still where it was in the first steps, and say what to try.

    Not for several tasks, whose losses differ in size, and not for the microworld, whose tasks are
    learned late and suddenly, in the steps they are given.
    """
    phase = objective.phase
    few = phase.steps // 20  # a mean over this many steps is stable enough
    is_one = len({task.name for task in objective.tasks}) == 1
    if few < 5 or not is_one or objective.tasks[0].train.is_generated:
        return
    first = fmean(losses[:few])
    last = fmean(losses[-few:])
    if last > FLAT * first:
        rate = phase.learning_rate
        about = (title, len(losses), phase.steps, first, last, rate, rate / 5, rate, 5 * rate)
        warnings.warn(NOT_FALLING.format(*about), stacklevel=3)


def _parts(accelerator: Accelerator, objective: Supervised, step: int) -> list[Batch]:
    """The batches of this process in a step, in pinned memory if it has a GPU."""
    world = accelerator.num_processes
    # Each process takes every world-th part of the same step.
    parts = objective.batches(step, objective.phase.accumulation * world)
    parts = parts[accelerator.process_index :: world]
    if accelerator.device.type == "cuda":
        return recursively_apply(Tensor.pin_memory, parts)
    return parts


def _backward(
    accelerator: Accelerator, model: nn.Module, objective: Supervised, parts: list[Batch], step: int
) -> Tensor:
    """Compute the gradients of one step; return the mean loss over this process's targets."""
    world = accelerator.num_processes
    # The loss of each part is divided by the targets of the whole step, on all processes: a mean of
    # the parts' means would give more weight to targets in short parts.
    own = total = sum(part.targets for part in parts)
    if world > 1:
        total = int(accelerator.reduce(torch.tensor(own, device=accelerator.device), "sum"))
    summed = torch.zeros((), device=accelerator.device)
    for i, part in enumerate(parts):
        # Dropout is a function of seed, step and part: a resumed run draws the same masks.
        number = i * world + accelerator.process_index
        device.seed(derive(objective.seed, "step", step, number))
        part = send_to_device(part, accelerator.device, non_blocking=True)
        # Gradients are exchanged between processes only after the last part.
        sync = accelerator.no_sync(model) if i < len(parts) - 1 else nullcontext()
        with accelerator.autocast(), sync:
            losses = objective(model, part)
            for loss in (losses,) if isinstance(losses, Tensor) else losses:
                # Processes average their gradients, but the sum over all of them is needed.
                (loss * (world / max(1, total))).backward()
                summed += loss.detach()
    return summed / max(1, own)


def _checkpoint(
    model: nn.Module, optimizer: AdamW, means: list[Tensor], folder: Path, step: int
) -> None:
    """Write everything needed to resume training to one file, and delete older ones."""
    # Tied weights have several names and are written once; frozen ones are where they were read
    # from.
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    states = {name: value for name, value in model.state_dict().items() if name not in frozen}
    weights = {value.data_ptr(): (name, value) for name, value in states.items()}
    tensors = {f"model/{name}": value.contiguous() for name, value in weights.values()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value for name, value in state.items()}
    tensors |= {f"mean/{number}": value for number, value in enumerate(means)}
    older = list(folder.glob("checkpoint-*.safetensors"))
    # A file with its final name is complete, even after a kill or a power cut.
    partial = folder / "checkpoint.safetensors"
    save_file(tensors, partial)
    flush(partial)
    os.replace(partial, folder / f"checkpoint-{step}.safetensors")
    flush(folder)
    for path in older:
        path.unlink()


def _resume(model: nn.Module, optimizer: AdamW, means: list[Tensor], folder: Path) -> int:
    """Restore the last checkpoint, if there is one; return the step to resume from."""
    paths = folder.glob("checkpoint-*.safetensors")
    checkpoints = {int(path.stem.split("-")[1]): path for path in paths}
    if not checkpoints:
        return 0
    step = max(checkpoints)
    weights: dict[str, Tensor] = {}
    states: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in load_file(checkpoints[step]).items():
        owner, _, name = key.partition("/")
        if owner == "model":
            weights[name] = value
        elif owner == "mean":
            means[int(name)].copy_(value)
        else:
            number, _, name = name.partition("/")
            states[int(number)][name] = value
    model.load_state_dict(weights, strict=False)
    optimizer.load_state_dict(optimizer.state_dict() | {"state": dict(states)})
    return step
