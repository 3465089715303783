"""What a training step with pictures costs, as a multiple of masked language modelling.

    python benchmarks/images.py [--encoder micro] [--steps 40] [--batch 32] [--rounds 3]

All train on the same captions. The ways take turns, so that a noisy machine hits all of them
alike; the figure is the median of the rounds' ratios. Below, what it costs to have the features
of a locked tower for the first time and the second, as a multiple of the second.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

import xltkit as xlt
from xltkit.models import vision
from xltkit.studies.make import make
from xltkit.studies.stages import training_stages
from xltkit.studies.store import Store
from xltkit.tasks.rows import training_rows
from xltkit.training.phases import Phase

ROWS = xlt.TrainingSet("captions", "en", 500)


def ways(steps: int, batch: int) -> dict[str, Phase]:
    """Each way of training on the captions, for so many steps."""
    same = {"steps": steps, "batch_size": batch}
    return {
        "masked language modelling": xlt.Pretrain((ROWS,), **same),
        "pictures, tower locked": xlt.ImageText(ROWS, **same),
        "pictures, tower locked, queue 512": xlt.ImageText(ROWS, queue=512, **same),
        "pictures, tower trained": xlt.ImageText(ROWS, locked=False, **same),
        "paraphrases": xlt.ImageText(ROWS, against="paraphrase", **same),
        "distillation": xlt.Distil(ROWS, **same),
    }


def seconds(encoder: str, phase: Phase, store: Path) -> float:
    """CPU seconds of a phase that is not in the store."""
    (stage,) = training_stages(xlt.encoder(encoder).then(phase), 0)
    kept = Store(store)
    make(stage, kept)
    cost = kept.record(stage.key)["cost"]["cpu_s"]
    kept.clear(stage.key)
    return cost


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="micro")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store, rows = Path(folder), training_rows(ROWS)
        took = []
        for _ in range(2):
            began = time.process_time()
            vision.features("micro-vision", rows, store)
            took.append(time.process_time() - began)
        few, many = (ways(n, options.batch) for n in (1, options.steps + 1))
        ratios: dict[str, list[float]] = {name: [] for name in few}
        for phase in few.values():  # reads the data, and keeps features and vectors
            seconds(options.encoder, phase, store)
        for _ in range(options.rounds):
            found = {
                name: seconds(options.encoder, many[name], store)
                - seconds(options.encoder, few[name], store)
                for name in few
            }
            for name, value in found.items():
                ratios[name].append(value / found["masked language modelling"])
    print(f"{options.encoder}, batch {options.batch}, {options.steps} steps")
    for name, values in ratios.items():
        print(
            f"{name:34} {statistics.median(values):5.2f}   {min(values):.2f} to {max(values):.2f}"
        )
    print(f"features of {len(rows)} pictures, the first time: {took[0] / took[1]:.0f} times")


if __name__ == "__main__":
    main()
