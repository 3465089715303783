"""Tasks and suites from the tables beside this file.

A table has the fields of ``Task``; with ``each``, a list of words, it stands for several tasks, one
per word in the place of ``{each}``. Fields shared by the splits are in ``data``, those of one split
in a table with its name. Both have the fields of ``Source``, except for these:

- ``splits``, ``languages``: our names, with the Hub's if it differs (``test=validation``,
  ``de=deu``). Without languages, all of the microworld except those in ``without``.
- ``config`` of a language: ``{language}`` is the Hub's name, ``{language_name}`` the English one.
- ``read``, ``labels``: by file and name (``readers.nli``); by default, rows are not changed.
- ``revision``: a commit that public code (lighteval, mteb) loads without a script; if none was
  found, ``unpinned`` says so. None was tried on the Hub: ``xltkit data check`` does that.
- ``holds``, ``appended``: splits of other tasks (``mnli.train``).
- ``others``, ``repaired_by``: tables like these, which inherit all fields of the enclosing table,
  or only its ``split`` if they have a ``hub``.
"""

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from xltkit.data import readers, readers_captions, readers_retrieval
from xltkit.data.languages import language
from xltkit.data.loading import Source
from xltkit.data.microworld import LANGUAGES, generate
from xltkit.files import read
from xltkit.keys import choose
from xltkit.tasks.base import SPLITS, Task, TrainingArguments, TrainingSet

Row = Mapping[str, Any]
_READERS = (readers, readers_captions, readers_retrieval, generate)
_MODULES = {module.__name__.rpartition(".")[2]: module for module in _READERS}


@dataclass(frozen=True)
class ImageTextSuite:
    """The data and models of a suite's image-text arms, and of the arm without pictures."""

    captions: str  # the task with pictures, in the source language
    test_captions: str  # the task with pictures and captions in many languages
    tower: str  # the image tower that is locked
    teacher: str  # the CLIP whose text tower is distilled; empty if a notebook trains one
    text: tuple[str, ...]  # the supervised tasks of the arm without pictures
    training: TrainingArguments  # of every intermediate phase, with pictures or without


@dataclass(frozen=True)
class Suite:
    """A named set of tasks; a benchmark has ``tasks`` with its test languages, and ``groups``."""

    name: str
    targets: Mapping[str, tuple[str, ...]]  # by short name: qa is XQuAD, MLQA and TyDiQA
    tasks: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]  # of tasks; they may overlap, or leave some out
    metrics: Mapping[str, tuple[str, ...]]  # of each task, whose mean is its score
    # High and low resource, by axis: ``size`` of the data, or ``language`` of the labels.
    order_pairs: Mapping[str, tuple[TrainingSet, TrainingSet]]
    intermediate_tasks: tuple[str, ...]  # of the STILTs grid
    translated: tuple[TrainingSet, ...]  # one of them, translated into several languages
    multilingual: tuple[TrainingSet, ...]  # one task with labels in several languages
    text: tuple[TrainingSet, ...]  # mixed in by masked language modeling
    intermediate_training: TrainingArguments
    images: ImageTextSuite
    # By task, training arguments that differ from the task's own, and the task to ``train_on``.
    training: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    rates_for: str = "xlm-roberta-base"  # the encoder that learning rates are meant for
    is_microworld: bool = False
    is_own_average: bool = False  # the average over all tasks is this kit's own definition


def read_tasks(files: Iterable[Path]) -> dict[str, Task]:
    """The tasks of some files, by name; they may refer to each other. An error names its task."""
    rows = {name: row for file in files for name, row in _rows(file)}
    sources = _Sources(rows)
    tasks = {}
    for name, row in rows.items():
        fields = {field: value for field, value in row.items() if field != "data"}
        try:
            fields["chance"] = float(Fraction(row["chance"]))  # "100/3"
            fields["training"] = TrainingArguments(**row["training"])
            if "labels" in row:
                fields["labels"] = _named(row["labels"])
            for split in sources.splits[name]:
                fields[split] = sources[f"{name}.{split}"]
            tasks[name] = Task(name, **fields, is_built_in=True)
        except Exception as error:
            error.add_note(f"This is about the table of the task {name!r}.")
            raise
    return tasks


