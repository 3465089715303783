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
    "Distil": "training.image_text",
    "Evaluate": "training.phases",
    "ImageText": "training.image_text",
    "Intermediate": "training.phases",
    "ParameterError": "batch.parameters",
    "Playground": "explore.playground",
    "TrainingSet": "tasks",
    "Pretrain": "training.phases",
    "RandomPerturbation": "training.robust",
    "SynonymSmoothing": "training.synonyms",
    "Target": "training.phases",
    "compare": "analysis.compare",
    "encoder": "studies.recipe",
    "export": "studies.export",
    "start": "batch.parameters",
    "study": "studies.study",
    "summary": "analysis.compare",
}
_MODULES = {
    "analysis": "analysis",
    "attacks": "evaluation.attacks",
    "data": "data",
    "embeddings": "explore.embeddings",
    "languages": "data.languages",
    "microworld": "data.microworld",
    "plots": "explore.plots",
    "plots_pictures": "explore.plots_pictures",
    "saved": "studies.saved",
    "tasks": "tasks",
    "tokens": "explore.tokens",
    "widgets": "explore.widgets",
}

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
