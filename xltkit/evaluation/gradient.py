"""Attacks by gradient: words flipped one after another (HotFlip, Ebrahimi et al. 2018).

The words are those of the encoder's vocabulary, so that a flip is one token for another; what is
attacked are the encoded rows, not their text.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xltkit.data.text import script, words
from xltkit.evaluation.attacked_model import Found, Judge, Row, Verdict
from xltkit.evaluation.attacks import TokenFlip
from xltkit.evaluation.beam import flips
from xltkit.evaluation.white_box import batches, read, still, table
from xltkit.models import device as runtime
from xltkit.tasks.base import IGNORED, EncodedExample

ROWS = 128  # attacked at a time: gradients are kept for each of their tokens
GAINS = 2**25  # computed at a time


class Site(NamedTuple):
    """A word that is one token, and all its places (feature, sequence, position) in a row.

    ``word`` is its place among the words that it can become.
    """

    word: int
    places: tuple[tuple[int, int, int], ...]


def flip(
    judge: Judge, rows: Sequence[Row], clean: Sequence[Verdict], attack: TokenFlip
) -> list[Found]:
    """The worst on the way of flipping one word after another by first-order gain.

    Each flip is the best one of a fresh gradient (HotFlip, Ebrahimi et al. 2018, with a beam of
    one); none is undone, and no word is flipped twice. Words inside a gold answer stay.
    """
    known = whole_words(judge.tokenizer, main_script(judge, rows))
    found: list[Found] = []
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        found += _Flipping(judge, rows[part], clean[part], known).run(attack.strength)
    return found


class _Flipping:
    """Some rows whose tokens are flipped, one a row at a time.

    Args:
        judge: the model.
        rows: to attack.
        clean: what the model makes of them.
        known: ids of the tokens that may be flipped, and into which.
    """

    def __init__(
        self, judge: Judge, rows: Sequence[Row], clean: Sequence[Verdict], known: Sequence[int]
    ):
        self.judge, self.rows = judge, rows
        recorder = _Recorder(judge.tokenizer)
        self.features = judge.encoded(rows, recorder)
        self.sites = sites(judge, rows, self.features, recorder.last, known)
        judge.model.to(runtime.device())
        self.known, self.embeddings = known, table(judge)[list(known)].float()
        self.counts = [len(words(judge.kind.name, row)) for row in rows]
        self.now, self.flipped = list(clean), [0] * len(rows)
        self.queries = [0] * len(rows)
        self.found = [
            Found(verdict, 0.0, True, 0, judge.shown(row))
            for verdict, row in zip(clean, rows, strict=True)
        ]

    def run(self, strength: float) -> list[Found]:
        """Flip a share of the words of each row, or fewer if its prediction breaks before."""
        many = len(self.known) > 1
        most = [
            min(flips(strength, count), len(own)) * many
            for count, own in zip(self.counts, self.sites, strict=True)
        ]
        for depth in range(max(most, default=0)):
            active = [
                i for i, count in enumerate(most)
                if depth < count and not self.judge.broken(self.now[i])
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
        chosen = [_with(self.features[i], example=number[self.features[i].example]) for i in own]
        said = self.judge.read([self.rows[row] for row in active], chosen)
        for row, verdict in zip(active, said, strict=True):
            self._keep(row, verdict)

    def _gradients(self, own: Sequence[int], number: Mapping[int, int]) -> list[list[Tensor]]:
        """Of the loss of a row, by embeddings: for each feature its sequences (tokens, width)."""
        chosen = [_with(self.features[i], example=number[self.features[i].example]) for i in own]
        kept: list[Any] = [None] * len(own)
        for batch in batches(self.judge, chosen):
            delta = still(self.judge, batch).requires_grad_()
            (gradient,) = torch.autograd.grad(read(self.judge, batch, delta)[1], delta)
            lines = iter(gradient)
            for i, feature in zip(batch.places, batch.chosen, strict=True):
                kept[i] = [next(lines)[: len(s)].clone() for s in feature.sequences]
        return kept

    def _apply(self, row: int, site: Site, token: int) -> None:
        for f, s, p in site.places:
            sequences = [sequence.copy() for sequence in self.features[f].sequences]
            sequences[s][p] = token
            self.features[f] = _with(self.features[f], sequences=tuple(sequences))
        self.sites[row].remove(site)
        self.flipped[row] += 1
        self.queries[row] += 2  # a gradient and an evaluation

    def _keep(self, row: int, verdict: Verdict) -> None:
        """The latest state, if it is the worst so far."""
        self.now[row] = verdict
        if self.judge.worst([self.found[row].verdict, verdict]) == 0:
            return
        read = [
            self.judge.tokenizer.decode(sequence, skip_special_tokens=True)
            for f in self.features if f.example == row for sequence in f.sequences
        ]  # fmt: skip
        share = self.flipped[row] / self.counts[row]
        self.found[row] = Found(verdict, share, True, 0, {"read": read})


def _with(feature: EncodedExample, **changes: Any) -> EncodedExample:
    """``_replace`` of a named tuple whose length is that of its tokens."""
    return EncodedExample(**(feature._asdict() | changes))


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


def main_script(judge: Judge, rows: Sequence[Row]) -> str:
    """The script of most words of some rows."""
    seen = Counter(script_of(w.text) for row in rows for w in words(judge.kind.name, row))
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
    judge: Judge, rows: Sequence[Row], features: Sequence[EncodedExample], encoding: Any,
    known: Sequence[int],
) -> list[list[Site]]:  # fmt: skip
    """The words of each row that may be flipped.

    Args:
        judge: of the task.
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
            found = _tagged(feature) if judge.kind.name == "tagging" else _single(encoding, line)
            for p, side in found:
                key = _key(judge, rows[feature.example], feature, (f, s, p), side)
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
    judge: Judge, row: Row, feature: EncodedExample, place: tuple[int, int, int], side: int
) -> tuple | None:
    """What tells a word of a row from its others; None if it must stay."""
    f, s, p = place
    if side == 0:
        return 0, p  # the first text stands in front in all sequences of a row
    if judge.kind.name != "span":
        return 1, f, s, p
    start, end = map(int, feature.meta.offsets[p])
    for answer in row["answers"]:
        at = row["context"].find(answer) if answer else -1
        while at >= 0:
            if start < at + len(answer) and end > at:
                return None
            at = row["context"].find(answer, at + 1)
    return 1, start, end
