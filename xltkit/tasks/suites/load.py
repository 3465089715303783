"""Tasks and suites from the tables beside this file.

A table of a task has the fields of ``Task``: ``labels`` are named (``readers.NLI_LABELS``), and
``chance`` may be a fraction (``"100/3"``). A table with ``each``, a list of words, stands for
several tasks, with one of the words in the place of ``{each}``.

What the splits of a task share stands in its ``data``; what one of them has for itself, in a table
with the name of the split. The fields of both are those of ``Source``, but for these:

- ``splits``: those of the task, with the Hub's name where it is another (``test=validation``).
- ``languages``: their codes, with the Hub's name where it is another (``de=deu``), without those
  in ``without``. ``config`` is the config of each of them: ``{language}``, which is the default,
  stands for the Hub's name of a language, ``{language_name}`` for the English name.
- ``read``: the reader, by file and name (``readers.nli``).
- ``revision``: a commit that was seen at work in public code (lighteval, mteb and others that load
  it without a script). Where none was seen, ``unpinned`` says so. The authors of the tables have
  loaded nothing from the Hub: ``xltkit data check`` tells whether a table still holds.
- ``holds``, ``appended``: splits of other tasks (``mnli.train``).
- ``others``, ``repaired_by``: tables like these.

A table of a source without a ``hub`` has all fields of the table around it; with one, its ``split``
only.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from xltkit.data import readers, readers_retrieval
from xltkit.data.languages import language
from xltkit.data.loading import Source
from xltkit.data.microworld import generate
from xltkit.keys import choose
from xltkit.tasks.base import SPLITS, ImageTextSuite, Suite, Task, TrainingArguments, TrainingSet
from xltkit.tasks.suites import microworld

Row = Mapping[str, Any]
_MODULES = {
    "readers": readers,
    "readers_retrieval": readers_retrieval,
    "generate": generate,
    "microworld": microworld,
}
_GENERATED = {"languages": "*", "read": "microworld.unchanged"}  # of every row of the microworld


def read_tasks(files: Iterable[Path]) -> dict[str, Task]:
    """The tasks of some files, by name; they may refer to each other.

    Raises:
        ValueError: naming the file, the task and the field that is wrong.
    """
    origins: dict[str, str] = {}
    rows: dict[str, Row] = {}
    sources = _Sources()
    for file in files:
        for name, row in _rows(file):
            origins[name] = file.name
            rows[name] = row
            sources.add(name, row)
    tasks = {}
    for name, row in rows.items():
        with _errors_of(f"{origins[name]}, task {name!r}"):
            tasks[name] = _task(name, row, sources)
    return tasks


@contextmanager
def _errors_of(place: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"there is no field {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{place}: {reason}") from error


def _rows(file: Path) -> Iterator[tuple[str, Row]]:
    for name, row in tomllib.loads(file.read_text(encoding="utf-8")).items():
        words = row.pop("each", "").split() or [""]
        text = json.dumps({name: row}).replace("\\n", " ")  # a note may fill several lines
        for word in words:
            yield from json.loads(text.replace("{each}", word)).items()


def _task(name: str, row: Row, sources: _Sources) -> Task:
    values = {field: value for field, value in row.items() if field != "data"}
    values["chance"] = float(Fraction(row["chance"]))
    values["training"] = TrainingArguments(**row["training"])
    if "labels" in row:
        values["labels"] = _named(row["labels"])
    for split in SPLITS:
        if f"{name}.{split}" in sources.rows:
            values[split] = sources[f"{name}.{split}"]
    return Task(name=name, **values)


class _Sources(dict[str, Source]):
    """The sources of all tasks by task and split (``mnli.train``), made when first asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Row] = {}

    def add(self, task: str, row: Row) -> None:
        """Note the splits of a task."""
        shared = dict(row.get("data", {}))
        splits = _words(shared.pop("splits", ""))
        for split in SPLITS:
            if split in splits or split in row:
                around = {"split": splits.get(split, split)} | shared
                self.rows[f"{task}.{split}"] = _within(around, row.get(split, {}))

    def __missing__(self, name: str) -> Source:
        self[name] = self.source(self.rows[choose("split", name, self.rows)])
        return self[name]

    def source(self, row: Row) -> Source:
        """The source that a table describes."""
        is_generated = row["hub"] == "microworld"
        values = _GENERATED | row if is_generated else dict(row)
        others = values.pop("others", ())
        repairs = values.pop("repaired_by", None)
        around = dict(values)
        values["configs"] = _configs(
            values.pop("languages"), values.pop("without", ""), values.pop("config", "{language}")
        )
        values["columns"] = tuple(values.get("columns", "").split())
        for field in ("read", "labels"):
            if field in values:
                values[field] = _named(values[field])
        for field in ("holds", "appended"):
            values[field] = tuple(self[name] for name in values.get(field, "").split())
        values["others"] = tuple(self.source(_within(around, other)) for other in others)
        if repairs:
            values["repaired_by"] = self.source(_within(around, repairs))
        return generate.MicroworldSource(**values) if is_generated else Source(**values)


def _within(around: Row, row: Row) -> Row:
    """A table of a source with the fields of the table around it."""
    return ({"split": around["split"]} if "hub" in row else around) | row


def _configs(languages: str, without: str, config: str) -> Mapping[str, str]:
    if languages == "*":
        return microworld.EveryLanguage(config)
    return {
        code: config.format(language=name, language_name=language(code).name)
        for code, name in _words(languages).items()
        if code not in without.split()
    }


def _words(text: str) -> dict[str, str]:
    """The Hub's names by ours: ``"de zh=cmn"``."""
    pairs = (word.partition("=") for word in text.split())
    return {ours: theirs or ours for ours, _, theirs in pairs}


def _named(name: str) -> Any:
    """A reader, or labels, by file and name."""
    module, _, attribute = name.partition(".")
    return getattr(_MODULES[choose("file of readers", module, _MODULES)], attribute)


def read_suites(file: Path) -> dict[str, Suite]:
    """The suites of a file, by name. Raises ValueError as ``read_tasks`` does."""
    rows = tomllib.loads(file.read_text(encoding="utf-8"))
    suites = {}
    for name, row in rows.items():
        with _errors_of(f"{file.name}, suite {name!r}"):
            row = rows.get(row.pop("like", ""), {}) | row
            suites[name] = _suite(name, row)
    return suites


def _suite(name: str, row: Row) -> Suite:
    values = dict(row)
    values["targets"] = {short: tuple(tasks.split()) for short, tasks in row["targets"].items()}
    values["order_pairs"] = {
        axis: tuple(TrainingSet(**training_set) for training_set in pair)
        for axis, pair in row["order_pairs"].items()
    }
    values["intermediate_tasks"] = tuple(row["intermediate_tasks"].split())
    for field in ("translated", "multilingual", "text"):
        values[field] = _training_sets(**row[field])
    values["intermediate_training"] = TrainingArguments(**row["intermediate_training"])
    images = dict(row["images"])
    images["text"] = tuple(images["text"].split())
    images["training"] = TrainingArguments(**images["training"])
    return Suite(name=name, **values | {"images": ImageTextSuite(**images)})


def _training_sets(task: str, languages: str, examples: int = 0) -> tuple[TrainingSet, ...]:
    return tuple(TrainingSet(task, code, examples) for code in languages.split())
