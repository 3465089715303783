"""Robust training: hand-computed ascents, balls that hold, gradients that go nowhere else."""

from __future__ import annotations

import pytest
import torch
from test_loop import fresh, objective
from torch import nn

from xltkit.training.robust import Adversarial, Ball, RandomPerturbation, perturbed
from xltkit.training.supervised import Batch

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


def test_nothing_leaves_the_ball_and_padding_stays():
    torch.manual_seed(0)
    batch = batch_of(5, 2, 1)
    ball = Ball(Toy(), batch.inputs, 0.25)
    padding = batch.inputs["attention_mask"] == 0
    delta = ball.initial(0.2, 7)
    for _ in range(20):
        delta = ball.ascend(delta, torch.randn_like(delta), 0.4)
        assert (delta.flatten(1).norm(dim=1) <= 0.25 + 1e-6).all()
        assert (delta[padding] == 0).all()
    assert torch.equal(ball.initial(0.2, 7), ball.initial(0.2, 7))
    assert not torch.equal(ball.initial(0.2, 7), ball.initial(0.2, 8))


def test_noise_is_as_long_as_it_says():
    ball = Ball(Toy(), batch_of(*[50] * 40).inputs)
    lengths = ball.noise(0.3, 1).norm(dim=-1)
    assert float(lengths.square().mean().sqrt()) == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("name", ["nli", "choice", "pos", "qa", "linking"])
def test_methods_on_every_type_of_task(tiny, name):
    task = objective(tiny, name)
    (batch,) = task.batches(0, 1)
    model = fresh(tiny, task).eval()
    before = task(model, batch)
    # without a perturbation the loss is that of the task
    for method in (RandomPerturbation(radius=0.0), Adversarial(step_size=0.0, start=0.0)):
        losses = backpropagated(method.losses(task, model, batch))
        assert sum(losses) == pytest.approx(float(before.detach()), rel=1e-4, abs=1e-4)
    # the ascent raises it
    method = Adversarial(steps=4, radius=4.0, step_size=2.0, start=0.0)
    losses = backpropagated(method.losses(task, model, batch))
    assert losses[-1] > losses[0]
    # and nothing is left on the model, not by an error either
    assert torch.equal(before, task(model, batch))
    with pytest.raises(RuntimeError), perturbed(model, torch.zeros(1, 2, 3, 4, 5)):
        task(model, batch)
    assert torch.equal(before, task(model, batch))


def test_the_steps_of_an_ascent_see_one_dropout_mask(tiny):
    task = objective(tiny, "nli")
    (batch,) = task.batches(0, 1)
    model = fresh(tiny, task).train()
    torch.manual_seed(5)
    still = Adversarial(steps=3, step_size=0.0, start=0.0)
    first, *others = backpropagated(still.losses(task, model, batch))
    assert all(other == first for other in others)
    assert float(task(model, batch).detach()) / 3 != first  # another mask, another loss
