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
    """Tasks with their test languages, and groups of them, which may overlap or leave some out."""

    name: str
    tasks: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    is_own_average: bool = False  # the average over all tasks is this kit's own definition


def words(table: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The words of each text of a table."""
    return {name: tuple(text.split()) for name, text in table.items()}


_TABLES = tomllib.loads(Path(__file__).with_name("benchmarks.toml").read_text(encoding="utf-8"))
# The score of a task is the mean of these metrics, each a mean over languages.
METRICS = words(_TABLES.pop("metrics"))
BENCHMARKS = {
    name: Benchmark(name, words(table.pop("languages")), words(table.pop("groups")), **table)
    for name, table in _TABLES.items()
}


def benchmark(name: str) -> Benchmark:
    """The benchmark with this name. Raises ValueError, naming all, if there is none."""
    return BENCHMARKS[choose("benchmark", name, BENCHMARKS)]
