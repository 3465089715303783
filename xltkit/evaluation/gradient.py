"""Attacks by gradient: words flipped one after another (HotFlip, Ebrahimi et al. 2018).

The words are those of the encoder's vocabulary, so that a flip is one token for another; what is
attacked are the encoded rows, not their text.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xltkit.data.text import script, words
from xltkit.evaluation.attacked_model import AttackedModel, AttackResult, Prediction, Row
from xltkit.evaluation.attacks import EmbeddingPGD, TokenFlip
from xltkit.evaluation.beam import flips
from xltkit.models import device
from xltkit.models.encoder import TOKENS, batches_by_length
from xltkit.tasks.base import IGNORED, EncodedExample
from xltkit.training.robust import Ball, perturbed

ROWS = 128  # attacked at a time: gradients are kept for each of their tokens
GAINS = 2**25  # computed at a time


class Site(NamedTuple):
    """A word that is one token, and all its places (feature, sequence, position) in a row.

    ``word`` is its place among the words that it can become.
    """

    word: int
    places: tuple[tuple[int, int, int], ...]


def flip(
    model: AttackedModel, rows: Sequence[Row], clean: Sequence[Prediction], attack: TokenFlip
) -> list[AttackResult]:
    """The worst on the way of flipping one word after another by first-order gain.

    Each flip is the best one of a fresh gradient (HotFlip, Ebrahimi et al. 2018, with a beam of
    one); none is undone, and no word is flipped twice. Words inside a gold answer stay.
    """
    known = whole_words(model.tokenizer, main_script(model, rows))
    found: list[AttackResult] = []
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        found += _Flipping(model, rows[part], clean[part], known).run(attack.strength)
    return found


class _Flipping:
    """Some rows whose tokens are flipped, one a row at a time.

    Args:
        model: the model.
        rows: to attack.
        clean: what the model makes of them.
        known: ids of the tokens that may be flipped, and into which.
    """

    def __init__(
        self,
        model: AttackedModel,
        rows: Sequence[Row],
        clean: Sequence[Prediction],
        known: Sequence[int],
    ):
        self.model, self.rows = model, rows
        recorder = _Recorder(model.tokenizer)
        self.features = model.encode(rows, recorder)
        self.sites = sites(model, rows, self.features, recorder.last, known)
        model.model.to(device.device())
        self.known, self.embeddings = known, table(model)[list(known)].float()
        self.counts = [len(words(model.type.name, row)) for row in rows]
        self.now, self.flipped = list(clean), [0] * len(rows)
        self.queries = [0] * len(rows)
        self.found = [
            AttackResult(verdict, 0.0, True, 0, model.texts(row))
            for verdict, row in zip(clean, rows, strict=True)
        ]

    def run(self, strength: float) -> list[AttackResult]:
        """Flip a share of the words of each row, or fewer if its prediction breaks before."""
        many = len(self.known) > 1
        most = [
            min(flips(strength, count), len(own)) * many
            for count, own in zip(self.counts, self.sites, strict=True)
        ]
        for depth in range(max(most, default=0)):
            active = [
                i for i, count in enumerate(most)
                if depth < count and not self.model.is_fooled(self.now[i])
            ]  # fmt: skip
            if active:
                self._step(active)
        return [f._replace(queries=n) for f, n in zip(self.found, self.queries, strict=True)]

    def _step(self, active: Sequence[int]) -> None:
        number = {row: k for k, row in enumerate(active)}
        own = [i for i, f in enumerate(self.features) if f.example in number]
        gradients = dict(zip(own, self._gradients(own, number), strict=True))
        open_sites = [(row, site) for row in active for site in self.sites[row]]
        slopes = torch.stack(
            [sum(gradients[f][s][p] for f, s, p in site.places) for _, site in open_sites]
        )
        now = torch.tensor([site.word for _, site in open_sites], device=slopes.device)
        gains, into = best_flips(slopes, now, self.embeddings)
        best: dict[int, int] = {}
        for k, (row, _) in enumerate(open_sites):
            if row not in best or gains[k] > gains[best[row]]:
                best[row] = k
        for row, k in best.items():
            self._apply(row, open_sites[k][1], self.known[into[k]])
        chosen = [replace(self.features[i], example=number[self.features[i].example]) for i in own]
        said = self.model.predict_encoded([self.rows[row] for row in active], chosen)
        for row, verdict in zip(active, said, strict=True):
            self._keep(row, verdict)

    def _gradients(self, own: Sequence[int], number: Mapping[int, int]) -> list[list[Tensor]]:
        """Of the loss of a row, by embeddings: for each feature its sequences (tokens, width)."""
        chosen = [replace(self.features[i], example=number[self.features[i].example]) for i in own]
        kept: list[Any] = [None] * len(own)
        for batch in batches(self.model, chosen):
            delta = still(self.model, batch).requires_grad_()
            (gradient,) = torch.autograd.grad(read(self.model, batch, delta)[1], delta)
            lines = iter(gradient)
            for i, feature in zip(batch.places, batch.chosen, strict=True):
                kept[i] = [next(lines)[: len(s)].clone() for s in feature.sequences]
        return kept

    def _apply(self, row: int, site: Site, token: int) -> None:
        for f, s, p in site.places:
            sequences = [sequence.copy() for sequence in self.features[f].sequences]
            sequences[s][p] = token
            self.features[f] = replace(self.features[f], sequences=tuple(sequences))
        self.sites[row].remove(site)
        self.flipped[row] += 1
        self.queries[row] += 2  # a gradient and an evaluation

    def _keep(self, row: int, verdict: Prediction) -> None:
        """The latest state, if it is the worst so far."""
        self.now[row] = verdict
        if self.model.worst([self.found[row].prediction, verdict]) == 0:
            return
        read = [
            self.model.tokenizer.decode(sequence, skip_special_tokens=True)
            for f in self.features if f.example == row for sequence in f.sequences
        ]  # fmt: skip
        share = self.flipped[row] / self.counts[row]
        self.found[row] = AttackResult(verdict, share, True, 0, {"read": read})


def best_flips(gradient: Tensor, now: Tensor, known: Tensor) -> tuple[list[float], list[int]]:
    """The flip of each token that gains most to first order: ``(e_b - e_a) . grad``.

    Args:
        gradient: of the loss by the embeddings of the tokens (tokens, width).
        now: the places of the tokens among the candidates (tokens).
        known: the embeddings of the candidates (candidates, width), two or more.

    Returns:
        The gain of each token, in the unit of the loss, and the place of its candidate.
    """
    gains, into = [], []
    rows = max(1, GAINS // len(known))
    for own, old in zip(gradient.split(rows), now.split(rows), strict=True):
        gain = own @ known.T
        gain = gain - gain.gather(1, old[:, None])
        best = gain.scatter(1, old[:, None], float("-inf")).max(1)
        gains += best.values.tolist()
        into += best.indices.tolist()
    return gains, into


# Which tokens are words


class _Recorder:
    """A tokenizer that remembers what it returned last: features do not say what a word is."""

    def __init__(self, tokenizer: Any):
        self.tokenizer, self.last = tokenizer, None

    def __call__(self, *texts: Any, **options: Any) -> Any:
        self.last = self.tokenizer(*texts, **options)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


def script_of(text: str) -> str:
    """The script that all of a text is written in, as Unicode names it; empty if it is no word."""
    if not text or any(unicodedata.category(c)[0] not in "LM" for c in text):
        return ""
    scripts = {script(c) for c in text if c.isalpha()}
    return scripts.pop() if len(scripts) == 1 else ""


def main_script(model: AttackedModel, rows: Sequence[Row]) -> str:
    """The script of most words of some rows."""
    seen = Counter(script_of(w.text) for row in rows for w in words(model.type.name, row))
    seen.pop("", None)
    return max(sorted(seen), key=seen.__getitem__, default="")


@lru_cache(maxsize=8)
def whole_words(tokenizer: Any, script: str) -> tuple[int, ...]:
    """Ids of the tokens that are a whole word in a script: which text gives just this token.

    Whatever marks the start of a word (``\u2581``, ``\u0120``, the lack of ``##``), a token without
    it is not what the tokenizer makes of its text.
    """
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(len(tokenizer)) if i not in special]
    texts = tokenizer.batch_decode([[i] for i in ids])
    pairs = [(i, text.strip()) for i, text in zip(ids, texts, strict=True)]
    pairs = [(i, text) for i, text in pairs if script_of(text) == script]
    if not pairs:
        return ()
    again = tokenizer(
        [[text] for _, text in pairs], is_split_into_words=True, add_special_tokens=False
    )["input_ids"]
    return tuple(i for (i, _), own in zip(pairs, again, strict=True) if own == [i])


def sites(
    model: AttackedModel, rows: Sequence[Row], features: Sequence[EncodedExample], encoding: Any,
    known: Sequence[int],
) -> list[list[Site]]:  # fmt: skip
    """The words of each row that may be flipped.

    Args:
        model: of the task.
        rows: what was encoded.
        features: of the rows.
        encoding: what the tokenizer returned for them (of tags: nothing that is used).
        known: ids of the words that may be flipped, and into which.

    A word that several sequences share (the premise of alternatives, a context in windows that
    overlap) is one site.
    """
    place = {token: k for k, token in enumerate(known)}
    shared: list[dict[Any, list[tuple[int, int, int]]]] = [defaultdict(list) for _ in rows]
    line = 0
    for f, feature in enumerate(features):
        for s, ids in enumerate(feature.sequences):
            found = _tagged(feature) if model.type.name == "tagging" else _single(encoding, line)
            for p, side in found:
                key = _key(model, rows[feature.example], feature, (f, s, p), side)
                if key is not None and int(ids[p]) in place:
                    shared[feature.example][(int(ids[p]), *key)].append((f, s, p))
            line += 1
    return [[Site(place[key[0]], tuple(places)) for key, places in own.items()] for own in shared]


def _single(encoding: Any, line: int) -> Iterator[tuple[int, int]]:
    """Positions of the words of one token, and which text they are of (0 or 1)."""
    marks = list(zip(encoding.word_ids(line), encoding.sequence_ids(line), strict=True))
    for p, mark in enumerate(marks):
        if mark[0] is not None and mark not in (marks[p - 1 : p] + marks[p + 1 : p + 2]):
            yield p, mark[1]


def _tagged(feature: EncodedExample) -> Iterator[tuple[int, int]]:
    """The same of tagged words: the first token of each has a tag, and no other."""
    starts = [p for p, tag in enumerate(feature.target) if tag != IGNORED]
    last = len(feature.target) - 1  # the special token at the end
    for p, after in zip(starts, [*starts[1:], last], strict=True):
        if after == p + 1:
            yield p, 1


def _key(
    model: AttackedModel, row: Row, feature: EncodedExample, place: tuple[int, int, int], side: int
) -> tuple | None:
    """What tells a word of a row from its others; None if it must stay."""
    f, s, p = place
    if side == 0:
        return 0, p  # the first text stands in front in all sequences of a row
    if model.type.name != "span":
        return 1, f, s, p
    start, end = map(int, feature.meta.offsets[p])
    for answer in row["answers"]:
        at = row["context"].find(answer) if answer else -1
        while at >= 0:
            if start < at + len(answer) and end > at:
                return None
            at = row["context"].find(answer, at + 1)
    return 1, start, end


# Shifts of the embeddings

GRADIENT = 8  # a pass with gradients takes so many times the memory of one without, or more


class Batch(NamedTuple):
    """Features that the model reads together: which, as tensors, and how much each loss counts."""

    places: Sequence[int]
    chosen: Sequence[EncodedExample]
    inputs: Mapping[str, Tensor]
    labels: Tensor
    weights: Tensor


def batches(model: AttackedModel, features: Sequence[EncodedExample]) -> Iterator[Batch]:
    """The features in batches small enough for gradients; the model in evaluation mode."""
    target = device.device()
    model.model.to(target).eval()  # dropout would be an attack of its own
    weights = model.weights(features)
    for places in batches_by_length(features, TOKENS[target.type] // GRADIENT):
        chosen = [features[i] for i in places]
        tensors = model.type.collate(chosen, model.tokenizer, training=True)
        inputs = {name: value.to(target) for name, value in tensors.items()}
        counts = torch.tensor([weights[i] for i in places], device=target)
        yield Batch(places, chosen, inputs, inputs.pop("labels"), counts)


def read(
    model: AttackedModel, batch: Batch, delta: Tensor
) -> tuple[list[tuple[Any, float]], Tensor]:
    """Outputs with losses of a batch under a shift of its embeddings, and the loss to ascend."""
    with device.autocast(), perturbed(model.model, delta):
        logits = model.model(model.head, **batch.inputs)
        losses = model.type.losses(logits, batch.labels)
    said = model.type.outputs(logits.detach(), batch.chosen)
    return list(zip(said, losses.tolist(), strict=True)), (losses * batch.weights).sum()


def still(model: AttackedModel, batch: Batch) -> Tensor:
    """No shift of the embeddings: zeros (sequences, tokens, width)."""
    ids = batch.inputs["input_ids"]
    return torch.zeros(*ids.shape, table(model).shape[1], device=ids.device)


def table(model: AttackedModel) -> Tensor:
    """The word embeddings (vocabulary, width)."""
    return model.model.encoder.get_input_embeddings().weight.detach()


def perturb(model: AttackedModel, rows: Sequence[Row], attack: EmbeddingPGD) -> list[AttackResult]:
    """The worst that a shift of the embeddings within a ball does, of all steps of ascent.

    Not a text: a reference for what attacks on words could reach at most, no attack of its own.
    """
    features = model.encode(rows)
    steps: list[list[Any]] = [[None] * len(features) for _ in range(attack.steps)]
    for batch in batches(model, features):
        ball = Ball(model.model, batch.inputs, attack.norm, attack.radius)
        delta = still(model, batch).requires_grad_()
        _, loss = read(model, batch, delta)
        for step in steps:
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = ball.ascend(delta.detach(), gradient, attack.step * attack.radius)
            delta = delta.requires_grad_()
            said, loss = read(model, batch, delta)
            for i, pair in zip(batch.places, said, strict=True):
                step[i] = pair
    tried = [model.predictions(rows, features, step) for step in steps]
    worst = [said[model.worst(said)] for said in zip(*tried, strict=True)]
    asked = 2 * attack.steps  # a gradient and an evaluation each
    return [
        AttackResult(verdict, float("nan"), True, asked, model.texts(row))
        for row, verdict in zip(rows, worst, strict=True)
    ]
