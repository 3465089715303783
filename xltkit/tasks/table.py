"""The types that tasks and suites are written in: rows of tables, not code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# A reader turns the rows of one Hub config into the canonical columns of the task's kind:
# (data set as loaded, language) -> data set with the canonical columns.
Reader = Callable[[Any, str], Any]

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
class Budget:
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
class Source:
    """One split of a data set: where it lies and how its rows are read.

    ``hub`` is a namespaced Hub id, looked for in the folder named by ``XLTKIT_HUB`` first;
    ``microworld``; or a folder of that mirror that is not on the Hub (``local/``, ``raw/``).
    ``split`` may hold ``{language}``, for data sets with one split per language, or several splits
    joined by ``+``. ``configs`` maps a language to the config that holds it; a config off the Hub
    that ends in ``.json``, ``.jsonl`` or ``.conll`` is a file, and its reader is given the path.
    ``columns`` are the Hub's columns that ``read`` uses.

    ``revision`` is a commit of the Hub repository or, where the main branch holds only a script,
    ``refs/convert/parquet``, whose configs are folders. Where it is empty, ``unpinned`` says why,
    and the commit found at load time becomes part of every key (as it does for that branch). Off
    the Hub, ``unpinned`` says where the rows come from, and ``url`` is the folder upstream that
    the files of ``configs`` are fetched from.

    ``others`` hold the same split in more languages, under other Hub ids. ``holds`` names splits
    whose items this one contains: a model trained on it is not tested on them.
    """

    hub: str
    split: str
    configs: Mapping[str, str]
    read: Reader
    revision: str = ""
    columns: tuple[str, ...] = ()
    unpinned: str = ""
    url: str = ""
    others: tuple[Source, ...] = ()
    holds: tuple[Source, ...] = ()

    @property
    def parts(self) -> tuple[Source, ...]:
        """This source and the others."""
        return (self, *self.others)

    @property
    def languages(self) -> list[str]:
        """The languages of all parts."""
        return [code for part in self.parts for code in part.configs]

    def __contains__(self, language: str) -> bool:
        """Whether some part holds a language; the microworld has more than it lists."""
        return any(language in part.configs for part in self.parts)

    def of(self, language: str) -> Source:
        """The part that holds a language. Raises KeyError if none does."""
        for part in self.parts:
            if language in part.configs:
                return part
        raise KeyError(language)


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
    budget: Budget = field(default_factory=Budget)
    licence: str = ""
    citation: str = ""
    note: str = ""

    def chance_among(self, n: Any) -> Any:
        """Chance on so many items (a number or a column): a search can find any of them."""
        return 100 / n if self.kind in ("captions", "retrieval") else self.chance


@dataclass(frozen=True)
class Portion:
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
        budget: of every intermediate phase, with pictures or without.
    """

    captions: str
    tested: str
    tower: str
    teacher: str
    text: tuple[str, ...]
    budget: Budget


@dataclass(frozen=True)
class Suite:
    """A named set of tasks.

    ``targets`` maps the short names that notebooks use to tasks (``qa`` is XQuAD and TyDiQA in
    XTREME-R). ``contrasts`` holds the pairs (high resource, low resource) of the order question,
    by axis: ``size`` of the data set or resource level of the ``language`` of its labels.

    ``intermediates`` are the tasks of the STILTs grid, ``translated`` one of them in several
    languages, ``multilingual`` one whose labels are in several, ``text`` what masked language
    modelling is mixed in from, and ``between`` the budget that all of its arms share. ``images``
    says the same of the arms with pictures.
    """

    name: str
    targets: Mapping[str, tuple[str, ...]]
    contrasts: Mapping[str, tuple[Portion, Portion]]
    encoder: str
    intermediates: tuple[str, ...] = ()
    translated: tuple[Portion, ...] = ()
    multilingual: tuple[Portion, ...] = ()
    text: tuple[Portion, ...] = ()
    between: Budget = field(default_factory=Budget)
    images: Images | None = None
    is_microworld: bool = False
