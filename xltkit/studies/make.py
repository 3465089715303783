"""Making a stage: training a phase or predicting a test set, into a folder of the store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from safetensors.torch import load_file

from xltkit.data import loading as data
from xltkit.evaluation import mixed_pairs as mixed
from xltkit.evaluation.attacked import attacked
from xltkit.evaluation.captions import search, tower_for
from xltkit.evaluation.predict import predict
from xltkit.evaluation.retrieval import mine, rank
from xltkit.files import commit, versions
from xltkit.keys import derive, digest
from xltkit.models import device
from xltkit.models import encoder as models
from xltkit.models.encoder import HEADS, load_heads, save_encoder
from xltkit.studies.stages import Stage
from xltkit.studies.store import Store
from xltkit.tasks import Task, get
from xltkit.tasks.base import Head
from xltkit.tasks.labels import TYPES
from xltkit.tasks.rows import training_rows
from xltkit.training import align
from xltkit.training.batches import Plan
from xltkit.training.contrast import joint_head
from xltkit.training.loop import Schedule, train
from xltkit.training.phases import Evaluate, signature
from xltkit.training.supervised import encode

# How long the other processes of a group wait while the first one scores, writes, or waits for a
# stage that another run is making.
PATIENCE = timedelta(days=7)


def make(stage: Stage, store: Store, **options: Any) -> Path:
    """The folder of a stage, which is made first if the store does not have it.

    Args:
        stage: of ``training_stages`` or ``evaluation_stage``; those before it are made, too.
        store: where stages are kept.
        options: passed to the loop (``checkpoint_seconds``).
    """
    if stage.parent is None:
        start = stage.encoder
    else:
        start = str(make(stage.parent, store, **options))
    is_training = not isinstance(stage.phase, Evaluate)

    def fill(folder: Path) -> dict[str, Any]:
        """Train or score into a folder; what it cost."""
        wall = time.monotonic()
        cpu = time.process_time()
        if is_training:
            _train(stage, start, folder, options)
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
            **_made_by(),
        }

    if in_group():
        return _make_in_group(stage, store, fill, is_training)
    return store.get(stage.key, stage.signature, fill)


@cache
def _made_by() -> dict[str, Any]:
    """Versions and commit that make the stages of this process; git is asked once."""
    return {"versions": versions(), "commit": commit()}


def in_group() -> bool:
    """Whether this process is one of several that ``accelerate launch`` or torchrun started."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def _make_in_group(
    stage: Stage, store: Store, fill: Callable[[Path], dict[str, Any]], is_training: bool
) -> Path:
    """The folder of a stage that the processes of a group train together.

    The first process alone uses the store: it waits for locks, writes and scores. It tells the
    others which folder to train into, and with an empty name that the stage is finished.
    """
    state = PartialState(cpu=device.device().type == "cpu", timeout=PATIENCE)
    if not state.is_main_process:
        while folder := _broadcast(""):
            fill(Path(folder))
        return store.path(stage.key)

    def fill_with_others(folder: Path) -> dict[str, Any]:
        if is_training:
            _broadcast(str(folder))
        return fill(folder)

    path = store.get(stage.key, stage.signature, fill_with_others)
    _broadcast("")
    return path


def _broadcast(text: str) -> str:
    """The text that the first process of the group sends; the others' own text is ignored."""
    return broadcast_object_list([text])[0]


def _train(stage: Stage, start: str, folder: Path, options: dict[str, Any]) -> None:
    """Train a phase from the encoder in ``start``, and write what it trained into a folder."""
    phase = stage.phase
    # The seed of a phase depends neither on what came before nor on robust training: arms that
    # share a phase share its heads, its order and its dropout, and so differ in nothing else.
    seed = derive(stage.seed, digest(signature(phase.base, with_names=False)))
    # The tokenizer never changes along a recipe, so it is read where the recipe starts.
    tokenizer = models.load_tokenizer(stage.encoder)
    training_sets = encode(phase, stage.encoder)
    sizes = [len(training_rows(training_set)) for training_set in phase.training_sets]
    lengths = [[len(example) for example in encoded.examples] for encoded in training_sets]
    plan = Plan(lengths, phase.weights(sizes), phase.steps, phase.batch_size, seed)
    objective = phase.objective(training_sets, plan, tokenizer, seed, store=folder.parent)
    torch.manual_seed(derive(seed, "heads"))
    # The backward pass of fused attention on a CPU is slower than eager attention on short
    # sequences: 30 ms against 3 for a layer at 64 sequences of 44 tokens, measured.
    is_short = device.device().type == "cpu" and phase.max_length <= 128
    attention = "eager" if is_short else ""
    model = models.Model(start, objective.heads(), phase.pooling, attention, phase.scratch)
    objective.prepare(model)
    schedule = Schedule(
        phase.steps, phase.learning_rate, phase.warmup, phase.weight_decay, phase.accumulation
    )
    options = options | {"seed": seed, "folder": folder, "title": stage.title}
    trained = train(model, objective, objective.batches, schedule, **options)
    if in_group() and not PartialState().is_main_process:
        return
    save_encoder(trained, tokenizer, folder)
    objective.finish(trained, folder)


