"""Questions whose answer is a span of the context."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import Tensor

from xltkit.tasks import scorers
from xltkit.tasks.base import EncodedExample, Head, TaskType, frame, terms_table, token_arrays
from xltkit.tasks.schema import Task

QUESTION_TOKENS = 64  # a longer question is cut (XTREME run_squad.py: max_query_length)
ANSWER_TOKENS = 30  # no longer answer is proposed (XTREME run_squad.py: max_answer_length)


class Window(NamedTuple):
    """The part of a context that a feature covers: its tokens and their character offsets."""

    first: int
    last: int
    offsets: np.ndarray


class Span(TaskType):
    """Start and end of the answer are two scores per token.

    A long context is read in windows that overlap by a third of the length (128 of 384, as in
    Hugging Face's run_qa). Answers are cut from the context by character offsets, in every
    language: rebuilding them from word pieces fails where words are not set apart by spaces.
    """

    name = "span"
    first = "question"
    unit_weight = 0.5

    def head(self, task: Task) -> Head:
        return Head("token", 2)

    def encode(
        self, task: Task, rows: Dataset, tokenizer: Any, max_length: int, training: bool
    ) -> list[EncodedExample]:
        table = rows[:]
        encoding = tokenizer(
            shortened(table["question"], tokenizer, max_length // 3),
            table["context"],
            truncation="only_second",
            max_length=max_length,
            stride=max_length // 3,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        features = []
        for i, example in enumerate(encoding["overflow_to_sample_mapping"]):
            ids, types = token_arrays(encoding, i)
            context = [k for k, s in enumerate(encoding.sequence_ids(i)) if s == 1]
            offsets = np.asarray(encoding["offset_mapping"][i], dtype=np.int32)
            window = Window(context[0], context[-1], offsets)
            target = (0, 0)  # the first token: no answer, or none in this window
            if training and table["answers"][example]:
                answer, start = table["answers"][example][0], table["starts"][example][0]
                target = span_in(window, start, start + len(answer))
            features.append(EncodedExample(example, (ids,), types, target, window))
        return features

    def count(self, labels: Tensor) -> int:
        """One target per window: its start and end count half each."""
        return len(labels)

    def units(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end, over the tokens of the window; the class 0 means: not in this window."""
        return super().units(logits.transpose(1, 2), labels)

    def outputs(self, logits: Tensor, features: Sequence[EncodedExample]) -> list[Any]:
        """The best (score, start, end) of each window: exact, over all spans up to the limit."""
        width = logits.shape[1]
        bounds = torch.tensor([f.meta[:2] for f in features], device=logits.device)
        at = torch.arange(width, device=logits.device)
        inside = (at >= bounds[:, :1]) & (at <= bounds[:, 1:])
        scores = logits.float().masked_fill(~inside[..., None], float("-inf"))
        length = at[None, :] - at[:, None]
        allowed = (length >= 0) & (length < ANSWER_TOKENS)
        pairs = scores[:, :, None, 0] + scores[:, None, :, 1]
        best = pairs.masked_fill(~allowed, float("-inf")).flatten(1).max(1)
        return [
            (score, place // width, place % width)
            for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def vote(self, ballots: Sequence[Any]) -> Any:
        """The span that most say, with its mean score."""
        said = Counter(ballot[1:] for ballot in ballots)
        span = max(said, key=lambda s: (said[s], -s[0], -s[1]))
        return np.mean([b[0] for b in ballots if b[1:] == span]), *span

    def predictions(
        self, task: Task, rows: Dataset, features: Sequence[EncodedExample], outputs: Sequence[Any]
    ) -> pd.DataFrame:
        contexts, golds = rows["context"][:], rows["answers"][:]
        best = [(float("-inf"), "")] * len(rows)
        for feature, (score, first, last) in zip(features, outputs, strict=True):
            if score > best[feature.example][0]:
                offsets = feature.meta.offsets
                answer = contexts[feature.example][offsets[first][0] : offsets[last][1]]
                best[feature.example] = (score, answer.strip())
        pred = [answer for _, answer in best]
        gold = [json.dumps(texts, ensure_ascii=False) for texts in golds]
        score = [scorers.squad_f1(g, p) / 100 for g, p in zip(golds, pred, strict=True)]
        return frame(rows["id"][:], gold, pred, score)

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        golds = [json.loads(gold) for gold in predictions["gold"]]
        pred = predictions["pred"].tolist()
        if task.name.startswith("mlqa"):
            return scorers.mlqa(golds, pred, language)
        return scorers.squad(golds, pred)

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Of questions: the task's own metric, by its own rule."""
        prefix = "mlqa" if task.name.startswith("mlqa") else "squad"
        more = {"language": language} if prefix == "mlqa" else {}
        score = partial(getattr(scorers, f"{prefix}_{task.metric}"), **more)
        golds = map(json.loads, predictions["gold"])
        top = [score(g, p) for g, p in zip(golds, predictions["pred"], strict=True)]
        return terms_table(predictions["example_id"], top)


def shortened(questions: Sequence[str], tokenizer: Any, limit: int = QUESTION_TOKENS) -> list[str]:
    """The questions, cut to ``QUESTION_TOKENS`` tokens, or fewer if the windows are small."""
    limit = min(limit, QUESTION_TOKENS)
    long = [q for q in questions if len(q) >= limit]  # no token is shorter than a character
    if not long:
        return list(questions)
    encoding = tokenizer(long, add_special_tokens=False, return_offsets_mapping=True)
    ends = {q: o[limit - 1][1] for q, o in zip(long, encoding["offset_mapping"], strict=True)
            if len(o) > limit}  # fmt: skip
    return [q[: ends.get(q)] for q in questions]


def span_in(window: Window, start: int, end: int) -> tuple[int, int]:
    """First and last token of the characters [start, end) in a window; (0, 0) if not all inside."""
    offsets = window.offsets
    if start < offsets[window.first][0] or end > offsets[window.last][1]:
        return 0, 0
    context = range(window.first, window.last + 1)
    first = max(k for k in context if offsets[k][0] <= start)
    last = min(k for k in context if offsets[k][1] >= end)
    return (first, last) if first <= last else (0, 0)
