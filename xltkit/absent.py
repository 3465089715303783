"""Plans of what cannot be had here: data, encoders and tables are taken as if they were there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import datasets

from xltkit import data, lexicons, models, stages
from xltkit.places import MissingData, Place, place
from xltkit.sizes import GUESS, training_size
from xltkit.tasks import Portion, Source, Task, get
from xltkit.training import rows


class NotRun(Exception):
    """What was asked for is known only after training, or from data that is not here."""


@dataclass
class Wanted:
    """What a plan found to be needed: places of data, encoders and towers, tables of words.

    Attributes:
        places: for each place of data, its languages.
        weights: names of encoders, towers and teachers on the Hub.
        files: tables of words that are not there.
        guessed: training sets whose size nobody told.
    """

    places: dict[Place, set[str]] = field(default_factory=dict)
    weights: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    guessed: set[str] = field(default_factory=set)

    def note(self, source: Source, language: str) -> Place:
        """Remember where a source keeps the rows of a language."""
        there = place(source, language)
        if there.hub != "microworld":
            self.places.setdefault(there, set()).add(language)
        return there

    def merge(self, other: Wanted) -> None:
        """Add what another plan needs."""
        for there, codes in other.places.items():
            self.places.setdefault(there, set()).update(codes)
        for name in ("weights", "files", "guessed"):
            getattr(self, name).update(getattr(other, name))


class Rows:
    """Training rows whose number is known before they are read, or generated."""

    def __init__(self, portion: Portion, wanted: Wanted):
        self._portion, self._wanted = portion, wanted
        self._source = rows.source_of(get(portion.task), "train")

    def __len__(self) -> int:
        there, asked = self._portion, self._portion.examples
        if self._source.hub == "microworld":
            return rows.count(there)
        if self._wanted.note(self._source, there.language).files:
            return len(self._read())
        known = training_size(there.task, there.language)
        if not known:
            self._wanted.guessed.add(there.task)
        return min(asked or known or GUESS.train, known or GUESS.train)

    def _read(self) -> datasets.Dataset:
        try:
            return _TRAINING_ROWS(self._portion)
        except MissingData as error:
            raise NotRun(str(error)) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._read(), name)

    def __getitem__(self, what: Any) -> Any:
        return self._read()[what]


_TRAINING_ROWS = rows.training_rows


@contextmanager
def as_if_there(wanted: Wanted) -> Iterator[None]:
    """Within this, a study builds whatever is missing; ``wanted`` learns what it takes.

    The keys of stages whose data, encoder and words are here, or are pinned to a commit, are the
    true ones; the others only tell stages apart.
    """
    real = {
        name: getattr(module, name)
        for module, name in ((data, "fingerprint"), (data, "available"), (models, "_commit"))
    }
    words, paraphrases = lexicons.fingerprint, stages.check_paraphrases

    known: dict[tuple[int, str], tuple[Source, str]] = {}

    def fingerprint(source: Source, language: str) -> str:
        # A study asks for the same ones for each arm and seed; each time the disk would be asked.
        if (id(source), language) not in known:
            known[id(source), language] = source, looked_up(source, language)
        return known[id(source), language][1]

    def looked_up(source: Source, language: str) -> str:
        if source.hub == "microworld":
            return real["fingerprint"](source, language)
        there = wanted.note(source, language)
        try:
            return real["fingerprint"](source, language)
        except MissingData:
            return f"hub@{there.revision or 'unknown'}/{there.hub}/{there.config}/{there.split}"

    def available(
        task: Task, split: str, languages: Sequence[str] | None = None
    ) -> tuple[list[str], list[str]]:
        source = getattr(task, split, None)
        codes = list(languages if languages is not None else source.languages if source else ())
        if source is None or source.hub == "microworld":
            return real["available"](task, split, codes)
        absent = [c for c in codes if not _to_be_had(real["available"], task, split, c, wanted)]
        return [code for code in codes if code not in absent], absent

    def commit(identifier: str, revision: str) -> str:
        wanted.weights.add(f"{identifier}@{revision}")
        if re.fullmatch("[0-9a-f]{40}", revision):
            return revision
        try:
            return real["_commit"](identifier, revision)
        except ValueError:
            return revision

    def fingerprint_of_words(source: str) -> str:
        try:
            return words(source)
        except ValueError:
            wanted.files.add(source)
            return f"absent/{source}"

    def check_paraphrases(chosen: Any, task: str) -> None:
        try:
            paraphrases(chosen, task)
        except NotRun:
            pass  # the run itself checks it

    def lazy(portion: Portion) -> Rows:
        return Rows(portion, wanted)

    with ExitStack() as stack:
        for module, name, value in (
            (data, "fingerprint", fingerprint), (data, "available", available),
            (models, "_commit", commit), (models, "check_encoder", models.locate),
            (lexicons, "fingerprint", fingerprint_of_words),
            (stages, "check_paraphrases", check_paraphrases),
            (stages, "training_rows", lazy), (rows, "training_rows", lazy),
        ):  # fmt: skip
            stack.enter_context(patch.object(module, name, value))
        yield


def _to_be_had(available: Any, task: Task, split: str, code: str, wanted: Wanted) -> bool:
    """Whether a source has a language at all; where its files are here, whether they do."""
    source = getattr(task, split)
    if code not in source:
        return False
    there = wanted.note(source, code)
    return not there.files or bool(available(task, split, [code])[0])


def here(there: Place) -> int:
    """The bytes of a place in the mirror or in the cache of the data sets library; 0 if none."""
    files = there.files
    if not files:
        kept = Path(datasets.config.HF_DATASETS_CACHE, there.hub.replace("/", "___").lower())
        files = [f for f in kept.glob(f"{there.config}/**/*-{there.split}*.arrow")]
    return sum(file.stat().st_size for file in files)
