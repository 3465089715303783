"""``xltkit data check``: does what the mirror or the Hub holds agree with the table of tasks?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import datasets
from datasets import Dataset, NamedSplit

from xltkit.data import loading as data
from xltkit.data.places import MissingData, place
from xltkit.data.source import Source
from xltkit.tasks import TASKS, get
from xltkit.tasks.base import Task

ROWS = 8  # looked at in every language of every split


class Finding(NamedTuple):
    """What was found of a task in a split and a language.

    ``where`` is ``mirror``, ``Hub``, ``generated`` or ``-``; ``rows`` came out of the reader;
    ``status`` is ``ok``, ``missing: ...`` or ``MISMATCH: ...``.
    """

    task: str
    split: str
    language: str
    where: str
    rows: int
    status: str


def check(names: Sequence[str] = (), first: bool = False) -> Iterator[Finding]:
    """Look at a few rows of tasks in all their splits and languages.

    Args:
        names: of tasks; none means all that are not generated.
        first: look at one language of each split and repository only.
    """
    chosen = names or [n for n, t in TASKS.items() if "microworld" not in {s.hub for s in _all(t)}]
    for task in [get(name) for name in chosen]:
        for split in data.SPLITS:
            source = getattr(task, split)
            for part in source.parts if source else ():
                codes = list(part.configs)
                if first:  # what lies in the mirror says more than what is missing
                    # English first: a file for all languages may hold a few only.
                    order = lambda c, of=part: (not place(of, c).files, c != "en")  # noqa: E731
                    codes = sorted(codes, key=order)[:1]
                for code in codes:
                    yield _look(task, split, part, code)


def _all(task: Task) -> list[Source]:
    return [source for split in data.SPLITS if (source := getattr(task, split))]


def _look(task: Task, split: str, source: Source, language: str) -> Finding:
    where, rows = "-", 0
    try:
        where, given = _given(source, language)
        absent = set(source.columns) - set(getattr(given, "column_names", source.columns))
        if absent:
            has = ", ".join(given.column_names)
            raise ValueError(f"no column {', '.join(sorted(absent))}; it has {has}")
        # Of a reader that appends other sources only its own part: the others have their rows.
        read = getattr(source.read, "read", source.read)
        made = given if where == "generated" else read(given, language)
        rows = min(ROWS, len(made))
        _assert_canonical(task, split, made.select(range(rows)))
        if where == "mirror" and not rows:
            raise place(source, language).missing("the file there holds no rows in this language")
    except MissingData as error:
        return Finding(task.name, split, language, "-", 0, f"missing: {error.reason or error}")
    except Exception as error:  # whatever a reader raises on rows it was not made for
        status = f"MISMATCH: {error if type(error) is ValueError else repr(error)}"
        return Finding(task.name, split, language, where, rows, status)
    status = "ok" if rows else f"ok: the columns; none of the first {ROWS} rows is in it"
    return Finding(task.name, split, language, where, rows, status)


def _given(source: Source, language: str) -> tuple[str, Dataset | Path | list[Path]]:
    """Where the rows lie, and what the reader is given: the first rows, or files."""
    if source.hub == "microworld":
        from xltkit.data.microworld import generate as micro

        return "generated", micro.load(source, language, ROWS)
    there = place(source, language)
    if there.files:
        rows = data.raw(source, language)
        if isinstance(rows, Path | list) or data.shared(source, language):
            return "mirror", rows
        return "mirror", rows.select(range(min(ROWS, len(rows))))
    commit, reason = data.find_commit(there)
    if "NotFoundError" in reason:  # the Hub has no such repository or commit
        raise ValueError(reason)
    if reason:
        raise there.missing(reason)
    try:
        stream = datasets.load_dataset(
            there.hub, revision=commit, streaming=True, **data.request(there)
        )
        few, features = list(stream.take(ROWS)), stream.features
    except (ValueError, RuntimeError, FileNotFoundError) as error:  # no such config or split
        raise ValueError(f"the Hub says: {error}") from error
    except Exception as error:  # whatever the transport raises
        raise there.missing(f"the Hub did not answer ({error!r})") from error
    return "Hub", Dataset.from_list(few, features=features, split=NamedSplit(there.split))


def _assert_canonical(task: Task, split: str, rows: Dataset) -> None:
    columns = task.type.split_columns(split)
    if tuple(rows.column_names) != columns and task.kind != "text":
        raise ValueError(f"the reader makes {', '.join(rows.column_names)}, not {columns}")
    labels = {
        "classification": lambda: [(n, len(task.labels)) for n in rows["label"]],
        "tagging": lambda: [(n, len(task.labels)) for tags in rows["tags"] for n in tags],
        "choice": lambda: [
            (n, len(of)) for n, of in zip(rows["label"], rows["choices"], strict=True)
        ],
    }.get(task.kind, list)()
    if wrong := {n for n, size in labels if not 0 <= n < size}:
        hidden = "; the labels are hidden" if -1 in wrong else ""
        raise ValueError(f"labels {sorted(wrong)} are none of the task's{hidden}")


def main(names: Sequence[str] = (), first: bool = False) -> int:
    """Print what ``check`` finds; languages with the same finding share a line.

    Returns:
        The exit code: 1 if anything differs from the table, 0 if it is there or only missing.
    """
    print(f"{'task':<18}{'split':<12}{'where':<11}{'rows':<6}{'languages and status'}")
    counts, reasons = {"ok": 0, "missing": 0, "MISMATCH": 0}, set()
    for (task, split), found in groupby(check(names, first), lambda f: (f.task, f.split)):
        alike: dict[tuple, list[str]] = {}
        for finding in found:
            kind, _, reason = finding.status.partition(": ")
            counts[kind] += 1
            if kind == "missing":
                reasons.add(reason)
            # What the transport says is long, and the same for every task: it is told once.
            short = finding.status.partition(" (")[0] if kind == "missing" else finding.status
            key = (finding.where, finding.rows, short)
            alike.setdefault(key, []).append(finding.language)
        for (where, rows, status), languages in alike.items():
            start = f"{task:<18}{split:<12}{where:<11}{rows:<6}"
            told = wrap(f"{' '.join(languages)}: {status}", 52, break_on_hyphens=False)
            print(start + ("\n" + " " * len(start)).join(told), flush=True)
    print(
        f"\n{counts['ok']} agree with the table, {counts['MISMATCH']} differ; {counts['missing']} "
        "are not to be had here and could not be checked."
    )
    for reason in sorted(reasons):
        print(f"  {reason}")
    return int(counts["MISMATCH"] > 0)
