"""Gradients of a model under attack, with respect to the word embeddings of encoded rows."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from xltkit.data.text import script
from xltkit.evaluation.attacked import AttackedModel, Rows
from xltkit.models import device
from xltkit.models.encoder import batches_by_length
from xltkit.tasks.base import Examples, word_pieces
from xltkit.training.robust import perturbed

TOKENS = {"cpu": 1024, "mps": 2048, "cuda": 8192}  # in a batch, fewer than without gradients

Place = tuple[int, int, int]  # the numbers of an example, of a sequence in it, of a token in that
# The words of a row that are one token: where each is, by a key that begins with its number in the
# vocabulary. A word has several places if sequences share it: the premise of alternatives, or a
# context in windows that overlap.
Sites = dict[tuple[int, ...], list[Place]]
Reading = tuple[list[tuple[Any, float]], Tensor]  # outputs with losses, and their weighted sum


def flip_best(
    model: AttackedModel,
    active: Sequence[int],
    examples: Examples,
    sites: Sequence[Sites],
    vocabulary: Sequence[int],
) -> None:
    """Flip the word of each active row that gains most, and remove it from the sites."""
    places = [i for i, example in enumerate(examples) if example.example in active]
    gradients: dict[int, Tensor] = {}  # of each example (sequences, tokens, width)
    for numbers, _, zeros, read in batches(model, [examples[i] for i in places]):
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
            examples[example].sequences[sequence][position] = vocabulary[flip]


def best_flip(slopes: Tensor, current: Sequence[int], embeddings: Tensor) -> tuple[int, int]:
    """The flip that gains most to first order, ``(e_new - e_old) . slope``: which token, to what.

    ``slopes`` is the gradient of the loss with respect to the embedding of each token (tokens,
    width), ``current`` the tokens' numbers in the vocabulary, whose ``embeddings`` are (vocabulary,
    width).
    """
    old = torch.tensor(current, device=slopes.device)[:, None]
    gains = slopes @ embeddings.T
    gains = (gains - gains.gather(1, old)).scatter(1, old, float("-inf"))
    return divmod(int(gains.argmax()), len(embeddings))


def script_of(text: str) -> str:
    """The script of a whole text, as Unicode names it; empty if it is mixed or not a word."""
    is_word = all(unicodedata.category(character)[0] in "LM" for character in text)
    scripts = {script(character) for character in text if character.isalpha()}
    return scripts.pop() if is_word and len(scripts) == 1 else ""


@lru_cache(maxsize=8)
def whole_words(tokenizer: Any, script: str) -> tuple[int, ...]:
    """Ids of the tokens that are a whole word in a script: their text gives just this token.

    This excludes tokens that do not start a word, however that is marked (``▁``, ``Ġ``, no ``##``).
    """
    ids = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    texts = [text.strip() for text in tokenizer.batch_decode([[i] for i in ids])]
    candidates = {i: text for i, text in zip(ids, texts, strict=True) if script_of(text) == script}
    pieces = word_pieces(tokenizer, list(candidates.values()))
    return tuple(i for i, ids in zip(candidates, pieces, strict=True) if ids == [i])


def find_sites(rows: Rows, examples: Examples, vocabulary: Sequence[int]) -> list[Sites]:
    """The words of each row that may be flipped: those with ids in ``vocabulary``."""
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
                    key = (0, position)  # the first text comes first in all sequences
                elif "answers" in row:
                    start, end = example.meta.offsets[position].tolist()
                    key = (1, start, end)
                    if any(start < b and a < end for a, b in answers):
                        continue
                if token in numbers:
                    sites[example.example][numbers[token], *key].append((i, s, position))
    return sites


def batches(
    model: AttackedModel, examples: Examples
) -> Iterator[tuple[list[int], dict[str, Tensor], Tensor, Callable[[Tensor], Reading]]]:
    """The examples in batches small enough for gradients; the model in evaluation mode.

    Each has the numbers of its examples, their inputs, zeros (sequences, tokens, width) to perturb
    embeddings with, and a function that reads it under a perturbation.
    """
    hardware = device.device()
    model.model.to(hardware).eval()  # dropout would be an attack of its own
    width = model.model.encoder.get_input_embeddings().embedding_dim
    weights = torch.tensor(model.type.loss_weights(examples), device=hardware)
    for numbers in batches_by_length(examples, TOKENS[hardware.type]):
        chosen = [examples[i] for i in numbers]
        tensors = model.type.collate(chosen, model.tokenizer, training=True)
        inputs = {name: value.to(hardware) for name, value in tensors.items()}
        labels = inputs.pop("labels")
        zeros = torch.zeros(*inputs["input_ids"].shape, width, device=hardware, requires_grad=True)
        read = partial(read_perturbed, model, chosen, inputs, labels, weights[numbers])
        yield numbers, inputs, zeros, read


def read_perturbed(
    model: AttackedModel,
    examples: Examples,
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
