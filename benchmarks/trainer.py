"""The other side of the benchmark: transformers' Trainer, with everything that makes it fast.

Its pitfalls are avoided too: weights in fp32 whatever the checkpoint holds, bf16 by autocast, no
accumulation, losses that are not a number shown as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from speed import Job
from torch import Tensor, nn
from torch import set_num_threads as set_threads
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

from xltkit.models.device import device, peak_gib, precision
from xltkit.tasks import Task, TrainingSet, get, load, scorers
from xltkit.tasks.rows import training_rows

__all__ = ["evaluate", "peak_gib", "set_threads", "train"]

TOKENS = 4096  # of a batch of the stream, padding included
SINGLE_BATCH = 32  # examples in a batch where each language has a process
BEST, ANSWER_TOKENS = 20, 30  # starts and ends to combine, longest answer (run_qa.py)

logging.set_verbosity_error()
logging.disable_progress_bar()


@dataclass
class Encoded:
    """Rows as features, and what it takes to read answers from them."""

    features: list[dict[str, Any]] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    offsets: list[Sequence[tuple[int, int]]] = field(default_factory=list)
    contexts: list[tuple[int, int]] = field(default_factory=list)


def encode(
    task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool = False
) -> Encoded:
    """All rows in one call of the tokenizer, which uses all threads."""
    make = _windows if task.kind == "span" else _pairs
    return make(rows[:], tokenizer, max_length, training)


def _pairs(table: dict[str, list], tokenizer: Any, max_length: int, training: bool) -> Encoded:
    encoding = tokenizer(table["text_a"], table["text_b"], truncation=True, max_length=max_length)
    encoded = Encoded(owners=list(range(len(table["label"]))))
    for i, label in enumerate(table["label"]):
        feature = {name: encoding[name][i] for name in encoding}
        encoded.features.append(feature | ({"label": label} if training else {}))
    return encoded


def _windows(table: dict[str, list], tokenizer: Any, max_length: int, training: bool) -> Encoded:
    encoding = tokenizer(
        [question.lstrip() for question in table["question"]],
        table["context"],
        truncation="only_second",
        max_length=max_length,
        stride=max_length // 3,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners, offsets = encoding.pop("overflow_to_sample_mapping"), encoding.pop("offset_mapping")
    encoded = Encoded(owners=owners, offsets=offsets)
    for i, owner in enumerate(owners):
        feature = {name: encoding[name][i] for name in encoding}
        parts = encoding.sequence_ids(i)
        context = parts.index(1), len(parts) - 1 - parts[::-1].index(1)
        encoded.contexts.append(context)
        if training:
            start = table["starts"][owner][0]
            end = start + len(table["answers"][owner][0])
            first, last = _tokens_of(offsets[i], *context, start, end)
            feature |= {"start_positions": first, "end_positions": last}
        encoded.features.append(feature)
    return encoded


def _tokens_of(
    offsets: Sequence[tuple[int, int]], first: int, last: int, start: int, end: int
) -> tuple[int, int]:
    """The tokens of an answer; (0, 0) if the window does not hold all of it (run_qa.py)."""
    if start < offsets[first][0] or end > offsets[last][1]:
        return 0, 0
    while first < last and offsets[first + 1][0] <= start:
        first += 1
    while last > first and offsets[last - 1][1] >= end:
        last -= 1
    return first, last


def load_model(folder: str, task: Task, attention: str) -> nn.Module:
    """With weights in fp32; ``attention`` is empty for transformers' own choice."""
    options = {"dtype": torch.float32, "attn_implementation": attention or None}
    if task.kind == "span":
        return AutoModelForQuestionAnswering.from_pretrained(folder, **options)
    return AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(task.labels), **options
    )


def make_trainer(job: Job, model: nn.Module, tokenizer: Any, features: Any = None) -> Trainer:
    work = job.work
    settings = TrainingArguments(
        job.folder,
        use_cpu=device().type == "cpu",
        bf16=precision() == "bf16",
        max_steps=work.steps,
        per_device_train_batch_size=work.batch_size,
        per_device_eval_batch_size=SINGLE_BATCH,
        # It would also order what is predicted, and the predictions would come back in that order.
        train_sampling_strategy="group_by_length" if features else "random",
        optim="adamw_torch_fused",
        learning_rate=work.learning_rate,
        warmup_steps=work.warmup,
        weight_decay=0.0,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        seed=job.seed,
    )
    collator = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    return Trainer(model, settings, collator, train_dataset=features, processing_class=tokenizer)


