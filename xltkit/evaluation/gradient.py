"""White-box attacks: words flipped one after another, and shifts of the word embeddings.

What is attacked are the encoded rows, not their text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from xltkit.data.text import Row, script, words
from xltkit.evaluation.attacked import Attack, AttackedModel, AttackResult, Prediction
from xltkit.evaluation.search import WordAttack, word_limit
from xltkit.models import device
from xltkit.models.encoder import TOKENS, batches_by_length
from xltkit.tasks.base import EncodedExample
from xltkit.training.robust import Ball, perturbed

ROWS = 128  # attacked at a time: gradients are kept for each of their tokens
GRADIENT = 8  # a pass with gradients takes at least this many times the memory of one without

Place = tuple[int, int, int]  # the numbers of an example, of a sequence in it, of a token in that
# The words of a row that are one token: where each stands, by a key that begins with its number in
# the vocabulary. A word has several places if sequences share it: the premise of alternatives, a
# context in windows that overlap.
Sites = dict[tuple[int, ...], list[Place]]
Reading = tuple[list[tuple[Any, float]], Tensor]  # outputs with losses, and their weighted sum


@dataclass(frozen=True, kw_only=True)
class EmbeddingPGD(Attack):
    """The worst shift of the word embeddings in a ball, by steps of ascent (Madry et al. 2018).

    It changes no text: a reference for what attacks on words could reach at most.

    Attributes:
        radius: of the ball round a sequence (``xltkit.training.robust.Ball``), the ``strength``.
        steps: of ascent, of which the worst counts.
        step: the size of one, in radii.
        norm: ``l2`` (of a whole sequence), the one there is; it is part of the keys of stages.
    """

    radius: float = 0.1
    steps: int = 5
    step: float = 0.5
    norm: str = "l2"

    access = "white box"
    name = "embeddings"

    @property
    def strength(self) -> float:
        return self.radius

    def run(
        self, model: AttackedModel, clean: Sequence[Prediction], rows: Sequence[Row], language: str
    ) -> list[AttackResult]:
        unchanged = [start.row for start in clean]
        examples = model.encode(unchanged)
        outputs: list[list[Any]] = [[None] * len(examples) for _ in range(self.steps)]
        for numbers, inputs, perturbation, read in gradient_batches(model, examples):
            ball = Ball(model.model, inputs, self.radius)
            _, loss = read(perturbation)
            for step_outputs in outputs:
                (gradient,) = torch.autograd.grad(loss, perturbation)
                size = self.step * self.radius
                perturbation = ball.ascend(perturbation.detach(), gradient, size).requires_grad_()
                pairs, loss = read(perturbation)
                for i, output in zip(numbers, pairs, strict=True):
                    step_outputs[i] = output
        steps = [model.predictions(unchanged, examples, of_step) for of_step in outputs]
        worst = [max(tried, key=model.rank) for tried in zip(*steps, strict=True)]
        queries = 2 * self.steps  # a gradient and an evaluation each
        return [AttackResult(prediction, float("nan"), queries) for prediction in worst]


@dataclass(frozen=True, kw_only=True)
class TokenFlip(WordAttack):
    """Words flipped by the gradient of the loss (HotFlip, Ebrahimi et al. 2018, on word pieces).

    Only words that are one token are flipped, into other words of the encoder's vocabulary in the
    same script. Nothing keeps the meaning: it shows how far the model's own vocabulary can take
    it. Each flip is the best one of a fresh gradient; none is undone, no word is flipped twice,
    words inside a gold answer stay, and the worst prediction on the way counts. The texts of a
    result are ``read``: what the model read, decoded. ``beam``, ``candidates``, ``tries`` and
    ``seed`` play no part.
    """

    access = "white box"
    name = "token flips"

    def run(
        self, model: AttackedModel, clean: Sequence[Prediction], rows: Sequence[Row], language: str
    ) -> list[AttackResult]:
        script = main_script(model.type.texts, [start.row for start in clean])
        vocabulary = whole_words(model.tokenizer, script)
        if len(vocabulary) < 2:  # nothing to flip into
            return list(map(AttackResult, clean))
        results: list[AttackResult] = []
        for start in range(0, len(clean), ROWS):
            results += self._flip(model, clean[start : start + ROWS], vocabulary)
        return results

    def _flip(
        self, model: AttackedModel, clean: Sequence[Prediction], vocabulary: Sequence[int]
    ) -> list[AttackResult]:
        """The results for rows that are flipped together, one word a row at a time."""
        rows = [start.row for start in clean]
        results = list(map(AttackResult, clean))
        predictions = list(clean)
        examples = model.encode(rows, words=True)
        sites = find_sites(rows, examples, vocabulary)
        counts = [len(words(model.type.texts, row)) for row in rows]
        limits = [
            min(word_limit(self.strength, count), len(row_sites))
            for count, row_sites in zip(counts, sites, strict=True)
        ]
        for flips in range(1, max(limits) + 1):
            active = [
                row
                for row, limit in enumerate(limits)
                if flips <= limit and not model.is_fooled(predictions[row])
            ]
            if not active:
                break
            _flip_best(model, active, examples, sites, vocabulary)
            flipped = [
                replace(example, example=active.index(example.example))
                for example in examples
                if example.example in active
            ]
            new = model.predictions([rows[row] for row in active], flipped)
            for row, prediction in zip(active, new, strict=True):
                predictions[row] = prediction
                if model.rank(prediction) > model.rank(results[row].prediction):
                    ids = [ids for e in examples if e.example == row for ids in e.sequences]
                    read = model.tokenizer.batch_decode(ids, skip_special_tokens=True)
                    results[row] = AttackResult(prediction, flips / counts[row], read=read)
                # A flip takes a gradient and an evaluation.
                results[row] = results[row]._replace(queries=2 * flips)
        return results


def _flip_best(
    model: AttackedModel,
    active: Sequence[int],
    examples: Sequence[EncodedExample],
    sites: Sequence[Sites],
    vocabulary: Sequence[int],
) -> None:
    """Flip the word of each active row that gains most; it is no site any more."""
    places = [i for i, example in enumerate(examples) if example.example in active]
    gradients: dict[int, Tensor] = {}  # of each example (sequences, tokens, width)
    for numbers, _, zeros, read in gradient_batches(model, [examples[i] for i in places]):
        _, loss = read(zeros)
        (gradient,) = torch.autograd.grad(loss, zeros)
        chosen = [places[i] for i in numbers]
        parts = gradient.split([len(examples[i].sequences) for i in chosen])
        gradients |= zip(chosen, parts, strict=True)
    embeddings = model.model.encoder.get_input_embeddings().weight.detach()
    embeddings = embeddings[list(vocabulary)].float()
    for row in active:
        keys = list(sites[row])
        slopes = [sum(gradients[i][s, k] for i, s, k in sites[row][key]) for key in keys]
        word, flip = best_flip(torch.stack(slopes), [key[0] for key in keys], embeddings)
        for example, sequence, position in sites[row].pop(keys[word]):
            # The arrays are our own.
            examples[example].sequences[sequence][position] = vocabulary[flip]


def best_flip(slopes: Tensor, current: Sequence[int], embeddings: Tensor) -> tuple[int, int]:
    """The flip that gains most to first order, ``(e_new - e_old) . slope``: which token, to what.

    ``slopes`` is the gradient of the loss by the embedding of each token (tokens, width),
    ``current`` what the tokens are in the vocabulary, whose ``embeddings`` are (vocabulary, width).
    """
    old = torch.tensor(current, device=slopes.device)[:, None]
    gains = slopes @ embeddings.T
    gains = (gains - gains.gather(1, old)).scatter(1, old, float("-inf"))
    return divmod(int(gains.argmax()), len(embeddings))


def script_of(text: str) -> str:
    """The script that all of a text is written in, as Unicode names it; empty if it is no word."""
    is_word = all(unicodedata.category(character)[0] in "LM" for character in text)
    scripts = {script(character) for character in text if character.isalpha()}
    return scripts.pop() if is_word and len(scripts) == 1 else ""


def main_script(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """The script of most words of some rows."""
    counts = Counter(script_of(word.text) for row in rows for word in words(columns, row))
    counts.pop("", None)
    return max(sorted(counts), key=counts.__getitem__, default="")


@lru_cache(maxsize=8)
def whole_words(tokenizer: Any, script: str) -> tuple[int, ...]:
    """Ids of the tokens that are a whole word in a script: their text gives just this token.

    Whatever marks the start of a word (``\u2581``, ``\u0120``, the lack of ``##``): a token without
    it is not what the tokenizer makes of its text.
    """
    ids = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    texts = [text.strip() for text in tokenizer.batch_decode([[i] for i in ids])]
    decoded = zip(ids, texts, strict=True)
    candidates = [(i, text) for i, text in decoded if script_of(text) == script]
    if not candidates:
        return ()
    encoding = tokenizer(
        [[text] for _, text in candidates], is_split_into_words=True, add_special_tokens=False
    )
    pairs = zip(candidates, encoding["input_ids"], strict=True)
    return tuple(i for (i, _), encoded in pairs if encoded == [i])


def find_sites(
    rows: Sequence[Row], examples: Sequence[EncodedExample], vocabulary: Sequence[int]
) -> list[Sites]:
    """The words of each row that may be flipped: those that ``vocabulary`` has the ids of."""
    numbers = {token: number for number, token in enumerate(vocabulary)}
    sites: list[Sites] = [defaultdict(list) for _ in rows]
    for i, example in enumerate(examples):
        row = rows[example.example]
        answers = [  # the spans of gold answers in the context, wherever they stand
            (match.start(), match.start() + len(answer))
            for answer in filter(None, row.get("answers", ()))
            for match in re.finditer(f"(?={re.escape(answer)})", row["context"])
        ]
        for s, (ids, texts) in enumerate(zip(example.sequences, example.words, strict=True)):
            for position in (texts >= 0).nonzero()[0].tolist():
                token = int(ids[position])
                key = (1, i, s, position)
                if texts[position] == 0:
                    key = (0, position)  # the first text stands in front in all sequences
                elif "answers" in row:
                    start, end = example.meta.offsets[position].tolist()
                    key = (1, start, end)
                    if any(start < b and a < end for a, b in answers):
                        continue
                if token in numbers:
                    sites[example.example][numbers[token], *key].append((i, s, position))
    return sites


def gradient_batches(
    model: AttackedModel, examples: Sequence[EncodedExample]
) -> Iterator[tuple[list[int], dict[str, Tensor], Tensor, Callable[[Tensor], Reading]]]:
    """The examples in batches small enough for gradients; the model in evaluation mode.

    Yields the numbers of the examples of a batch, their inputs, the perturbation to start from,
    zeros (sequences, tokens, width) with a gradient, and what reads the batch perturbed.
    """
    hardware = device.device()
    model.model.to(hardware).eval()  # dropout would be an attack of its own
    width = model.model.encoder.get_input_embeddings().embedding_dim
    weights = torch.tensor(model.type.loss_weights(examples), device=hardware)
    for numbers in batches_by_length(examples, TOKENS[hardware.type] // GRADIENT):
        chosen = [examples[i] for i in numbers]
        tensors = model.type.collate(chosen, model.tokenizer, training=True)
        inputs = {name: value.to(hardware) for name, value in tensors.items()}
        labels = inputs.pop("labels")
        zeros = torch.zeros(*inputs["input_ids"].shape, width, device=hardware, requires_grad=True)
        read = partial(read_perturbed, model, chosen, inputs, labels, weights[numbers])
        yield numbers, inputs, zeros, read


def read_perturbed(
    model: AttackedModel,
    examples: Sequence[EncodedExample],
    inputs: Mapping[str, Tensor],
    labels: Tensor,
    weights: Tensor,
    perturbation: Tensor,
) -> Reading:
    """Outputs with losses of a batch under a shift of its embeddings, and the loss to ascend."""
    with device.autocast(), perturbed(model.model, perturbation):
        logits = model.model(model.head, **inputs)
        losses = model.type.losses(logits, labels)
    outputs = model.type.outputs(logits.detach(), examples)
    return list(zip(outputs, losses.tolist(), strict=True)), (losses * weights).sum()
