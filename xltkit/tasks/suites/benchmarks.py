"""The benchmarks: their tasks, the languages of each, and the groups of tasks.

``benchmarks.toml`` lists them as evaluate.py of google-research/xtreme does at commit 838c13b. A
benchmark asks for these languages whether or not their data is available.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xltkit.keys import choose


@dataclass(frozen=True)
class Benchmark:
    """Tasks with their test languages, and groups of tasks.

    Groups may overlap, and a task may be in none. ``is_own_average`` marks a benchmark whose
    average over all tasks is this kit's own definition.
    """

    name: str
    tasks: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    is_own_average: bool = False


# A task's score is the mean of these metrics, each a mean over languages (evaluate.py:286-298).
METRICS: Mapping[str, tuple[str, ...]] = {
    "xnli": ("accuracy",),
    "paws-x": ("accuracy",),
    "xcopa": ("accuracy",),
    "udpos": ("f1",),
    "panx": ("f1",),
    "xquad": ("em", "f1"),
    "mlqa": ("em", "f1"),
    "tydiqa": ("em", "f1"),
    "bucc": ("f1",),
    "tatoeba": ("accuracy",),
    "lareqa": ("map@20",),
    "mewsli-x": ("mrr@20",),
}


def _read(file: Path) -> dict[str, Benchmark]:
    benchmarks = {}
    for name, tables in tomllib.loads(file.read_text(encoding="utf-8")).items():
        benchmarks[name] = Benchmark(
            name=name,
            tasks={task: tuple(codes.split()) for task, codes in tables["languages"].items()},
            groups={group: tuple(tasks.split()) for group, tasks in tables["groups"].items()},
            # The official script prints no average of XTREME-R: it asks for a score of LAReQA, and
            # reads none.
            is_own_average=name == "xtreme-r",
        )
    return benchmarks


BENCHMARKS = _read(Path(__file__).with_name("benchmarks.toml"))


def benchmark(name: str) -> Benchmark:
    """The benchmark with this name. Raises ValueError, naming all, if there is none."""
    return BENCHMARKS[choose("benchmark", name, BENCHMARKS)]
