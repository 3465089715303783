"""Joint training: few labels in the target language, many in another, in the same batches.

After Maji and Bhattacharya 2026 (BhashaSetu, arXiv 2602.05599). Their code is not public; what
could not be confirmed from the paper is our choice and is marked below.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor, nn

from xltkit.data import lexicons
from xltkit.keys import derive
from xltkit.models.encoder import Model, mean_pool, unwrapped
from xltkit.tasks import TrainingSet
from xltkit.tasks.base import IGNORED, word_pieces
from xltkit.tasks.rows import fingerprint
from xltkit.training.supervised import Batch, Supervised, encode, plan


@dataclass(frozen=True, kw_only=True)
class Translations:
    """A bilingual lexicon, as a map between word pieces of the tokenizer."""

    language: str
    other: str = "en"
    lexicon: str = "microworld"  # or a folder of dictionaries
    noise: float = 0.0  # share of words with another word's translation; 1 shuffles all

    version = 1

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise is {self.noise}; it is a share of the words, from 0 to 1.")

    def words(self) -> lexicons.Lexicon:
        """The translations of each word. Raises ValueError if there are none."""
        table = lexicons.translations(self.lexicon, self.language, (self.other,))
        if not table:
            pair = f"{self.language!r} into {self.other!r}"
            raise ValueError(f"The lexicon {self.lexicon!r} translates no word of {pair}.")
        return table

    def pieces(self, tokenizer: Any) -> csr_array:
        """How pieces translate each other, as weights (vocabulary, vocabulary).

        The row of a piece is the mean over the words that contain it and over all pieces of their
        translations. It sums to 1, or to 0 if no word contains the piece or if words of the other
        language also contain it.
        """
        table = self.words()
        words = sorted(table)
        others = [table[word] for word in words]
        random = np.random.default_rng(derive("noise", self.language, self.other))
        wrong = np.flatnonzero(random.random(len(words)) < self.noise)
        for place, word in zip(wrong, random.permutation(wrong), strict=True):
            others[place] = table[words[word]]
        vocabulary = list(dict.fromkeys([*words, *chain.from_iterable(others)]))
        ids = dict(zip(vocabulary, word_pieces(tokenizer, vocabulary), strict=True))
        translations = [[i for other in found for i in ids[other]] for found in others]
        shared = set().union(*translations)
        pairs = [
            (piece, translated, 1 / len(found))
            for word, found in zip(words, translations, strict=True)
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
        """Token embedding transfer: set each piece to the mean embedding of its translations.

        How the paper averages over pieces could not be confirmed.
        """
        weight = model.encoder.get_input_embeddings().weight.data
        pieces = self.pieces(tokenizer)
        rows = np.unique(pieces.nonzero()[0])
        known = weight[: pieces.shape[1]].numpy()  # it may be longer than the vocabulary
        weight[rows] = torch.from_numpy(pieces[rows] @ known).to(weight)

    def sources(self) -> dict[str, str]:
        """The fingerprint of the lexicon. Raises ValueError if it lacks the two languages."""
        self.words()
        return {"lexicon": f"{self.version}/{lexicons.fingerprint(self.lexicon)}"}


@dataclass(frozen=True, kw_only=True)
class Joint:
    """Rows of a language with many labels, in every batch of a target phase with few labels.

    A batch has equally many examples of both languages. Without options, the loss is over both.

    - ``mixup`` is hidden augmentation. Hidden states h of an example in this language and h' of one
      in the target are mixed, ``alpha h + (1 - alpha) h'`` with alpha = ``mixup`` (paper: 0.1 to
      0.4), and so are their labels; the loss is the divergence KL(labels || prediction). If a
      sequence has one label, states are means over its tokens. Tags are mixed at each position that
      has a tag in both examples; elsewhere the target is unchanged. With 0, training is the same as
      on the target alone, bit for bit.
    - ``graph`` links tokens of the batch whose words translate each other, and adds
      ``W mean(neighbors)`` to the last state of each, weighted by how often they do. There is one
      layer, with ``W`` = 0 at the start. This is our choice: the layers of the paper's GETR could
      not be confirmed. A batch in one language has no links, so scoring does not use the layer.
    - ``itself`` is a control with the same parameters: each linked token has only itself as its
      neighbor.
    """

    language: str = "en"
    examples: int = 0  # rows of it, 0 means all
    mixup: float | None = None
    graph: Translations | None = None
    itself: bool = False

    version = 1

    def __post_init__(self) -> None:
        if self.mixup is not None and (self.graph or not 0 <= self.mixup < 1):
            raise ValueError(
                f"{self}: mixup is from 0 to 1, as in Joint(mixup=0.2), without graph."
            )
        if self.mixup is not None:  # 0 and 0.0 must have the same key
            object.__setattr__(self, "mixup", float(self.mixup))
        if self.itself and not self.graph:
            raise ValueError("Joint(itself=True) is a control of a graph: give graph, too.")

    def training_set(self, own: TrainingSet) -> TrainingSet:
        """The rows of this language for the task of the target's ``own``, shuffled like them."""
        return TrainingSet(own.task, self.language, self.examples, own.shuffled)

    def sources(self, own: TrainingSet) -> dict[str, str]:
        """Fingerprints of what is read in addition to the rows of the target."""
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
        nn.init.zeros_(self.message.weight)  # it starts as the identity

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
        if parts > 1:
            raise ValueError("Joint training needs whole batches: accumulation=1, one process.")
        own = self.plan[step][2]
        # In random order: a batch is sorted by length, and the last one of an epoch is small.
        random = np.random.default_rng(derive(self.seed, "pairs", step))
        others = np.resize(random.permutation(self.other_plan[step][2]), len(own))
        examples = [self.examples[0][i] for i in own] + [self.others[i] for i in others]
        task_type = self.tasks[0].type
        inputs = task_type.collate(examples, self.tokenizer, training=True)
        labels = inputs.pop("labels")
        counted = labels if self.joint.mixup is None else labels[: len(own)]
        return [Batch(0, inputs, labels, task_type.targets(counted))]

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss of a batch."""
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
    """The loss of hidden augmentation: KL(mixed labels || prediction of mixed states), summed.

    The first half of the states (batch, tokens, width) and of the labels, (batch) or (batch,
    tokens), belongs to the target, the second half to the other language; ``alpha`` is the share of
    the second. Tokens of the target without a label are left out.
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
