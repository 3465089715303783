"""Measure what a smoke run of each notebook takes, from nothing: an empty store, a new process.

    python benchmarks/smoke.py [NAME ...]

Prints a table: wall and CPU seconds of all processes of a run, its stages, and the most memory that
they held at once (what processes share counts for each).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from xltkit.batch.execute import run_batch
from xltkit.batch.runs import read_runs, select
from xltkit.studies.store import SIGNATURE

PERIOD = 0.1  # seconds between two looks at the memory


def held(pid: int) -> float:
    """GiB of memory that a process and all below it hold."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:  # it ended in between: the next look will tell
        return 0.0
    return total / 2**30


def measure(name: str, folder: str) -> tuple[float, float, int, float]:
    """Wall and CPU seconds, stages and GiB of one run into an empty folder."""
    command = [sys.executable, __file__, name, "--into", folder]
    environment = os.environ | {"XLTKIT_STORE": str(Path(folder) / "store")}
    began, most = time.monotonic(), 0.0
    with Path(folder, "said").open("w+") as said:
        child = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            most = max(most, held(child.pid))
            time.sleep(PERIOD)
        wall, (_, status, used) = time.monotonic() - began, ended
        if status:
            said.seek(0)
            raise SystemExit(f"{name} failed:\n{said.read()}")
    stages = len(list(Path(folder, "store").glob(f"*/{SIGNATURE}")))
    return wall, used.ru_utime + used.ru_stime, stages, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="as of python -m xltkit run")
    parser.add_argument("--into", help=argparse.SUPPRESS)  # how this script calls itself
    given = parser.parse_args()
    if given.into:
        sys.exit(run_batch(given.names, smoke=True, outputs=Path(given.into)))
    print("| run | wall, s | CPU, s | stages | GiB |\n|---|---|---|---|---|")
    for name in select(given.names, read_runs(), smoke=True):
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu, stages, gib = measure(name, folder)
        print(f"| {name} | {wall:.0f} | {cpu:.0f} | {stages} | {gib:.2f} |", flush=True)


if __name__ == "__main__":
    main()
