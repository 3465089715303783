"""The command line: ``python -m xltkit``. Commands import what they need when they run."""

import shlex
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import partial
from io import TextIOWrapper
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code (1: a run failed, 2: the command was wrong)."""
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
    top = ArgumentParser(prog="python -m xltkit", description="Zero-shot cross-lingual transfer.")
    commands = top.add_subparsers(required=True)
    data = commands.add_parser("data", help="check data sets").add_subparsers(required=True)

    def command(group: Any, func: Callable) -> Callable:
        new = group.add_parser(func.__name__, help=func.__doc__)
        new.set_defaults(func=func)
        return new.add_argument

    option = command(commands, run)
    about = "runs in runs.toml, or patterns such as '1*' (all but long and real ones)"
    option("names", nargs="*", metavar="NAME", help=about)
    about = "start nothing, print these runs (all) with questions, and minutes of the microworld's"
    option("--list", dest="listed", action="store_true", help=about)
    option("--smoke", action="store_true", help="tiny test runs, kept in outputs/smoke")
    option("--jobs", type=int, default=1, metavar="N", help="notebooks in parallel (1)")
    option("--workers", type=int, default=1, metavar="N", help="shared training processes (1)")
    option("--scheduler", default="", metavar="ADDRESS", help="Dask's, e.g. tcp://10.0.0.5:8786")
    option("--timeout", type=float, default=0, metavar="MINUTES", help="limit per cell (none)")
    option("--retries", type=int, default=1, metavar="N", help="restarts after a dead kernel (1)")
    pair = ("PARAMETER", "VALUE")
    about = "set a parameter, e.g. -p steps 200 or -p seeds '[0, 1]'; may be repeated"
    option("-p", dest="parameters", nargs=2, action="append", default=[], metavar=pair, help=about)

    option = command(commands, tasks)
    option("names", nargs="*", metavar="NAME", help="tasks to print in full")

    option = command(commands, encoders)
    option("names", nargs="*", metavar="NAME", help="encoders to print in full")

    option = command(data, check)
    option("names", nargs="*", metavar="TASK", help="default: all real ones")
    option("--first", action="store_true", help="only one language per split")

    command(commands, report)

    option = command(commands, publish)
    option("names", nargs="*", metavar="NAME", help="default: all finished runs")

    option = command(commands, card)
    option("run", metavar="RUN", help="a finished run, such as 02_order_of_intermediate_tasks")
    option("--to", required=True, metavar="FOLDER", help="a new folder")
    option("--arm", default="", help="an arm of the run (needed; without it, the error lists them)")
    option("--task", default="", help="target it was trained for (default: before any target)")
    option("--seed", type=int, default=-1, help="training seed (default: the first)")

    for name, what in (("micro", "encoder"), ("micro-clip", "image tower and the CLIP")):
        new = commands.add_parser(name, help=f"Rebuild the {what} that ships with the kit.")
        new.add_argument("--out", metavar="FOLDER", help="to write to (default: the package's)")
        new.set_defaults(func=partial(build, name))
    return top


def run(parameters: Sequence[tuple[str, str]], listed: bool, **options: Any) -> int:
    """Run notebooks in batch, as listed in notebooks/runs.toml."""
    from xltkit.batch.execute import run_batch
    from xltkit.batch.parameters import parse
    from xltkit.batch.runs import describe
    from xltkit.files import bring_notebooks

    bring_notebooks()
    if listed:
        print(describe(options["names"]))
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end running work cleanly
    return run_batch(overrides=parse(parameters), **options)


def tasks(names: Sequence[str]) -> None:
    """Print the table of tasks, or details of some."""
    from xltkit.tasks.check import describe

    print(describe(names))


def encoders(names: Sequence[str]) -> None:
    """Print the table of encoders: sizes, settings to start from; or details of some."""
    from xltkit.models.checkpoints import describe_encoders

    print(describe_encoders(names))


def check(**options: Any) -> int:
    """Load and check rows of tasks; exit code 1 if any are wrong."""
    from xltkit.tasks.check import main as check_tasks

    return check_tasks(**options)


def report() -> None:
    """Rewrite all pages and the index of outputs/."""
    from xltkit.batch.report import build

    print(*build(), sep="\n")


def publish(names: Sequence[str]) -> None:
    """Copy finished runs to outputs/published and redraw the figure of the claims."""
    from xltkit.analysis import claims_table
    from xltkit.explore import plots
    from xltkit.studies import saved

    folders = saved.publish(names)
    print(*folders, sep="\n")
    published = folders[0].parent
    # Without matplotlib's version in it, the same claims give the same file.
    options = {"dpi": 110, "bbox_inches": "tight", "metadata": {"Software": None}}
    with plots.style():
        figure = plots.claims(claims_table(saved.read_all(published))).figure
        figure.savefig(published / "claims.png", **options)


def card(run: str, **options: Any) -> None:
    """Copy a trained encoder out of the store, with a model card."""
    from xltkit.files import root
    from xltkit.studies.export import export
    from xltkit.studies.saved import read

    saved = read(root() / "outputs" / run)
    if "stage" not in saved.tables.get("scores", ()):
        raise ValueError(f"{run} has no scores of stages in a store.")
    folder = export(saved, **options)
    print(
        f"{folder}: encoder, tokenizer and model card. Nothing was uploaded; to do so, type: "
        f"hf upload YOUR-NAME/YOUR-MODEL {shlex.quote(str(folder))}"
    )


def build(name: str, out: str | None) -> None:
    """Build a model that ships with the kit."""
    from xltkit.studies.build_micro import main as build_micro

    build_micro(name, out)
