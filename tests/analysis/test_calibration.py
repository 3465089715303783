"""Intervals cover what they promise, and arms that are the same look different in 1 of 20 studies.

Simulated studies with the variance of real ones, and studies cut out of real runs of one recipe
(``benchmarks/calibration.py --real 24 --save same_recipe.npz``). Everything is seeded.
"""

import importlib.util
from itertools import product
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
STUDIES = 2000
# What the size may be off 5 % by chance, three times in a thousand.
LUCK = 3 * 100 * np.sqrt(0.05 * 0.95 / STUDIES)


@pytest.fixture(scope="module")
def calibration():
    path = HERE.parents[1] / "benchmarks" / "calibration.py"
    spec = importlib.util.spec_from_file_location("calibration", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def slow(*cases):
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


NAMES = ["seeds matter most", "items matter most", "neither (chance)", "heavy tails", "corpus F1"]
NAMES += ["binary, mean 0.9", "binary, few differ"]
FIVE = ("both alike", "neither (chance)", "corpus F1")
CASES = [("both alike", 3), *slow(*product(NAMES, (3,)), *product(FIVE, (5,)))]


@pytest.mark.parametrize(("name", "seeds"), CASES)
def test_intervals_over_seeds_and_items_cover(calibration, name, seeds):
    studies = calibration.simulated(name, seeds, STUDIES, items=100)
    result = calibration.judged(studies, "both")
    assert 93 <= result["coverage"] <= 97 and abs(result["size"] - 5) <= LUCK, result


def test_the_criterion_fails_what_is_known_to_be_too_narrow_or_too_wide(calibration):
    narrow = calibration.simulated("seeds matter most", 3, 300, items=100)
    assert calibration.judged(narrow, "two-level percentile")["coverage"] < 85
    assert calibration.judged(narrow, "examples")["coverage"] < 85
    wide = calibration.simulated("neither (chance)", 5, 300, items=100)
    assert calibration.judged(wide, "two-level percentile")["coverage"] > 97
    # Seeds alone say nothing of other items.
    items = calibration.simulated("items matter most", 3, 300, items=100)
    assert calibration.judged(items, "seeds")["coverage"] < 85


@pytest.mark.parametrize("task", ["ner", *slow(["choice"])])
@pytest.mark.parametrize(("seeds", "items"), [(3, 0), (5, 0), (3, 200)])
def test_one_recipe_differs_from_itself_in_one_study_of_twenty(calibration, task, seeds, items):
    saved = np.load(HERE / "same_recipe.npz")
    sums = [saved[f"{task}_{name}"] for name in ("numerator", "denominator")]
    cut = calibration.same_recipe(*sums, seeds, 600, items)
    luck = 3 * 100 * np.sqrt(0.05 * 0.95 / 600)
    for method in ("seeds", "both"):
        result = calibration.judged(cut, method)
        assert abs(result["size"] - 5) <= luck, (method, result)
    # Two runs of one recipe are two models: over items alone they differ far more often.
    assert calibration.judged(cut, "examples")["size"] > 5 + luck
