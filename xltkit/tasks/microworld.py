"""The tasks of the microworld as rows of the table."""

from __future__ import annotations

from collections.abc import Mapping

from xltkit.microworld.languages import LANGUAGES
from xltkit.microworld.tasks import NLI_LABELS, POS_TAGS
from xltkit.tasks.table import Budget, Portion, Source, Suite, Task


def _sources(task: str, train: int = 4000) -> Mapping[str, Source]:
    def source(split: str, config: str) -> Source:
        configs = {code: config for code in LANGUAGES}
        return Source("microworld", split, configs, lambda rows, language: rows)

    return {
        "train": source("train", f"{task}:{train}"),
        "validation": source("validation", task),
        "test": source("test", task),
    }


def _budget(steps: int, batch_size: int = 32, learning_rate: float = 1e-3) -> Budget:
    """Small batches where they are enough: a task then costs a few CPU seconds."""
    return Budget(steps=steps, batch_size=batch_size, learning_rate=learning_rate, max_length=96)


_NOTE = "invented; nothing here is a claim about a real benchmark"
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="nli",
            kind="classification",
            metric="accuracy",
            chance=100 / 3,
            labels=NLI_LABELS,
            budget=_budget(400),
            note=_NOTE,
            **_sources("nli"),
        ),
        Task(
            name="qa",
            kind="span",
            metric="f1",
            chance=0.0,
            budget=_budget(400),
            note=_NOTE,
            **_sources("qa"),
        ),
        Task(
            name="choice",
            kind="choice",
            metric="accuracy",
            chance=50.0,
            budget=_budget(80, 16),
            note=_NOTE,
            **_sources("choice"),
        ),
        Task(
            name="pos",
            kind="tagging",
            metric="accuracy",
            chance=0.0,
            labels=POS_TAGS,
            budget=_budget(50, 16),
            note=_NOTE,
            **_sources("pos"),
        ),
        Task(
            name="retrieval",
            kind="retrieval",
            metric="accuracy",
            chance=100 / 500,
            budget=_budget(100),
            note=_NOTE,
            **_sources("retrieval"),
        ),
        Task(
            name="text",
            kind="text",
            metric="",
            chance=0.0,
            budget=_budget(2000, 64, 2e-3),
            note=_NOTE,
            **_sources("text", 12000),
        ),
        Task(
            name="pairs",
            kind="text",
            metric="",
            chance=0.0,
            budget=_budget(2000, 64, 2e-3),
            note=_NOTE,
            **_sources("pairs", 4000),
        ),
    )
}

SUITES: dict[str, Suite] = {
    "microworld": Suite(
        name="microworld",
        targets={name: (name,) for name in ("nli", "qa", "choice", "pos", "retrieval")},
        contrasts={
            "size": (Portion("qa", "en", 4000), Portion("choice", "en", 200)),
            "language": (Portion("qa", "qbe", 4000), Portion("qa", "qbu", 4000)),
        },
        encoder="micro",
        is_microworld=True,
    )
}
