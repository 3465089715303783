"""Extractive question answering: the answer is a span of the context."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xltkit.tasks import base, scorers
from xltkit.tasks.base import Examples, Faults, Rows, Task

QUESTION_TOKENS = 64  # a longer question is cut (XTREME run_squad.py: max_query_length)
ANSWER_TOKENS = 30  # longer answers are not proposed (XTREME run_squad.py: max_answer_length)


class Window(NamedTuple):
    """The part of a context that an example covers: its tokens and their character offsets."""

    first: int
    last: int
    offsets: np.ndarray


class Span(base.TaskType):
    """Start and end of the answer are two scores per token.

    A long context is read in windows that overlap by a third of the length (128 of 384, as in
    Hugging Face's run_qa). Answers are cut from the context by character offsets, in every
    language: rebuilding them from word pieces fails where words are not separated by spaces.
    """

    columns = ("id", "question", "context", "answers", "starts")
    aligned = ("answers", "starts")
    texts = ("question", "context")
    gold = "answers"
    shuffled = "question"
    crossed_text = "question"
    pooling = "token"
    head_size = 2
    is_attackable = True
    unit_weight = 0.5  # start and end count half each
    rows_version = 2  # every token of a character belongs to it; questions are cut by tokens

    def faults(self, task: Task, table: pd.DataFrame) -> Faults:
        yield from super().faults(task, table)
        answers = table[["context", "answers", "starts"]].explode(["answers", "starts"])
        right = [
            start >= 0 and text.startswith(part, start) for text, part, start in answers.values
        ]
        yield "starts", ~pd.Series(right, answers.index), "where each answer begins in the context"

    def encode(
        self, rows: Rows, tokenizer: Any, max_length: int, training: bool, words: bool = False
    ) -> Examples:
        """One example for each window."""
        table = rows[:]
        encoding = tokenizer(
            shortened(table["question"], tokenizer, min(QUESTION_TOKENS, max_length // 3)),
            table["context"],
            truncation="only_second",
            max_length=max_length,
            stride=max_length // 3,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        examples = []
        for i, example in enumerate(base.encoded(encoding, words)):
            row = encoding["overflow_to_sample_mapping"][i]
            context = [k for k, s in enumerate(encoding.sequence_ids(i)) if s == 1]
            offsets = np.asarray(encoding["offset_mapping"][i], dtype=np.int32)
            window = Window(context[0], context[-1], offsets)
            target = (0, 0)  # the first token: no answer, or none in this window
            if training and table["answers"][row]:
                start = table["starts"][row][0]
                target = span_in(window, start, start + len(table["answers"][row][0]))
            examples.append(replace(example, example=row, target=target, meta=window))
        return examples

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of start and end, over the tokens of a window; 0 means not in this window."""
        return super().losses(logits.transpose(1, 2), labels)

    def loss_weights(self, examples: Examples) -> list[float]:
        """The mean over the windows that hold the answer, or over all if none does."""
        with_answer = {example.example for example in examples if any(example.target)}
        counted = [any(e.target) or e.example not in with_answer for e in examples]
        windows = Counter(e.example for e, one in zip(examples, counted, strict=True) if one)
        return [one / windows[e.example] for e, one in zip(examples, counted, strict=True)]

    def outputs(self, logits: Tensor, examples: Examples) -> list[Any]:
        """The best (score, start, end) of each window: exact, over all spans up to the limit."""
        width = logits.shape[1]
        bounds = torch.tensor([example.meta[:2] for example in examples], device=logits.device)
        places = torch.arange(width, device=logits.device)
        inside = (places >= bounds[:, :1]) & (places <= bounds[:, 1:])
        scores = logits.float().masked_fill(~inside[..., None], float("-inf"))
        length = places[None, :] - places[:, None]
        allowed = (length >= 0) & (length < ANSWER_TOKENS)
        spans = scores[:, :, None, 0] + scores[:, None, :, 1]
        best = spans.masked_fill(~allowed, float("-inf")).flatten(1).max(1)
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [(score, *divmod(place, width)) for score, place in pairs]

    def vote(self, outputs: Sequence[Any]) -> Any:
        """The span that most outputs name, with its mean score."""
        votes = Counter(output[1:] for output in outputs)
        span = max(votes, key=lambda s: (votes[s], -s[0], -s[1]))
        return np.mean([output[0] for output in outputs if output[1:] == span]), *span

    def predictions(self, task: Task, rows: Rows, examples: Examples, outputs: Any) -> pd.DataFrame:
        """The answer of the window with the best score; ``gold`` is a JSON list of all answers."""
        contexts = rows["context"][:]
        answers = rows["answers"][:]
        best = [(float("-inf"), "")] * len(contexts)
        for example, (score, first, last) in zip(examples, outputs, strict=True):
            if score > best[example.example][0]:
                offsets = example.meta.offsets
                answer = contexts[example.example][offsets[first][0] : offsets[last][1]]
                best[example.example] = (score, answer.strip())
        pred = [answer for _, answer in best]
        gold = [json.dumps(texts, ensure_ascii=False) for texts in answers]
        return base.predictions_table(rows["id"][:], gold, pred, self.item_scores(task, gold, pred))

    def item_scores(self, task: Task, gold: Sequence[str], pred: Sequence[str]) -> list[float]:
        """F1 of each answer."""
        scores = map(scorers.answer_scores, map(json.loads, gold), pred)
        return [score["f1"] / 100 for score in scores]

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        scores = self.question_scores(task, predictions, language)
        return {metric: fmean(score[metric] for score in scores) for metric in ("f1", "em")}

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Per question, the task's main metric, by its own rule."""
        scores = self.question_scores(task, predictions, language)
        return base.terms_table(predictions["example_id"], [s[task.metric] for s in scores])

    def question_scores(self, task: Task, predictions: pd.DataFrame, language: str) -> list[dict]:
        """``f1`` and ``em`` of each question."""
        rule = language if task.has_language_rules else ""
        pairs = zip(map(json.loads, predictions["gold"]), predictions["pred"], strict=True)
        return [scorers.answer_scores(gold, pred, rule) for gold, pred in pairs]

    def is_solved(self, score: float) -> bool:
        """Any overlap with the answer: attacks succeed if there is none (Tan and Joty 2021)."""
        return score > 0


def shortened(questions: Sequence[str], tokenizer: Any, limit: int) -> list[str]:
    """The questions, cut between characters to at most ``limit`` tokens."""
    encoding = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)
    pairs = zip(questions, encoding["offset_mapping"], strict=True)
    return [
        # A character that several tokens share is left out, unless all of them fit.
        text if len(offsets) <= limit else text[: min(offsets[limit - 1][1], offsets[limit][0])]
        for text, offsets in pairs
    ]


def span_in(window: Window, start: int, end: int) -> tuple[int, int]:
    """First and last token of the characters [start, end) in a window; (0, 0) if some are outside.

    Several tokens may share a character, as in byte-level BPE; all of them belong to it.
    """
    starts, ends = window.offsets[window.first : window.last + 1].T
    inside = np.flatnonzero((starts < end) & (ends > start)) + window.first
    if start < starts[0] or end > ends[-1] or not len(inside):
        return 0, 0
    return int(inside[0]), int(inside[-1])
