"""What a real encoder costs and scores on a suite, with different parts of it frozen.

python benchmarks/real.py pos topic --freeze "" embeddings 6

Each way is trained in a process of its own, on one core, so that its peak of memory is its own.
Stages are kept in the store (``XLTKIT_STORE``); a second run prints what they cost at first.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

os.environ["OMP_NUM_THREADS"] = "1"

import pandas as pd

import xltkit as xlt


def measure(encoder: str, suite: str, task: str, freeze: str, seeds: int, examples: int) -> dict:
    """One row: costs of the first seed, means over seeds."""
    frozen = int(freeze) if freeze.isdigit() else freeze
    arms = {freeze or "nothing": xlt.encoder(encoder)}
    options = {"suite": suite, "examples": examples, "freeze": frozen}
    results = xlt.study(arms, [task], range(seeds), **options).run()
    evaluation, *training = results.study.runs[0].stage.chain
    costs = [results.store.record(stage.key)["cost"] for stage in (evaluation, *training)]
    scores = xlt.summary(results).iloc[0]
    return {
        "task": task,
        "frozen": freeze or "nothing",
        "steps": sum(stage.phase.steps for stage in training),
        "train (CPU s)": sum(cost["cpu_s"] for cost in costs[1:]),
        "evaluate (CPU s)": costs[0]["cpu_s"],
        "peak (GiB)": max(cost["peak_gib"] for cost in costs),
    } | scores[["source", "transfer"]].to_dict()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--freeze", nargs="+", default=["embeddings"])
    parser.add_argument("--encoder", default="e5-small")
    parser.add_argument("--suite", default="xtreme-small")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--examples", type=int, default=200)
    given = parser.parse_args()
    rows = []
    pool = ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1)
    for name in given.tasks:
        for way in given.freeze:
            about = (given.encoder, given.suite, name, way, given.seeds, given.examples)
            rows.append(pool.submit(measure, *about).result())
            print(pd.DataFrame(rows).round(2).to_string(index=False), flush=True)
