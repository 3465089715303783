"""Items of the microworld a CPU second: made as meaning, and said in one more language.

Usage: ``python benchmarks/generate.py``. CPU seconds, so that other jobs play no part.
"""

from __future__ import annotations

import time

from xltkit.data import microworld
from xltkit.data.microworld.generate import GENERATORS

COUNT = 4000


def rate(work, *arguments) -> float:
    """Items a CPU second of one call that makes ``COUNT`` of them."""
    began = time.process_time()
    work(*arguments, COUNT)
    return COUNT / (time.process_time() - began)


def main() -> None:
    """Print one row a task."""
    print(f"{'task':<14}{'made':>10}{'said':>10}{'both':>10}   items a CPU second")
    for task in GENERATORS:
        made = rate(microworld.items, task, "train")
        if task == "text":  # every language has documents of its own: nothing is shared
            both = rate(microworld.rows, task, "train", microworld.language("qto"))
            said = 1 / (1 / both - 1 / made)
        else:
            said = rate(microworld.rows, task, "train", microworld.language("qto"))
            both = 1 / (1 / made + 1 / said)
        print(f"{task:<14}{made:>10,.0f}{said:>10,.0f}{both:>10,.0f}")


if __name__ == "__main__":
    main()
