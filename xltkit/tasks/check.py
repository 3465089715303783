"""The table of tasks as text, and whether what the mirror or the Hub holds agrees with it."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

import pandas as pd

from xltkit.data.loading import MissingData, Source
from xltkit.tasks.base import SPLITS, Task
from xltkit.tasks.suites import TASKS, get

ROWS = 8  # looked at in every language of every split


def describe(names: Sequence[str] = ()) -> str:
    """The table of tasks, or everything that is known of some of them, one fact a line."""
    if not names:
        rows = {}
        for task in TASKS.values():
            source = task.test or task.validation or task.train
            train_on = task.train_on or (task.name if task.train else "-")
            splits = " ".join(split for split in SPLITS if getattr(task, split))
            numbers = (round(task.chance, 1), len(source.languages))
            rows[task.name] = (task.kind, task.metric or "-", *numbers, train_on, splits)
        columns = ["kind", "metric", "chance", "languages", "trains on", "splits"]
        return pd.DataFrame.from_dict(rows, "index", columns=columns).to_string()
    texts = []
    for task in map(get, names):
        facts = [(f.name, getattr(task, f.name)) for f in fields(task) if f.name not in SPLITS]
        for split, part in _parts(task):
            configs = " ".join(f"{code}={config}" for code, config in part.configs.items())
            revision = part.revision or part.url or f"none: {part.unpinned or 'generated'}"
            fact = f"{part.hub}, split {part.split}, revision {revision}: {configs}"
            facts.append((split, fact))
        texts.append("\n".join(f"{name:<20}{fact}" for name, fact in facts))
    return "\n\n".join(texts)


def _parts(task: Task) -> list[tuple[str, Source]]:
    sources = [(split, getattr(task, split)) for split in SPLITS]
    return [(split, part) for split, source in sources if source for part in source.parts]


def check(names: Sequence[str] = (), first: bool = False) -> Iterator[tuple[str, str, str, str]]:
    """Look at the first rows of tasks (none means all real ones) in all splits and languages.

    ``first`` looks at one language of each split and repository, in the mirror if any is. Yields
    task, split, language and status: ``ok``, ``missing: ...`` or ``MISMATCH: ...``.
    """
    for task in map(get, names or TASKS):
        for split, part in _parts(task):
            if part.is_generated and not names:
                continue
            codes = sorted(part.configs, key=part.must_be_read)[:1] if first else part.configs
            for code in codes:
                yield task.name, split, code, _status(task, split, part, code)


def _status(task: Task, split: str, source: Source, language: str) -> str:
    try:
        given = source.raw(language, ROWS)
        names = getattr(given, "column_names", source.columns)  # files have none
        absent = [column for column in source.columns if column not in names]
        if absent:
            return f"MISMATCH: no column {', '.join(absent)}; it has {', '.join(names)}"
        rows = source.converted(given, language)
        if not len(rows) and source.location(language).files:
            return "missing: the file in the mirror holds no rows in this language"
        rows = rows.select(range(min(ROWS, len(rows))))
    except MissingData as error:
        # The Hub is there and has no such repository, config or split: the table is wrong.
        is_refused = error.reason.startswith("the Hub says")
        return f"{'MISMATCH' if is_refused else 'missing'}: {error.reason}"
    except Exception as error:  # whatever a reader raises on rows it was not made for
        return f"MISMATCH: {type(error).__name__}: {error}"
    columns = task.type.split_columns(split)
    if tuple(rows.column_names) != columns and not task.type.masks_tokens:
        return f"MISMATCH: the reader makes {', '.join(rows.column_names)}, not {columns}"
    if task.type.gold not in ("label", "tags"):
        return "ok"
    size = len(task.labels) or max(map(len, rows["choices"][:]), default=0)
    wrong = sorted(label for label in task.type.gold_values(rows) if not 0 <= label < size)
    hidden = "; the labels are hidden" if -1 in wrong else ""
    return f"MISMATCH: labels {wrong} are none of the task's{hidden}" if wrong else "ok"


def main(names: Sequence[str] = (), first: bool = False) -> int:
    """Print what ``check`` says, languages of the same status together; 1 if anything differs."""
    table = pd.DataFrame(check(names, first), columns=["task", "split", "language", "status"])
    for (task, split, status), rows in table.groupby(["task", "split", "status"], sort=False):
        print(f"{task:<18}{split:<12}{' '.join(rows['language'])}: {status}")
    counts = table["status"].str.partition(":")[0].value_counts()
    ok, differing, missing = (counts.get(word, 0) for word in ("ok", "MISMATCH", "missing"))
    print(
        f"\n{ok} agree with the table, {differing} differ; {missing} are missing here and could "
        "not be checked."
    )
    return int(differing > 0)
