"""Stages: one phase of one recipe with one seed, trained or evaluated, and kept in the store."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from xltkit import data, models, runtime
from xltkit.evaluation.predict import predict
from xltkit.evaluation.search import mine, rank
from xltkit.keys import derive, digest
from xltkit.recipe import Evaluate, Intermediate, Phase, Pretrain, Recipe, signature
from xltkit.store import Store
from xltkit.tasks import Portion, Source, Task, get
from xltkit.tasks.kind import Feature
from xltkit.tasks.kinds import KINDS
from xltkit.training.batches import Plan
from xltkit.training.loop import Schedule, train
from xltkit.training.rows import source_of, state, training_rows
from xltkit.training.supervised import Encoded, Supervised


@dataclass(frozen=True)
class Stage:
    """A node of the graph of a study.

    ``key`` is a hash of the parent's key, the phase with every default resolved, the seed and
    the fingerprints of the data. Stages with equal keys are the same stage.
    """

    phase: Phase | Evaluate
    seed: int
    encoder: str
    parent: Stage | None
    data: tuple[tuple[str, str], ...]

    @cached_property
    def key(self) -> str:
        """The name of the stage in the store; what an encoder's folder is called plays no part."""
        return digest({k: v for k, v in self.signature.items() if k != "encoder"})

    @property
    def signature(self) -> dict[str, Any]:
        """What the key is a hash of, readable, and the name the encoder was given by."""
        return {
            "encoder": self.encoder,
            "parent": self.parent.key if self.parent else models.fingerprint(self.encoder),
            "seed": self.seed,
            "data": dict(self.data),
            **signature(self.phase),
        }

    @property
    def title(self) -> str:
        """The stage in a few words, for people."""
        if isinstance(self.phase, Evaluate):
            return f"evaluate {self.phase.task} (seed {self.seed})"
        tasks = "+".join(dict.fromkeys(p.task for p in self.phase.portions))
        count = len({p.language for p in self.phase.portions})
        where = f" in {count} languages" if count > 1 else ""
        return f"{type(self.phase).__name__.lower()} {tasks}{where} (seed {self.seed})"


def training_stages(recipe: Recipe, seed: int) -> list[Stage]:
    """The stages that train a recipe, first to last, with every default resolved.

    Raises:
        MissingData: if training rows are not to be had; nothing has been trained then.
    """
    stages: list[Stage] = []
    for phase in recipe.phases:
        sizes = [len(training_rows(p)) for p in phase.portions]
        fingerprints = {
            f"{p.task}/{p.language}": data.fingerprint(source_of(get(p.task), "train"), p.language)
            for p in phase.portions
        }
        parent = stages[-1] if stages else None
        known = tuple(sorted(fingerprints.items()))
        stages.append(Stage(phase.resolved(sizes), seed, recipe.encoder, parent, known))
    return stages


def evaluation_stage(recipe: Recipe, seed: int, parent: Stage | None, phase: Evaluate) -> Stage:
    """The stage that scores a recipe on a task.

    Without any training before it the seed plays no part: all seeds share one stage.
    """
    task = get(phase.task)
    source = source_of(task, phase.split)
    if phase.split == KINDS[task.kind].also_reads:
        raise ValueError(
            f"{task.name} chooses its threshold on the {phase.split} split; score another one."
        )
    phase = replace(
        phase,
        max_length=phase.max_length or task.budget.max_length,
        # The pairs of a part of two collections are other pairs.
        examples=0 if task.kind == "mining" else phase.examples,
    )
    _assert_unseen(phase, source, recipe)
    fingerprints = {code: data.fingerprint(source, code) for code in phase.languages}
    fingerprints |= _also_read(get(phase.task), phase)
    known = tuple(sorted(fingerprints.items()))
    return Stage(phase, seed if parent else 0, recipe.encoder, parent, known)


def _also_read(task: Task, phase: Evaluate) -> dict[str, str]:
    """Fingerprints of what is read beside the tested split: all candidates, or the languages'."""
    split = KINDS[task.kind].also_reads
    if not split:
        return {}
    codes = None if split == "candidates" else phase.languages
    present, absent = data.available(task, split, codes)
    if (codes is not None and absent) or not present:
        data.load(task, split, absent[0])  # raises the error that says how to get it
    return {f"{split}/{c}": data.fingerprint(source_of(task, split), c) for c in present}


def _assert_unseen(phase: Evaluate, tested: Source, recipe: Recipe) -> None:
    """Refuse to train on the split that is tested, unless the task itself divides it."""
    for portion in (p for trained in recipe.phases for p in trained.portions):
        trained = get(portion.task).train
        if trained is None or tested.hub == "microworld":
            continue
        both = _splits(trained) & _splits(tested)
        own = get(phase.task).train
        # A task that divides one split has two readers, and trains on what it does not test.
        divided = own is not None and trained.read is own.read and trained.read is not tested.read
        if both and not divided:
            hub, split = min(both)
            raise ValueError(
                f"{phase.task} is tested on rows that {portion.task} trains on ({hub}, {split}). "
                f"Train on {phase.task!r}, or test on another task."
            )


def _splits(source: Source) -> set[tuple[str, str]]:
    """The splits that a source reads, those joined to its rows or contained in them too."""
    read = [p for part in source.parts for p in (part, *part.holds, *data.joined(part))]
    return {(part.hub, split) for part in read for split in part.split.split("+")}


