"""Runs the Python blocks of a README as one program, every stage of it cut down to two steps.

``python tests/readme_blocks.py README.md [NUMBER ...]``: the numbers of the blocks to leave out.
In a process of its own, for it changes what phases, data and studies are.
"""

import re
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import torch

import xltkit as xlt
from xltkit.data import microworld
from xltkit.data.microworld.generate import MicroworldSource
from xltkit.training import phases

ROWS = 64  # of training data, and of what is generated
STUDY = {"examples": 4, "languages": ["en", "qbe", "qke"]}


def blocks(text: str) -> list[str]:
    """The Python blocks of a page in Markdown."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def cut_down() -> None:
    """Make everything small that a reader's machine would take minutes for."""
    torch.set_num_threads(1)
    matplotlib.use("Agg")
    resolved = phases.Phase.resolved
    load = MicroworldSource.rows
    study = xlt.study
    rows = microworld.rows
    phases.Phase.resolved = lambda *args: replace(resolved(*args), steps=2, batch_size=4)
    MicroworldSource.rows = lambda source, language, count=ROWS: load(
        source, language, min(count or ROWS, ROWS)
    )
    xlt.study = lambda arms, targets, seeds, **options: study(
        arms, list(targets)[:1], list(seeds)[:1], **STUDY | options
    )
    microworld.rows = lambda task, split, language, count=ROWS: rows(
        task, split, language, min(count, ROWS)
    )


if __name__ == "__main__":
    cut_down()
    _, path, *left_out = sys.argv
    names: dict = {}
    for number, block in enumerate(blocks(Path(path).read_text())):
        if str(number) not in left_out:
            exec(compile(block, f"{path}, Python block {number}", "exec"), names)
