"""Encoders from transformers with the heads of tasks: running and saving them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForMaskedLM

from xltkit.models import device
from xltkit.models.checkpoints import HEADS, TOWER, configuration, load, share_frozen
from xltkit.tasks.base import EncodedExample, Head

SHORT = 128  # tokens up to which eager attention is faster on a CPU
POSITION_SCALE = 0.1  # amplitude of sinusoidal positions in an untrained encoder


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean over the tokens that are not padding, special tokens included."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


class Pooled(nn.Module):
    """Scores (batch, size) from a tanh layer on the mean."""

    def __init__(self, width: int, size: int, dropout: float):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, size)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return self.scores(self.dropout(self.pooled(hidden, mask)))

    def pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The vector (batch, width) of which the scores are a linear function."""
        return torch.tanh(self.dense(self.dropout(mean_pool(hidden, mask))))


class PerToken(nn.Module):
    """Scores (batch, tokens, size). Padding is masked: a softmax over tokens would depend on it."""

    def __init__(self, width: int, size: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, size)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        scores = self.scores(self.dropout(hidden))
        return scores.masked_fill(mask.unsqueeze(-1) == 0, -1e4)


class Vector(nn.Module):
    """Scaled unit vectors (batch, width) for dual encoders, from a tanh layer on the mean.

    The product of two outputs is their cosine times a learned ``scale`` that starts at 100 (XTREME
    third_party/bert.py): each output carries its square root, so that both towers are one module.
    """

    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.tensor(100.0))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        pooled = self.dense(mean_pool(hidden, mask))
        direction = nn.functional.normalize(torch.tanh(pooled).float(), dim=-1)
        return direction * self.scale.clamp(min=1.0).sqrt()


class Joint(nn.Module):
    """Unnormalized vectors (batch, size) in the joint space of texts and pictures.

    Features of a locked image tower pass through a linear layer (``image_layer``); a trained tower,
    and the tower of a teacher, are in that space already. The logarithm of the scale of cosines
    starts at ln(1/0.07), is clamped to [0, ln 100] (Radford et al. 2021, section 2.5), and has the
    learning rate of all weights: in short training it stays near its start.
    """

    def __init__(self, width: int, size: int, image_layer: bool):
        super().__init__()
        self.text = nn.Linear(width, size)
        self.image = nn.Linear(size, size) if image_layer else nn.Identity()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return self.text(mean_pool(hidden, mask))

    def scale(self) -> Tensor:
        """What cosines are multiplied by, 1 to 100."""
        with torch.no_grad():  # the weight itself is clamped: a clamped output has no gradient
            self.log_scale.clamp_(0.0, math.log(100.0))
        return self.log_scale.exp()


def head_layer(head: Head, config: Any) -> nn.Module | None:
    """The module of a head on an encoder; None for the language model's own head."""
    width = config.hidden_size
    dropout = getattr(config, "hidden_dropout_prob", 0.1)
    match head.pooling:
        case "sequence":
            return Pooled(width, head.size, dropout)
        case "token":
            return PerToken(width, head.size, dropout)
        case "vector":
            return Vector(width)
        case "joint":
            return Joint(width, head.size, head.image_layer)
    return None


