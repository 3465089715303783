"""The command line: ``python -m xltkit``. What a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

# What ships with the kit is built by modules whose own options follow, --help too.
BUILT = {
    "micro": ("micro", "rebuild the encoder that ships with the kit"),
    "micro-clip": ("micro_clip", "rebuild the image tower and the CLIP that ship with the kit"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code (1: a run failed, 2: the command was wrong)."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and given.command not in BUILT:
        parser.error(f"unknown arguments: {' '.join(rest)}; see python -m xltkit --help")
    if given.command in BUILT:
        return import_module(f"xltkit.{BUILT[given.command][0]}").main(rest) or 0
    if given.command == "tasks":
        return _tasks(given.names)
    if given.command == "data":
        return _check(given.names, given.first)
    return _run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m xltkit", description="The notebook kit.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run notebooks in batch, as notebooks/runs.toml says")
    run.add_argument(
        "names", nargs="*", metavar="NAME", help="runs of runs.toml; none: all but long ones"
    )
    run.add_argument("--smoke", action="store_true", help="tiny runs, kept in outputs/smoke")
    run.add_argument("--jobs", type=int, default=1, metavar="N", help="notebooks at a time (1)")
    run.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that all train in (1)"
    )
    run.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="train on the workers of this Dask "
        "scheduler, such as tcp://10.0.0.5:8786; XLTKIT_SCHEDULER unless given",
    )  # fmt: skip
    run.add_argument("--overwrite", action="store_true", help="run again what is done, too")
    run.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("PARAMETER", "VALUE"),
        help="set a parameter, e.g. -p steps 200 or -p seeds '[0, 1]'; may be repeated",
    )
    tasks = commands.add_parser("tasks", help="print the table of tasks, or all of some tasks")
    tasks.add_argument("names", nargs="*", metavar="NAME", help="tasks to print whole")
    about = commands.add_parser("data", help="about the data sets").add_subparsers(required=True)
    check = about.add_parser(
        "check",
        help="load some rows of every task, from the mirror or the Hub, and compare them with "
        "the table; exit code 1 if any differ",
    )
    check.add_argument("names", nargs="*", metavar="TASK", help="none: all that are not generated")
    check.add_argument("--first", action="store_true", help="one language of each split only")
    for name, (_, about) in BUILT.items():
        commands.add_parser(name, help=about, add_help=False)
    return parser


def _tasks(names: Sequence[str]) -> int:
    from xltkit.tasks.describe import describe, overview

    try:
        print("\n\n".join(map(describe, names)) if names else overview())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _check(names: Sequence[str], first: bool) -> int:
    from xltkit.check import main as check

    try:
        return check(names, first)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2


def _run(given: argparse.Namespace) -> int:
    from xltkit.batch import run_batch
    from xltkit.parameters import ParameterError, parse
    from xltkit.plan import BatchError

    overrides, problems = {}, []
    for name, text in given.p:
        try:
            overrides[name] = parse(name, text)
        except ParameterError as error:
            problems.append(str(error))
    named = ("smoke", "jobs", "workers", "scheduler", "overwrite")
    options = {name: getattr(given, name) for name in named}
    try:
        if problems:
            raise BatchError("Nothing was started.\n" + "\n".join(problems))
        return run_batch(given.names, overrides=overrides, **options)
    except BatchError as error:
        print(error, file=sys.stderr)
        return 2
