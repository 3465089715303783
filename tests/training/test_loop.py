"""The training loop: the order of examples, exact accumulation and resumption, what stops it."""

import sys
import threading
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from xltkit.keys import derive, hashed_uniform
from xltkit.models import device
from xltkit.models.encoder import Model
from xltkit.tasks import TrainingSet, get
from xltkit.training import loop
from xltkit.training.loop import Diverged, learning_rate, train
from xltkit.training.phases import Intermediate, Target
from xltkit.training.robust import Adversarial, RandomPerturbation
from xltkit.training.supervised import batch_stream, plan


def objective(tiny, *names, batch_size=8, robust=None, seed=3, **options):
    """The objective of twelve steps on some tasks."""
    options = {"steps": 12, "learning_rate": 1e-3, "warmup": 0.1, "weight_decay": 0.0} | options
    options |= {"mix": "uniform", "batch_size": batch_size, "max_length": 96, "robust": robust}
    phase = Intermediate([TrainingSet(name, "en", 60) for name in names], **options)
    return phase.objective(tiny, seed, Path())


def fresh(tiny, objective):
    torch.manual_seed(derive(0, "heads"))
    model = Model(tiny, objective.heads())
    model.freeze(objective.phase.freeze)
    return model


def run(tiny, objective, folder, **options):
    """The weights of a model after all steps."""
    folder.mkdir(exist_ok=True)
    model = train(fresh(tiny, objective), objective, folder, **options)
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def gradients(tiny, objective, parts):
    """Gradients of a step in some parts, without dropout, whose masks differ between parts."""
    model = fresh(tiny, objective).eval()
    batches = objective.batches(2, parts)
    assert len(batches) == parts
    total = sum(batch.targets for batch in batches)
    for batch in batches:
        losses = objective(model, batch)
        for loss in (losses,) if isinstance(losses, torch.Tensor) else losses:
            (loss / total).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


ROBUST = [("nli", Adversarial(start=0.0)), ("qa", Adversarial(start=0.0))]
ROBUST += [("nli", Adversarial(start=0.0, accumulate=False))]
PLAIN = [(name, None) for name in ("nli", "choice", "pos", "qa", "text")]


@pytest.mark.parametrize(("name", "robust"), PLAIN + ROBUST)
def test_accumulation_gives_the_gradient_of_the_whole_batch(tiny, name, robust, fp32):
    task = objective(tiny, name, robust=robust)
    whole = gradients(tiny, task, 1)
    parts = gradients(tiny, task, 4)
    assert whole.keys() == parts.keys()
    near = {"atol": 2e-5, "rtol": 1e-3} if robust else {"atol": 1e-6}
    for key in whole:
        assert torch.allclose(whole[key], parts[key], **near), key


def test_an_empty_part_counts_for_nothing(tiny):
    task = objective(tiny, "nli", batch_size=2)
    batches = task.batches(0, 3)
    assert [batch.targets for batch in batches] == [1, 1, 0]
    assert float(task(fresh(tiny, task).eval(), batches[2]).detach()) == 0.0


MIXED = (["nli", "qa", "pos", "text"], None, {})
METHODS = [(["nli"], Adversarial(), {}), (["nli"], RandomPerturbation(), {"freeze": 1})]
OTHERS = [(["text"], None, {"freeze": "embeddings"}), (["nli"], None, {"average": 0.5})]


@pytest.mark.parametrize(
    ("names", "robust", "options"), [(["text"], None, {}), MIXED, *METHODS, *OTHERS]
)
def test_a_killed_run_ends_like_an_uninterrupted_one(
    tiny, tmp_path, names, robust, options, monkeypatch, killed_at
):
    def task_of(robust=robust):
        return objective(tiny, *names, robust=robust, **options)

    task = task_of()
    whole = run(tiny, task, tmp_path / "whole")
    cut = tmp_path / "cut"
    monkeypatch.setenv("XLTKIT_CHECKPOINT_SECONDS", "0")
    for stop in (4, 9):
        with killed_at(stop):
            run(tiny, task_of(), cut)
        assert list(cut.glob("checkpoint*")) == [cut / f"checkpoint-{stop}.safetensors"]
    steps = []
    backward = loop._backward
    monkeypatch.setattr(loop, "_backward", lambda *args: steps.append(args[-1]) or backward(*args))
    resumed = run(tiny, task_of(), cut)
    assert steps == [9, 10, 11]
    assert same(whole, resumed)
    assert not list(cut.glob("checkpoint*"))
    logs = [(folder / "log.jsonl").read_text() for folder in (tmp_path / "whole", cut)]
    assert logs[0] == logs[1] and logs[0].count("\n") == 12
    if robust:
        assert not same(whole, run(tiny, task_of(None), tmp_path / "standard"))


