"""What a trained model leaves in the folder of a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM

from xltkit.models.encoder import Model

HEADS, TOWER = "heads.safetensors", "tower"  # beside the encoder: heads, and a trained image tower


def save_encoder(model: Model, tokenizer: Any, folder: Path) -> None:
    """Write the encoder as an ordinary checkpoint folder, and the heads beside it.

    If the phase trained a language model, it is part of the checkpoint, and ``AutoModel`` as
    well as ``AutoModelForMaskedLM`` loads the folder.
    """
    whole = model.encoder
    if model.language_model is not None:
        whole = AutoModelForMaskedLM.from_config(model.encoder.config)
        whole.load_state_dict(_whole_state(whole, model), strict=False)
        whole.tie_weights()
    whole.save_pretrained(folder)
    # It would also keep how it was last called, which depends on what this process did before.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    if model.tower is not None:
        model.tower.save(folder / TOWER)
    heads = {k: v.contiguous() for k, v in model.heads.state_dict().items()}
    if heads:
        save_file(heads, folder / HEADS)


def _whole_state(whole: nn.Module, model: Model) -> dict[str, Tensor]:
    prefix = whole.base_model_prefix
    names = [name for name, _ in whole.named_children() if name != prefix]
    state = {f"{prefix}.{k}": v for k, v in model.encoder.state_dict().items()}
    for name, module in zip(names, model.language_model, strict=True):
        state |= {f"{name}.{k}": v for k, v in module.state_dict().items()}
    return state


def load_heads(model: Model, folder: Path) -> None:
    """Put the trained heads of a stage back on a model that was made with the same heads."""
    model.heads.load_state_dict(load_file(folder / HEADS))
