"""The command line: ``python -m xltkit``. What a command needs is imported when it runs."""

import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import partial
from io import TextIOWrapper
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code (1: a run failed, 2: the command was wrong)."""
    options = vars(parser().parse_args(arguments))
    command = options.pop("func")
    if isinstance(sys.stdout, TextIOWrapper):  # a console may lack letters of other scripts
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return command(**options) or 0
    except (ValueError, FileExistsError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> ArgumentParser:
    """The parser of all commands; each sets ``func``, whose docstring is its help."""
    top = ArgumentParser(prog="python -m xltkit", description="The notebook kit.")
    commands = top.add_subparsers(required=True)
    data = commands.add_parser("data", help="about the data sets").add_subparsers(required=True)

    def command(group: Any, func: Callable, **settings: Any) -> Callable:
        new = group.add_parser(func.__name__, help=func.__doc__, **settings)
        new.set_defaults(func=func)
        return new.add_argument

    option = command(commands, run)
    option("names", nargs="*", metavar="NAME", help="runs of runs.toml; none: all but long ones")
    option("--smoke", action="store_true", help="tiny runs, kept in outputs/smoke")
    option("--jobs", type=int, default=1, metavar="N", help="notebooks at a time (1)")
    option("--workers", type=int, default=1, metavar="N", help="processes that all train in (1)")
    option("--scheduler", default="", metavar="ADDRESS", help="of Dask, as tcp://10.0.0.5:8786")
    option("--timeout", type=float, default=0, metavar="MINUTES", help="that a cell may take")
    option("--retries", type=int, default=1, metavar="N", help="new starts after a dead kernel (1)")
    pair = ("PARAMETER", "VALUE")
    about = "set a parameter, e.g. -p steps 200 or -p seeds '[0, 1]'; may be repeated"
    option("-p", dest="parameters", nargs=2, action="append", default=[], metavar=pair, help=about)

    option = command(commands, tasks)
    option("names", nargs="*", metavar="NAME", help="tasks to print whole")

    command(commands, encoders)

    option = command(data, check)
    option("names", nargs="*", metavar="TASK", help="none: all not generated")
    option("--first", action="store_true", help="one language of each split only")

    command(commands, report)

    option = command(commands, publish)
    option("names", nargs="*", metavar="NAME", help="none: all that are finished")

    upload = "Nothing is uploaded. To do so, type: hf upload YOUR-NAME/YOUR-MODEL FOLDER"
    option = command(commands, card, epilog=upload)
    option("run", metavar="RUN", help="a finished run, such as 02_order_of_intermediate_tasks")
    option("--to", required=True, metavar="FOLDER", help="a new one")
    option("--arm", default="", help="of the run")
    option("--task", default="", help="the encoder as trained for this target (or before any)")
    option("--seed", type=int, default=-1, help="of the training (the first)")

    for name, what in (("micro", "encoder"), ("micro-clip", "image tower and the CLIP")):
        new = commands.add_parser(name, help=f"Rebuild the {what} that ships with the kit.")
        new.add_argument("--out", metavar="FOLDER", help="to write to; none: the package's own")
        new.set_defaults(func=partial(build, name))
    return top


def run(parameters: Sequence[tuple[str, str]], **options: Any) -> int:
    """Run notebooks in batch, as notebooks/runs.toml says."""
    from xltkit.batch.execute import run_batch
    from xltkit.batch.parameters import parse
    from xltkit.files import bring_notebooks

    bring_notebooks()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is under way ends in order
    return run_batch(overrides=parse(parameters), **options)


def tasks(names: Sequence[str]) -> None:
    """Print the table of tasks, or all of some tasks."""
    from xltkit.tasks.check import describe

    print(describe(names))


def encoders() -> None:
    """Print the table of encoders: sizes, languages seen, where fine-tuning starts from."""
    from xltkit.models.checkpoints import describe_encoders

    print(describe_encoders())


def check(**options: Any) -> int:
    """Load rows of tasks; exit code 1 if any are not right."""
    from xltkit.tasks.check import main as check_tasks

    return check_tasks(**options)


def report() -> None:
    """Write all pages and the index of outputs/ anew."""
    from xltkit.batch.report import build

    print(*build(), sep="\n")


def publish(names: Sequence[str]) -> None:
    """Keep finished runs in outputs/published, and draw the figure of the claims anew."""
    from xltkit.analysis import claims_table
    from xltkit.explore import plots
    from xltkit.studies import saved

    folders = saved.publish(names)
    print(*folders, sep="\n")
    published = folders[0].parent
    # Without the version of matplotlib in it, the same claims are the same file.
    options = {"dpi": 110, "bbox_inches": "tight", "metadata": {"Software": None}}
    with plots.style():
        figure = plots.claims(claims_table(saved.read_all(published))).figure
        figure.savefig(published / "claims.png", **options)


def card(**options: Any) -> None:
    """Copy a trained encoder out of the store, with a model card."""
    from xltkit.studies.export import main as export

    export(**options)


def build(name: str, out: str | None) -> None:
    """Build what ships with the kit."""
    from xltkit.studies.build_micro import main as build_micro

    build_micro(name, out)
