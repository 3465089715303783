"""What a training step costs under each way of robust training, as a multiple of a plain one.

    python benchmarks/robust.py [--encoder micro] [--task nli] [--steps 40] [--rounds 3]

The ways take turns, so that a noisy machine hits all of them alike; the figure is the median of
the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

import xltkit as xlt
from xltkit.studies.make import make
from xltkit.studies.stages import Recipe, training_stages
from xltkit.studies.store import Store
from xltkit.training.align import Align
from xltkit.training.robust import Adversarial, RandomPerturbation, SynonymSmoothing

PAIRS = tuple(xlt.TrainingSet("pairs", code, 500) for code in ("qbe", "qke", "qto"))
WAYS = {
    "plain": {},
    "Adversarial, 2 steps": {"robust": Adversarial()},
    "Adversarial, 3 steps": {"robust": Adversarial(steps=3)},
    "Adversarial, 3 steps, last alone": {"robust": Adversarial(steps=3, accumulate=False)},
    "RandomPerturbation": {"robust": RandomPerturbation()},
    "SynonymSmoothing": {"robust": SynonymSmoothing()},
    "Align, joint": {"align": Align(pairs=PAIRS)},
}


def seconds(recipe: Recipe, way: dict, task: str, steps: int) -> float:
    """CPU seconds of a phase in a store of its own, without what does not depend on the steps."""
    found = []
    for count in (1, steps + 1):
        (stage,) = training_stages(recipe.then(xlt.Target(task, steps=count, **way)), 0)
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            make(stage, store)
            found.append(store.record(stage.key)["cost"]["cpu_s"])
    return found[1] - found[0]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="micro")
    parser.add_argument("--task", default="nli")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = xlt.encoder(options.encoder)
    ratios: dict[str, list[float]] = {name: [] for name in WAYS}
    seconds(recipe, {}, options.task, options.steps)  # reads the data, which all have in common
    for _ in range(options.rounds):
        took = {n: seconds(recipe, w, options.task, options.steps) for n, w in WAYS.items()}
        for name, value in took.items():
            ratios[name].append(value / took["plain"])
    print(f"{options.encoder}, {options.task}, {options.steps} steps, {options.rounds} rounds")
    for name, found in ratios.items():
        print(f"{name:34} {statistics.median(found):5.2f}   {min(found):.2f} to {max(found):.2f}")


if __name__ == "__main__":
    main()