class Model(nn.Module):
    """One encoder shared by the heads of a phase, in fp32 whatever dtype it was saved in.

    New ``heads`` are drawn from torch's generator, and with ``scratch`` the encoder's weights, too.
    ``max_length`` is the maximum sequence length, if known: short ones use a faster attention.
    """

    def __init__(
        self,
        name: str,
        heads: Mapping[str, Head],
        max_length: int | None = None,
        scratch: bool = False,
    ):
        super().__init__()
        # Fused attention on a CPU is slower than eager attention on short sequences: its backward
        # pass takes 30 ms against 3 for a layer at 64 sequences of 44 tokens, measured.
        is_short = device.device().type == "cpu" and max_length is not None and max_length <= SHORT
        has_language_model = any(head.pooling == "masked" for head in heads.values())
        loader = AutoModelForMaskedLM if has_language_model else AutoModel
        options = {"attn_implementation": "eager" if is_short else None, "dtype": torch.float32}
        if scratch:
            network = loader.from_config(configuration(name), **options)
            _set_sinusoids(network)
        else:
            network = load(loader, name, **options)
        self.tower: nn.Module | None = None  # of images, if one is trained
        self.memory: nn.Module | None = None  # of earlier steps, if an objective has any
        self.encoder = network.base_model
        # The encoder with its language-model head; their weights are shared.
        self.language_model = network if has_language_model else None
        if getattr(self.encoder, "pooler", None) is not None:
            # Missing from some checkpoints and then random; the kit's heads do their own pooling.
            self.encoder.pooler = nn.Identity()
        layers = {key: head_layer(head, self.encoder.config) for key, head in heads.items()}
        self.heads = nn.ModuleDict({key: each for key, each in layers.items() if each is not None})

    @property
    def depth(self) -> int:
        """The number of layers of the encoder."""
        return self.encoder.config.num_hidden_layers

    @property
    def _layers(self) -> nn.ModuleList | None:
        """The layers of the encoder, lowest first; None if it repeats a single one (ALBERT)."""
        lists = (module for module in self.encoder.modules() if isinstance(module, nn.ModuleList))
        return next((layers for layers in lists if len(layers) == self.depth), None)

    def freeze(self, what: str | int) -> None:
        """Freeze the embeddings and, if ``what`` is a number, that many of the lowest layers.

        An empty string freezes nothing. Raises ValueError if no layer would be left to train.
        """
        if not what:
            return
        encoder = self.encoder
        parts = [getattr(encoder, "embeddings", None) or encoder.get_input_embeddings()]
        if what != "embeddings":
            layers = self._layers or ()
            if what >= len(layers):
                raise ValueError(
                    f"freeze is {what}; this encoder has {len(layers)} layers to freeze."
                )
            parts += layers[:what]
        for part in parts:
            part.requires_grad_(False)

    def hidden(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Tensor:
        """The encoder's last hidden states (batch, tokens, width) for the tokenizer's output."""
        return self.encoder(input_ids, attention_mask=attention_mask, **more).last_hidden_state

    def layers(self, numbers: Sequence[int], **inputs: Tensor) -> dict[int, Tensor]:
        """Hidden states (batch, tokens, width) after some layers, in ascending order from 1.

        Layers above the last of these are not run. Raises ValueError for a number out of range.
        """
        if not set(numbers) <= set(range(1, self.depth + 1)):
            raise ValueError(f"Layers are {numbers}; the encoder has 1 to {self.depth}.")
        layers = self._layers
        if layers is None:
            states = self.encoder(**inputs, output_hidden_states=True).hidden_states
            return {number: states[number] for number in numbers}
        outputs = []

        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            outputs.append(output[0] if isinstance(output, tuple) else output)

        with ExitStack() as hooks:
            for number in numbers:
                hooks.enter_context(layers[number - 1].register_forward_hook(keep))
            hooks.callback(layers.extend, layers[max(numbers) :])
            del layers[max(numbers) :]
            self.hidden(**inputs)
        return dict(zip(numbers, outputs, strict=True))

    def pooled(self, head: str, **inputs: Tensor) -> Tensor:
        """The vector of a sequence (batch, width): what a sequence head scores, else the mean."""
        pooling = getattr(self.heads[head], "pooled", mean_pool)
        return pooling(self.hidden(**inputs), inputs["attention_mask"])

    def forward(self, head: str, select: Tensor | None = None, **inputs: Tensor) -> Tensor:
        """The scores of a head. For the language model, only at the positions in ``select``."""
        if head in self.heads:
            return self.heads[head](self.hidden(**inputs), inputs["attention_mask"])

        def keep_selected(_module: nn.Module, _inputs: Any, output: Any) -> None:
            output["last_hidden_state"] = output["last_hidden_state"][select].unsqueeze(0)

        # The head then scores the selected positions as one sequence: a vocabulary of scores at
        # every position would cost more than the encoder itself.
        with self.encoder.register_forward_hook(keep_selected):
            return self.language_model(**inputs).logits.squeeze(0)

    def save(self, tokenizer: Any, folder: Path) -> None:
        """Write a standard checkpoint folder, with heads and a trained tower beside the encoder."""
        network = self.language_model or self.encoder
        network.save_pretrained(folder)
        share_frozen(network, folder)
        # It would also save how it was last called, which depends on what this process did before.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.save_pretrained(folder)
        if self.tower is not None:
            self.tower.save(folder / TOWER)
        heads = {name: weight.contiguous() for name, weight in self.heads.state_dict().items()}
        if heads:
            save_file(heads, folder / HEADS)


def unwrapped(model: nn.Module) -> Model:
    """The model itself, if it was wrapped for training in several processes."""
    return getattr(model, "module", model)


def _set_sinusoids(model: nn.Module) -> None:
    """Initialize learned absolute positions with sinusoids.

    With them, a small encoder learns much sooner which tokens are adjacent (the formula of Vaswani
    et al. 2017, section 3.5, with the length of the sequence instead of 10,000).
    """
    embeddings = getattr(model.base_model, "embeddings", None)
    positions = getattr(embeddings, "position_embeddings", None)
    if isinstance(positions, nn.Embedding):
        length, width = positions.weight.shape
        rates = length ** -(torch.arange(0, width, 2) / width)
        angles = torch.arange(length)[:, None] * rates
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(length, width)
        positions.weight.data.copy_(waves * POSITION_SCALE)


def batches_by_length(examples: Sequence[EncodedExample], tokens: int) -> Iterator[list[int]]:
    """Indices of examples, longest first, in batches of at most ``tokens`` with padding.

    The longest batch comes first, so that memory runs out at once and not at the end, if it does.
    """
    batch: list[int] = []
    sequences = 0
    for i in sorted(range(len(examples)), key=lambda i: -len(examples[i])):
        sequences += len(examples[i].sequences)
        if batch and sequences * len(examples[batch[0]]) > tokens:
            yield batch
            batch = []
            sequences = len(examples[i].sequences)
        batch.append(i)
    if batch:
        yield batch