def _evaluate(stage: Stage, start: str, folder: Path) -> None:
    task, name, model, tokenizer = reader(stage, start)
    rows = {code: test_rows(task, stage.phase, code) for code in stage.phase.languages}
    tables = _predicted(stage, task, name, model, rows, tokenizer, Path(start))
    result = folder / "result"
    result.mkdir(exist_ok=True)
    for table, what in zip(tables, ("predictions", "scores"), strict=True):
        table.to_parquet(result / f"{what}.parquet", index=False)


def reader(stage: Stage, start: str) -> tuple[Task, str, models.Model, Any]:
    """What reads the test rows of an evaluation.

    Args:
        stage: of an ``Evaluate``.
        start: the folder of what it scores: of the stage before it, or the encoder itself.

    Returns:
        The task, with the length that is read, the name of the head, the model with that head as
        it was trained, and the tokenizer.
    """
    task = get(stage.phase.task)
    task = replace(task, training=replace(task.training, max_length=stage.phase.max_length))
    kind = TYPES[task.kind]
    name, heads, pooling = "", {}, "mean"
    if not kind.frozen or kind.name == "captions":
        name, pooling = _trained_on(stage, task), stage.parent.phase.pooling
        heads = {name: _head(stage, task, Path(start))}
    model = models.Model(start, heads, pooling)
    if heads:
        load_heads(model, Path(start))
    return task, name, model, models.load_tokenizer(stage.encoder)


def _predicted(
    stage: Stage, task: Task, head: str, model: models.Model, rows: dict[str, Dataset],
    tokenizer: Any, start: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Predictions and scores by the way that the phase asks for; ``start`` has what was trained."""
    store, turns = start.parent, align.load(start)
    phase, kind = stage.phase, TYPES[task.kind]
    also = f"{kind.also_reads}/"
    codes = [key.removeprefix(also) for key, _ in stage.data if key.startswith(also)]
    beside = {c: data.load(task, kind.also_reads, c, phase.examples) for c in codes}
    if phase.attack:
        return attacked(model, task, head, rows, tokenizer, phase.attack)
    if kind.name == "ranking":
        return rank(model, task, head, rows, beside, tokenizer)
    if kind.name == "captions":
        tower = tower_for(stage.parent.phase, start)
        return search(model, task, head, rows, tokenizer, tower, store)
    if kind.name == "mining":
        return mine(model, task, rows, beside, tokenizer, layer=phase.layer)
    predicting = partial(
        predict, model, task, head, tokenizer=tokenizer, layer=phase.layer, sweep=phase.sweep,
        smoothing=phase.smoothing,
    )  # fmt: skip
    if phase.mixed:
        return mixed.predict(predicting, task, rows)
    if not turns:
        return predicting(rows)
    both = []
    for code, own in rows.items():
        with model.rotated(turns[code]) if code in turns else nullcontext():
            both.append(predicting({code: own}))
    return tuple(pd.concat(tables, ignore_index=True) for tables in zip(*both, strict=True))


def _trained_on(stage: Stage, task: Task) -> str:
    """The name of the head to read: an untrained head would score chance and look like a result."""
    trained = get(stage.parent.phase.training_sets[0].task)
    if task.kind == "captions":
        return trained.name
    if trained.kind != task.kind or trained.labels != task.labels:
        raise ValueError(
            f"{task.name} ({task.kind}, labels {task.labels}) cannot be predicted by a head "
            f"trained on {trained.name} ({trained.kind}, labels {trained.labels})."
        )
    return trained.name


def _head(stage: Stage, task: Task, start: Path) -> Head:
    """The head that a stage is scored with; of one with pictures as wide as it was trained."""
    if task.kind != "captions":
        return TYPES[task.kind].head(task)
    weights = load_file(start / HEADS)
    (width,) = (len(bias) for name, bias in weights.items() if name.endswith(".text.bias"))
    return joint_head(stage.parent.phase, width)


def test_rows(task: Task, phase: Evaluate, code: str) -> Dataset:
    """The test rows of a language, as many as the phase scores."""
    rows = data.load(task, phase.split, code, phase.examples)
    return rows.select(range(min(phase.examples or len(rows), len(rows))))
