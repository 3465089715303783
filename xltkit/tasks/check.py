"""The table of tasks as text, and whether data in the mirror or on the Hub agrees with it."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

import pandas as pd

from xltkit.data.loading import MissingData, Source
from xltkit.tasks.base import SPLITS, Task
from xltkit.tasks.suites import TASKS, get

ROWS = 8  # looked at on the Hub; in a mirror, all are


def describe(names: Sequence[str] = ()) -> str:
    """The table of tasks, or everything that is known about some of them, one fact per line."""
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
            facts.append((split, f"{part.hub}, split {part.split}, revision {revision}: {configs}"))
        texts.append("\n".join(f"{name:<20}{fact}" for name, fact in facts))
    return "\n\n".join(texts)


def _parts(task: Task) -> list[tuple[str, Source]]:
    sources = [(split, getattr(task, split)) for split in SPLITS]
    return [(split, part) for split, source in sources if source for part in source.parts]


def check(names: Sequence[str] = (), first: bool = False) -> Iterator[tuple[str, str, str, str]]:
    """Check the rows of tasks (default: all real ones) in all splits and languages.

    ``first`` checks one language per split and repository, one in the mirror if possible. Yields
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
        rows = source.converted(source.raw(language, ROWS), language)
        if not len(rows) and source.location(language).files:
            return "missing: the file in the mirror holds no rows in this language"
        note = task.type.check_rows(task, rows, split)
    except MissingData as error:
        # The Hub answers and has no such repository, config or split: the table is wrong.
        is_refused = error.reason.startswith("the Hub says")
        return f"{'MISMATCH' if is_refused else 'missing'}: {error.reason}"
    except Exception as error:  # whatever a reader raises on rows it was not made for
        return f"MISMATCH: {type(error).__name__}: {error}"
    return f"ok: {note}" if note and len(rows) > ROWS else "ok"


def main(names: Sequence[str] = (), first: bool = False) -> int:
    """Print the results of ``check``, grouped by status; return 1 if anything differs."""
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