def test_the_weights_of_the_last_steps_are_averaged(tiny, tmp_path):
    task = objective(tiny, "nli", average=0.25, freeze="embeddings")
    model = fresh(tiny, task)
    steps = []

    def keep():
        steps.append({name: p.detach().clone() for name, p in model.named_parameters()})

    train(model, task, tmp_path, on_step=keep)
    assert len(steps) == 12
    for name, weight in model.named_parameters():
        mean = sum(step[name] for step in steps[-3:]) / 3
        assert torch.allclose(weight, mean, atol=1e-7), name
        is_frozen = "embeddings" in name
        assert torch.equal(weight, steps[-1][name]) == is_frozen, name


@pytest.mark.parametrize(("freeze", "kept"), [("embeddings", ["embeddings"]), (1, ["layer.0."])])
def test_what_is_frozen_stays_and_the_rest_learns(tiny, tmp_path, freeze, kept):
    before = dict(Model(tiny, {}).encoder.named_parameters())
    after = run(tiny, objective(tiny, "nli", freeze=freeze), tmp_path)
    for name, weight in before.items():
        is_frozen = "embeddings" in name or any(part in name for part in kept)
        assert torch.equal(weight, after[f"encoder.{name}"]) == is_frozen, name


def test_an_encoder_without_so_many_layers_is_refused(tiny):
    with pytest.raises(ValueError, match="2 layers"):
        Model(tiny, {}).freeze(2)


@pytest.mark.parametrize(
    ("names", "rate", "is_generated", "warns"),
    [("pos", 0, 0, 2), ("pos", 1e-3, 0, 0), ("pos", 0, 1, 0), ("pos qa", 0, 0, 0)],
)
def test_a_loss_that_does_not_fall_is_told_at_once(
    tiny, tmp_path, monkeypatch, names, rate, is_generated, warns
):
    monkeypatch.setattr(type(get("pos").train), "is_generated", bool(is_generated))
    monkeypatch.setattr(loop, "UNREAD", 5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(tiny, objective(tiny, *names.split(), steps=100, learning_rate=rate), tmp_path)
    assert sum("has not fallen" in str(each.message) for each in caught) == warns


def test_a_torn_checkpoint_is_not_used_and_a_seed_is_another_run(tiny, tmp_path):
    task = objective(tiny, "nli")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "checkpoint.safetensors").write_text("killed before it had its name")
    whole = run(tiny, task, tmp_path / "whole")
    assert same(whole, run(tiny, task, tmp_path / "torn"))
    assert not same(whole, run(tiny, objective(tiny, "nli", seed=1), tmp_path / "other"))


def test_a_loss_that_is_no_number_stops_the_stage(tiny, tmp_path, monkeypatch):
    task = objective(tiny, "nli")
    loss = task.task_loss
    monkeypatch.setattr(task, "task_loss", lambda *inputs: loss(*inputs) * float("nan"))
    with pytest.raises(Diverged, match=r"step 1 of 12.*learning_rate"):
        run(tiny, task, tmp_path)


