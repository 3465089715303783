"""The training loop: exact accumulation, exact resumption, and what stops it."""

from __future__ import annotations

import json

import pytest
import torch

from xltkit.keys import derive
from xltkit.models import encoder as models
from xltkit.tasks import TrainingSet, get
from xltkit.tasks.rows import training_rows
from xltkit.training import loop
from xltkit.training.batches import Plan
from xltkit.training.loop import Diverged, Schedule, train
from xltkit.training.supervised import EncodedTrainingSet, Supervised


def objective(tokenizer, *names, steps=12, batch_size=8):
    training_sets = []
    for name in names:
        task = get(name)
        rows = training_rows(TrainingSet(name, "en", 60))
        features = task.type.encode(task, rows, tokenizer, 96, training=True)
        training_sets.append(EncodedTrainingSet(task, features))
    lengths = [[len(f) for f in p.examples] for p in training_sets]
    plan = Plan(lengths, [1 / len(names)] * len(names), steps, batch_size, seed=3)
    return Supervised(training_sets, plan, tokenizer, seed=3)


def fresh(tiny, made):
    torch.manual_seed(derive(0, "heads"))
    return models.Model(tiny, made.heads())


def run(tiny, made, folder, seed=0, steps=12, **options):
    folder.mkdir(exist_ok=True)
    accumulation = options.pop("accumulation", 1)
    schedule = Schedule(steps, 1e-3, accumulation=accumulation)
    model = fresh(tiny, made)
    return train(model, made, made.batches, schedule, seed=seed, folder=folder, **options)


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", ["nli", "choice", "pos", "qa", "text"])
def test_accumulation_gives_the_gradient_of_the_whole_batch(tiny, tokenizer, name, monkeypatch):
    monkeypatch.setenv("XLTKIT_PRECISION", "no")
    loop.device.precision.cache_clear()
    made = objective(tokenizer, name)
    gradients = []
    for parts in (1, 4):
        model = fresh(tiny, made).eval()  # without dropout, whose masks differ between parts
        batches = made.batches(2, parts)
        assert len(batches) == parts
        total = sum(b.targets for b in batches)
        for batch in batches:
            (made(model, batch) / total).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for key, whole in gradients[0].items():
        assert torch.allclose(whole, gradients[1][key], atol=1e-6), key
    loop.device.precision.cache_clear()


def test_an_empty_part_counts_for_nothing(tiny, tokenizer):
    made = objective(tokenizer, "nli", batch_size=2)
    batches = made.batches(0, 3)
    assert [b.targets for b in batches] == [1, 1, 0]
    model = fresh(tiny, made).eval()
    assert float(made(model, batches[2]).detach()) == 0.0


@pytest.mark.parametrize("names", [("nli",), ("text",), ("nli", "qa", "pos", "text")])
def test_a_killed_run_ends_like_an_uninterrupted_one(
    tiny, tokenizer, tmp_path, names, monkeypatch, killed_at
):
    made = objective(tokenizer, *names)
    whole = weights(run(tiny, made, tmp_path / "whole"))
    for stop in (4, 9):
        with killed_at(stop):
            run(tiny, objective(tokenizer, *names), tmp_path / "cut", checkpoint_seconds=0)
        assert list((tmp_path / "cut").glob("checkpoint-*")) == [
            tmp_path / "cut" / f"checkpoint-{stop}"
        ]
    taken, real = [], loop._backward
    monkeypatch.setattr(loop, "_backward", lambda *a: taken.append(a[-1]) or real(*a))
    resumed = run(tiny, objective(tokenizer, *names), tmp_path / "cut", checkpoint_seconds=0)
    assert taken == [9, 10, 11]
    assert same(whole, weights(resumed))
    assert not list((tmp_path / "cut").glob("checkpoint-*"))
    logs = [[json.loads(x) for x in (tmp_path / d / "log.jsonl").open()] for d in ("whole", "cut")]
    for a, b in zip(*logs, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {
            k: v for k, v in b.items() if k != "seconds"
        }


def test_a_torn_checkpoint_is_not_used(tiny, tokenizer, tmp_path):
    made = objective(tokenizer, "nli")
    (tmp_path / "run" / "checkpoint-11").mkdir(parents=True)  # killed before state.json
    whole = weights(run(tiny, made, tmp_path / "whole"))
    assert same(whole, weights(run(tiny, made, tmp_path / "run")))


def test_another_seed_gives_other_weights(tiny, tokenizer, tmp_path):
    made = objective(tokenizer, "nli")
    first, second = (run(tiny, made, tmp_path / str(s), seed=s) for s in (0, 1))
    assert not same(weights(first), weights(second))


def test_training_lowers_the_loss(tiny, tokenizer, tmp_path):
    made = objective(tokenizer, "pos", steps=120, batch_size=16)
    run(tiny, made, tmp_path / "run", steps=120)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").open()]
    assert len(losses) == 6
    assert losses[-1] < losses[0] / 2


def test_a_loss_that_is_no_number_stops_the_stage(tiny, tokenizer, tmp_path):
    made = objective(tokenizer, "nli")

    def broken(model, batch):
        return made(model, batch) * float("nan")

    model = fresh(tiny, made)
    with pytest.raises(Diverged, match=r"step 1 of 12.*learning_rate"):
        train(model, broken, made.batches, Schedule(12, 1e-3), seed=0, folder=tmp_path)


def test_the_schedule_warms_up_and_decays_linearly():
    schedule = Schedule(steps=100, learning_rate=1.0, warmup=0.1)
    assert schedule.rate(0) == pytest.approx(0.1)
    assert schedule.rate(9) == pytest.approx(1.0)
    assert schedule.rate(55) == pytest.approx(0.5)
    assert schedule.rate(99) == pytest.approx(1 / 90)
    assert Schedule(10, 2.0, warmup=0.0).rate(0) == 2.0


@pytest.mark.parametrize("precision, dtype", [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_each_stage_gets_the_precision_asked_for(
    tiny, tokenizer, tmp_path, monkeypatch, precision, dtype
):
    """A second stage in one process must not keep the first one's precision."""
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("XLTKIT_PRECISION", precision)
    loop.device.precision.cache_clear()
    AcceleratorState._reset_state()
    made, seen = objective(tokenizer, "nli"), []

    def watched(model, batch):
        plain = model.module if hasattr(model, "module") else model
        hook = plain.heads["nli"].dense.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
        loss = made(model, batch)
        hook.remove()
        return loss

    for _ in range(2):
        model = fresh(tiny, made)
        train(model, watched, made.batches, Schedule(1, 1e-3), seed=0, folder=tmp_path)
    assert seen == [dtype, dtype]
    loop.device.precision.cache_clear()
    AcceleratorState._reset_state()
