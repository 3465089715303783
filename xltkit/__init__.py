"""xltkit: zero-shot cross-lingual transfer, measured honestly.

A multilingual encoder is fine-tuned on labels in one language and tested in dozens of others.
Recipes say what is trained, a study compares them, tidy tables say what came out.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Where each public name lives. They are imported when first used: a notebook's guard must be able
# to refuse a misspelt parameter before seconds are spent on loading torch.
_HOMES = {
    "Adversarial": "training.robust",
    "Align": "training.align",
    "Consistency": "training.robust",
    "Distil": "image_text",
    "Evaluate": "phases",
    "ImageText": "image_text",
    "Intermediate": "phases",
    "ParameterError": "parameters",
    "Playground": "explore.playground",
    "Portion": "tasks",
    "Pretrain": "phases",
    "RandomPerturbation": "training.robust",
    "SynonymSmoothing": "training.synonyms",
    "Target": "phases",
    "again": "evaluation.again",
    "card": "cards",
    "compare": "stats",
    "encoder": "recipe",
    "start": "parameters",
    "study": "studies",
    "summary": "stats",
}
_MODULES = {
    name: name
    for name in (
        "attacks",
        "claims",
        "data",
        "languages",
        "microworld",
        "plots",
        "plots_attack",
        "plots_claims",
        "plots_diagnostics",
        "plots_images",
        "plots_map",
        "plots_matrix",
        "plots_runs",
        "published",
        "stats",
        "tasks",
    )
} | {name: f"explore.{name}" for name in ("embeddings", "subwords", "views", "widgets")}

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"xltkit.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return import_module(f"xltkit.{_MODULES[name]}")
    raise AttributeError(f"xltkit has no {name!r}; it has {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
