"""The registry: every task and suite the kit knows, as rows of tables, by name."""

from dataclasses import replace
from pathlib import Path

from xltkit.data.loading import MissingData
from xltkit.keys import choose
from xltkit.tasks.base import TYPES, Task
from xltkit.tasks.suites.load import Suite, read_suites, read_tasks

FILES = ("microworld", "xtreme", "newer", "retrieval", "english", "captions")
_HERE = Path(__file__).parent
TASKS: dict[str, Task] = read_tasks(_HERE / f"{name}.toml" for name in FILES)
SUITES: dict[str, Suite] = read_suites(_HERE / "suites.toml")


def get(name: str) -> Task:
    """The task with this name. Raises ValueError, naming the known ones, if there is none."""
    task = TASKS[choose("task", name, sorted(TASKS))]
    if task.labels or task.train is None or task.train.labels is None:
        return task
    try:  # the tags that only its own file has (ccg)
        return replace(task, labels=task.train.labels(task.train.raw("en")))
    except MissingData:
        return task  # without tags; loading it says what is missing


def suite(name: str) -> Suite:
    """The suite with this name. Raises ValueError, naming the known ones, if there is none."""
    return SUITES[choose("suite", name, SUITES)]


def benchmark(name: str) -> Suite:
    """The benchmark with this name. Raises ValueError, naming the known ones, if there is none."""
    names = sorted(name for name, suite in SUITES.items() if suite.tasks)
    return SUITES[choose("benchmark", name, names)]


def register(task: Task) -> Task:
    """Add a task to the registry, for this session. Raises ValueError if its type is unknown."""
    choose("task type", task.kind, TYPES)
    TASKS[task.name] = task
    return task