def _rows(file: Path) -> Iterator[tuple[str, Row]]:
    for name, row in tomllib.loads(read(file)).items():
        words = row.pop("each", "").split() or [""]
        text = json.dumps({name: row}).replace("\\n", " ")  # a note may span several lines
        for word in words:
            yield from json.loads(text.replace("{each}", word)).items()


class _Sources(dict[str, Source]):
    """The sources of all tasks by task and split (``mnli.train``), made on first use."""

    def __init__(self, rows: Mapping[str, Row]):
        super().__init__()
        self.tables: dict[str, Row] = {}
        self.splits: dict[str, list[str]] = {}  # by task
        for task, row in rows.items():
            shared = dict(row.get("data", {}))
            names = _names(shared.pop("splits", ""))
            self.splits[task] = [split for split in SPLITS if split in names or split in row]
            for split in self.splits[task]:
                around = {"split": names.get(split, split)} | shared
                self.tables[f"{task}.{split}"] = _within(around, row.get(split, {}))

    def __missing__(self, name: str) -> Source:
        self[name] = self.source(self.tables[choose("split", name, self.tables)])
        return self[name]

    def source(self, table: Row) -> Source:
        """The source that a table describes."""
        fields = dict(table)
        others = fields.pop("others", ())
        repairs = fields.pop("repaired_by", None)
        fields["others"] = tuple(self.source(_within(fields, other)) for other in others)
        if repairs:
            fields["repaired_by"] = self.source(_within(fields, repairs))
        for field in ("holds", "appended"):
            fields[field] = tuple(self[name] for name in fields.get(field, "").split())
        fields["columns"] = tuple(fields.get("columns", "").split())
        fields["read"] = _named(fields.get("read", "generate.unchanged"))
        if "labels" in fields:
            fields["labels"] = _named(fields["labels"])
        config = fields.pop("config", "{language}")
        names = _names(fields.pop("languages", ""))
        absent = fields.pop("without", "").split()
        fields["configs"] = {
            code: config.format(language=name, language_name=language(code).name)
            for code, name in names.items()
            if code not in absent
        } or dict.fromkeys(LANGUAGES, config)
        is_generated = fields["hub"] == "microworld"
        return generate.MicroworldSource(**fields) if is_generated else Source(**fields)


def _within(around: Row, table: Row) -> Row:
    """A table of a source with the fields of the enclosing table."""
    return ({"split": around["split"]} if "hub" in table else around) | table


def _names(text: str) -> dict[str, str]:
    """The Hub's names by ours: ``"de zh=cmn"``."""
    pairs = (word.partition("=") for word in text.split())
    return {ours: theirs or ours for ours, _, theirs in pairs}


def _named(name: str) -> Any:
    """A reader, or labels, by file and name."""
    module, _, attribute = name.partition(".")
    return getattr(_MODULES[choose("file of readers", module, _MODULES)], attribute)


def read_suites(file: Path) -> dict[str, Suite]:
    """The suites of a file, by name."""
    rows = tomllib.loads(read(file))
    suites = {}
    for name, row in rows.items():
        fields = rows.get(row.pop("like", ""), {}) | row
        for field in ("targets", "tasks", "groups", "metrics"):
            texts = fields.get(field, {})
            fields[field] = {name: tuple(text.split()) for name, text in texts.items()}
        fields["order_pairs"] = {axis: _sets(*pair) for axis, pair in fields["order_pairs"].items()}
        fields["intermediate_tasks"] = tuple(fields["intermediate_tasks"].split())
        for field in ("translated", "multilingual", "text"):
            fields[field] = _sets(fields[field])
        fields["intermediate_training"] = TrainingArguments(**fields["intermediate_training"])
        images = dict(fields["images"])
        images["text"] = tuple(images["text"].split())
        images["training"] = TrainingArguments(**images["training"])
        suites[name] = Suite(name, **fields | {"images": ImageTextSuite(**images)})
    return suites


def _sets(*rows: Row) -> tuple[TrainingSet, ...]:
    """Training sets: a task in ``languages`` (default: en) with ``examples`` (default: all)."""
    return tuple(
        TrainingSet(row["task"], code, row.get("examples", 0))
        for row in rows
        for code in row.get("languages", "en").split()
    )
