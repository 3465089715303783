"""The layers between an encoder and a label space, on hidden states (batch, tokens, width)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from xltkit.tasks.base import Head


def head_layer(head: Head, config: Any) -> nn.Module | None:
    """The layer of a head on an encoder; None for the language model's own."""
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


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean over the tokens that are not padding, special tokens included."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


class Pooled(nn.Module):
    """Scores (batch, size), by a tanh layer on the mean."""

    def __init__(self, width: int, size: int, dropout: float):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, size)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return self.scores(self.dropout(self.pooled(hidden, mask)))

    def pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """What the scores are a linear function of (batch, width)."""
        return torch.tanh(self.dense(self.dropout(mean_pool(hidden, mask))))


class PerToken(nn.Module):
    """Scores (batch, tokens, size). Those of padding are masked: a softmax would depend on it."""

    def __init__(self, width: int, size: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, size)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        scores = self.scores(self.dropout(hidden))
        return scores.masked_fill(mask.unsqueeze(-1) == 0, -1e4)


class Vector(nn.Module):
    """Directions (batch, width), for dual encoders: a tanh layer on the mean, of length 1.

    The product of two outputs is their cosine times a learned ``scale`` that starts at 100
    (XTREME third_party/bert.py): each output carries its root, so that both towers are one module.
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
    """Vectors (batch, size) of any length, in the space that texts share with pictures.

    Features of a locked image tower pass a linear layer (``image_layer``); a tower that is
    trained, and the tower of a teacher, are in that space already. The logarithm of the
    learned scale of cosines starts at ln(1/0.07) and is kept in [0, ln 100] (Radford et al. 2021,
    section 2.5; open_clip). It has the learning rate of all weights, by which a step of Adam moves
    it at most: in short training it stays near its start.
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
