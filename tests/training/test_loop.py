"""The training loop: exact accumulation, exact resumption, and what stops it."""

from __future__ import annotations

import pytest
import torch

from xltkit.keys import derive
from xltkit.models import device
from xltkit.models.encoder import Model
from xltkit.tasks import TrainingSet
from xltkit.training import loop
from xltkit.training.batches import Plan
from xltkit.training.loop import Diverged, Schedule, train
from xltkit.training.phases import Intermediate
from xltkit.training.supervised import Supervised


def objective(tiny, tokenizer, *names, steps=12, batch_size=8, robust=None):
    phase = Intermediate([TrainingSet(name, "en", 60) for name in names], max_length=96)
    encoded = phase.encoded(tiny)
    lengths = [[len(example) for example in e.examples] for e in encoded]
    plan = Plan(lengths, [1 / len(names)] * len(names), steps, batch_size, seed=3)
    return Supervised(encoded, plan, tokenizer, seed=3, robust=robust)


def fresh(tiny, made):
    torch.manual_seed(derive(0, "heads"))
    return Model(tiny, made.heads())


def run(tiny, made, folder, seed=0, steps=12, **options):
    folder.mkdir(exist_ok=True)
    model = fresh(tiny, made)
    schedule = Schedule(steps, 1e-3)
    return train(model, made, schedule, seed=seed, folder=folder, **options)


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def gradients(model, made, parts):
    """Gradients of a step in some parts, without dropout, whose masks differ between parts."""
    batches = made.batches(2, parts)
    assert len(batches) == parts
    total = sum(batch.targets for batch in batches)
    for batch in batches:
        losses = made(model.eval(), batch)
        for loss in (losses,) if isinstance(losses, torch.Tensor) else losses:
            (loss / total).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["nli", "choice", "pos", "qa", "text"])
def test_accumulation_gives_the_gradient_of_the_whole_batch(tiny, tokenizer, name, fp32):
    made = objective(tiny, tokenizer, name)
    whole, parts = (gradients(fresh(tiny, made), made, count) for count in (1, 4))
    assert whole.keys() == parts.keys()
    for key in whole:
        assert torch.allclose(whole[key], parts[key], atol=1e-6), key


def test_an_empty_part_counts_for_nothing(tiny, tokenizer):
    made = objective(tiny, tokenizer, "nli", batch_size=2)
    batches = made.batches(0, 3)
    assert [batch.targets for batch in batches] == [1, 1, 0]
    assert float(made(fresh(tiny, made).eval(), batches[2]).detach()) == 0.0


@pytest.mark.parametrize("names", [("text",), ("nli", "qa", "pos", "text")])
def test_a_killed_run_ends_like_an_uninterrupted_one(
    tiny, tokenizer, tmp_path, names, monkeypatch, killed_at
):
    whole = weights(run(tiny, objective(tiny, tokenizer, *names), tmp_path / "whole"))
    cut = tmp_path / "cut"
    for stop in (4, 9):
        with killed_at(stop):
            run(tiny, objective(tiny, tokenizer, *names), cut, checkpoint_seconds=0)
        assert list(cut.glob("checkpoint*")) == [cut / f"checkpoint-{stop}.safetensors"]
    steps = []
    backward = loop._backward
    monkeypatch.setattr(loop, "_backward", lambda *args: steps.append(args[-1]) or backward(*args))
    resumed = run(tiny, objective(tiny, tokenizer, *names), cut, checkpoint_seconds=0)
    assert steps == [9, 10, 11]
    assert same(whole, weights(resumed))
    assert not list(cut.glob("checkpoint*"))
    logs = [(folder / "log.jsonl").read_text() for folder in (tmp_path / "whole", cut)]
    assert logs[0] == logs[1] and logs[0].count("\n") == 12


def test_a_torn_checkpoint_is_not_used_and_a_seed_is_another_run(tiny, tokenizer, tmp_path):
    made = objective(tiny, tokenizer, "nli")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "checkpoint.safetensors").write_text("killed before it had its name")
    whole = weights(run(tiny, made, tmp_path / "whole"))
    assert same(whole, weights(run(tiny, made, tmp_path / "torn")))
    assert not same(whole, weights(run(tiny, made, tmp_path / "other", seed=1)))


def test_a_loss_that_is_no_number_stops_the_stage(tiny, tokenizer, tmp_path, monkeypatch):
    made = objective(tiny, tokenizer, "nli")
    loss = made.task_loss
    monkeypatch.setattr(made, "task_loss", lambda *inputs: loss(*inputs) * float("nan"))
    with pytest.raises(Diverged, match=r"step 1 of 12.*learning_rate"):
        run(tiny, made, tmp_path)


def test_the_schedule_warms_up_and_decays_linearly():
    schedule = Schedule(steps=100, learning_rate=1.0, warmup=0.1)
    rates = [schedule.rate(step) for step in (0, 9, 55, 99)]
    assert rates == pytest.approx([0.1, 1.0, 0.5, 1 / 90])
    assert Schedule(10, 2.0, warmup=0.0).rate(0) == 2.0


@pytest.mark.parametrize("precision, dtype", [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_each_stage_gets_the_precision_asked_for(
    tiny, tokenizer, tmp_path, monkeypatch, precision, dtype
):
    """A second stage in one process must not keep the first one's precision."""
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("XLTKIT_PRECISION", precision)
    device.precision.cache_clear()
    AcceleratorState._reset_state()
    made = objective(tiny, tokenizer, "nli")
    dtypes = []
    for _ in range(2):
        model = fresh(tiny, made)
        dense = model.heads["nli"].dense
        dense.register_forward_hook(lambda _module, _inputs, output: dtypes.append(output.dtype))
        train(model, made, Schedule(1, 1e-3), seed=0, folder=tmp_path)
    assert dtypes == [dtype, dtype]
    device.precision.cache_clear()
    AcceleratorState._reset_state()
