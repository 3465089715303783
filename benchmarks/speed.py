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
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path

HEADER = (
    "| work | compared with | kit, s | other, s | wall, kit / other (range) | CPU, kit / other "
    "| GiB, kit / other | English, kit / other | mean of the rest, kit / other |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Work:
    """What both sides do: the same rows, steps, batches and lengths."""

    train: str
    test: str
    batch_size: int
    max_length: int
    learning_rate: float
    steps: int  # over steps * batch_size rows, once each: both sides see the same rows
    examples: int  # test rows in each language
    warmup: float = 0.1


WORKS = {
    "pairs": Work("sick", "xnli", 32, 128, 1e-4, steps=300, examples=2500),
    "questions": Work("tydiqa", "xquad", 16, 384, 1e-4, steps=100, examples=300),
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
    attention: str = ""  # of the Trainer's models


@dataclass
class Measured:
    """What a process took, on the wall and of the CPU: its work after the imports, and all."""

    seconds: float = 0.0
    cpu: float = 0.0
    all_seconds: float = 0.0
    all_cpu: float = 0.0
    peak_gib: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: Measured) -> Measured:
        """Two processes, one after the other."""
        return Measured(
            self.seconds + other.seconds,
            self.cpu + other.cpu,
            self.all_seconds + other.all_seconds,
            self.all_cpu + other.all_cpu,
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
    import_module("transformers.modeling_utils")  # one side would import it late, on the clock
    side.set_threads(job.threads)
    wall, cpu = time.perf_counter(), time.process_time()
    scores = side.train(job) if job.action == "train" else side.evaluate(job)
    measured = Measured(
        seconds=time.perf_counter() - wall,
        cpu=time.process_time() - cpu,
        all_cpu=time.process_time(),
        peak_gib=side.peak_gib(),
        scores=scores,
    )
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
        seconds = time.perf_counter() - began
        if code:
            raise SystemExit(f"{job} failed:\n{errors.read_text()[-4000:]}")
        return Measured(**json.loads(result.read_text()) | {"all_seconds": seconds})


def one_by_one(job: Job) -> Measured:
    """One process per language, or one for all, whichever the side is about."""
    if job.side != "single":
        return measure(job)
    runs = [measure(replace(job, languages=(code,))) for code in job.languages]
    return sum(runs, Measured())


def repeat(name: str, job: Job, measurements: Measurements) -> None:
    """One round: all sides train, then all sides evaluate; every other round in reverse order."""
    with tempfile.TemporaryDirectory() as folder:
        for action, sides in (
            ("train", ("kit", "tuned")),
            ("evaluate", ("kit", "tuned", "single")),
        ):
            for side in sides[:: -1 if job.seed % 2 else 1]:
                home = Path(folder, "kit" if side == "kit" else "trainer")
                mine = replace(job, side=side, action=action, folder=str(home))
                measured = one_by_one(mine)
                measurements.setdefault((name, action, side), []).append(measured)
                took = f"work {measured.seconds:.1f} s (CPU {measured.cpu:.1f} s)"
                took += f", all {measured.all_seconds:.1f} s"
                print(f"{name}, round {job.seed + 1}, {action}, {side}: {took}", file=sys.stderr)


def row(
    what: str, against: str, kit: Sequence[Measured], other: Sequence[Measured], whole: bool
) -> str:
    """A row of the table: medians of the rounds, and medians of their ratios."""
    wall, cpu = ("all_seconds", "all_cpu") if whole else ("seconds", "cpu")
    seconds = [f"{statistics.median(getattr(m, wall) for m in runs):.1f}" for runs in (kit, other)]
    walls, cpus = ratios(kit, other, wall), ratios(kit, other, cpu)
    ratio = f"**{statistics.median(walls):.2f}** ({min(walls):.2f}-{max(walls):.2f})"
    peaks = [f"{statistics.median(m.peak_gib for m in runs):.1f}" for runs in (kit, other)]
    cells = [what, against, *seconds, ratio, f"{statistics.median(cpus):.2f}", " / ".join(peaks)]
    for english in (True, False):
        cells.append(" / ".join(score(runs, english) for runs in (kit, other)))
    return "| " + " | ".join(cells) + " |"


def ratios(kit: Sequence[Measured], other: Sequence[Measured], clock: str) -> list[float]:
    """Of each round: its runs were close in time, and those of other rounds were not."""
    return [getattr(a, clock) / getattr(b, clock) for a, b in zip(kit, other, strict=True)]


def score(runs: Sequence[Measured], english: bool) -> str:
    """The mean over the rounds of the score in English, or of the mean of the other languages."""
    values = [
        statistics.fmean(v for code, v in m.scores.items() if (code == "en") == english)
        for m in runs
        if m.scores
    ]
    return f"{statistics.fmean(values):.1f}" if values else "-"


def table(measurements: Measurements) -> str:
    """The ratios of all works as a markdown table."""
    lines = [HEADER]
    for name in dict.fromkeys(name for name, _, _ in measurements):
        for action, side, against in (
            ("train", "tuned", "tuned Trainer"),
            ("evaluate", "tuned", "tuned, one stream"),
            ("evaluate", "single", "a process per language"),
        ):
            what = f"{name}, {'training' if action == 'train' else 'evaluation'}"
            kit, other = measurements[name, action, "kit"], measurements[name, action, side]
            lines.append(row(what, against, kit, other, side == "single"))
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
    add("--attention", default="", help="of the Trainer's models; empty means their default")
    add("--job", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.job and not given.encoder:
        parser.error("--encoder is needed")
    return given


def compare(given: argparse.Namespace) -> None:
    """Run all rounds and print the table."""
    from xltkit.models import device
    from xltkit.tasks import available, get

    measurements: Measurements = {}
    names = list(WORKS) if given.task == "all" else [given.task]
    for number in range(given.repeats):
        for name in names:
            work = WORKS[name]
            work = replace(
                work, steps=given.steps or work.steps, examples=given.examples or work.examples
            )
            job = Job(
                side="",
                action="",
                work=work,
                encoder=given.encoder,
                folder="",
                seed=number,
                threads=given.threads,
                languages=tuple(available(get(work.test), "test")[0]),
                attention=given.attention,
            )
            repeat(name, job, measurements)
    dtype = "bf16" if device.precision() == "bf16" else "fp32"
    print(f"{device.device()}, {dtype}, threads: {given.threads}, rounds: {given.repeats}\n")
    print(table(measurements))


if __name__ == "__main__":
    arguments_given = arguments()
    if arguments_given.job:
        worker(arguments_given.job[0], Path(arguments_given.job[1]))
    else:
        compare(arguments_given)
