"""How long stages take: the work they do, and how fast like stages were before.

The work of a stage is the number of operations of its encoder: 2 for each weight and token of a
forward pass, 4 of a backward pass (Kaplan et al. 2020, section 2.1), and those of attention.
Seconds are ``start + work / speed``, fitted to the records of the stages most like it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from transformers import AutoConfig, AutoModel

from xltkit import data, models, runtime
from xltkit.places import MissingData
from xltkit.provenance import root
from xltkit.sizes import CONFIGS, GUESS, SIZES
from xltkit.store import Store
from xltkit.tasks import get

SHIPPED = Path(__file__).parent / "rates.json"
# Nobody has measured a GPU yet: 30 % of what an A100 can do in bf16 (312 TFLOP/s, its data sheet),
# and of each step a part that does not shrink with the batch: to start the kernels of a layer.
ASSUMED = {
    "device": "one GPU, an A100 at 30 % of 312 TFLOP/s bf16, and 4 ms for each step and layer",
    "flops": 0.3 * 312e12,
    "step": 0.004,
}
ENOUGH = 20  # records of like threads, before those of other numbers are left aside
TINY = 10  # steps, or items a language: a smoke run's stage is all start, and tells no speed
SAMPLE = 32  # rows that are encoded to learn how long rows are
PARTS = ("tasks", "text", "pairs", "captions", "texts")  # fields of phases that hold portions
MEASURED, ELSEWHERE, GUESSED = "measured here", "measured elsewhere", "assumed"


class Network(NamedTuple):
    """How large an encoder is: all weights, those that every token passes, layers and width."""

    weights: int
    active: int
    depth: int
    width: int


@lru_cache(maxsize=64)
def network(encoder: str) -> Network | None:
    """The size of an encoder, from its configuration alone; None if that cannot be had."""
    try:
        where, revision = models.locate(encoder)
        known = dict(CONFIGS.get(where, {}))
        if known:
            config = AutoConfig.for_model(known.pop("model_type"), **known)
        else:
            config = AutoConfig.from_pretrained(where, **models.pin(revision))
        with torch.device("meta"):
            made = AutoModel.from_config(config)
    except (OSError, ValueError):
        return None
    made.pooler = None
    weights = sum(p.numel() for p in made.parameters())
    tables = sum(p.numel() for n, p in made.named_parameters() if "_embeddings." in n)
    shape = (getattr(config, name, 0) for name in ("num_hidden_layers", "hidden_size"))
    return Network(weights, weights - tables, *shape)


@lru_cache(maxsize=512)
def tokens(task: str, language: str, split: str, encoder: str) -> float:
    """Tokens of a row with all its texts, by a sample; a guess (``SIZES``) if that is not here."""
    try:
        if models.locate(encoder)[1] is not None:
            raise MissingData("a plan looks for no tokenizer on the Hub")
        tokenizer = models.load_tokenizer(encoder)
        rows = data.load(get(task), split, language, SAMPLE)
    except (MissingData, ValueError):
        return float(SIZES.get(task, GUESS).tokens)
    rows = rows.select(range(min(SAMPLE, len(rows))))
    columns = [c for c in rows.column_names if c not in ("id", "image", "answers", "keys")]
    texts = [text for column in columns for value in rows[column][:] for text in _texts(value)]
    return sum(map(len, tokenizer(texts)["input_ids"])) / len(rows) if texts else 0.0


def _texts(value: Any) -> list[str]:
    """The texts in a value of a row: one, several, or words that make one up."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        return []
    return value if " " in "".join(value) else [" ".join(value)]


