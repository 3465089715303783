"""Alignment by translation pairs: the joint loss, the rotation, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from test_loop import fresh, objective

from xltkit.models.encoder import Model
from xltkit.studies.recipe import Recipe
from xltkit.studies.study import study
from xltkit.tasks import TrainingSet
from xltkit.tasks.base import TaskType
from xltkit.training import align
from xltkit.training.align import Align, Sides, rotations, sentence_vectors, sides
from xltkit.training.phases import Target

PAIRS = (TrainingSet("pairs", "qas", 40),)


def joint(made, **settings):
    method = Align(pairs=PAIRS, **settings)
    return method.objective(made.training_sets, made.plan, made.tokenizer, 3, max_length=64)


def test_the_distance_is_the_mean_square_of_the_pooled_vectors(tiny, tokenizer):
    made = objective(tiny, tokenizer, "nli")
    both = joint(made, weight=2.0)
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
    both = joint(objective(tiny, tokenizer, "nli"))

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
    both = joint(objective(tiny, tokenizer, "nli"), batch_size=2)
    (batch,) = both.batches(0, 1)
    assert len(batch.inputs["pair/input_ids"]) == 4
    assert float(batch.inputs["pair/share"]) == 8 / 2
    parts = both.batches(0, 4)  # two of the four parts have a pair
    assert sum("pair/share" in part.inputs for part in parts) == 2


def test_a_rotation_that_was_put_in_is_found_and_undone(tiny, tokenizer, monkeypatch):
    """One side is the other rotated by a known matrix and moved: Procrustes must find it."""
    matrix = ortho_group.rvs(32, random_state=0)
    english = np.random.default_rng(0).normal(size=(200, 32))
    text = (english - 1.5) @ matrix.T + 0.3
    vectors = iter([text, english])
    monkeypatch.setattr(align, "sentence_vectors", lambda *_: next(vectors))
    found = rotations(Model(tiny, {}), {"qas": Sides([], [])}, tokenizer)["qas"]
    assert torch.allclose(found["rotation"], torch.from_numpy(matrix).float(), atol=1e-5)
    back = (torch.from_numpy(text).float() - found["from"]) @ found["rotation"] + found["to"]
    assert torch.allclose(back, torch.from_numpy(english).float(), atol=1e-4)


def test_a_rotation_acts_between_encoder_and_head_and_goes_away(tiny, tokenizer, fp32):
    model = Model(tiny, {}).eval()
    examples = sides(PAIRS[0], tokenizer, 64).text[:4]
    inputs = TaskType().collate(examples, tokenizer, training=False)
    rotation = {"rotation": torch.eye(32) * -1, "from": torch.zeros(32), "to": torch.ones(32)}
    with torch.inference_mode():
        before = model.hidden(**inputs)
        with model.rotated(rotation):
            assert torch.allclose(model.hidden(**inputs), 1 - before, atol=1e-6)
        assert torch.equal(model.hidden(**inputs), before)
    mask = inputs["attention_mask"][..., None]
    mean = (before * mask).sum(1) / mask.sum(1)
    assert sentence_vectors(model, examples, tokenizer) == pytest.approx(mean.numpy(), abs=2e-3)


def test_both_methods_train_and_score_in_a_study(tiny, store):
    base = Recipe(tiny)
    arms = {
        "none": base,
        "joint": base.then(Target(align=Align(pairs=PAIRS))),
        "rotation": base.then(Target(align=Align(pairs=PAIRS, method="rotation"))),
    }
    options = {"languages": ["en", "qas", "qbu"], "steps": 3, "examples": 20}
    results = study(arms, ["nli"], [0], **options).run(store)
    scores = results.main.set_index(["arm", "language"])["value"]
    assert set(scores.index.get_level_values("arm")) == set(arms)
    # English is never rotated, and no weight changes: one seed, one head, one score
    assert scores["rotation", "en"] == scores["none", "en"]
    assert scores["rotation", "qbu"] == scores["none", "qbu"]  # had no pairs
    assert Align(pairs=PAIRS).cost == {"qas": 40}
    with pytest.raises(ValueError, match="aligned by rotation"):
        results.rescore({"mixed": {"mixed": True}}, ["nli"])


def test_bad_settings_are_named(tokenizer):
    with pytest.raises(ValueError, match=r"'mapping'.*Allowed: joint, rotation"):
        Align(pairs=PAIRS, method="mapping")
    with pytest.raises(ValueError, match="pairs is empty"):
        Align(pairs=())
    with pytest.raises(ValueError, match="nli has no translations"):
        sides(TrainingSet("nli", "en", 10), tokenizer, 64)
