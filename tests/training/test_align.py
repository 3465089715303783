"""Alignment by translation pairs: the distance by hand, and how pairs are drawn."""

from __future__ import annotations

import pytest
import torch
from test_loop import fresh, objective

from xltkit.tasks import TrainingSet
from xltkit.training.align import Align, AlignedTask

PAIRS = (TrainingSet("pairs", "qas", 40),)


def aligned(made, pairs=PAIRS, **settings):
    inputs = (made.training_sets, made.plan, made.tokenizer, 3)
    return AlignedTask(*inputs, align=Align(pairs=pairs, **settings), max_length=64)


def test_the_distance_is_the_mean_square_of_the_pooled_vectors(tiny, tokenizer):
    made = objective(tiny, tokenizer, "nli")
    both = aligned(made, weight=2.0)
    (batch,) = both.batches(0, 1)
    model = fresh(tiny, made).eval()
    with torch.no_grad():
        task, distance = both(model, batch)
        (alone,) = made.batches(0, 1)
        assert float(task) == float(made(model, alone))
        pairs = {k[5:]: v for k, v in batch.inputs.items() if k.startswith("pair/")}
        hidden = model.hidden(pairs["input_ids"], pairs["attention_mask"])
        mask = pairs["attention_mask"][..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        text, english = torch.tanh(model.heads["nli"].dense(mean)).chunk(2)
    assert len(text) == len(batch.labels) == 8
    # the loop divides by the 8 targets of the step: what is left is the mean over the pairs
    by_hand = 2 * float((text - english).square().mean())
    assert float(distance) / 8 == pytest.approx(by_hand, rel=1e-4)


def test_pairs_are_drawn_anew_each_step_and_divided_among_parts(tiny, tokenizer):
    both = aligned(objective(tiny, tokenizer, "nli"))

    def drawn(batches):
        rows = [row for batch in batches for row in batch.inputs["pair/input_ids"]]
        return {tuple(row[row != 1].tolist()) for row in rows}

    whole, parts = both.batches(2, 1), both.batches(2, 4)
    assert [len(p.inputs["pair/input_ids"]) for p in parts] == [2 * len(p.labels) for p in parts]
    assert drawn(whole) == drawn(parts) != drawn(both.batches(3, 1))
    model = fresh(tiny, both).eval()
    sums = [sum(float(list(both(model, b))[1].detach()) for b in part) for part in (whole, parts)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-3)


def test_the_weight_of_the_distance_does_not_depend_on_the_number_of_pairs(tiny, tokenizer):
    both = aligned(objective(tiny, tokenizer, "nli"), batch_size=2)
    (batch,) = both.batches(0, 1)
    assert len(batch.inputs["pair/input_ids"]) == 4
    assert float(batch.inputs["pair/share"]) == 8 / 2
    parts = both.batches(0, 4)  # two of the four parts have a pair
    assert sum("pair/share" in part.inputs for part in parts) == 2


def test_pairs_are_counted_and_bad_settings_are_named(tiny, tokenizer):
    assert Align(pairs=PAIRS).cost == {"qas": 40}
    with pytest.raises(ValueError, match=r"'rotation'.*Allowed: joint"):
        Align(pairs=PAIRS, method="rotation")
    for pairs in ((), PAIRS * 2):
        with pytest.raises(ValueError, match="each language once"):
            Align(pairs=pairs)
    with pytest.raises(ValueError, match="nli has no translations"):
        aligned(objective(tiny, tokenizer, "nli"), (TrainingSet("nli", "en", 10),))