def train(job: Job) -> dict[str, float]:
    """Train and save, as an example script does, without any evaluation on the way."""
    task, work = get(job.work.train), job.work
    rows = training_rows(TrainingSet(task.name, "en", work.steps * work.batch_size))
    tokenizer = AutoTokenizer.from_pretrained(job.encoder)
    encoded = encode(task, rows, tokenizer, work.max_length, training=True)
    set_seed(job.seed)
    model = load_model(job.encoder, task, job.attention)
    trainer = make_trainer(job, model, tokenizer, encoded.features)
    trainer.train()
    trainer.save_model()
    return {}


def evaluate(job: Job) -> dict[str, float]:
    """Predict and score: all languages in one stream, or as many as the job names by Trainer."""
    task, work = get(job.work.test), job.work
    tokenizer = AutoTokenizer.from_pretrained(job.folder)
    model = load_model(job.folder, task, job.attention)
    rows = {code: load(task, "test", code) for code in job.languages}
    rows = {code: r.select(range(min(work.examples, len(r)))) for code, r in rows.items()}
    encoded = {code: encode(task, r, tokenizer, work.max_length) for code, r in rows.items()}
    everything = Encoded()
    for e in encoded.values():
        everything.features += e.features
        everything.contexts += e.contexts
    if job.side == "tuned":
        best = streamed(model, tokenizer, everything)
    else:
        best = by_trainer(make_trainer(job, model, tokenizer), everything)
    scores, at = {}, 0
    for code, e in encoded.items():
        mine, at = best[at : at + len(e.features)], at + len(e.features)
        scores[code] = _score(task, rows[code], e, mine)
    return scores


@torch.inference_mode()
def streamed(model: nn.Module, tokenizer: Any, encoded: Encoded) -> list[Any]:
    """Predictions in batches of about as many tokens, longest first."""
    out: list[Any] = [None] * len(encoded.features)
    model.to(device()).eval()
    # One context for all batches: autocast then converts the weights once.
    with torch.autocast(device().type, torch.bfloat16, enabled=precision() == "bf16"):
        for batch in _batches([len(f["input_ids"]) for f in encoded.features]):
            features = [encoded.features[i] for i in batch]
            inputs = tokenizer.pad(features, pad_to_multiple_of=8, return_tensors="pt")
            result = model(**inputs.to(device()))
            contexts = [encoded.contexts[i] for i in batch] if encoded.contexts else []
            for i, value in zip(batch, _best(tuple(result.values()), contexts), strict=True):
                out[i] = value
    return out


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def by_trainer(trainer: Trainer, encoded: Encoded) -> list[Any]:
    """Predictions as ``Trainer.predict`` makes them: batches in the order of the rows."""
    logits = trainer.predict(encoded.features).predictions
    logits = logits if isinstance(logits, tuple) else (logits,)
    return _best(tuple(torch.from_numpy(x) for x in logits), encoded.contexts)


def _best(logits: tuple[Tensor, ...], contexts: Sequence[tuple[int, int]]) -> list[Any]:
    """The class, or the (score, start, end) of the best span, of each feature."""
    if len(logits) == 1:
        return logits[0].argmax(-1).tolist()
    bounds = torch.tensor(contexts, device=logits[0].device)
    at = torch.arange(logits[0].shape[1], device=bounds.device)
    outside = (at < bounds[:, :1]) | (at > bounds[:, 1:])
    start, end = (x.float().masked_fill(outside, -1e9).topk(min(BEST, len(at))) for x in logits)
    length = end.indices[:, None, :] - start.indices[:, :, None]
    sums = start.values[:, :, None] + end.values[:, None, :]
    sums = sums.masked_fill((length < 0) | (length >= ANSWER_TOKENS), -1e10).flatten(1)
    score, place = sums.max(1)
    first = start.indices.gather(1, (place // len(end.indices[0]))[:, None])[:, 0]
    last = end.indices.gather(1, (place % len(end.indices[0]))[:, None])[:, 0]
    return list(zip(score.tolist(), first.tolist(), last.tolist(), strict=True))


def _score(task: Task, rows: Dataset, encoded: Encoded, best: Sequence[Any]) -> float:
    if task.kind != "span":
        return scorers.accuracy(rows["label"][:], best)
    contexts = rows["context"][:]
    answers = [(-np.inf, "")] * len(rows)
    for owner, offsets, (score, first, last) in zip(
        encoded.owners, encoded.offsets, best, strict=True
    ):
        if score > max(answers[owner][0], -1e8):
            answer = contexts[owner][offsets[first][0] : offsets[last][1]].strip()
            answers[owner] = (score, answer)
    pairs = zip(rows["answers"][:], answers, strict=True)
    return np.mean([scorers.answer_scores(gold, a)[task.metric] for gold, (_, a) in pairs])
