"""Making a stage: training a phase or predicting a test set, into a folder of the store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import cache, lru_cache, partial
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
from xltkit.tasks import Task, TrainingSet, get
from xltkit.tasks.base import EncodedExample, Head
from xltkit.tasks.captions import as_text
from xltkit.tasks.labels import TYPES
from xltkit.tasks.rows import state, training_rows
from xltkit.training import align
from xltkit.training.batches import Plan
from xltkit.training.contrast import Contrast, Distillation, joint_head
from xltkit.training.loop import Batch, Objective, Schedule, train
from xltkit.training.phases import Evaluate, Intermediate, Phase, Pretrain, nameless, signature
from xltkit.training.phases_images import Distil, ImageText
from xltkit.training.robust import Robust
from xltkit.training.supervised import Encoded, Supervised

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
            "steps": getattr(stage.phase, "steps", 0),
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


@lru_cache(maxsize=64)
def _encoded(
    training_set: TrainingSet, now: str, kind: str, max_length: int, tokenizer_at: str,
    robust: Robust | None,
) -> list[EncodedExample]:  # fmt: skip
    """Encoding a data set once serves every stage of a process that trains on it."""
    task = get(training_set.task)
    tokenizer = models.load_tokenizer(tokenizer_at)
    limit = min(max_length, tokenizer.model_max_length)
    rows = training_rows(training_set)
    rows = robust.augment(task, rows) if robust else rows
    rows = as_text(rows) if kind in ("text", "lessons") else rows
    return TYPES[kind].encode(task, rows, tokenizer, limit, training=True)


def _encoded_rows(stage: Stage) -> list[Encoded]:
    """The training rows of a stage; only text that a phase mixes in is never augmented."""
    phase, robust = stage.phase, getattr(stage.phase, "robust", None)
    encoded = []
    for training_set in phase.training_sets:
        task = replace(get(training_set.task), kind=phase.trained_as(training_set))
        changed = robust if robust and robust.augments and task.kind != "text" else None
        about = (task.kind, phase.max_length, stage.encoder, changed)
        features = _encoded(training_set, state(training_set), *about)
        encoded.append(Encoded(task, features))
    return encoded


def _plain(phase: Phase, about: tuple[Any, ...], store: Path) -> Supervised:
    """The losses of a phase, before anything makes them robust."""
    if isinstance(phase, ImageText | Distil):
        rows = [training_rows(p) for p in phase.training_sets]
        objective = Contrast if isinstance(phase, ImageText) else Distillation
        return objective(*about, phase=phase, rows=rows, store=store)
    rate = phase.mask_rate if isinstance(phase, Pretrain | Intermediate) else 0.15
    return Supervised(*about, rate)


def _objective(
    phase: Phase, plain: Supervised, pairs: dict[str, align.Sides], seed: int
) -> tuple[Objective, Any]:
    """What a phase optimises, and its batches: the plain losses, made robust, aligned."""
    robust, way = getattr(phase, "robust", None), getattr(phase, "align", None)

    def objective(model: torch.nn.Module, batch: Batch) -> Any:
        """Text that a phase mixes in is trained plainly."""
        is_task = plain.kind(batch).name != "text"
        return robust.losses(plain, model, batch) if robust and is_task else plain(model, batch)

    if way is None or way.method != "joint":
        return objective, plain.batches
    collate = partial(TYPES["text"].collate, tokenizer=plain.tokenizer, training=False)
    head = phase.training_sets[0].task
    joint = align.Joint(objective, plain.batches, list(pairs.values()), collate, head, way, seed)
    return joint, joint.batches


def _train(stage: Stage, start: str, folder: Path, options: dict[str, Any]) -> None:
    phase = stage.phase
    # The seed of a phase depends neither on what came before nor on robust training: arms that
    # share a phase share its heads, its order and its dropout, and so differ in nothing else.
    seed = derive(stage.seed, digest(nameless(signature(phase.plain))))
    # The tokenizer never changes along a recipe, so it is read where the recipe starts.
    tokenizer = models.load_tokenizer(stage.encoder)
    encoded = _encoded_rows(stage)
    sizes = [len(training_rows(p)) for p in phase.training_sets]
    lengths = [[len(f) for f in e.features] for e in encoded]
    plan = Plan(lengths, phase.weights(sizes), phase.steps, phase.batch_size, seed)
    plain = _plain(phase, (encoded, plan, tokenizer, seed), folder.parent)
    way = getattr(phase, "align", None)
    pairs = (
        {p.language: align.sides(p, tokenizer, phase.max_length) for p in way.pairs} if way else {}
    )
    objective, batches = _objective(phase, plain, pairs, seed)
    torch.manual_seed(derive(seed, "heads"))
    # The backward pass of fused attention on a CPU is slower than plain attention on short
    # sequences: 30 ms against 3 for a layer at 64 sequences of 44 tokens, measured.
    short = device.device().type == "cpu" and phase.max_length <= 128
    scratch = isinstance(phase, Pretrain) and phase.scratch
    attention = "eager" if short else ""
    model = models.Model(start, plain.heads(), phase.pooling, attention, scratch)
    plain.prepare(model)
    schedule = Schedule(
        phase.steps, phase.learning_rate, phase.warmup, phase.weight_decay, phase.accumulation
    )
    about = {"seed": seed, "folder": folder, "title": stage.title} | options
    trained = train(model, objective, batches, schedule, **about)
    if in_group() and not PartialState().is_main_process:
        return
    save_encoder(trained, tokenizer, folder)
    if way and way.method == "rotation":
        align.save(align.rotations(trained, pairs, tokenizer), folder)


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
