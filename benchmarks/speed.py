"""Time the kit against a tuned Trainer of transformers, on the same work.

Every measurement is a process of its own, and the sides take turns, because only ratios of runs
that were close in time mean anything on a shared machine. See README.md for what is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path

HEADER = (
    "| work | compared with | kit, s | other, s | kit / other (range) "
    "| GiB, kit / other | English, kit / other | mean of the rest, kit / other |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Work:
    """What both sides do: the same rows, steps, batches and lengths."""

    train: str
    test: str
    batch_size: int
    max_length: int
    learning_rate: float
    steps: int
    examples: int  # test rows in each language
    warmup: float = 0.1


WORKS = {
    "pairs": Work("sick", "xnli", 32, 128, 1e-4, steps=300, examples=2500),
    "questions": Work("tydiqa", "xquad", 16, 384, 1e-4, steps=80, examples=300),
}


@dataclass(frozen=True)
class Job:
    """One process: a side that trains, or evaluates what it trained before in the same folder.

    ``side`` is ``kit``, ``tuned``, or ``single`` (a process evaluates one language, with the
    model of ``tuned``).
    """

    side: str
    action: str
    work: Work
    encoder: str
    folder: str
    seed: int
    threads: int
    languages: tuple[str, ...]


@dataclass
class Measured:
    """What a process took: seconds of work after its imports, and the whole process."""

    seconds: float = 0.0
    wall: float = 0.0
    peak_gib: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: Measured) -> Measured:
        """Two processes, one after the other."""
        return Measured(
            self.seconds + other.seconds,
            self.wall + other.wall,
            max(self.peak_gib, other.peak_gib),
            self.scores | other.scores,
        )


# By (work, action, side), one per repeat.
Measurements = dict[tuple[str, str, str], list[Measured]]


def worker(text: str, result: Path) -> None:
    """Run a job in this process. The clock starts when everything is imported."""
    given = json.loads(text)
    job = Job(**given | {"work": Work(**given["work"])})
    side = import_module("kit" if job.side == "kit" else "trainer")
    side.set_threads(job.threads)
    began = time.perf_counter()
    scores = side.train(job) if job.action == "train" else side.evaluate(job)
    measured = Measured(time.perf_counter() - began, 0.0, side.peak_gib(), scores)
    result.write_text(json.dumps(asdict(measured)))


def measure(job: Job) -> Measured:
    """Run a job in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        result, errors = Path(folder, "result.json"), Path(folder, "errors.txt")
        command = [sys.executable, __file__, "--job", json.dumps(asdict(job)), str(result)]
        threads = {"OMP_NUM_THREADS": str(job.threads), "RAYON_NUM_THREADS": str(job.threads)}
        began = time.perf_counter()
        with errors.open("w") as log:
            code = subprocess.call(
                command, stdout=subprocess.DEVNULL, stderr=log, env=os.environ | threads
            )
        wall = time.perf_counter() - began
        if code:
            raise SystemExit(f"{job} failed:\n{errors.read_text()[-4000:]}")
        return Measured(**json.loads(result.read_text()) | {"wall": wall})


def one_by_one(job: Job) -> Measured:
    """One process per language, or one for all, whichever the side is about."""
    if job.side != "single":
        return measure(job)
    runs = [measure(replace(job, languages=(code,))) for code in job.languages]
    return sum(runs, Measured())


def repeat(name: str, job: Job, number: int, measurements: Measurements) -> None:
    """One round: all sides train, then all sides evaluate; every other round in reverse order."""
    with tempfile.TemporaryDirectory() as folder:
        for action, sides in (
            ("train", ("kit", "tuned")),
            ("evaluate", ("kit", "tuned", "single")),
        ):
            for side in sides[:: -1 if number % 2 else 1]:
                home = Path(folder, "kit" if side == "kit" else "trainer")
                mine = replace(job, side=side, action=action, folder=str(home), seed=number)
                measured = one_by_one(mine)
                measurements.setdefault((name, action, side), []).append(measured)
                print(
                    f"{name}, round {number + 1}, {action}, {side}: {measured.seconds:.1f} s of "
                    f"work, {measured.wall:.1f} s in all",
                    file=sys.stderr,
                )


def row(
    what: str, against: str, kit: Sequence[Measured], other: Sequence[Measured], clock: str
) -> str:
    """A row of the table: medians, and the median of the ratios of the rounds."""
    mine, theirs = ([getattr(m, clock) for m in runs] for runs in (kit, other))
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    pairs = [[f"{_median(runs):.1f}" for runs in (mine, theirs)]]
    pairs.append([f"{_median(m.peak_gib for m in runs):.1f}" for runs in (kit, other)])
    for pick in (_english, _rest):
        pairs.append([_score([pick(m.scores) for m in runs if m.scores]) for runs in (kit, other)])
    ratio = f"**{_median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})"
    rest = [" / ".join(pair) if all(pair) else "" for pair in pairs[1:]]
    return "| " + " | ".join([what, against, *pairs[0], ratio, *rest]) + " |"


def _median(values: Iterator[float] | Sequence[float]) -> float:
    return statistics.median(values)


def _english(scores: Mapping[str, float]) -> float:
    return scores["en"]


def _rest(scores: Mapping[str, float]) -> float:
    return statistics.fmean(v for code, v in scores.items() if code != "en")


def _score(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.1f}" if values else ""


def table(measurements: Measurements) -> str:
    """The ratios of all works as a markdown table."""
    lines = [HEADER]
    for name in dict.fromkeys(name for name, _, _ in measurements):
        for action, side, against, clock in (
            ("train", "tuned", "tuned Trainer", "seconds"),
            ("evaluate", "tuned", "tuned, one stream", "seconds"),
            ("evaluate", "single", "a process per language", "wall"),
        ):
            what = f"{name}, {'training' if action == 'train' else 'evaluation'}"
            kit, other = measurements[name, action, "kit"], measurements[name, action, side]
            lines.append(row(what, against, kit, other, clock))
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--encoder", help="folder of a checkpoint, or a name the kit knows")
    add("--task", choices=[*WORKS, "all"], default="all")
    add("--repeats", type=int, default=3)
    add("--steps", type=int, default=0, help="of training; 0 means the default of the work")
    add("--examples", type=int, default=0, help="test rows per language; 0 means the default")
    add("--threads", type=int, default=os.cpu_count())
    add("--job", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.job and not given.encoder:
        parser.error("--encoder is needed")
    return given


def main() -> None:
    given = arguments()
    if given.job:
        worker(given.job[0], Path(given.job[1]))
        return
    from xltkit import data, runtime
    from xltkit.tasks import get

    measurements: Measurements = {}
    names = list(WORKS) if given.task == "all" else [given.task]
    for number in range(given.repeats):
        for name in names:
            work = WORKS[name]
            work = replace(
                work, steps=given.steps or work.steps, examples=given.examples or work.examples
            )
            languages, _ = data.available(get(work.test), "test")
            job = Job("", "", work, given.encoder, "", 0, given.threads, tuple(languages))
            repeat(name, job, number, measurements)
    print(f"{runtime.describe()}; {given.threads} threads, {given.repeats} rounds\n")
    print(table(measurements))


if __name__ == "__main__":
    main()
