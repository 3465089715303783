"""What robust training is for: the microworld, five seeds, an attack, and the control."""

from __future__ import annotations

import xltkit as xlt
from xltkit.evaluation.attacks import EmbeddingPGD
from xltkit.training.robust import Adversarial

ARMS = {
    "plain": xlt.encoder("micro"),
    "robust": xlt.encoder("micro").then(xlt.Target(robust=Adversarial())),
}
ATTACK = {"pgd": {"attack": EmbeddingPGD(radius=0.1)}}


def gain(store, seeds, **options):
    """Robust minus plain under attack, in points, with its interval over seeds."""
    options = {"languages": ["qbe"], "examples": 60, **options}
    results = xlt.study(ARMS, ["choice"], seeds, **options).run(store)
    under = results.rescore(ATTACK)["pgd"]
    found = xlt.compare(under, "plain").query("languages == 'transfer'").iloc[0]
    return results, found


def test_a_robust_model_is_harder_to_break(store):
    results, found = gain(store, range(5))
    assert found["low"] > 10, found
    assert results.main["value"].min() > 80  # without an attack both know the task


def test_with_random_labels_there_is_nothing_to_break(store):
    _, found = gain(store, range(3), shuffled=True)
    assert found["low"] <= 0 <= found["high"] or abs(found["difference"]) < 5
