"""Attacks by gradient: words flipped one after another, and shifts of the word embeddings.

Flips replace one token of the encoder's vocabulary by another (HotFlip, Ebrahimi et al. 2018); what
is attacked are the encoded rows, not their text.
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

from xltkit.data.text import Row, script, words
from xltkit.evaluation.attacked_model import AttackedModel, AttackResult, Case
from xltkit.evaluation.attacks import EmbeddingPGD, TokenFlip
from xltkit.evaluation.beam import word_limit
from xltkit.models import device
from xltkit.models.encoder import TOKENS, batches_by_length
from xltkit.tasks.base import EncodedExample
from xltkit.training.robust import Ball, perturbed

ROWS = 128  # attacked at a time: gradients are kept for each of their tokens
GAINS = 2**25  # computed at a time
GRADIENT = 8  # a pass with gradients takes at least this many times the memory of one without

Place = tuple[int, int, int]  # the numbers of an example, of a sequence in it, of a token in that


class Site(NamedTuple):
    """A word of a row that is one token: its number in the vocabulary, and where it stands.

    It has several places if sequences share it: the premise of alternatives, a context in windows
    that overlap.
    """

    word: int
    places: tuple[Place, ...]


def flip_tokens(
    model: AttackedModel, cases: Sequence[Case], attack: TokenFlip
) -> list[AttackResult]:
    """The worst prediction on the way of flipping one word after another by first-order gain.

    Each flip is the best one of a fresh gradient (HotFlip with a beam of one); none is undone, and
    no word is flipped twice. Words inside a gold answer stay. The texts of a result are ``read``:
    what the model read, decoded.
    """
    vocabulary = whole_words(model.tokenizer, main_script(model, [case.row for case in cases]))
    results: list[AttackResult] = []
    for start in range(0, len(cases), ROWS):
        results += _flip(model, cases[start : start + ROWS], vocabulary, attack.strength)
    return results


def _flip(
    model: AttackedModel, cases: Sequence[Case], vocabulary: Sequence[int], strength: float
) -> list[AttackResult]:
    """The results for rows that are flipped together, one word a row at a time."""
    rows = [case.row for case in cases]
    results = [AttackResult(case.clean, 0.0, True, 0, model.texts(case.row)) for case in cases]
    if len(vocabulary) < 2:  # nothing to flip into
        return results
    examples = model.encode(rows, words=True)
    sites = find_sites(rows, examples, vocabulary)
    counts = [len(words(model.type.texts, row)) for row in rows]
    limits = [
        min(word_limit(strength, count), len(row_sites))
        for count, row_sites in zip(counts, sites, strict=True)
    ]
    predictions = [case.clean for case in cases]
    for flips in range(1, max(limits, default=0) + 1):
        active = [
            row
            for row, limit in enumerate(limits)
            if flips <= limit and not model.is_fooled(predictions[row])
        ]
        if not active:
            break
        for row, site, token in _best_flips(model, active, examples, sites, vocabulary):
            for example, sequence, position in site.places:
                examples[example].sequences[sequence][position] = token  # the arrays are our own
            sites[row].remove(site)
        flipped = [
            replace(example, example=active.index(example.example))
            for example in examples
            if example.example in active
        ]
        new = model.predict_encoded([rows[row] for row in active], flipped)
        for row, prediction in zip(active, new, strict=True):
            predictions[row] = prediction
            if model.worst([results[row].prediction, prediction]) == 1:
                read = [ids for e in examples if e.example == row for ids in e.sequences]
                texts = {"read": model.tokenizer.batch_decode(read, skip_special_tokens=True)}
                results[row] = AttackResult(prediction, flips / counts[row], True, 0, texts)
            # A flip takes a gradient and an evaluation.
            results[row] = results[row]._replace(queries=2 * flips)
    return results


def _best_flips(
    model: AttackedModel,
    active: Sequence[int],
    examples: Sequence[EncodedExample],
    sites: Sequence[Sequence[Site]],
    vocabulary: Sequence[int],
) -> list[tuple[int, Site, int]]:
    """The row, the site and the new token of the best flip in each active row."""
    numbers = [i for i, example in enumerate(examples) if example.example in active]
    gradients: dict[int, Tensor] = {}  # of each example (sequences, tokens, width)
    for batch in gradient_batches(model, [examples[i] for i in numbers]):
        _, loss = read_perturbed(model, batch, batch.zeros)
        (gradient,) = torch.autograd.grad(loss, batch.zeros)
        parts = gradient.split([len(example.sequences) for example in batch.examples])
        for i, part in zip(batch.numbers, parts, strict=True):
            gradients[numbers[i]] = part
    candidates = [(row, site) for row in active for site in sites[row]]
    slopes = torch.stack(
        [sum(gradients[i][s, position] for i, s, position in site.places) for _, site in candidates]
    )
    current = torch.tensor([site.word for _, site in candidates], device=slopes.device)
    embeddings = _embedding_table(model)[list(vocabulary)].float()
    gains, flips = first_order_gains(slopes, current, embeddings)
    best: dict[int, int] = {}  # the number of the best candidate of each row
    for k, (row, _) in enumerate(candidates):
        if row not in best or gains[k] > gains[best[row]]:
            best[row] = k
    return [(row, candidates[k][1], vocabulary[flips[k]]) for row, k in best.items()]


def first_order_gains(
    slopes: Tensor, current: Tensor, embeddings: Tensor
) -> tuple[list[float], list[int]]:
    """The flip of each token that gains most to first order: ``(e_new - e_old) . slope``.

    Args:
        slopes: the gradient of the loss by the embedding of each token (tokens, width).
        current: the number of each token in the vocabulary (tokens).
        embeddings: of the vocabulary of two or more tokens (vocabulary, width).

    Returns:
        The gain of each token, in the unit of the loss, and the number of what it becomes.
    """
    gains: list[float] = []
    flips: list[int] = []
    size = max(1, GAINS // len(embeddings))
    for part, old in zip(slopes.split(size), current[:, None].split(size), strict=True):
        gain = part @ embeddings.T
        gain = gain - gain.gather(1, old)
        best = gain.scatter(1, old, float("-inf")).max(1)
        gains += best.values.tolist()
        flips += best.indices.tolist()
    return gains, flips


def script_of(text: str) -> str:
    """The script that all of a text is written in, as Unicode names it; empty if it is no word."""
    if not text or any(unicodedata.category(character)[0] not in "LM" for character in text):
        return ""
    scripts = {script(character) for character in text if character.isalpha()}
    return scripts.pop() if len(scripts) == 1 else ""


def main_script(model: AttackedModel, rows: Sequence[Row]) -> str:
    """The script of most words of some rows."""
    counts = Counter(script_of(w.text) for row in rows for w in words(model.type.texts, row))
    counts.pop("", None)
    return max(sorted(counts), key=counts.__getitem__, default="")


@lru_cache(maxsize=8)
def whole_words(tokenizer: Any, script: str) -> tuple[int, ...]:
    """Ids of the tokens that are a whole word in a script: their text gives just this token.

    Whatever marks the start of a word (``\u2581``, ``\u0120``, the lack of ``##``): a token without
    it is not what the tokenizer makes of its text.
    """
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(len(tokenizer)) if i not in special]
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
) -> list[list[Site]]:
    """The words of each row that may be flipped.

    Args:
        rows: in canonical columns.
        examples: the rows, encoded.
        vocabulary: ids of the words that may be flipped, and into which.
    """
    numbers = {token: number for number, token in enumerate(vocabulary)}
    places: list[dict[Any, list[Place]]] = [defaultdict(list) for _ in rows]
    for i, example in enumerate(examples):
        for s, (ids, texts) in enumerate(zip(example.sequences, example.words, strict=True)):
            for position in (texts >= 0).nonzero()[0].tolist():
                token = int(ids[position])
                place = (i, s, position)
                key = _word_key(rows[example.example], example, place, int(texts[position]))
                if key is not None and token in numbers:
                    places[example.example][(token, *key)].append(place)
    return [
        [Site(numbers[token], tuple(where)) for (token, *_), where in row_places.items()]
        for row_places in places
    ]


def _word_key(row: Row, example: EncodedExample, place: Place, text: int) -> tuple | None:
    """What tells a word from the others of its row; None if it must stay."""
    number, sequence, position = place
    if text == 0:
        return 0, position  # the first text stands in front in all sequences of a row
    if "answers" not in row:
        return 1, number, sequence, position
    start, end = map(int, example.meta.offsets[position])
    for answer in filter(None, row["answers"]):
        answer_start = row["context"].find(answer)
        while answer_start >= 0:
            if start < answer_start + len(answer) and end > answer_start:
                return None
            answer_start = row["context"].find(answer, answer_start + 1)
    return 1, start, end


class Batch(NamedTuple):
    """Examples that the model reads together; each loss counts with its weight.

    ``zeros`` is the perturbation to start from (sequences, tokens, width), with a gradient.
    """

    numbers: Sequence[int]
    examples: Sequence[EncodedExample]
    inputs: Mapping[str, Tensor]
    labels: Tensor
    weights: Tensor
    zeros: Tensor


def gradient_batches(model: AttackedModel, examples: Sequence[EncodedExample]) -> Iterator[Batch]:
    """The examples in batches small enough for gradients; the model in evaluation mode."""
    hardware = device.device()
    model.model.to(hardware).eval()  # dropout would be an attack of its own
    weights = model.type.loss_weights(examples)
    for numbers in batches_by_length(examples, TOKENS[hardware.type] // GRADIENT):
        chosen = [examples[i] for i in numbers]
        tensors = model.type.collate(chosen, model.tokenizer, training=True)
        inputs = {name: value.to(hardware) for name, value in tensors.items()}
        labels = inputs.pop("labels")
        counts = torch.tensor([weights[i] for i in numbers], device=hardware)
        shape = (*inputs["input_ids"].shape, _embedding_table(model).shape[1])
        zeros = torch.zeros(shape, device=hardware, requires_grad=True)
        yield Batch(numbers, chosen, inputs, labels, counts, zeros)


def read_perturbed(
    model: AttackedModel, batch: Batch, perturbation: Tensor
) -> tuple[list[tuple[Any, float]], Tensor]:
    """Outputs with losses of a batch under a shift of its embeddings, and the loss to ascend."""
    with device.autocast(), perturbed(model.model, perturbation):
        logits = model.model(model.head, **batch.inputs)
        losses = model.type.losses(logits, batch.labels)
    outputs = model.type.outputs(logits.detach(), batch.examples)
    return list(zip(outputs, losses.tolist(), strict=True)), (losses * batch.weights).sum()


def _embedding_table(model: AttackedModel) -> Tensor:
    """The word embeddings (vocabulary, width)."""
    return model.model.encoder.get_input_embeddings().weight.detach()


def perturb_embeddings(
    model: AttackedModel, cases: Sequence[Case], attack: EmbeddingPGD
) -> list[AttackResult]:
    """The worst that a shift of the embeddings within a ball does, of all steps of ascent."""
    rows = [case.row for case in cases]
    examples = model.encode(rows)
    outputs: list[list[Any]] = [[None] * len(examples) for _ in range(attack.steps)]
    for batch in gradient_batches(model, examples):
        ball = Ball(model.model, batch.inputs, attack.norm, attack.radius)
        perturbation = batch.zeros
        _, loss = read_perturbed(model, batch, perturbation)
        for step_outputs in outputs:
            (gradient,) = torch.autograd.grad(loss, perturbation)
            perturbation = ball.ascend(perturbation.detach(), gradient, attack.step * attack.radius)
            perturbation.requires_grad_()
            read, loss = read_perturbed(model, batch, perturbation)
            for i, output in zip(batch.numbers, read, strict=True):
                step_outputs[i] = output
    steps = [model.predictions(rows, examples, step_outputs) for step_outputs in outputs]
    queries = 2 * attack.steps  # a gradient and an evaluation each
    results = []
    for row, predictions in zip(rows, zip(*steps, strict=True), strict=True):
        worst = predictions[model.worst(predictions)]
        results.append(AttackResult(worst, float("nan"), True, queries, model.texts(row)))
    return results
