"""Progress: a bar for a person, one line per interval for a log, never both."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tqdm.auto
import tqdm.std
from tqdm.utils import disp_trim

CLEAR = "\r\x1b[2K"  # the line that the cursor is in
LAST_LINES = 15  # of an error, on the console; the notebook has it all
_watcher: ContextVar[Callable[[], None] | None] = ContextVar("watcher", default=None)


def interactive() -> bool:
    """Whether a person sits at this notebook, who can use widgets and watch a bar."""
    if os.environ.get("XLTKIT_BATCH") == "1" or "IPython" not in sys.modules:
        return False
    return hasattr(sys.modules["IPython"].get_ipython(), "kernel")


@contextmanager
def unseen(watcher: Callable[[], None]) -> Iterator[None]:
    """Show no progress inside: a worker's is shown by the process that asked for the work.

    Args:
        watcher: called at every step instead; it may raise, to end the work.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class track:
    """Shows how far a loop is.

    ``for row in track(rows, "reading")``, or counted by hand: ``with track(90, "training") as
    bar: bar.update(loss=0.3)``.

    Args:
        work: what is iterated over, or the number of units.
        description: what is being done.
        unit: what is counted.
        done: units of an earlier, interrupted run.
        every: seconds between two lines of a log.
        leave: whether the bar stays when the work is done.
    """

    def __init__(
        self,
        work: Iterable | int,
        description: str,
        unit: str = "step",
        *,
        done: int = 0,
        every: float = 10.0,
        leave: bool = True,
    ) -> None:
        self.work = range(work) if isinstance(work, int) else work
        self.total = len(self.work) if hasattr(self.work, "__len__") else None
        self.description = description
        self.unit = unit
        self.every = every
        self.leave = leave
        self.first = done
        self.done = done
        self.printed = done  # units done when the last line was printed
        self.values: dict[str, Any] = {}

    def __enter__(self) -> track:
        self.started = time.monotonic()
        self.printed_at = self.started
        is_terminal = sys.stderr.isatty() and os.environ.get("XLTKIT_BATCH") != "1"
        if _watcher.get() is not None:
            draw = None
        elif interactive():
            draw = tqdm.auto.tqdm
        else:
            draw = tqdm.std.tqdm if is_terminal else None
        self.bar = draw and draw(
            desc=self.description,
            total=self.total,
            initial=self.done,
            unit=self.unit,
            leave=self.leave,
            # A bar that vanishes at once could not be found by the browser that shows it.
            delay=0 if self.leave else 1,
        )
        return self

    def __iter__(self) -> Iterator[Any]:
        with self:
            for item in self.work:
                yield item
                self.update()

    def update(self, n: int = 1, **values: Any) -> None:
        """Count ``n`` more units as done; ``values`` (loss=..., ...) are shown beside them."""
        self.done += n
        self.values |= values
        if watcher := _watcher.get():
            watcher()
        elif self.bar is not None:
            self.bar.set_postfix(self.values, refresh=False)
            self.bar.update(n)
        elif time.monotonic() - self.printed_at >= self.every:
            self._print()

    def _print(self) -> None:
        """One line of a log: units done, values, seconds, and minutes left."""
        self.printed_at = time.monotonic()
        self.printed = self.done
        seconds = self.printed_at - self.started
        total = f"/{self.total:,}" if self.total else ""
        parts = [f"{self.description}: {self.unit} {self.done:,}{total}"]
        for name, value in self.values.items():
            parts.append(f"{name} {value:.4g}" if type(value) is float else f"{name} {value}")
        parts.append(f"{seconds:.0f} s")
        if self.total and self.first < self.done < self.total:
            left = seconds / (self.done - self.first) * (self.total - self.done)
            parts.append(f"{left / 60:.1f} min left")
        print(", ".join(parts), flush=True)

    def __exit__(self, *_: object) -> None:
        # What took less than an interval needs no line.
        is_long = time.monotonic() - self.started >= self.every
        if self.bar is not None:
            self.bar.close()
        elif _watcher.get() is None and self.done != self.printed and is_long:
            self._print()


class Board:
    """What a batch tells: to a log, one line an event; to a person at a terminal, the events and
    below them one line, always new: runs done, running and waiting, and where each of them is.
    """

    def __init__(self, runs: int, *, live: bool | None = None) -> None:
        """``live``: whether a terminal is written to; asked of the output unless given."""
        terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.live = terminal if live is None else live
        self.runs, self.done, self.began = runs, 0, time.monotonic()
        self.lines: dict[str, deque[str]] = {}  # the last ones of every run at work
        self.lock = threading.Lock()  # one thread a run writes here

    def event(self, name: str, text: str) -> None:
        """Tell what happened to a run, for good."""
        with self.lock:
            print(f"{CLEAR if self.live else ''}{name} | {_plain(text)}", flush=True)
            self._draw()

    def started(self, name: str, text: str) -> None:
        """Tell that a run is at work from now on."""
        self.event(name, text)
        self.lines[name] = deque(["starting"], maxlen=LAST_LINES)

    def line(self, name: str, text: str) -> None:
        """Pass on what a run at work says."""
        if not self.live:
            self.event(name, text)
        elif newest := _plain(text).rstrip():
            self.lines[name].append(newest)

    def ended(self, name: str, problem: str = "") -> None:
        """Count a run as ended, and tell what went wrong with it, if anything."""
        with self.lock:
            self.done += 1
            last = self.lines.pop(name, ())
        last = last if self.live else ()  # a log has them already
        for text in (*last, f"FAILED: {problem}") if problem else ():
            self.event(name, text)

    def refresh(self) -> None:
        """Draw the line at the bottom anew; nothing in a log."""
        with self.lock:
            self._draw()

    def close(self) -> None:
        """Take the line at the bottom away."""
        if self.live:
            print(CLEAR, end="", flush=True)

    def _draw(self) -> None:
        if not self.live:
            return
        at_work = {name: lines[-1].strip() for name, lines in dict(self.lines).items()}
        minutes = (time.monotonic() - self.began) / 60
        waiting = self.runs - self.done - len(at_work)
        head = f"{self.done} done, {len(at_work)} running, {waiting} waiting, {minutes:.1f} min"
        width = shutil.get_terminal_size().columns - 1
        each = max(10, (width - len(head)) // max(1, len(at_work)) - 3)
        parts = [disp_trim(f"{name}: {text}", each) for name, text in at_work.items()]
        print(CLEAR + disp_trim(" | ".join([head, *parts]), width), end="", flush=True)


def _plain(text: str) -> str:
    """A line without control characters: of what was overwritten in place, the last state."""
    text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text.rstrip("\r\n"))
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text.rpartition("\r")[2])
