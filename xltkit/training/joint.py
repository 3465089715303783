"""Few labels in one language with the help of many in another: batches of both, mixed or linked.

After Maji and Bhattacharya 2026 (BhashaSetu, arXiv 2602.05599), whose code is not public. What we
could not confirm of it is ours, and is said below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor, nn

from xltkit.data import lexicons
from xltkit.keys import derive
from xltkit.models.encoder import Model, mean_pool, unwrapped
from xltkit.tasks import TrainingSet
from xltkit.tasks.base import IGNORED
from xltkit.tasks.rows import fingerprint
from xltkit.training.supervised import Batch, Supervised, encode, plan

KINDS = ("classification", "sentence", "tagging")


@dataclass(frozen=True, kw_only=True)
class Translations:
    """A lexicon of a language and another one, as a table of pieces of the tokenizer."""

    language: str
    other: str = "en"
    lexicon: str = "microworld"  # or a folder of dictionaries
    noise: float = 0.0  # share of the words that get the translation of another word; 1: shuffled

    version = 1

    def pieces(self, tokenizer: Any) -> csr_array:
        """What each piece of the language is in the other one, (vocabulary, vocabulary).

        A row is the mean over the words that a piece is in, and over all pieces of their
        translations; it sums to 1, or to 0 for a piece that is in none, or in words of the other
        language, too.
        """
        table = lexicons.translations(self.lexicon, self.language, (self.other,))
        words = sorted(table)
        others = [table[word] for word in words]
        random = np.random.default_rng(derive("noise", self.language, self.other))
        wrong = np.flatnonzero(random.random(len(words)) < self.noise)
        for place, word in zip(wrong, random.permutation(wrong), strict=True):
            others[place] = table[words[word]]
        ids = {word: _ids(tokenizer, [word]) for word in words}
        others_ids = [_ids(tokenizer, translated) for translated in others]
        shared = set().union(*others_ids)
        pairs = [
            (piece, translated, 1 / len(found))
            for word, found in zip(words, others_ids, strict=True)
            for piece in ids[word]
            if piece not in shared
            for translated in found
        ]
        size = len(tokenizer)
        if not pairs:
            return csr_array((size, size))
        rows, columns, weights = map(np.array, zip(*pairs, strict=True))
        matrix = csr_array(coo_array((weights, (rows, columns)), shape=(size, size)))
        totals = matrix.sum(axis=1)
        return csr_array(matrix.multiply(1 / np.maximum(totals, 1e-9)[:, None]))

    def initialize(self, model: Model, tokenizer: Any) -> None:
        """Set the embeddings of the language's pieces to those of their translations.

        Token embedding transfer; how the paper averages over pieces could not be confirmed.
        """
        weight = model.encoder.get_input_embeddings().weight.data
        pieces = self.pieces(tokenizer)
        rows = np.unique(pieces.nonzero()[0])
        weight[rows] = torch.from_numpy(pieces[rows] @ weight.numpy()).to(weight)

    def sources(self) -> dict[str, str]:
        """The fingerprint of the lexicon."""
        return {"lexicon": lexicons.fingerprint(self.lexicon)}


def _ids(tokenizer: Any, words: Sequence[str]) -> list[int]:
    return [i for ids in tokenizer(list(words), add_special_tokens=False)["input_ids"] for i in ids]


@dataclass(frozen=True, kw_only=True)
class Joint:
    """Rows of a language with many labels in every batch of a target phase with few.

    Every step has as many examples of both. Without an option they are simply trained on together.

    - ``mixup``: the only loss is that of mixed states, ``alpha h + (1 - alpha) h'`` of an example
      of this language (alpha is ``mixup``, 0.1 to 0.4) and one of the target, and of labels mixed
      alike: their Kullback-Leibler divergence from the prediction (hidden augmentation). States are
      means of the tokens; of tags those of each position that has a tag in both, and elsewhere the
      target's alone. 0 is training on the target alone, to the bit.
    - ``graph``: tokens that translate each other in the batch are neighbors, and every token gets
      ``W`` times the mean of its neighbors added to its last state. One layer, ``W`` 0 at first:
      ours, for layers and weights of the paper's GETR could not be confirmed. A batch of one
      language has no edges, so that scoring is without the layer and without neighbors.
    - ``itself``: a control of equal parameters, where every such token is its own only neighbor.
    """

    language: str = "en"
    examples: int = 0  # its rows, 0 means all
    mixup: float | None = None
    graph: Translations | None = None
    itself: bool = False

    version = 1

    def __post_init__(self) -> None:
        if self.mixup is not None and (self.graph or not 0 <= self.mixup < 1):
            raise ValueError(
                f"{self}: mixup is from 0 to 1, as in Joint(mixup=0.2), without graph."
            )
        if self.itself and not self.graph:
            raise ValueError("Joint(itself=True) is a control of a graph: give graph, too.")

    def training_set(self, own: TrainingSet) -> TrainingSet:
        """The rows of this language, of the task of the target's ``own``, shuffled if they are."""
        return TrainingSet(own.task, self.language, self.examples, own.shuffled)

    def sources(self, own: TrainingSet) -> dict[str, str]:
        """Fingerprints of what is read beside the rows of the target."""
        rows = self.training_set(own)
        found = {f"joint {rows.task}/{rows.language}": fingerprint(rows)}
        return found | (self.graph.sources() if self.graph else {})


