"""Alignment by translation pairs: the distance by hand, and how pairs are drawn."""

from pathlib import Path

import pytest
import torch
from test_loop import fresh

from xltkit.tasks import TrainingSet
from xltkit.training.align import Align
from xltkit.training.phases import Target

PAIRS = (TrainingSet("pairs", "qas", 40),)


def objective(tiny, align):
    options = {"examples": 60, "steps": 12, "batch_size": 8, "max_length": 64}
    return Target("nli", align=align, **options).objective(tiny, 3, Path())


def test_the_distance_is_the_mean_square_of_the_pooled_vectors(tiny):
    aligned = objective(tiny, Align(pairs=PAIRS, weight=2.0))
    (batch,) = aligned.batches(0, 1)
    model = fresh(tiny, aligned).eval()
    with torch.no_grad():
        loss, distance = aligned(model, batch)
        task = objective(tiny, None)
        (alone,) = task.batches(0, 1)
        assert float(loss) == float(task(model, alone))
        pairs = batch.inputs["pairs"]
        hidden = model.hidden(pairs["input_ids"], pairs["attention_mask"])
        mask = pairs["attention_mask"][..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        text, english = torch.tanh(model.heads["nli"].dense(mean)).chunk(2)
    assert len(text) == len(batch.labels) == 8
    # the loop divides by the 8 targets of the step: what is left is the mean over the pairs
    by_hand = 2 * float((text - english).square().mean())
    assert float(distance) / 8 == pytest.approx(by_hand, rel=1e-4)


def test_pairs_are_drawn_anew_each_step_and_divided_among_parts(tiny):
    aligned = objective(tiny, Align(pairs=PAIRS))

    def drawn(batches):
        rows = [row for batch in batches for row in batch.inputs["pairs"]["input_ids"]]
        return {tuple(row[row != 1].tolist()) for row in rows}

    whole = aligned.batches(2, 1)
    parts = aligned.batches(2, 4)
    counts = [len(part.inputs["pairs"]["input_ids"]) for part in parts]
    assert counts == [2 * len(part.labels) for part in parts]
    assert drawn(whole) == drawn(parts) != drawn(aligned.batches(3, 1))
    model = fresh(tiny, aligned).eval()
    sums = [
        sum(float(list(aligned(model, batch))[1].detach()) for batch in batches)
        for batches in (whole, parts)
    ]
    assert sums[0] == pytest.approx(sums[1], rel=1e-3)


def test_the_weight_of_the_distance_does_not_depend_on_the_number_of_pairs(tiny):
    aligned = objective(tiny, Align(pairs=PAIRS, batch_size=2))
    (batch,) = aligned.batches(0, 1)
    assert len(batch.inputs["pairs"]["input_ids"]) == 4
    assert float(batch.inputs["pairs"]["share"]) == 8 / 2
    parts = aligned.batches(0, 4)  # two of the four parts have a pair
    assert sum("pairs" in part.inputs for part in parts) == 2


def test_pairs_are_counted_and_bad_settings_are_named(tiny):
    assert Align(pairs=PAIRS).cost == {"qas": 40}
    with pytest.raises(ValueError, match=r"'rotation'.*Allowed: joint"):
        Align(pairs=PAIRS, method="rotation")
    for pairs in ((), PAIRS * 2):
        with pytest.raises(ValueError, match="each language once"):
            Align(pairs=pairs)
    with pytest.raises(ValueError, match="nli has no translations"):
        objective(tiny, Align(pairs=(TrainingSet("nli", "en", 10),)))
