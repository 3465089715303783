"""Alignment by translation pairs: the joint loss, the rotation, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from test_loop import fresh, objective

from xltkit.evaluation.predict import outputs
from xltkit.models import encoder as models
from xltkit.studies.recipe import Recipe
from xltkit.studies.study import study
from xltkit.tasks import TrainingSet
from xltkit.tasks.base import TaskType
from xltkit.training.align import Align, Sides, rotations, sides
from xltkit.training.phases import Target

PAIRS = (TrainingSet("pairs", "qas", 40),)


def joint(made, **settings):
    align = Align(**{"pairs": PAIRS, **settings})
    return align.objective(made.training_sets, made.plan, made.tokenizer, 3, max_length=64)


def test_the_distance_is_the_mean_square_of_the_pooled_vectors(tiny, tokenizer):
    made = objective(tokenizer, "nli")
    both = joint(made, weight=2.0)
    (batch,) = both.batches(0, 1)
    model = fresh(tiny, made).eval()
    plain, apart = both(model, batch)
    (own,) = made.batches(0, 1)
    plain, apart = plain.detach(), apart.detach()
    assert float(plain) == float(made(model, own).detach())
    pairs = {k[5:]: v for k, v in batch.inputs.items() if k.startswith("pair/")}
    hidden = model.hidden(pairs["input_ids"], pairs["attention_mask"])
    mask = pairs["attention_mask"][..., None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    text, english = torch.tanh(model.heads["nli"].dense(mean)).chunk(2)
    assert len(text) == len(batch.labels) == 8
    # the loop divides by the 8 targets of the step: what is left is the mean over the pairs
    assert float(apart) / 8 == pytest.approx(
        2 * float((text - english).square().mean().detach()), rel=1e-4
    )


def test_pairs_are_drawn_anew_each_step_and_divided_among_parts(tiny, tokenizer):
    both = joint(objective(tokenizer, "nli"))
    (whole,) = both.batches(2, 1)
    parts = both.batches(2, 4)
    assert [len(p.inputs["pair/input_ids"]) for p in parts] == [2 * len(p.labels) for p in parts]
    drawn = {tuple(row[row != 1].tolist()) for row in whole.inputs["pair/input_ids"]}
    again_ = {tuple(r[r != 1].tolist()) for p in parts for r in p.inputs["pair/input_ids"]}
    assert drawn == again_
    other = {tuple(r[r != 1].tolist()) for r in both.batches(3, 1)[0].inputs["pair/input_ids"]}
    assert drawn != other
    model = fresh(tiny, both).eval()
    summed = [sum(float(list(both(model, p))[1].detach()) for p in ps) for ps in ([whole], parts)]
    assert summed[0] == pytest.approx(summed[1], rel=1e-3)


def test_the_weight_of_the_distance_does_not_depend_on_the_number_of_pairs(tiny, tokenizer):
    made = objective(tokenizer, "nli")
    both = joint(made, batch_size=2)
    (batch,) = both.batches(0, 1)
    assert len(batch.inputs["pair/input_ids"]) == 4
    assert float(batch.inputs["pair/share"]) == 8 / 2
    parts = both.batches(0, 4)  # two of the four parts have a pair
    assert sum("pair/share" in part.inputs for part in parts) == 2


def test_a_rotation_that_was_put_in_is_found_and_undone(tiny, tokenizer, monkeypatch):
    """One side is the other turned by a known matrix and moved: Procrustes must find it."""
    from xltkit.training import align

    model = models.Model(tiny, {})
    turn = ortho_group.rvs(32, random_state=0)
    random = np.random.default_rng(0)
    english = random.normal(size=(200, 32))
    text = (english - 1.5) @ turn.T + 0.3
    given = iter([text, english])
    monkeypatch.setattr(align, "sentence_vectors", lambda *_: next(given))
    found = rotations(model, {"qas": Sides([], [])}, tokenizer)["qas"]
    assert torch.allclose(found["rotation"], torch.from_numpy(turn).float(), atol=1e-5)
    back = (torch.from_numpy(text).float() - found["from"]) @ found["rotation"] + found["to"]
    assert torch.allclose(back, torch.from_numpy(english).float(), atol=1e-4)


def test_a_rotation_acts_between_encoder_and_head_and_goes_away(tiny, tokenizer):
    model = models.Model(tiny, {}).eval()
    features = sides(PAIRS[0], tokenizer, 64).text[:4]
    before = np.stack(outputs(model, TaskType(), "", features, tokenizer, (2,)))
    inputs = TaskType().collate(features, tokenizer, training=False)
    with torch.inference_mode():
        plain = model.hidden(**inputs)
        turn = {"rotation": torch.eye(32) * -1, "from": torch.zeros(32), "to": torch.ones(32)}
        with model.rotated(turn):
            assert torch.allclose(model.hidden(**inputs), 1 - plain, atol=1e-6)
        assert torch.equal(model.hidden(**inputs), plain)
    assert np.array_equal(
        before, np.stack(outputs(model, TaskType(), "", features, tokenizer, (2,)))
    )


def test_both_ways_train_and_score_in_a_study(tiny, store):
    base = Recipe(tiny)
    arms = {
        "plain": base,
        "joint": base.then(Target(align=Align(pairs=PAIRS))),
        "rotation": base.then(Target(align=Align(pairs=PAIRS, method="rotation"))),
    }
    results = study(
        arms, ["nli", "pos", "retrieval"], [0], languages=["en", "qas", "qbu"], steps=3, examples=20
    ).run(store)
    scores = results.main.set_index(["arm", "task", "language"])["value"]
    assert set(scores.index.get_level_values("arm")) == set(arms)
    # English is never turned, and no weight changes: one seed, one head, one score
    assert scores["rotation", "nli", "en"] == scores["plain", "nli", "en"]
    assert scores["rotation", "nli", "qbu"] == scores["plain", "nli", "qbu"]  # had no pairs
    # nothing is trained for retrieval, so there is no target phase to be aligned
    assert scores["joint", "retrieval", "qas"] == scores["plain", "retrieval", "qas"]
    assert Align(pairs=PAIRS).cost == {"qas": 40}
    with pytest.raises(ValueError, match="aligned by rotation"):
        results.rescore({"mixed": {"mixed": True}}, ["nli"])


def test_bad_settings_are_named(tokenizer):
    with pytest.raises(ValueError, match="joint or rotation"):
        Align(pairs=PAIRS, method="mapping")
    with pytest.raises(ValueError, match="pairs names some"):
        Align(pairs=())
    with pytest.raises(ValueError, match="nli has no translations"):
        sides(TrainingSet("nli", "en", 10), tokenizer, 64)
