"""The command line: ``python -m xltkit``. What a command needs is imported when it runs."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code (1: a run failed, 2: the command was wrong)."""
    given, rest = parser().parse_known_args(arguments)
    if rest and "build" not in given:
        parser().error(f"unknown arguments: {' '.join(rest)}; see python -m xltkit --help")
    given.rest = rest
    try:
        return given.func(given) or 0
    except (ValueError, FileExistsError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> ArgumentParser:
    """The parser of all commands; each sets ``func``, the function below that carries it out."""
    top = ArgumentParser(prog="python -m xltkit", description="The notebook kit.")
    commands = top.add_subparsers(required=True)

    command = commands.add_parser("run", help="run notebooks in batch, as notebooks/runs.toml says")
    command.set_defaults(func=run)
    option = command.add_argument
    option("names", nargs="*", metavar="NAME", help="runs of runs.toml; none: all but long ones")
    option("--smoke", action="store_true", help="tiny runs, kept in outputs/smoke")
    option("--jobs", type=int, default=1, metavar="N", help="notebooks at a time (1)")
    option("--workers", type=int, default=1, metavar="N", help="processes that all train in (1)")
    option(
        "--scheduler", default="", metavar="ADDRESS", help="of Dask, such as tcp://10.0.0.5:8786"
    )
    option("--timeout", type=float, default=0, metavar="MINUTES", help="that a cell may take")
    option("--retries", type=int, default=1, metavar="N", help="new starts after a dead kernel (1)")
    option(
        "-p",
        nargs=2,
        action="append",
        default=[],
        dest="parameters",
        metavar=("PARAMETER", "VALUE"),
        help="set a parameter, e.g. -p steps 200 or -p seeds '[0, 1]'; may be repeated",
    )

    command = commands.add_parser("tasks", help="print the table of tasks, or all of some tasks")
    command.set_defaults(func=tasks)
    command.add_argument("names", nargs="*", metavar="NAME", help="tasks to print whole")

    data = commands.add_parser("data", help="about the data sets").add_subparsers(required=True)
    command = data.add_parser("check", help="load rows of tasks; exit code 1 if any are not right")
    command.set_defaults(func=check)
    command.add_argument("names", nargs="*", metavar="TASK", help="none: all not generated")
    command.add_argument("--first", action="store_true", help="one language of each split only")

    command = commands.add_parser("report", help="write all pages and the index of outputs/ anew")
    command.set_defaults(func=report)

    command = commands.add_parser("publish", help="keep finished runs in outputs/published")
    command.set_defaults(func=publish)
    command.add_argument("names", nargs="*", metavar="NAME", help="none: all that are finished")

    command = commands.add_parser(
        "card",
        help="copy a trained encoder out of the store, with a model card",
        epilog="Nothing is uploaded. To do so, type: hf upload YOUR-NAME/YOUR-MODEL FOLDER",
    )
    command.set_defaults(func=card)
    option = command.add_argument
    option("run", metavar="RUN", help="a finished run, such as 02_order_of_intermediate_tasks")
    option("--to", required=True, metavar="FOLDER", help="a new one")
    option("--arm", default="", help="of the run")
    option("--task", default="", help="the encoder as trained for this target (or before any)")
    option("--seed", type=int, default=-1, help="of the training (the first)")

    # Their own options follow, --help too.
    for name, what in (("micro", "encoder"), ("micro-clip", "image tower and the CLIP")):
        help = f"rebuild the {what} that ships with the kit"
        command = commands.add_parser(name, help=help, add_help=False)
        command.set_defaults(func=build, build=name)
    return top


def run(given: Namespace) -> int:
    """Run notebooks."""
    from xltkit.batch.execute import run_batch
    from xltkit.batch.parameters import parse

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is under way ends in order
    return run_batch(
        given.names,
        smoke=given.smoke,
        overrides=parse(given.parameters),
        jobs=given.jobs,
        workers=given.workers,
        scheduler=given.scheduler,
        retries=given.retries,
        timeout=given.timeout,
    )


def tasks(given: Namespace) -> None:
    """Print the table of tasks, or some tasks whole."""
    from xltkit.tasks.check import describe

    print(describe(given.names))


def check(given: Namespace) -> int:
    """Compare data sets with the table of tasks."""
    from xltkit.tasks.check import main as check_tasks

    return check_tasks(given.names, given.first)


def report(given: Namespace) -> None:
    """Write all pages and indexes anew."""
    from xltkit.batch.report import build
    from xltkit.files import root

    for index in build(root() / "outputs", root()):
        print(index)


def publish(given: Namespace) -> None:
    """Keep the results of finished runs in git, and draw the figure of the claims anew."""
    from xltkit.analysis import claims_table
    from xltkit.explore import plots
    from xltkit.studies import saved

    folders = saved.publish(given.names)
    print(*folders, sep="\n")
    published = folders[0].parent
    figure = plots.claims(claims_table(saved.read_all(published))).figure
    # Without the version of matplotlib in it, the same claims are the same file.
    figure.savefig(
        published / "claims.png", dpi=110, bbox_inches="tight", metadata={"Software": None}
    )


def card(given: Namespace) -> None:
    """Copy a trained encoder out of the store."""
    from xltkit.studies.export import main as export

    export(given.run, given.to, given.arm, given.task, given.seed)


def build(given: Namespace) -> None:
    """Build what ships with the kit."""
    from xltkit.studies import build_micro

    build_micro.main(given.build, given.rest)
