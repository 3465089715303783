"""Progress: a bar for a person, one line an interval for a log, never both."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tqdm.auto
import tqdm.std

silent = False  # a worker's progress is told by the process that started it
check: Callable[[], None] | None = None  # called at every step; it may raise, to end the work


def interactive() -> bool:
    """Whether a person sits at this notebook, who can use widgets and watch a bar."""
    if os.environ.get("XLTKIT_BATCH") == "1" or "IPython" not in sys.modules:
        return False
    return hasattr(sys.modules["IPython"].get_ipython(), "kernel")


class track:
    """``for x in track(items, "reading")``, or count by hand: ``with track(90, "training") as p:
    p.update(loss=0.3)``.
    """

    def __init__(
        self, work: Iterable | int, description: str, unit: str = "step", *, done=0, every=10.0
    ) -> None:
        """``done``: steps of an earlier, interrupted run; ``every``: seconds between two lines."""
        self.work = range(work) if isinstance(work, int) else work
        self.total = len(self.work) if hasattr(self.work, "__len__") else None
        self.description, self.unit, self.every = description, unit, every
        self.done = self.first = self.said = done
        self.values: dict[str, Any] = {}

    def __enter__(self) -> track:
        self.began = self.spoke = time.monotonic()
        watched = sys.stderr.isatty() and os.environ.get("XLTKIT_BATCH") != "1"
        draw = tqdm.auto.tqdm if interactive() else tqdm.std.tqdm if watched else None
        options = {"total": self.total, "initial": self.done, "unit": self.unit}
        self.bar = draw and draw(desc=self.description, **options)
        return self

    def __iter__(self) -> Iterator[Any]:
        with self:
            for item in self.work:
                yield item
                self.update()

    def update(self, n: int = 1, **values: Any) -> None:
        """Count ``n`` more units as done; ``values`` (loss=..., ...) are shown beside them."""
        if check is not None:
            check()
        self.done += n
        self.values |= values
        if self.bar is not None:
            self.bar.set_postfix(self.values, refresh=False)
            self.bar.update(n)
        elif not silent and time.monotonic() - self.spoke >= self.every:
            self._say()

    def _say(self) -> None:
        self.spoke, self.said = time.monotonic(), self.done
        seconds, total = self.spoke - self.began, f"/{self.total:,}" if self.total else ""
        parts = [f"{self.description}: {self.unit} {self.done:,}{total}"]
        parts += [
            f"{k} {v:.4g}" if type(v) is float else f"{k} {v}" for k, v in self.values.items()
        ]
        parts.append(f"{seconds:.0f} s")
        if self.total and self.first < self.done < self.total:
            left = seconds / (self.done - self.first) * (self.total - self.done)
            parts.append(f"{left / 60:.1f} min left")
        print(", ".join(parts), flush=True)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif not silent and self.done != self.said and time.monotonic() - self.began >= self.every:
            self._say()  # what took less than an interval needs no line of its own