class Graph(nn.Module):
    """One layer over the tokens of a batch in two languages: ``h + W mean(neighbors)``."""

    def __init__(self, width: int, pieces: csr_array, itself: bool):
        super().__init__()
        self.pieces = pieces
        self.itself = itself
        self.message = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.message.weight)  # it begins as the identity

    def forward(self, hidden: Tensor, input_ids: Tensor, count: int) -> Tensor:
        """The states (batch, tokens, width); the first ``count`` sequences are the target's."""
        ids = input_ids.cpu().numpy()
        edges = self.pieces[ids[:count].ravel()][:, ids[count:].ravel()].toarray()
        weights = torch.from_numpy(edges).to(hidden)  # (tokens of the target, tokens of the other)
        states = hidden.flatten(0, 1)
        totals = torch.cat([weights.sum(1), weights.sum(0)])[:, None]
        if self.itself:
            messages = states * (totals > 0)
        else:
            target, other = states.split([weights.shape[0], weights.shape[1]])
            messages = torch.cat([weights @ other, weights.T @ target]) / totals.clamp(min=1e-9)
        return hidden + self.message(messages).view_as(hidden)


class JointTask(Supervised):
    """The objective of a task on batches in two languages."""

    def __init__(self, *inputs: Any):
        super().__init__(*inputs)
        self.joint: Joint = self.phase.joint
        (own,) = self.phase.training_sets
        rows = self.joint.training_set(own)
        _, encoder, seed, _ = inputs
        task = self.tasks[0]
        self.others = encode(
            rows, task.kind, encoder, self.phase.max_length, None, fingerprint(rows)
        )
        lengths = [[len(example) for example in self.others]]
        size = (self.phase.steps, self.phase.batch_size)
        self.other_plan = plan(lengths, [1.0], *size, derive(seed, "joint"))

    def prepare(self, model: Model) -> None:
        super().prepare(model)
        if self.joint.graph:
            pieces = self.joint.graph.pieces(self.tokenizer)
            model.graph = Graph(model.encoder.config.hidden_size, pieces, self.joint.itself)

    def batches(self, step: int, parts: int) -> list[Batch]:
        """The examples of a step: those of the target, then as many of the other language."""
        if self.joint.mixup == 0:
            return super().batches(step, parts)
        if parts > 1:
            raise ValueError("Joint training is of whole batches: accumulation=1, one process.")
        own = self.plan[step][2]
        others = np.resize(self.other_plan[step][2], len(own))
        examples = [self.examples[0][i] for i in own] + [self.others[i] for i in others]
        task_type = self.tasks[0].type
        inputs = task_type.collate(examples, self.tokenizer, training=True)
        labels = inputs.pop("labels")
        counted = labels if self.joint.mixup is None else labels[: len(own)]
        return [Batch(0, inputs, labels, task_type.targets(counted))]

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss of a batch."""
        if self.joint.mixup == 0:
            return super().task_loss(model, batch)
        task = self.tasks[0]
        body = unwrapped(model)
        mask = batch.inputs["attention_mask"]
        hidden = body.hidden(**batch.inputs)
        if self.joint.mixup is not None:
            return mixed_loss(body.heads[task.name], hidden, mask, batch.labels, self.joint.mixup)
        if self.joint.graph:
            hidden = body.graph(hidden, batch.inputs["input_ids"], len(hidden) // 2)
        return task.type.losses(body.heads[task.name](hidden, mask), batch.labels).sum()


def mixed_loss(
    head: nn.Module, hidden: Tensor, mask: Tensor, labels: Tensor, alpha: float
) -> Tensor:
    """The summed divergence of labels mixed in two languages from the prediction of mixed states.

    The first half of states (batch, tokens, width) and labels (batch) or (batch, tokens) is the
    target's; ``alpha`` is the share of the other half. Tokens of the target without a label count
    for nothing.
    """
    target, other = labels.chunk(2)
    is_labeled = target != IGNORED
    share = alpha * (is_labeled & (other != IGNORED)).to(hidden)  # by position, or by example
    if labels.ndim == 1:
        hidden = mean_pool(hidden, mask)[:, None]
        mask = torch.ones_like(mask[:, :1])
        states = share[:, None, None]
    else:
        states = share[..., None]
    own, others = hidden.chunk(2)
    logits = head((1 - states) * own + states * others, mask[: len(own)]).float()
    classes = [nn.functional.one_hot(y.clamp(min=0), logits.shape[-1]) for y in (target, other)]
    share = share.float()[..., None]
    mixed = (1 - share) * classes[0] + share * classes[1]
    predicted = torch.log_softmax(logits, dim=-1)
    return nn.functional.kl_div(predicted[is_labeled], mixed[is_labeled], reduction="sum")
