"""What robust training is for: the microworld, five seeds, an attack, and the control."""

import pytest

import xltkit as xlt
from xltkit.evaluation.attacks import EmbeddingPGD
from xltkit.training.robust import Adversarial

ARMS = {
    "plain": xlt.encoder("micro"),
    "robust": xlt.encoder("micro").then(xlt.Target(robust=Adversarial())),
}
pytestmark = pytest.mark.slow
ATTACK = {"pgd": {"attack": EmbeddingPGD(radius=0.1)}}


def gain(store, seeds, **options):
    """Robust minus plain under attack, in points, with its interval over seeds."""
    options = {"languages": ["qbe"], "examples": 60, **options}
    results = xlt.study(ARMS, ["choice"], seeds, **options).run(store)
    comparison = xlt.compare(results.rescore(ATTACK)["pgd"], "plain")
    return results, comparison.query("languages == 'transfer'").iloc[0]


def test_a_robust_model_is_harder_to_break(store):
    results, row = gain(store, range(5))
    assert row["low"] > 10, row
    assert results.main["value"].min() > 80  # without an attack both know the task


def test_with_random_labels_there_is_nothing_to_break(store):
    _, row = gain(store, range(3), shuffled=True)
    assert row["low"] <= 0 <= row["high"] or abs(row["difference"]) < 5
