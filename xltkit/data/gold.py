"""Refusing splits whose labels are hidden: a score on placeholders looks like a result."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from datasets import Dataset

if TYPE_CHECKING:  # the registry imports the readers, and what they need imports this module
    from xltkit.tasks.schema import Task

# Where a kind keeps what is to be predicted.
_GOLD = {
    "classification": "label", "choice": "label", "tagging": "tags", "span": "answers",
    "ranking": "key",
}  # fmt: skip


def check_labels(rows: Dataset, task: Task, split: str) -> None:
    """Refuse placeholders: benchmarks hide test labels behind -1, a constant or empty answers.

    Raises:
        ValueError: naming what was found and what to do.
    """
    if task.kind not in _GOLD or split == "candidates":
        return
    gold = rows[_GOLD[task.kind]][:]
    several = task.kind in ("tagging", "span")  # of a row
    values = set(chain.from_iterable(gold) if several else gold)
    if len(values) > 1 and -1 not in values:
        return
    remedy = "score split='validation' or " if split == "test" and task.validation else ""
    raise ValueError(
        f"The {split} split of {task.name} cannot be scored: its gold labels are {values or '{}'} "
        f"in {len(rows)} rows. This is a copy with hidden labels; {remedy}take the file of the "
        f"owners of the data set ({task.citation or 'see its dataset card'})."
    )
