"""Encoders, heads, image towers, and the device they run on."""

from xltkit.models.checkpoints import load_tokenizer

__all__ = ["load_tokenizer"]
