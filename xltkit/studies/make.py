"""Make a stage: train a phase or predict a test set, into a folder of the store."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from safetensors.torch import load_file

from xltkit.evaluation.attacked import attacked
from xltkit.evaluation.predict import predict, predict_pairs
from xltkit.files import commit, versions
from xltkit.keys import derive, digest
from xltkit.models import checkpoints, device, vision
from xltkit.models import encoder as models
from xltkit.studies.stages import Stage
from xltkit.studies.store import Store
from xltkit.tasks import Task, get, load
from xltkit.tasks.base import Head
from xltkit.training.loop import train
from xltkit.training.phases import Evaluate, signature
from xltkit.training.supervised import Supervised


@device.without_launchers()
def make(stage: Stage, store: Store, on_step: Callable[[], None] | None = None) -> Path:
    """The folder of a stage; it and the stages before it are made first if the store lacks them.

    Processes started by ``accelerate launch`` or torchrun train a stage together. Only the first
    one uses the store: it waits for locks, writes and scores. It tells the others which folder to
    train into; an empty name means that the stage is finished. ``on_step`` is the loop's.
    """
    start = str(make(stage.parent, store, on_step)) if stage.parent else stage.encoder
    is_training = not isinstance(stage.phase, Evaluate)
    group = None
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        # The others wait while the first one scores, or waits for a stage of another run.
        group = PartialState(cpu=device.device().type == "cpu", timeout=timedelta(days=7))

    is_main = not group or group.is_main_process

    def fill(folder: Path) -> dict[str, Any]:
        """Train or score into a folder; return the cost."""
        if group and is_main and is_training:
            broadcast_object_list([str(folder)])
        wall = time.monotonic()
        cpu = time.process_time()
        if is_training:
            objective, model = untrained(stage, start, folder.parent)
            trained = train(model, objective, folder, title=stage.title, on_step=on_step)
            if is_main:
                trained.save(objective.tokenizer, folder)
        else:
            _evaluate(stage, start, folder)
        return {
            "wall_s": time.monotonic() - wall,
            "cpu_s": time.process_time() - cpu,
            "steps": stage.phase.steps,
            "device": str(device.device()),
            "dtype": "bf16" if device.precision() == "bf16" else "fp32",
            "threads": torch.get_num_threads(),
            "peak_gib": device.peak_gib(),
            "versions": versions(),
            "commit": commit(),
        }

    if not is_main:
        while folder := broadcast_object_list([""])[0]:  # what the first process sends
            fill(Path(folder))
        return store.path(stage.key)
    path = store.get(stage.key, stage.signature(), fill)
    if group:
        broadcast_object_list([""])
    return path


def untrained(stage: Stage, start: str, store: Path) -> tuple[Supervised, models.Model]:
    """The objective of a stage, and its model before the first step; ``start`` has the encoder."""
    phase = stage.phase
    # The seed of a phase depends neither on what came before nor on robust training: arms that
    # share a phase share its new heads, its order and its dropout, and differ in nothing else.
    seed = derive(stage.seed, digest(signature(phase.base, with_names=False)))
    # The tokenizer never changes along a recipe, so it is read where the recipe starts.
    objective = phase.objective(stage.encoder, seed, store=store)
    torch.manual_seed(derive(seed, "heads"))
    model = models.Model(start, objective.heads(), phase.max_length, phase.scratch)
    if phase.keep_head:
        model.heads.load_state_dict(load_file(Path(start) / checkpoints.HEADS))
    model.freeze(phase.freeze)
    objective.prepare(model)
    return objective, model


def _evaluate(stage: Stage, start: str, folder: Path) -> None:
    """Write the predictions and scores of a stage into its folder; ``start`` has the model."""
    phase = stage.phase
    task, head, model, tokenizer = reader(stage, start)
    rows = {code: test_rows(task, phase, code) for code in phase.languages}
    # The rows of the split that the task type reads in addition to the tested one.
    prefix = f"{task.type.extra_split}/"
    codes = [name.removeprefix(prefix) for name, _ in stage.data if name.startswith(prefix)]
    extra = {code: load(task, task.type.extra_split, code, phase.examples) for code in codes}
    predicting = partial(
        predict,
        model,
        task,
        head,
        tokenizer=tokenizer,
        layer=phase.layer,
        sweep=phase.sweep,
        smoothing=phase.smoothing,
        extra=extra,
        images=_picture_vectors(stage, head, model, Path(start)),
    )
    if phase.attack:
        predictions, scores = attacked(model, task, head, rows, tokenizer, phase.attack)
    elif phase.mixed:
        predictions, scores = predict_pairs(predicting, task, rows)
    else:
        predictions, scores = predicting(rows)
    result = folder / "result"
    result.mkdir(exist_ok=True)
    predictions.to_parquet(result / "predictions.parquet", index=False)
    scores.to_parquet(result / "scores.parquet", index=False)


def reader(stage: Stage, start: str) -> tuple[Task, str, models.Model, Any]:
    """What an evaluation predicts with: task, name of the head, model and tokenizer.

    The model is the one in the folder ``start``, with its trained head.
    """
    task = get(stage.phase.task)
    task = replace(task, training=replace(task.training, max_length=stage.phase.max_length))
    tokenizer = checkpoints.load_tokenizer(stage.encoder)
    if task.type.reads_layers:
        return task, "", models.Model(start, {}, stage.phase.max_length), tokenizer
    trained = get(stage.parent.phase.training_sets[0].task)
    has_image_space = task.type.needs_image_space
    if not has_image_space and (trained.kind, trained.labels) != (task.kind, task.labels):
        # An untrained head would score at chance and look like a result.
        raise ValueError(
            f"{task.name} ({task.kind}, labels {task.labels}) cannot be predicted by a head "
            f"trained on {trained.name} ({trained.kind}, labels {trained.labels})."
        )
    weights = load_file(Path(start) / checkpoints.HEADS)
    if has_image_space:
        # Only the weights tell how wide it was trained.
        (width,) = (len(bias) for name, bias in weights.items() if name.endswith(".text.bias"))
        head = Head("joint", width, image_layer=stage.parent.phase.locked)
    else:
        head = task.type.head(task)
    model = models.Model(start, {trained.name: head}, stage.phase.max_length)
    model.heads.load_state_dict(weights)
    return task, trained.name, model, tokenizer


def test_rows(task: Task, phase: Evaluate, code: str) -> Dataset:
    """The test rows of a language, as many as the phase scores."""
    rows = load(task, phase.split, code, phase.examples)
    return rows.select(range(phase.examples)) if 0 < phase.examples < len(rows) else rows


def _picture_vectors(
    stage: Stage, head: str, model: models.Model, start: Path
) -> Callable[[Dataset], tuple[np.ndarray, np.ndarray]] | None:
    """``Forward.images``: the pictures of some rows in the space of the trained head."""
    if not get(stage.phase.task).type.needs_image_space:
        return None
    tower = stage.parent.phase.image_tower(start)

    @torch.inference_mode()
    def vectors(rows: Dataset) -> tuple[np.ndarray, np.ndarray]:
        features = vision.features(tower, rows, start.parent)
        images = model.heads[head].image(torch.from_numpy(features).float().to(device.device()))
        _, numbers = np.unique(vision.contents(rows), return_inverse=True)
        return torch.nn.functional.normalize(images, dim=-1).cpu().numpy(), numbers

    return vectors