def test_the_device_is_seldom_waited_for(tiny, tmp_path, monkeypatch):
    """On a GPU, to read a number waits for all that was asked of it. (transformers reads masks.)"""
    steps, reads = [], set()

    def reading(method):
        def read(*inputs):
            is_ours = sys._getframe(1).f_globals["__name__"].startswith("xltkit.")
            if is_ours and threading.current_thread() is threading.main_thread():
                reads.add(len(steps))
            return method(*inputs)

        return read

    for name in ("item", "tolist", "__float__", "__bool__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, reading(getattr(torch.Tensor, name)))
    task = objective(tiny, "nli", "qa", "text", steps=40)
    run(tiny, task, tmp_path, on_step=lambda: steps.append(0))
    assert len(steps) == 40 and reads == {16, 32, 40}


def test_the_rate_warms_up_and_decays_linearly():
    phase = Target(steps=100, learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(phase, step) for step in (0, 9, 55, 99)]
    assert rates == pytest.approx([0.1, 1.0, 0.5, 1 / 90])
    assert learning_rate(Target(steps=10, learning_rate=2.0, warmup=0.0), 0) == 2.0


@pytest.mark.parametrize("precision, dtype", [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_each_stage_gets_the_precision_asked_for(tiny, tmp_path, monkeypatch, precision, dtype):
    """A second stage in one process must not keep the first one's precision."""
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("XLTKIT_PRECISION", precision)
    device.precision.cache_clear()
    AcceleratorState._reset_state()
    task = objective(tiny, "nli", steps=1)
    dtypes = []
    for _ in range(2):
        model = fresh(tiny, task)
        dense = model.heads["nli"].dense
        dense.register_forward_hook(lambda _module, _inputs, output: dtypes.append(output.dtype))
        train(model, task, tmp_path)
    assert dtypes == [dtype, dtype]
    device.precision.cache_clear()
    AcceleratorState._reset_state()


LENGTHS = np.random.default_rng(0).integers(3, 60, size=1003).tolist()
COUNT = -(-1003 // 16)  # batches of 16 in an epoch


def test_an_epoch_holds_every_example_once_among_others_of_similar_length():
    stream = islice(batch_stream(LENGTHS, 16, seed=1), 2 * COUNT)
    epochs, batches = zip(*stream, strict=True)
    assert list(epochs) == [0] * COUNT + [1] * COUNT
    for part in (batches[:COUNT], batches[COUNT:]):
        assert sorted(np.concatenate(part)) == list(range(1003))
        padded = sum(max(np.array(LENGTHS)[batch]) * len(batch) for batch in part)
        assert padded / sum(LENGTHS) < 1.05  # 1.5 and more in random batches


def test_seed_and_epoch_are_hashed_together():
    def order(seed, epoch):
        stream = islice(batch_stream(LENGTHS, 16, seed), epoch * COUNT, (epoch + 1) * COUNT)
        return np.concatenate([batch for _, batch in stream]).tolist()

    assert order(1, 0) == order(1, 0)
    # A sum of the two would make epoch 1 of seed 0 the same as epoch 0 of seed 1.
    assert order(0, 1) != order(1, 0)


def test_a_plan_gives_training_sets_their_share_and_walks_through_each():
    steps = plan([LENGTHS, LENGTHS[:64]], [0.75, 0.25], 2000, 16, seed=3)
    assert abs(np.mean([training_set for training_set, *_ in steps]) - 0.25) < 0.03
    first = [examples for training_set, epoch, examples in steps if (training_set, epoch) == (1, 0)]
    assert sorted(np.concatenate(first)) == list(range(64))


def test_hashed_uniform_is_uniform_and_depends_on_every_part_of_the_key():
    draw = hashed_uniform(7, 0, np.arange(2000), 50)
    assert draw.min() >= 0 and draw.max() < 1
    counts = np.histogram(draw, bins=10, range=(0, 1))[0]
    expected = draw.size / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9  # chi-squared, 9 df, p = 0.001
    assert abs(np.corrcoef(draw[:-1, 0], draw[1:, 0])[0, 1]) < 0.08
    assert abs(np.corrcoef(draw[:, 0], draw[:, 1])[0, 1]) < 0.08
    for other in (hashed_uniform(8, 0, np.arange(5), 4), hashed_uniform(7, 1, np.arange(5), 4)):
        assert not np.isclose(other, draw[:5, :4]).any()
    # The number of an example does not depend on who stands beside it in the batch.
    assert (hashed_uniform(7, 0, np.array([9, 3]), 50) == draw[[9, 3]]).all()
