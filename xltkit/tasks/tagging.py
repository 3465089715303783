"""One tag for each word: part-of-speech tags and named entities."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import chain
from operator import eq
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xltkit.tasks import base, scorers
from xltkit.tasks.base import IGNORED, Examples, Rows, Task


class Tagging(base.TaskType):
    """One tag for each word; the first piece of a word carries it (XTREME run_tag.py)."""

    columns = ("id", "tokens", "tags")
    aligned = ("tokens", "tags")
    texts = ("tokens",)
    gold = "tags"
    shuffled = "tags"
    pooling = "token"
    is_attackable = True
    is_mixable = True
    has_one_answer = False
    rows_version = 2  # words as in running text; labels with spaces, and hyphens in types of chunks

    def encode(
        self, rows: Rows, tokenizer: Any, max_length: int, training: bool, words: bool = False
    ) -> Examples:
        """A sentence that is too long becomes several examples, cut between words."""
        start, end = tokenizer("")["input_ids"]  # one special token on either side
        examples: Examples = []

        def add(row: int, ids: list[int], targets: list[int]) -> None:
            sequence = np.array([start, *ids, end], dtype=np.int32)
            target = np.array([IGNORED, *targets, IGNORED], dtype=np.int64)
            is_start = target != IGNORED
            is_whole = is_start & np.append(is_start[1:], False)
            is_whole[-2] = is_start[-2]  # before the closing token
            marks = (np.where(is_whole, 1, -1),) if words else ()
            examples.append(base.EncodedExample(row, (sequence,), (), target, words=marks))

        table = rows[:]
        vocabulary = list(dict.fromkeys(chain.from_iterable(table["tokens"])))
        ids_of = dict(zip(vocabulary, base.word_pieces(tokenizer, vocabulary), strict=True))
        for row, (tokens, tags) in enumerate(zip(table["tokens"], table["tags"], strict=True)):
            ids: list[int] = []
            targets: list[int] = []
            for word, tag in zip(tokens, tags, strict=True):
                # A word that the tokenizer drops is a stray control character.
                pieces = (ids_of[word] or [tokenizer.unk_token_id])[: max_length - 2]
                if len(ids) + len(pieces) > max_length - 2:
                    add(row, ids, targets)
                    ids, targets = [], []
                ids += pieces
                targets += [tag, *[IGNORED] * (len(pieces) - 1)]
            add(row, ids, targets)
        return examples

    def labels(self, examples: Examples) -> Tensor:
        return torch.from_numpy(base.pad([example.target for example in examples], IGNORED))

    def outputs(self, logits: Tensor, examples: Examples) -> list[Any]:
        """The tags of the words."""
        tags = logits.argmax(-1).cpu().numpy()
        return [
            row[: len(example.target)][example.target != IGNORED]
            for row, example in zip(tags, examples, strict=True)
        ]

    def vote(self, outputs: Sequence[Any]) -> Any:
        """Majority vote for each word; ties go to the tag with the lowest index."""
        return np.array([np.bincount(tags).argmax() for tags in zip(*outputs, strict=True)], int)

    def predictions(self, task: Task, rows: Rows, examples: Examples, outputs: Any) -> pd.DataFrame:
        """Tags joined by spaces, or a JSON list if labels have any; score is the share right."""
        names = np.array(task.labels, dtype=object)
        gold = [names[tags].tolist() for tags in rows["tags"][:]]
        pred: list[list[str]] = [[] for _ in gold]
        for example, tags in zip(examples, outputs, strict=True):
            pred[example.example] += names[tags].tolist()
        join = " ".join if _is_plain(task.labels) else json.dumps
        texts = [list(map(join, side)) for side in (gold, pred)]
        return base.predictions_table(rows["id"][:], *texts, self.item_scores(task, *texts))

    def item_scores(self, task: Task, gold: Sequence[str], pred: Sequence[str]) -> list[float]:
        """The share of the tags that are right. Raises ValueError if a word lacks its tag."""
        scores = []
        for texts in zip(gold, pred, strict=True):
            golds, preds = (tags_of(task, text) for text in texts)
            if len(golds) != len(preds):
                raise ValueError(f"{len(golds)} words have {len(preds)} tags: {texts[1]!r}.")
            right = sum(map(eq, golds, preds))
            scores.append(right / len(golds) if golds else 0.0)
        return scores

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        """F1 of chunks, accuracy of tags, and that of always predicting the most frequent tag."""
        sides = _both(task, predictions)
        gold, pred = (list(chain.from_iterable(side)) for side in sides)
        return {
            **scorers.set_f1(*(scorers.chunks(side, task.is_built_in) for side in sides)),
            "accuracy": scorers.accuracy(gold, pred),
            "majority": 100.0 * max(Counter(gold).values()) / len(gold),
        }

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """Per sentence, the counts of chunks or tags that make up the metric."""
        items = predictions["example_id"]
        gold, pred = _both(task, predictions)
        if task.metric == "accuracy":
            sizes = np.array(list(map(len, gold)))
            return base.terms_table(items, 100.0 * predictions["score"] * sizes, sizes)
        counts = []
        for pair in zip(gold, pred, strict=True):
            # No chunk crosses the end of a sentence: sums over sentences give the F1 of all.
            golds, preds = (scorers.chunks([tags], task.is_built_in) for tags in pair)
            counts.append((200.0 * len(golds & preds), len(golds) + len(preds)))
        return base.terms_table(items, *np.array(counts).T)


def tags_of(task: Task, text: str) -> list[str]:
    """The tags of a sentence in a table of predictions."""
    return text.split() if _is_plain(task.labels) else json.loads(text)


def _both(task: Task, predictions: pd.DataFrame) -> list[list[list[str]]]:
    """The gold tags of each sentence, and the predicted ones."""
    return [[tags_of(task, text) for text in predictions[side]] for side in ("gold", "pred")]


@cache
def _is_plain(labels: tuple[str, ...]) -> bool:
    return " ".join(labels).split() == list(labels)
