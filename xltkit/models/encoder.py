"""Encoders from transformers, and the heads that tasks put on them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from xltkit.keys import digest, known_digest
from xltkit.models.heads import Joint, PerToken, Pooled, Vector, mean_pool
from xltkit.tasks.base import Head

MICRO = Path(__file__).parents[1] / "data" / "microworld" / "micro"
# Amplitude of sinusoidal positions in an untrained encoder.
POSITION_SCALE = 0.1
# Encoders the kit knows by a short name, with the commit of the Hub repository it was written for.
KNOWN = {
    name.partition("/")[2]: (name, revision)
    for name, revision in {
        "FacebookAI/xlm-roberta-base": "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
        "FacebookAI/xlm-roberta-large": "c23d21b0620b635a76227c604d44e43a9f0ee389",
        "google-bert/bert-base-multilingual-cased": "3f076fdb1ab68d5b2880cb87a0886f315b8146f8",
    }.items()
}


def locate(name: str) -> tuple[str, str | None]:
    """A folder or a Hub id, and the revision (None for a folder), of an encoder by its name.

    Raises:
        ValueError: if the name is neither ``micro``, nor a folder with a ``config.json``, nor a
            Hub id of the form ``organisation/name`` with an optional ``@revision``.
    """
    if name == "micro":
        return str(MICRO), None
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return str(folder), None
    identifier, _, revision = name.partition("@")
    if identifier in KNOWN:
        identifier, pinned = KNOWN[identifier]
        revision = revision or pinned
    if folder.exists() or identifier.count("/") != 1 or identifier.startswith((".", "/", "~")):
        raise ValueError(
            f"{name!r} is no encoder. Give 'micro', a folder that holds config.json and "
            f"model.safetensors, one of {', '.join(KNOWN)}, or a Hub id such as "
            "'FacebookAI/xlm-roberta-base', with '@' and a commit to pin it."
        )
    return identifier, revision or "main"


def fingerprint(name: str) -> str:
    """What identifies the weights and the tokenizer of an encoder, whatever its folder is called.

    Raises:
        ValueError: if there is no such encoder, or it cannot be had without a network.
    """
    where, revision = locate(name)
    if revision is not None:
        return f"{where}@{_commit(where, revision)}"
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    files = [Path(where) / n for n in names if (Path(where) / n).is_file()]
    files += sorted(Path(where).glob("model-*-of-*.safetensors"))
    return digest({f.name: known_digest(f) for f in files})


@cache
def _commit(identifier: str, revision: str) -> str:
    """The commit that a revision of a Hub model stands for, read from its downloaded config."""
    with explained(identifier):
        config = AutoConfig.from_pretrained(identifier, revision=revision)
    return getattr(config, "_commit_hash", None) or revision


@contextmanager
def explained(name: str):
    """Turn the many ways in which loading fails into one message that names the remedy."""
    try:
        yield
    except (OSError, ValueError) as error:
        offline = " HF_HUB_OFFLINE is set." if os.environ.get("HF_HUB_OFFLINE") else ""
        raise ValueError(
            f"The encoder {name!r} could not be loaded.{offline} Check its name, fetch it with "
            f"'hf download {name}' on a machine with a network, or give the folder of a "
            f"checkpoint. transformers says: {str(error).splitlines()[0]}"
        ) from error


def check_encoder(name: str) -> None:
    """Raise ValueError, with the remedy, unless the encoder's configuration can be loaded."""
    where, revision = locate(name)
    with explained(name):
        AutoConfig.from_pretrained(where, **pin(revision))


def pin(revision: str | None) -> dict[str, str]:
    """The revision as ``from_pretrained`` takes it; a folder has none."""
    return {} if revision is None else {"revision": revision}


def load_tokenizer(name: str) -> Any:
    """The tokenizer of an encoder; a process reads it once, unless its folder changes."""
    where, revision = locate(name)
    with explained(name):
        return _tokenizer(where, revision, "" if revision else fingerprint(name))


@lru_cache(maxsize=4)
def _tokenizer(where: str, revision: str | None, state: str) -> Any:
    return AutoTokenizer.from_pretrained(where, **pin(revision))


