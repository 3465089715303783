"""xltkit: zero-shot cross-lingual transfer, measured honestly.

A multilingual encoder is fine-tuned on labels in one language and tested in dozens of others.
Recipes say what is trained, a study compares them, and tidy tables hold the results.
"""

from importlib import import_module
from typing import Any

# The module of each public name. Names are imported on first use: ``xlt.start`` has to reject a
# misspelled parameter before torch takes seconds to load.
_NAMES = {
    "analysis.compare": "compare protocol summary",
    "analysis.doctor": "doctor",
    "batch.parameters": "start",
    "data": "languages microworld",
    "evaluation": "attacks",
    "explore": "embeddings plots widgets",
    "explore.examples": "Playground",
    "explore.html": "tokens",
    "studies": "saved",
    "studies.export": "export",
    "studies.given": "read_predictions",
    "studies.stages": "encoder",
    "studies.study": "study sweep",
    "tasks": "TrainingSet",
    "training.align": "Align",
    "training.image_text": "Distil ImageText",
    "training.joint": "Joint Translations",
    "training.phases": "Evaluate Intermediate Pretrain Target",
    "training.robust": "Adversarial RandomPerturbation SynonymSmoothing",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
_ROOMS = ("analysis", "data", "tasks")

__all__ = [*_HOMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"xltkit.{name}")
    if name not in _HOMES:
        raise AttributeError(f"xltkit has no {name!r}; it has {', '.join(__all__)}.")
    # Like `from xltkit.explore import plots`: a name in a module, or a module in a subpackage.
    value = getattr(__import__(f"xltkit.{_HOMES[name]}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
