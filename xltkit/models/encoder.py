"""Encoders from transformers with the heads that tasks put on them: loading, running, saving."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from xltkit.keys import digest, known_digest
from xltkit.models import device
from xltkit.models.heads import Pooled, head_layer, mean_pool
from xltkit.tasks.base import EncodedExample, Head

MICRO = Path(__file__).parents[1] / "data" / "microworld" / "micro"
HEADS = "heads.safetensors"  # beside the encoder in the folder of a stage
TOWER = "tower"  # the same of a trained image tower
TOKENS = {"cpu": 4096, "mps": 16384, "cuda": 65536}  # in a batch of a test set, with padding
# Amplitude of sinusoidal positions in an untrained encoder.
POSITION_SCALE = 0.1
# Encoders the kit knows by a short name, with the commit of the Hub repository it was written for.
KNOWN = {
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base@e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large@c23d21b0620b635a76227c604d44e43a9f0ee389",
    "bert-base-multilingual-cased": (
        "google-bert/bert-base-multilingual-cased@3f076fdb1ab68d5b2880cb87a0886f315b8146f8"
    ),
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
        identifier, _, pinned = KNOWN[identifier].partition("@")
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
        ValueError: if there is no such encoder, or it is not downloaded and there is no network.
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
            checkpoint was saved in, because fp32 is what the optimizer must see.
        heads: the head of each label space, by name. New heads are drawn from torch's generator.
        pooling: what sequence heads read, ``mean`` or ``first``.
        attention: transformers' name of an implementation; empty means the architecture's default.
        scratch: draw the encoder's weights from torch's generator, too, instead of loading them.
    """

    def __init__(
        self,
        name: str,
        heads: Mapping[str, Head],
        pooling: str = "mean",
        attention: str = "",
        scratch: bool = False,
    ):
        super().__init__()
        has_language_model = any(head.pooling == "masked" for head in heads.values())
        loaded = _load(name, has_language_model, attention, scratch)
        self.rotation: dict[str, Tensor] = {}  # see ``rotated``
        self.tower: nn.Module | None = None  # of images, if one is trained
        self.memory: nn.Module | None = None  # of earlier steps, if an objective has any
        self.encoder = loaded.base_model
        self.language_model = _language_head(loaded) if has_language_model else None
        if getattr(self.encoder, "pooler", None) is not None:
            # Not in every checkpoint, then drawn at random; the kit's heads do their pooling.
            self.encoder.pooler = None
        self.heads = nn.ModuleDict()
        for key, head in heads.items():
            layer = head_layer(head, self.encoder.config, pooling)
            if layer is not None:
                self.heads[key] = layer

    def hidden(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Tensor:
        """The encoder's last hidden states (batch, tokens, width), after a rotation if one is set.

        ``more`` is whatever else the tokenizer gives, such as ``token_type_ids``.
        """
        hidden = self.encoder(input_ids, attention_mask=attention_mask, **more).last_hidden_state
        if not self.rotation:
            return hidden
        return (hidden - self.rotation["from"]) @ self.rotation["rotation"] + self.rotation["to"]

    @contextmanager
    def rotated(self, rotation: Mapping[str, Tensor]):
        """Rotate hidden states inside the context.

        Args:
            rotation: the matrix ``rotation`` (width, width), applied between two means ``from`` and
                ``to`` (width); an empty mapping changes nothing.
        """
        target = next(self.parameters()).device
        self.rotation = {name: value.to(target) for name, value in rotation.items()}
        try:
            yield
        finally:
            self.rotation = {}

    def pooled(
        self, head: str, input_ids: Tensor, attention_mask: Tensor, **more: Tensor
    ) -> Tensor:
        """The vector of a sequence (batch, width): what a sequence head scores, else the mean."""
        hidden = self.hidden(input_ids, attention_mask, **more)
        layer = self.heads[head]
        if isinstance(layer, Pooled):
            return layer.pooled(hidden, attention_mask)
        return mean_pool(hidden, attention_mask)

    def forward(
        self,
        head: str,
        input_ids: Tensor,
        attention_mask: Tensor,
        select: Tensor | None = None,
        **more: Tensor,
    ) -> Tensor:
        """The scores of a head. For the language model, only at the positions in ``select``."""
        hidden = self.hidden(input_ids, attention_mask, **more)
        if head not in self.heads:
            # A vocabulary of scores at every position would cost more than the encoder itself.
            return self.language_model(hidden[select])
        return self.heads[head](hidden, attention_mask)

    def layers(
        self, numbers: Sequence[int], input_ids: Tensor, attention_mask: Tensor, **more: Tensor
    ) -> dict[int, Tensor]:
        """Hidden states (batch, tokens, width) after some layers; 1 is the first layer.

        Layers above the last of these are not run. Raises ValueError for a number out of range.
        """
        for number in numbers:
            if not 1 <= number <= self.depth:
                raise ValueError(f"There is no layer {number}; the encoder has 1 to {self.depth}.")
        parent, name = _block_list(self.encoder)
        blocks = getattr(parent, name)
        states: dict[int, Tensor] = {}
        hooks = []
        for number in numbers:

            def keep(_module: nn.Module, _inputs: Any, output: Any, number: int = number) -> None:
                states[number] = output[0] if isinstance(output, tuple) else output

            hooks.append(blocks[number - 1].register_forward_hook(keep))
        setattr(parent, name, blocks[: max(numbers)])
        try:
            self.hidden(input_ids, attention_mask, **more)
        finally:
            setattr(parent, name, blocks)
            for hook in hooks:
                hook.remove()
        return {number: states[number] for number in numbers}

    @property
    def depth(self) -> int:
        """The number of layers of the encoder."""
        return self.encoder.config.num_hidden_layers


def unwrapped(model: nn.Module) -> Model:
    """The model itself, where several processes that train it have wrapped it."""
    return getattr(model, "module", model)


def _load(name: str, has_language_model: bool, attention: str, scratch: bool) -> nn.Module:
    """A model of transformers in fp32, from a checkpoint or with weights drawn at random."""
    where, revision = locate(name)
    loader = AutoModelForMaskedLM if has_language_model else AutoModel
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    options = {"dtype": torch.float32, "attn_implementation": attention or None}
    with explained(name):
        if not scratch:
            return loader.from_pretrained(where, **options, **pin(revision))
        config = AutoConfig.from_pretrained(where, **pin(revision))
        return _with_sinusoids(loader.from_config(config, **options))


def _with_sinusoids(model: nn.Module) -> nn.Module:
    """A model with random weights whose learned absolute positions start as sinusoids.

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


def _language_head(loaded: nn.Module) -> nn.Module:
    """What a masked-language model has beside its encoder, in the order it is applied."""
    prefix = loaded.base_model_prefix
    return nn.Sequential(*(m for name, m in loaded.named_children() if name != prefix))


def _block_list(encoder: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds the list of layers of an encoder, and the name of the list in it."""
    depth = encoder.config.num_hidden_layers
    for parent in encoder.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == depth:
                return parent, name
    raise ValueError(f"{type(encoder).__name__} has no list of {depth} layers to stop at.")


# --- running a model over a test set -----------------------------------------------------------


def batches_by_length(examples: Sequence[EncodedExample], tokens: int) -> Iterator[list[int]]:
    """Indices of examples, longest first, in batches of at most ``tokens`` with padding.

    The longest batch comes first, so that too small a memory fails at once and not at the end.
    """
    batch: list[int] = []
    width = 0
    rows = 0
    for i in sorted(range(len(examples)), key=lambda i: (-len(examples[i]), i)):
        width = width or len(examples[i])
        rows += len(examples[i].sequences)
        if batch and width * rows > tokens:
            yield batch
            batch = []
            width = len(examples[i])
            rows = len(examples[i].sequences)
        batch.append(i)
    if batch:
        yield batch


@torch.inference_mode()
def infer(
    model: Model,
    examples: Sequence[EncodedExample],
    collate: Callable[[Sequence[EncodedExample]], dict[str, Tensor]],
    read: Callable[[dict[str, Tensor], Sequence[EncodedExample]], Sequence[Any]],
) -> list[Any]:
    """Run a model over examples in batches of similar length, without gradients or dropout.

    Args:
        model: moved to the device, and left in evaluation mode.
        examples: in any order.
        collate: examples to the tensors of a batch.
        read: the tensors of a batch, on the device, and its examples, to one value an example.

    Returns:
        the values, in the order of the examples.
    """
    target = device.device()
    model.to(target).eval()
    values: list[Any] = [None] * len(examples)
    for indices in batches_by_length(examples, TOKENS[target.type]):
        batch = [examples[i] for i in indices]
        tensors = {name: tensor.to(target) for name, tensor in collate(batch).items()}
        with device.autocast():
            for i, value in zip(indices, read(tensors, batch), strict=True):
                values[i] = value
    return values


# --- what a trained model leaves in the folder of a stage --------------------------------------


def save_encoder(model: Model, tokenizer: Any, folder: Path) -> None:
    """Write the encoder as an ordinary checkpoint folder, and the heads beside it.

    If the phase trained a language model, it is part of the checkpoint, and ``AutoModel`` as
    well as ``AutoModelForMaskedLM`` loads the folder.
    """
    whole = model.encoder
    if model.language_model is not None:
        whole = AutoModelForMaskedLM.from_config(model.encoder.config)
        whole.base_model.load_state_dict(model.encoder.state_dict())
        _language_head(whole).load_state_dict(model.language_model.state_dict())
        whole.tie_weights()
    whole.save_pretrained(folder)
    # It would also keep how it was last called, which depends on what this process did before.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    if model.tower is not None:
        model.tower.save(folder / TOWER)
    heads = {name: weight.contiguous() for name, weight in model.heads.state_dict().items()}
    if heads:
        save_file(heads, folder / HEADS)


def load_heads(model: Model, folder: Path) -> None:
    """Put the trained heads of a stage back on a model that was made with the same heads."""
    model.heads.load_state_dict(load_file(folder / HEADS))