class Model(nn.Module):
    """One encoder shared by the heads of a phase.

    Args:
        name: an encoder (see ``locate``); its weights are loaded in fp32, whatever dtype the
            checkpoint was saved in, because fp32 is what the optimiser must see.
        heads: the head of each label space, by name. New heads are drawn from torch's generator.
        pooling: what sequence heads read, ``mean`` or ``first``.
        attention: transformers' name of an implementation; empty means the architecture's own.
        scratch: draw the encoder's weights from torch's generator, too, instead of loading them.
    """

    def __init__(
        self, name: str, heads: Mapping[str, Head], pooling: str = "mean", attention: str = "",
        scratch: bool = False,
    ):  # fmt: skip
        super().__init__()
        where, revision = locate(name)
        masked = any(head.reads == "masked" for head in heads.values())
        loader = AutoModelForMaskedLM if masked else AutoModel
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        options = {"dtype": torch.float32, "attn_implementation": attention or None}
        with explained(name):
            if scratch:
                config = AutoConfig.from_pretrained(where, **pin(revision))
                loaded = _untrained(loader.from_config(config, **options))
            else:
                loaded = loader.from_pretrained(where, **options, **pin(revision))
        self.turn: dict[str, Tensor] = {}
        self.tower: nn.Module | None = None  # of images, if one is trained
        self.memory: nn.Module | None = None  # of earlier steps, if an objective has any
        self.encoder = loaded.base_model
        self.language_model = _language_head(loaded) if masked else None
        if getattr(self.encoder, "pooler", None) is not None:
            # Not in every checkpoint, then drawn at random; the kit's heads do their own pooling.
            self.encoder.pooler = None
        config = self.encoder.config
        dropout = getattr(config, "hidden_dropout_prob", 0.1)
        make = {
            "sequence": lambda h: Pooled(config.hidden_size, h.size, dropout, pooling),
            "token": lambda h: PerToken(config.hidden_size, h.size, dropout),
            "vector": lambda _: Vector(config.hidden_size, pooling),
            "joint": lambda h: Joint(config.hidden_size, h.size, pooling, h.image_layer),
        }
        self.heads = nn.ModuleDict(
            {key: make[h.reads](h) for key, h in heads.items() if h.reads in make}
        )

    def hidden(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Tensor:
        """The encoder's last hidden states (batch, tokens, width), turned if they are to be."""
        hidden = self.encoder(input_ids, attention_mask=attention_mask, **more).last_hidden_state
        if not self.turn:
            return hidden
        return (hidden - self.turn["from"]) @ self.turn["rotation"] + self.turn["to"]

    @contextmanager
    def rotated(self, turn: Mapping[str, Tensor]):
        """Turn hidden states by a ``rotation`` (width, width) between two means, ``from``, ``to``.

        An empty mapping turns nothing.
        """
        device = next(self.parameters()).device
        self.turn = {name: value.to(device) for name, value in turn.items()}
        try:
            yield
        finally:
            self.turn = {}

    def pooled(
        self, head: str, input_ids: Tensor, attention_mask: Tensor, **more: Tensor
    ) -> Tensor:
        """The vector of a sequence (batch, width): what a head of sequences reads, or the mean."""
        hidden = self.hidden(input_ids, attention_mask, **more)
        layer = self.heads[head]
        if isinstance(layer, Pooled):
            return layer.pooled(hidden, attention_mask)
        return mean_pool(hidden, attention_mask)

    def forward(
        self, head: str, input_ids: Tensor, attention_mask: Tensor, select: Tensor | None = None,
        **more: Tensor,
    ) -> Tensor:  # fmt: skip
        """The scores of a head. For the language model, only at the positions in ``select``."""
        hidden = self.hidden(input_ids, attention_mask, **more)
        if head not in self.heads:
            # A vocabulary of scores at every position would cost more than the encoder itself.
            return self.language_model(hidden[select])
        return self.heads[head](hidden, attention_mask)

    def layers(
        self, wanted: Sequence[int], input_ids: Tensor, attention_mask: Tensor, **more: Tensor
    ) -> dict[int, Tensor]:
        """Hidden states after some layers (1 is the first); layers above the last are not run."""
        blocks, caught, hooks = _blocks(self.encoder), {}, []
        for layer in wanted:
            if not 1 <= layer <= len(blocks):
                raise ValueError(f"There is no layer {layer}; the encoder has 1 to {len(blocks)}.")
            keep = lambda _module, _inputs, out, at=layer: caught.update({at: _first(out)})  # noqa: E731
            hooks.append(blocks[layer - 1].register_forward_hook(keep))
        with _only(self.encoder, max(wanted)):
            self.hidden(input_ids, attention_mask, **more)
        for hook in hooks:
            hook.remove()
        return {layer: caught[layer] for layer in wanted}

    @property
    def depth(self) -> int:
        """The number of layers of the encoder."""
        return len(_blocks(self.encoder))


def _untrained(model: nn.Module) -> nn.Module:
    """A model with random weights; learned absolute positions start as sinusoids.

    They are trained like all weights, but a small encoder learns from them much sooner which
    tokens stand side by side (the formula: Vaswani et al. 2017, section 3.5, with the length of
    the sequence for their 10,000).
    """
    embeddings = getattr(model.base_model, "embeddings", None)
    positions = getattr(embeddings, "position_embeddings", None)
    if isinstance(positions, nn.Embedding):
        length, width = positions.weight.shape
        rates = length ** -(torch.arange(0, width, 2) / width)
        angles = torch.arange(length)[:, None] * rates
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(length, width)
        with torch.no_grad():
            positions.weight.copy_(waves * POSITION_SCALE)
    return model


def _first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def _language_head(loaded: nn.Module) -> nn.Module:
    """What a masked-language model has beside its encoder, in the order it is applied."""
    prefix = loaded.base_model_prefix
    return nn.Sequential(*(m for name, m in loaded.named_children() if name != prefix))


def _block_list(encoder: nn.Module) -> tuple[nn.Module, str]:
    depth = encoder.config.num_hidden_layers
    for parent in encoder.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == depth:
                return parent, name
    raise ValueError(f"{type(encoder).__name__} has no list of {depth} layers to stop at.")


def _blocks(encoder: nn.Module) -> nn.ModuleList:
    parent, name = _block_list(encoder)
    return getattr(parent, name)


@contextmanager
def _only(encoder: nn.Module, count: int):
    """Run the first ``count`` layers alone."""
    parent, name = _block_list(encoder)
    blocks = getattr(parent, name)
    setattr(parent, name, blocks[:count])
    try:
        yield
    finally:
        setattr(parent, name, blocks)
