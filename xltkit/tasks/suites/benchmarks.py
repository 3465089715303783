"""What the benchmarks are made of: their tasks, the languages of each, and the groups of tasks.

From evaluate.py of google-research/xtreme at commit 838c13b (groups :119-132, languages :141-176).
A benchmark asks for these languages whether or not their data can be had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """Tasks with their test languages, and groups of tasks.

    ``ours`` marks a benchmark whose average over all tasks is this kit's own definition. Groups
    may overlap, and a task may be in none.
    """

    name: str
    tasks: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    ours: bool = False


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


def _codes(*codes: str) -> tuple[str, ...]:
    return tuple(sorted(" ".join(codes).split()))


_XNLI = _codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
_XQUAD = "ar de el en es hi ru th tr vi zh"
_MLQA = _codes("ar de en es hi vi zh")
_TYDIQA = _codes("ar bn en fi id ko ru sw te")
_UDPOS = "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr"
_UDPOS += " ur vi yo zh"
_TATOEBA = "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta"
_TATOEBA += " te th tl tr ur vi zh"
_PANX = _TATOEBA + " en ms my yo"
_QA = ("xquad", "mlqa", "tydiqa")

BENCHMARKS: dict[str, Benchmark] = {
    "xtreme": Benchmark(
        name="xtreme",
        tasks={
            "xnli": _XNLI,
            "paws-x": _codes("de en es fr ja ko zh"),
            "udpos": _codes(_UDPOS),
            "panx": _codes(_PANX),
            "xquad": _codes(_XQUAD),
            "mlqa": _MLQA,
            "tydiqa": _TYDIQA,
            "bucc": _codes("de fr ru zh"),
            "tatoeba": _codes(_TATOEBA),
        },
        groups={
            "classification": ("xnli", "paws-x"),
            "tagging": ("udpos", "panx"),
            "qa": _QA,
            "retrieval": ("bucc", "tatoeba"),
        },
    ),
    "xtreme-r": Benchmark(
        name="xtreme-r",
        tasks={
            "xnli": _XNLI,
            "xcopa": _codes("et ht id it qu sw ta th tr vi zh"),
            "udpos": _codes(_UDPOS, "lt pl ro uk wo"),
            "panx": _codes(_PANX, "az gu lt pa pl qu ro uk"),
            "xquad": _codes(_XQUAD, "ro"),
            "mlqa": _MLQA,
            "tydiqa": _TYDIQA,
            "tatoeba": _codes(_TATOEBA, "az lt pl ro uk"),
            # evaluate.py lists no language for LAReQA, nor a reader or a group. Each language has
            # 1,190 questions, so the mean over languages is the mean over all questions.
            "lareqa": _codes(_XQUAD),
            "mewsli-x": _codes("ar de en es fa ja pl ro ta tr uk"),
        },
        groups={
            "classification": ("xnli", "xcopa"),
            "tagging": ("udpos", "panx"),
            "qa": _QA,
            "retrieval": ("tatoeba", "mewsli-x"),
            "multi_choice": ("xcopa",),
        },
        # The official script can print no average: it asks for a score of LAReQA, and reads none.
        ours=True,
    ),
}


def benchmark(name: str) -> Benchmark:
    """The benchmark with this name. Raises ValueError, naming the known ones, if there is none."""
    if name not in BENCHMARKS:
        raise ValueError(f"There is no benchmark {name!r}. Known: {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]
