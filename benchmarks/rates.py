"""Measure how fast this machine trains and scores a large encoder, for ``python -m xltkit plan``.

    python benchmarks/rates.py [--encoder xlm-roberta-base] [--seconds 20]
    python benchmarks/rates.py --store outputs/store [--check]

The first form trains an encoder of this shape with random weights on random tokens, in small and in
large batches, and writes what came out to ``outputs/rates.json``, where plans look. The second
fits the rates of the stages in a store, and writes the table that ships with the kit, for machines
that have made no stage yet; with ``--check`` it only says how well the rates of one half of the
records tell the seconds of the other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from statistics import median

import numpy as np
import torch
from transformers import AutoConfig, AutoModel

from xltkit import models, rates, runtime
from xltkit.provenance import root
from xltkit.sizes import CONFIGS
from xltkit.store import Store

# Sequences and tokens of a batch; those of a CPU take a second or so.
SHAPES = {"cpu": ((2, 32), (4, 64), (8, 64)), "cuda": ((8, 64), (32, 128), (64, 256))}


def step_seconds(model: torch.nn.Module, shape: tuple[int, int], seconds: float) -> float:
    """The median of a training step: forward, backward, optimiser; as in ``training.loop``."""
    device, bf16 = runtime.device(), runtime.precision() == "bf16"
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    ids = torch.randint(5, 1000, shape, device=device)
    took, until = [], time.monotonic() + seconds
    while len(took) < 2 or time.monotonic() < until:
        began = time.monotonic()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = model(ids).last_hidden_state.float().pow(2).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        loss.item()  # waits for the device
        took.append(time.monotonic() - began)
    return median(took[1:])


def measure(encoder: str, seconds: float) -> dict[str, object]:
    """Operations a second in large batches, and seconds a layer and step that no batch saves."""
    where, _ = models.locate(encoder)
    known = dict(CONFIGS[where])
    config = AutoConfig.for_model(known.pop("model_type"), **known)
    model = AutoModel.from_config(config, add_pooling_layer=False).to(runtime.device()).train()
    size = rates.network(encoder)
    work, took = [], []
    shapes = SHAPES.get(runtime.device().type, SHAPES["cpu"])
    for rows, length in shapes:
        per_token = 2.0 * size.active + 4.0 * size.depth * size.width * length
        work.append(3 * rows * length * per_token)
        took.append(step_seconds(model, (rows, length), seconds / len(shapes)))
        speed = work[-1] / took[-1] / 1e12
        print(f"{rows} x {length} tokens: {took[-1]:.3f} s a step, {speed:.3g} TFLOP/s", flush=True)
    fitted = rates.fit(list(zip(work, took, strict=True)))
    name = f"{runtime.describe()}, {encoder}"
    flops, step = 1 / fitted.per_work, fitted.start / size.depth
    print(f"{name}: {flops / 1e12:.3g} TFLOP/s and {1000 * step:.1f} ms for each step and layer")
    return {"device": name, "flops": flops, "step": step}


def check(records: list[dict]) -> None:
    """Print how far the rates of half of the records lie from the seconds of the other half."""
    order = np.random.default_rng(0).permutation(len(records))
    halves = [[records[i] for i in part] for part in np.array_split(order, 2)]
    errors, total = defaultdict(list), np.zeros(2)
    for known, asked in (halves, halves[::-1]):
        table = rates.Rates(rates.fits(known), {}, rates.ASSUMED)
        for record in asked:
            done = rates.work(record["signature"])
            told, took = table.estimate(done).seconds, record["cost"]["wall_s"]
            errors[f"{done.phase}, {done.way}"].append(abs(told - took) / took)
            total += (told, took)
    print("phase, way: median of |estimate - seconds| / seconds")
    for name, found in sorted(errors.items()):
        print(f"{name}: {median(found):.0%} of {len(found)}")
    print(
        f"all: {median(e for each in errors.values() for e in each):.0%} of {len(records)}; ",
        end="",
    )
    print(f"total {total[0] / 60:.1f} min told, {total[1] / 60:.1f} taken")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--encoder", default="xlm-roberta-base")
    parser.add_argument("--seconds", type=float, default=20, help="to measure for")
    parser.add_argument("--store", help="a store of stages of the microworld, finished")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.store:
        records = Store(given.store).records()
        if given.check:
            return check(records)
        found = {name: tuple(of) for name, of in sorted(rates.fits(records).items())}
        cost = records[0]["cost"]
        device = f"{cost['device']}, {cost['dtype']}, {cost['threads']} torch threads"
        lines = ",\n  ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items())
        text = f'{{"device": {json.dumps(device)}, "fits": {{\n  {lines}\n}}}}\n'
        return print(rates.SHIPPED.write_text(text), "bytes written to", rates.SHIPPED)
    out = root() / "outputs" / "rates.json"
    out.write_text(json.dumps(measure(given.encoder, given.seconds), indent=1))
    print("written to", out)


if __name__ == "__main__":
    main()
