"""Progress: a bar for a person, one line per interval for a log, never both."""

import os
import re
import sys
from collections.abc import Iterable
from typing import Any

import tqdm.auto
import tqdm.std

INTERVAL = 10.0  # seconds between two lines of a log; what takes less gets none
FORM = "{desc}: {unit} {n_fmt}/{total_fmt}{postfix}, {elapsed}, {remaining} left"
LINES = re.compile(r"^.+: \w+ \d+/\d+.*, [\d:]+, [\d:?]+ left\n", re.MULTILINE)  # in that form
CURSOR_UP = "\x1b[A"  # from nested bars


def interactive() -> bool:
    """Whether a person uses this notebook, who can see widgets and progress bars."""
    if os.environ.get("XLTKIT_BATCH") == "1" or "IPython" not in sys.modules:
        return False
    return hasattr(sys.modules["IPython"].get_ipython(), "kernel")


class _Lines:
    """A file that prints the updates of a tqdm bar as lines of a log."""

    def write(self, text: str) -> None:
        if line := text.replace(CURSOR_UP, "").strip():
            print(line, flush=True)

    def flush(self) -> None:
        pass


def track(
    work: Iterable | int, description: str, unit: str = "step", *, leave: bool = True, **more: Any
) -> tqdm.std.tqdm:
    """A ``tqdm`` over some work, or a number of units; with ``leave``, the bar stays at the end."""
    work = range(work) if isinstance(work, int) else work
    options = {"desc": description, "unit": unit, "leave": leave, "disable": False} | more
    if interactive():
        # The browser could not find a bar that vanishes at once.
        return tqdm.auto.tqdm(work, delay=0 if leave else 1, **options)
    if sys.stderr.isatty() and os.environ.get("XLTKIT_BATCH") != "1":
        return tqdm.std.tqdm(work, **options)
    pace = {"mininterval": INTERVAL, "delay": INTERVAL, "miniters": 1}
    return tqdm.std.tqdm(work, file=_Lines(), bar_format=FORM, **pace, **options)
