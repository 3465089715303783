"""The rows of tasks and training sets: found, loaded, chosen and, for controls, shuffled."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from datasets import Dataset

from xltkit.data.loading import MissingData, Source, warn_once
from xltkit.keys import choose, derive
from xltkit.tasks.base import SPLITS, Task, TrainingSet
from xltkit.tasks.suites import get

Codes = Sequence[str]  # of languages


def source_of(task: Task, split: str) -> Source:
    """The source of a split. Raises MissingData, naming the splits of the task, if it has none."""
    source = getattr(task, choose("split", split, SPLITS))
    if source is None:
        splits = [name for name in SPLITS[:3] if getattr(task, name)]
        training = f" It trains on {task.train_on!r}." if task.train_on else ""
        raise MissingData(
            f"{task.name} has no {split} split with labels, only {', '.join(splits)}.{training} "
            f"To score another split, type for example split={splits[-1]!r}."
        )
    return source


def load(task: Task, split: str, language: str, examples: int = 0) -> Dataset:
    """The rows of a task in a language (``sw``), in the canonical columns of its type.

    ``examples`` is how many rows the microworld generates; other data sets ignore it. Raises
    MissingData, naming the command that would get them, if they are not available, and ValueError
    if a row cannot be read, trained on or scored; warns if gold never varies.
    """
    source = source_of(task, split)
    name = f"{task.name} ({split}, {language!r})"
    try:
        rows = source.rows(language, examples)
        note = "" if source.is_generated else task.type.check_rows(task, rows, split)
    except MissingData as error:
        error.args = (f"No {split} rows of {task.name} in {language!r}. {error}",)
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        origin = [*source.location(language).files, source.of(language).hub][0]
        raise ValueError(f"{name}, read from {origin}: {type(error).__name__}: {error}") from error
    if note:
        warn_once(f"{name}: {note}.")
    return rows


def available(task: Task, split: str, languages: Codes | None = None) -> tuple[Codes, Codes]:
    """The ``languages`` (None: all of a task) that are available, and those that are not.

    Files in a mirror are only looked for; what only the Hub has is loaded, since nothing else would
    prove that it can be. A warning names what is missing.
    """
    source = getattr(task, split, None)
    if languages is None:
        languages = source.languages if source else ()
    errors: dict[str, str] = {}
    for code in languages:
        try:
            if source_of(task, split).must_be_read(code):
                load(task, split, code)
        except MissingData as error:
            errors[code] = str(error)
    if errors:
        first = next(iter(errors.values()))
        warn_once(f"{task.name} ({split}) is missing in {', '.join(errors)}. {first}")
    return [code for code in languages if code not in errors], list(errors)


def parse_substitutes(substitutes: Iterable[str]) -> dict[str, str]:
    """The tasks that replace others in training: ``["mnli<-sick"]`` as a dictionary."""
    pairs = {}
    for entry in substitutes:
        old, arrow, new = entry.partition("<-")
        if not arrow:
            raise ValueError(f"{entry!r} is not a substitute; write 'mnli<-sick' to train on SICK.")
        pairs[get(old.strip()).name] = get(new.strip()).name
    return pairs


def available_sets(
    training_sets: Iterable[TrainingSet], substitutes: Iterable[str] = ()
) -> list[TrainingSet]:
    """The available training sets, with substitutes; a warning names the others."""
    names = parse_substitutes(substitutes)
    renamed = dict.fromkeys(replace(p, task=names.get(p.task, p.task)) for p in training_sets)
    languages: dict[str, list[str]] = {}
    for training_set in renamed:
        languages.setdefault(training_set.task, []).append(training_set.language)
    found = {task: available(get(task), "train", codes)[0] for task, codes in languages.items()}
    return [p for p in renamed if p.language in found[p.task]]


def training_rows(training_set: TrainingSet) -> Dataset:
    """The rows of a training set, cached until its file is edited.

    A smaller number of examples is the same random choice for every seed, and a subset of every
    larger one with the same ``draw``. The microworld generates as many as requested.
    """
    return _training_rows(training_set, fingerprint(training_set))


@lru_cache(maxsize=64)
def _training_rows(training_set: TrainingSet, fingerprint: str) -> Dataset:
    task = get(training_set.task)
    draw = training_set.draw
    rows = load(task, "train", training_set.language, 0 if draw else training_set.examples)
    if training_set.examples and training_set.examples < len(rows):
        choice = ("subset", task.name, draw) if draw else ("subset", task.name)
        order = np.random.default_rng(derive(*choice)).permutation(len(rows))
        rows = rows.select(order[: training_set.examples])
    if training_set.shuffled:
        rows = task.type.permute(task, rows, np.random.default_rng(derive("shuffle", task.name)))
    return rows


def count(training_set: TrainingSet) -> int:
    """The number of rows of a training set; for the microworld, without generating any."""
    source = source_of(get(training_set.task), "train")
    if source.is_generated:
        given = source.count(training_set.language, training_set.examples)
        # A draw is from the default number of rows.
        return min(given, source.count(training_set.language, 0)) if training_set.draw else given
    return len(training_rows(training_set))


def fingerprint(training_set: TrainingSet) -> str:
    """An identifier of a training set's current rows: a file may be edited in a session."""
    task = get(training_set.task)
    try:
        return source_of(task, "train").fingerprint(training_set.language)
    except MissingData:
        load(task, "train", training_set.language)  # its error says whose rows are missing
        raise
