"""Robust training: hand-computed ascents, balls that hold, gradients that go nowhere else."""

from __future__ import annotations

import math

import pytest
import torch
from test_loop import fresh, gradients, objective, run, same, weights
from torch import nn

from xltkit.training.loop import Batch
from xltkit.training.robust import Adversarial, Ball, RandomPerturbation, perturbed

SLOPE = torch.tensor([3.0, 4.0])  # of length 5


class Toy(nn.Module):
    """A loss that is linear in the word embeddings, all of which are (1, 0)."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Module()
        self.words = nn.Embedding.from_pretrained(torch.tensor([[1.0, 0.0]] * 3), freeze=False)
        self.encoder.get_input_embeddings = lambda: self.words


def linear(model, batch):
    embedded = model.words(batch.inputs["input_ids"]) * batch.inputs["attention_mask"][..., None]
    return (embedded @ SLOPE).sum()


def batch_of(*lengths):
    mask = torch.tensor([[int(i < n) for i in range(max(lengths))] for n in lengths])
    return Batch(0, {"input_ids": mask, "attention_mask": mask}, torch.zeros(len(lengths)), 1)


def backpropagated(losses):
    """The losses, each backpropagated before the next, as the loop does."""
    values = []
    for loss in losses:
        loss.backward()
        values.append(float(loss.detach()))
    return values


def test_freelb_on_a_linear_loss_is_what_one_computes_by_hand():
    method = Adversarial(steps=3, radius=0.5, step_size=0.3, start=0.0)
    losses = backpropagated(method.losses(linear, Toy(), batch_of(4)))
    # Four words at (1, 0) lose 12. The gradient of the block has length 5 * sqrt(4) = 10, so a
    # perturbation of length d adds 10 d: 0, then 0.3, then 0.6 cut to 0.5; each counts a third.
    assert losses == pytest.approx([12 / 3, 15 / 3, 17 / 3])
    unlimited = Adversarial(steps=3, radius=0.0, step_size=0.3, start=0.0)
    assert backpropagated(unlimited.losses(linear, Toy(), batch_of(4)))[2] == pytest.approx(18 / 3)
    method = Adversarial(steps=2, radius=0.1, step_size=0.3, start=0.0, norm="linf")
    losses = backpropagated(method.losses(linear, Toy(), batch_of(1)))
    # an embedding of length 1 and width 2 has numbers of size 1 / sqrt(2), which move alike
    assert losses[1] * 2 == pytest.approx(3 + 7 * 0.1 / math.sqrt(2))


def test_parameters_learn_from_every_step_or_from_the_last():
    learned = []
    for accumulate in (True, False):
        model = Toy()
        method = Adversarial(steps=4, start=0.0, accumulate=accumulate)
        losses = backpropagated(method.losses(linear, model, batch_of(2)))
        assert len(losses) == (4 if accumulate else 1)
        learned.append(model.words.weight.grad)
    # a linear loss has one gradient everywhere, and the four quarters add up to it
    assert torch.allclose(learned[0], learned[1])
    assert torch.allclose(learned[0][1], 2 * SLOPE)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_nothing_leaves_the_ball_and_padding_stays(norm):
    torch.manual_seed(0)
    batch = batch_of(5, 2, 1)
    ball = Ball(Toy(), batch.inputs, norm, 0.25)
    padding = batch.inputs["attention_mask"] == 0
    delta = ball.initial(0.2, 7)
    for _ in range(20):
        delta = ball.ascend(delta, torch.randn_like(delta), 0.4)
        size = delta.flatten(1).norm(dim=1) if norm == "l2" else delta.abs().amax((1, 2))
        limit = 0.25 if norm == "l2" else 0.25 / math.sqrt(2)
        assert (size <= limit + 1e-6).all() and (delta[padding] == 0).all()
    assert torch.equal(ball.initial(0.2, 7), ball.initial(0.2, 7))
    assert not torch.equal(ball.initial(0.2, 7), ball.initial(0.2, 8))


def test_noise_is_as_long_as_it_says():
    ball = Ball(Toy(), batch_of(*[50] * 40).inputs)
    gaussian = ball.noise(0.3, "gaussian", 1).norm(dim=-1)
    assert float(gaussian.square().mean().sqrt()) == pytest.approx(0.3, rel=0.03)
    inside = ball.noise(0.3, "ball", 1).norm(dim=-1)
    assert inside.max() <= 0.3 + 1e-6
    # uniform in a disc: half of it lies within radius / sqrt(2)
    assert float((inside < 0.3 / math.sqrt(2)).float().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["nli", "choice", "pos", "qa", "linking"])
def test_methods_on_every_type_of_task(tiny, tokenizer, name):
    made = objective(tiny, tokenizer, name)
    (batch,) = made.batches(0, 1)
    model = fresh(tiny, made).eval()
    before = made(model, batch)
    # without a perturbation the loss is that of the task
    for method in (RandomPerturbation(radius=0.0), Adversarial(step_size=0.0, start=0.0)):
        losses = backpropagated(method.losses(made, model, batch))
        assert sum(losses) == pytest.approx(float(before.detach()), rel=1e-4, abs=1e-4)
    # the ascent raises it
    method = Adversarial(steps=4, radius=4.0, step_size=2.0, start=0.0)
    losses = backpropagated(method.losses(made, model, batch))
    assert losses[-1] > losses[0]
    # and nothing is left on the model, not by an error either
    assert torch.equal(before, made(model, batch))
    with pytest.raises(RuntimeError), perturbed(model, torch.zeros(1, 2, 3, 4, 5)):
        made(model, batch)
    assert torch.equal(before, made(model, batch))


@pytest.mark.parametrize(
    "method", [Adversarial(start=0.0), Adversarial(start=0.0, norm="linf", accumulate=False)]
)
@pytest.mark.parametrize("name", ["nli", "qa"])
def test_accumulation_gives_the_gradient_of_the_whole_batch(tiny, tokenizer, name, method, request):
    request.getfixturevalue("fp32")
    made = objective(tiny, tokenizer, name, robust=method)
    whole, parts = (gradients(fresh(tiny, made), made, count) for count in (1, 4))
    for key in whole:
        assert torch.allclose(whole[key], parts[key], atol=2e-5, rtol=1e-3), key


def test_the_steps_of_an_ascent_see_one_dropout_mask(tiny, tokenizer):
    made = objective(tiny, tokenizer, "nli")
    (batch,) = made.batches(0, 1)
    model = fresh(tiny, made).train()
    torch.manual_seed(5)
    still = Adversarial(steps=3, step_size=0.0, start=0.0)
    first, *others = backpropagated(still.losses(made, model, batch))
    assert all(other == first for other in others)
    assert float(made(model, batch).detach()) / 3 != first  # another mask, another loss


@pytest.mark.parametrize("method", [Adversarial(), RandomPerturbation()])
def test_a_killed_run_ends_like_an_uninterrupted_one(tiny, tokenizer, tmp_path, method, killed_at):
    made = objective(tiny, tokenizer, "nli", robust=method)
    whole = weights(run(tiny, made, tmp_path / "whole"))
    with killed_at(7):
        run(tiny, made, tmp_path / "torn", checkpoint_seconds=0.0)
    assert same(whole, weights(run(tiny, made, tmp_path / "torn")))
    standard = objective(tiny, tokenizer, "nli")
    assert not same(whole, weights(run(tiny, standard, tmp_path / "standard")))