def make(stage: Stage, store: Store, **options: Any) -> Path:
    """The folder of a stage; it and the stages before it are trained if they are not there.

    Args:
        stage: of ``training_stages`` or ``evaluation_stage``.
        store: where stages are kept.
        options: passed to the loop (``checkpoint_seconds``).
    """
    start = stage.encoder
    if stage.parent is not None:
        start = str(make(stage.parent, store, **options))

    def fill(folder: Path) -> dict[str, Any]:
        wall, cpu = time.monotonic(), time.process_time()
        if isinstance(stage.phase, Evaluate):
            _evaluate(stage, start, folder)
        else:
            _train(stage, start, folder, options)
        return {
            "wall_s": time.monotonic() - wall,
            "cpu_s": time.process_time() - cpu,
            "steps": getattr(stage.phase, "steps", 0),
            "device": str(runtime.device()),
            "dtype": "bf16" if runtime.precision() == "bf16" else "fp32",
            "threads": torch.get_num_threads(),
            "peak_gib": runtime.peak_gib(),
        }

    return store.get(stage.key, stage.signature, fill)


@lru_cache(maxsize=64)
def _encoded(portion: Portion, now: str, max_length: int, tokenizer_at: str) -> list[Feature]:
    """Encoding a data set once serves every stage of a process that trains on it."""
    task = get(portion.task)
    tokenizer = models.load_tokenizer(tokenizer_at)
    limit = min(max_length, tokenizer.model_max_length)
    return KINDS[task.kind].encode(task, training_rows(portion), tokenizer, limit, training=True)


def _train(stage: Stage, start: str, folder: Path, options: dict[str, Any]) -> None:
    phase = stage.phase
    # The seed of a phase does not depend on what came before it: arms that share a phase share
    # its heads, its order and its dropout, and so differ in nothing else.
    seed = derive(stage.seed, digest(signature(phase)))
    # The tokenizer never changes along a recipe, so it is read where the recipe starts.
    tokenizer = models.load_tokenizer(stage.encoder)
    encoded = [
        Encoded(get(p.task), _encoded(p, state(p), phase.max_length, stage.encoder))
        for p in phase.portions
    ]
    sizes = [len(training_rows(p)) for p in phase.portions]
    lengths = [[len(f) for f in e.features] for e in encoded]
    plan = Plan(lengths, phase.weights(sizes), phase.steps, phase.batch_size, seed)
    rate = phase.mask_rate if isinstance(phase, Pretrain | Intermediate) else 0.15
    objective = Supervised(encoded, plan, tokenizer, seed, rate)
    torch.manual_seed(derive(seed, "heads"))
    # The backward pass of fused attention on a CPU is slower than plain attention on short
    # sequences: 30 ms against 3 for a layer at 64 sequences of 44 tokens, measured.
    short = runtime.device().type == "cpu" and phase.max_length <= 128
    scratch = isinstance(phase, Pretrain) and phase.scratch
    attention = "eager" if short else ""
    model = models.Model(start, objective.heads(), phase.pooling, attention, scratch)
    schedule = Schedule(
        phase.steps, phase.learning_rate, phase.warmup, phase.weight_decay, phase.accumulation
    )
    trained = train(
        model,
        objective,
        objective.batches,
        schedule,
        seed=seed,
        folder=folder,
        title=stage.title,
        **options,
    )
    models.save_encoder(trained, tokenizer, folder)


def _evaluate(stage: Stage, start: str, folder: Path) -> None:
    phase: Evaluate = stage.phase
    task = get(phase.task)
    task = replace(task, budget=replace(task.budget, max_length=phase.max_length))
    kind = KINDS[task.kind]
    rows = {code: _test_rows(task, phase, code) for code in phase.languages}
    name, heads, pooling = "", {}, "mean"
    if not kind.frozen:
        name, pooling = _trained_on(stage, task), stage.parent.phase.pooling
        heads = {name: kind.head(task)}
    model = models.Model(start, heads, pooling)
    if heads:
        models.load_heads(model, Path(start))
    tokenizer = models.load_tokenizer(stage.encoder)
    also = f"{kind.also_reads}/"
    codes = [key.removeprefix(also) for key, _ in stage.data if key.startswith(also)]
    beside = {c: data.load(task, kind.also_reads, c, phase.examples) for c in codes}
    if kind.name == "ranking":
        tables = rank(model, task, name, rows, beside, tokenizer)
    elif kind.name == "mining":
        tables = mine(model, task, rows, beside, tokenizer, layer=phase.layer)
    else:
        layers = {"layer": phase.layer, "sweep": phase.sweep}
        tables = predict(model, task, name, rows, tokenizer, **layers)
    result = folder / "result"
    result.mkdir(exist_ok=True)
    for table, what in zip(tables, ("predictions", "scores"), strict=True):
        table.to_parquet(result / f"{what}.parquet", index=False)


def _trained_on(stage: Stage, task: Task) -> str:
    """The name of the head to read: an untrained head would score chance and look like a result."""
    trained = get(stage.parent.phase.portions[0].task)
    if trained.kind != task.kind or trained.labels != task.labels:
        raise ValueError(
            f"{task.name} ({task.kind}, labels {task.labels}) cannot be predicted by a head "
            f"trained on {trained.name} ({trained.kind}, labels {trained.labels})."
        )
    return trained.name


def _test_rows(task: Task, phase: Evaluate, code: str) -> Dataset:
    rows = data.load(task, phase.split, code, phase.examples)
    return rows.select(range(min(phase.examples or len(rows), len(rows))))
