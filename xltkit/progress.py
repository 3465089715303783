"""Progress: a bar for a person, one line per interval for a log, never both."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tqdm.auto
import tqdm.std

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
