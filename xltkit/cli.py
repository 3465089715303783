"""The command line: ``python -m xltkit``. What a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

# What ships with the kit is built by functions whose own options follow, --help too.
BUILT = {
    "micro": ("main", "rebuild the encoder that ships with the kit"),
    "micro-clip": ("main_clip", "rebuild the image tower and the CLIP that ship with the kit"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code (1: a run failed, 2: the command was wrong)."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and given.command not in BUILT:
        parser.error(f"unknown arguments: {' '.join(rest)}; see python -m xltkit --help")
    if given.command in BUILT:
        build = import_module("xltkit.studies.build_micro")
        getattr(build, BUILT[given.command][0])(rest)
        return 0
    if given.command == "tasks":
        return _tasks(given.names)
    if given.command == "data":
        return _check(given.names, given.first)
    if given.command == "publish":
        return _publish(given.names)
    if given.command == "card":
        return _card(given)
    return _report() if given.command == "report" else _run(given)


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
    run.add_argument(
        "--overwrite",
        choices=("missing", "never", "always"),
        default="missing",
        help="missing (usual): run what is not done or has changed since; never: keep every "
        "result that is there; always: run again what is done, too",
    )
    run.add_argument(
        "--only-failed", action="store_true", help="leave out runs whose last attempt did not fail"
    )
    run.add_argument(
        "--timeout", type=float, metavar="MINUTES", help="end a run that takes longer, 0: never"
    )
    run.add_argument(
        "--memory",
        type=float,
        metavar="GIB",
        help="end a run whose own processes (kernel, what it starts) hold more, 0: never",
    )
    run.add_argument(
        "--retries", type=int, default=1, metavar="N", help="new starts after a dead kernel (1)"
    )
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
    commands.add_parser("report", help="write all pages and the index of outputs/ anew")
    keep = commands.add_parser(
        "publish",
        help="keep the results of finished runs in outputs/published, for git, and draw "
        "the figure of the claims anew",
    )
    keep.add_argument("names", nargs="*", metavar="NAME", help="runs; none: all that are finished")
    card = commands.add_parser(
        "card",
        help="copy a trained encoder out of the store, with a model card written from its records",
        epilog="Nothing is uploaded. To do so, type: hf upload YOUR-NAME/YOUR-MODEL FOLDER",
    )
    card.add_argument(
        "run", metavar="RUN", help="a finished run, such as 02_order_of_intermediate_tasks",
    )  # fmt: skip
    card.add_argument("--to", required=True, metavar="FOLDER", help="which is made")
    card.add_argument("--arm", default="", help="of the run")
    card.add_argument(
        "--task", default="", help="the encoder as trained for this target (as it was before any)"
    )
    card.add_argument("--seed", type=int, default=-1, help="of the training (the first)")
    for name, (_, about) in BUILT.items():
        commands.add_parser(name, help=about, add_help=False)
    return parser


def _code(
    work: Callable[[], int | None],
    wrong: type[Exception] | tuple[type[Exception], ...] = ValueError,
) -> int:
    """The exit code of a command's work; 2, and what it says, if the command was wrong."""
    try:
        return work() or 0
    except wrong as error:
        print(error, file=sys.stderr)
        return 2


def _tasks(names: Sequence[str]) -> int:
    from xltkit.tasks.check import describe

    return _code(lambda: print(describe(names)))


def _check(names: Sequence[str], first: bool) -> int:
    from xltkit.tasks.check import main as check

    return _code(lambda: check(names, first))


def _report() -> int:
    from xltkit.batch.report import build
    from xltkit.batch.runs import BatchError
    from xltkit.files import root

    return _code(lambda: print("\n".join(map(str, build(root() / "outputs", root())))), BatchError)


def _publish(names: Sequence[str]) -> int:
    from xltkit.analysis import claims_table
    from xltkit.explore import plots
    from xltkit.studies import saved

    def keep() -> None:
        folders = saved.publish(names)
        print("\n".join(map(str, folders)))
        published = folders[0].parent
        figure = plots.claims(claims_table(saved.read_all(published))).figure
        # Without the version of matplotlib in it, the same claims are the same file.
        options = {"dpi": 110, "bbox_inches": "tight", "metadata": {"Software": None}}
        figure.savefig(published / "claims.png", **options)

    return _code(keep)


def _card(given: argparse.Namespace) -> int:
    from xltkit.studies.export import main as card

    asked = {name: getattr(given, name) for name in ("run", "to", "arm", "task", "seed")}
    return _code(lambda: card(**asked), (ValueError, FileExistsError))


def _run(given: argparse.Namespace) -> int:
    from xltkit.batch.run import run_batch
    from xltkit.batch.runs import BatchError

    asked = {k: v for k, v in vars(given).items() if k not in ("command", "names", "p")}
    return _code(lambda: run_batch(given.names, overrides=_overrides(given), **asked), BatchError)


def _overrides(given: argparse.Namespace) -> dict[str, Any]:
    """The parameters typed with ``-p``; raises BatchError, which lists every problem."""
    from xltkit.batch.parameters import ParameterError, parse
    from xltkit.batch.runs import BatchError

    overrides, problems = {}, []
    for name, text in given.p:
        try:
            overrides[name] = parse(name, text)
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise BatchError("Nothing was started.\n" + "\n".join(problems))
    return overrides
