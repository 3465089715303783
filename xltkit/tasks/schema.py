"""The types that tasks and suites are written in: rows of tables, not code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xltkit.data.source import Source

# Canonical columns by kind. `id` is a key of our own, unique within task, split and language;
# parallel rows carry the same id in every language.
COLUMNS = {
    "classification": ("id", "text_a", "text_b", "label"),
    "choice": ("id", "premise", "choices", "label"),
    "tagging": ("id", "tokens", "tags"),
    "span": ("id", "question", "context", "answers", "starts"),
    "retrieval": ("id", "text", "english"),
    "mining": ("id", "side", "text", "pairs"),
    # Training rows have the right candidate too: "text" and "context", as candidates do.
    "ranking": ("id", "query", "key"),
    "captions": ("id", "image", "texts"),  # one row a picture, with one caption or several
    "text": ("id", "text"),  # and "translation", where the rows are translation pairs
}

# What a ranking searches: a text, perhaps read with its context, and the keys it is right for.
CANDIDATES = ("id", "text", "context", "keys")


def canonical_columns(kind: str, split: str) -> tuple[str, ...]:
    """The columns that a reader makes for a split of a task of some kind."""
    if split == "candidates":
        return CANDIDATES
    more = CANDIDATES[1:3] if (kind, split) == ("ranking", "train") else ()
    return COLUMNS[kind] + more


@dataclass(frozen=True)
class TrainingArguments:
    """How long and how fast a task is trained unless a phase says otherwise.

    ``epochs`` counts only when ``steps`` is 0: it is resolved to steps before anything is keyed.
    """

    steps: int = 0
    epochs: float = 0.0
    batch_size: int = 32
    learning_rate: float = 2e-5
    warmup: float = 0.1
    weight_decay: float = 0.0
    max_length: int = 128


@dataclass(frozen=True)
class Task:
    """Data in some languages, a kind and a metric.

    ``train_on`` names the task whose training split is used: XQuAD has none and trains on SQuAD,
    so XQuAD and MLQA share one trained stage. ``labels`` are the names of the classes or tags in
    the order of their indices; empty where only the user's own file knows them (``ccg``).
    ``candidates`` are what a ranking searches, in all its languages at once, whatever the language
    of the query. ``chance`` is the score (0 to 100) of a model that knows nothing. ``note`` is the
    protocol.
    """

    name: str
    kind: str
    metric: str
    chance: float
    train: Source | None = None
    validation: Source | None = None
    test: Source | None = None
    candidates: Source | None = None
    train_on: str = ""
    labels: tuple[str, ...] = ()
    training: TrainingArguments = field(default_factory=TrainingArguments)
    licence: str = ""
    citation: str = ""
    note: str = ""

    def chance_among(self, n: Any) -> Any:
        """Chance on so many items (a number or a column): a search can find any of them."""
        return 100 / n if self.kind in ("captions", "retrieval") else self.chance


@dataclass(frozen=True)
class TrainingSet:
    """Some training rows: of a task, in a language, so many of them (0 means all).

    ``shuffled`` permutes the labels: the control that must end at chance.
    """

    task: str
    language: str = "en"
    examples: int = 0
    shuffled: bool = False


@dataclass(frozen=True)
class Images:
    """What the image-text arms of a suite are made of, and what they are held against.

    Attributes:
        captions: the task with pictures, in the source language.
        tested: the task with pictures and captions in many languages.
        tower: the image tower that is locked.
        teacher: the CLIP whose text tower is distilled.
        text: the supervised tasks of the arm without pictures.
        training: of every intermediate phase, with pictures or without.
    """

    captions: str
    tested: str
    tower: str
    teacher: str
    text: tuple[str, ...]
    training: TrainingArguments


@dataclass(frozen=True)
class Suite:
    """A named set of tasks.

    ``targets`` maps the short names that notebooks use to tasks (``qa`` is XQuAD and TyDiQA in
    XTREME-R). ``order_pairs`` holds the pairs (high resource, low resource) of the order question,
    by axis: ``size`` of the data set or resource level of the ``language`` of its labels.

    ``intermediate_tasks`` are the tasks of the STILTs grid, ``translated`` one of them in several
    languages, ``multilingual`` one whose labels are in several, ``text`` what masked language
    modelling is mixed in from, and ``intermediate_training`` the arguments that all of its arms
    share. ``images`` says the same of the arms with pictures.
    """

    name: str
    targets: Mapping[str, tuple[str, ...]]
    order_pairs: Mapping[str, tuple[TrainingSet, TrainingSet]]
    encoder: str
    intermediate_tasks: tuple[str, ...] = ()
    translated: tuple[TrainingSet, ...] = ()
    multilingual: tuple[TrainingSet, ...] = ()
    text: tuple[TrainingSet, ...] = ()
    intermediate_training: TrainingArguments = field(default_factory=TrainingArguments)
    images: Images | None = None
    is_microworld: bool = False
