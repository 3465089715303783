"""Task types, the tasks of each type as rows of a table, and the rows of their data sets."""

from xltkit.data.loading import Source

# Each of these registers its task types.
from xltkit.tasks import captions, labels, mlm, retrieval, span, tagging  # noqa: F401
from xltkit.tasks.base import SPLITS, TYPES, Task, TaskType, TrainingArguments, TrainingSet
from xltkit.tasks.rows import (
    available,
    available_sets,
    count,
    load,
    parse_substitutes,
    training_rows,
)
from xltkit.tasks.suites import SUITES, TASKS, Suite, benchmark, get, register, suite

__all__ = ["SPLITS", "SUITES", "TASKS", "TYPES"]
__all__ += ["Source", "Suite", "Task", "TaskType", "TrainingArguments", "TrainingSet"]
__all__ += ["available", "available_sets", "benchmark", "count", "get", "load", "parse_substitutes"]
__all__ += ["register", "suite", "training_rows"]