def portions(signature: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a stage reads: task and language of each part; of an evaluation one language."""
    if "task" in signature:
        code = signature.get("language") or signature["languages"][-1]
        return [{"task": signature["task"], "language": code}]
    return [part for name in PARTS for part in signature.get(name, ())]


def _operations(signature: Mapping[str, Any], size: Network) -> float:
    """Floating-point operations of the encoder in a stage."""
    trains = signature["phase"] != "Evaluate"
    split = "train" if trains else signature["split"]
    parts = portions(signature)
    lengths = [tokens(p["task"], p["language"], split, signature["encoder"]) for p in parts]
    length = float(np.mean(lengths))
    if trains:
        rows, passes = signature["steps"] * signature["batch_size"], 3
    else:
        rows, passes = _scored(signature) * len(signature["languages"]), 1
    read = min(length, signature["max_length"] or length)
    return passes * rows * length * (2.0 * size.active + 4.0 * size.depth * size.width * read)


def _scored(signature: Mapping[str, Any]) -> int:
    """Rows scored in one language."""
    task, asked = get(signature["task"]), signature["examples"]
    if getattr(task, signature["split"]).hub == "microworld":
        from xltkit.microworld.tasks import SIZES as generated

        return asked or generated[signature["split"]]
    known = SIZES.get(task.name, GUESS).test or GUESS.test
    return min(asked or known, known)


def way(signature: Mapping[str, Any], whole: bool = True) -> str:
    """How a stage is trained or scored, if not plainly; ``whole`` adds all options."""
    found = {n: signature[n] for n in ("robust", "align", "attack", "smoothing", "mixed", "sweep")
             if signature.get(n)}  # fmt: skip
    found |= {"against": 1} if signature.get("against", "image") != "image" else {}
    if not found:
        return "plain"
    if whole:
        return json.dumps({n: _settings(v) for n, v in found.items()}, sort_keys=True)
    return "+".join(v["method"] if isinstance(v, dict) else n for n, v in found.items())


def _settings(value: Any) -> Any:
    """Options that change the cost: how strong a change is does not."""
    dropped = ("radius", "seed", "source", "version", "english_only", "pairs")
    return {k: v for k, v in value.items() if k not in dropped} if isinstance(value, dict) else 1


class Work(NamedTuple):
    """What a stage has to do, and what it is like.

    ``flops`` of its encoder, and its ``weights``; ``layers`` passed in all steps of training;
    ``likes``, the groups of like stages it belongs to, from near to far; ``phase`` and ``way``.
    """

    flops: float
    layers: int
    likes: tuple[str, ...]
    phase: str
    way: str
    weights: int


def work(signature: Mapping[str, Any]) -> Work | None:
    """What a stage with this signature has to do; None if the size of its encoder is unknown."""
    size = network(signature["encoder"])
    if size is None:
        return None
    phase, ways = signature["phase"], way(signature, whole=False)
    names = sorted({p["task"] for p in portions(signature)})
    kinds = sorted({get(name).kind for name in names})
    near = (
        (phase, "+".join(names), way(signature)),
        (phase, f"all {'+'.join(kinds)}", ways),
        (phase, ways),
        ("Evaluate" if phase == "Evaluate" else "train",),
    )
    likes = tuple(" | ".join((*parts, f"{size.active / 1e6:.1f}M")) for parts in near)
    layers = signature.get("steps", 0) * size.depth
    return Work(_operations(signature, size), layers, likes, phase, ways, size.weights)


class Estimate(NamedTuple):
    """Seconds that a stage takes (None: nobody knows), where they come from, and on what."""

    seconds: float | None
    basis: str
    accelerator: bool = False


class Fit(NamedTuple):
    """Seconds of a group of like stages: ``start + work * per_work``, from so many records."""

    start: float
    per_work: float
    records: int


def fit(points: Sequence[tuple[float, float]], start: float = 0.0) -> Fit:
    """The line through (work, seconds) with the least relative error, neither part negative.

    It is then stretched until it gives the right total: a few stages that took long because the
    machine was busy would otherwise be missing from every sum.

    Args:
        points: of like stages.
        start: seconds that do not grow with the work, if the works are too equal to tell.
    """
    works, seconds = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    begin, slope = min(start, 0.9 * float(np.median(seconds))), 0.0
    if works.max() > 1.5 * works.min() > 0:
        design = np.stack([1 / seconds, works / works.mean() / seconds], axis=1)
        (free, slope), _ = nnls(design, np.ones(len(seconds)))
        begin, slope = (free, slope / works.mean()) if slope else (begin, 0.0)
    slope = slope or float(np.median((seconds - begin) / np.maximum(works, 1.0)))
    stretch = seconds.sum() / (begin + slope * works).sum()
    return Fit(float(begin * stretch), float(slope * stretch), len(points))


def fits(records: Iterable[Mapping[str, Any]]) -> dict[str, Fit]:
    """A fit for every group of like stages among records of a store, without ``TINY`` ones."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in records:
        signature, seconds = record["signature"], record["cost"]["wall_s"]
        if 0 < signature.get("steps", signature.get("examples", 0)) <= TINY:
            continue
        try:
            done = work(signature)
        except (ValueError, KeyError, AttributeError):  # a task that this session does not know
            continue
        for name in done.likes if done else ():
            points[name].append((done.flops, seconds))
    far = {name: fit(of) for name, of in points.items() if name.count(" | ") == 1}
    begins = {name.split(" | ")[0]: f.start for name, f in far.items()}
    return far | {
        name: fit(of, begins["Evaluate" if name.startswith("Evaluate") else "train"])
        for name, of in points.items()
        if name not in far
    }


@dataclass(frozen=True)
class Rates:
    """What is known of the speed of this machine, of the one the kit was made on, and of GPUs."""

    here: Mapping[str, Fit]
    elsewhere: Mapping[str, Fit]
    accelerator: Mapping[str, Any]

    def estimate(self, done: Work | None) -> Estimate:
        """How long a stage takes: as like stages of this machine, of another, or by its work."""
        if done is None:
            return Estimate(None, "unknown")
        *near, far = done.likes
        tables = ((self.here, MEASURED), (self.elsewhere, ELSEWHERE))
        for known, basis in tables:
            for name in (n for n in near if n in known):
                return Estimate(known[name].start + known[name].per_work * done.flops, basis)
        slower = self.slowness(done)
        for known, basis in (t for t in tables if far in t[0]):
            return Estimate(known[far].start + known[far].per_work * done.flops * slower, basis)
        basis = GUESSED if self.accelerator is ASSUMED else MEASURED
        seconds = done.flops / self.accelerator["flops"] + done.layers * self.accelerator["step"]
        return Estimate(seconds * slower, basis, accelerator=True)

    def slowness(self, done: Work) -> float:
        """How much longer a way of training or scoring takes than the plain one, on any encoder."""
        for known in (self.here, self.elsewhere):
            middle = [[*name.split(" | "), of.per_work] for name, of in known.items()]
            slopes = {(n[0], n[1]): n[3] for n in middle if len(n) == 4}
            plain = slopes.get((done.phase, "plain"))
            if plain and (done.phase, done.way) in slopes:
                return max(1.0, slopes[done.phase, done.way] / plain)
        return 1.0


def accelerator() -> Mapping[str, Any]:
    """The GPU that was measured here, or the one that is assumed."""
    own = root() / "outputs" / "rates.json"
    return json.loads(own.read_text()) if own.is_file() else ASSUMED


def rates(store: Store, workers: int = 1) -> Rates:
    """The rates that plans use: of the store's own records, of the kit's, and of a GPU.

    The last are in ``outputs/rates.json`` once ``benchmarks/rates.py`` has measured them. Records
    count if made on a device of this sort; if enough are, those with a worker's number of threads.
    """
    threads = max(1, torch.get_num_threads() // workers)
    records = [r for r in store.records() if r["cost"]["device"] == str(runtime.device())]
    same = [r for r in records if r["cost"]["threads"] == threads]
    table = json.loads(SHIPPED.read_text()) if SHIPPED.is_file() else {}
    elsewhere = {name: Fit(*values) for name, values in table.get("fits", {}).items()}
    return Rates(fits(same if len(same) >= ENOUGH else records), elsewhere, accelerator())
