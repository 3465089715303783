"""Two texts in two languages: small matrices by hand, and the joint bootstrap on planted ones."""

import numpy as np
import pandas as pd
import pytest

from xltkit.analysis import mixed_pairs
from xltkit.analysis.mixed_pairs import score_matrix
from xltkit.explore import plots

CODES = ["en", "de", "fr"]
NAMES = ("diagonal", "off_diagonal", "penalty")
MIXED = ~np.eye(3, dtype=bool)


def table(cells, arms=("a",)):
    """Predictions of an array (arms, seeds, items, languages, languages) of scores."""
    rows = [
        (arms[a], s, "nli", CODES[i], CODES[j], f"x{e}", score)
        for (a, s, e, i, j), score in np.ndenumerate(cells)
    ]
    names = "arm seed task language other example_id score"
    return pd.DataFrame(rows, columns=names.split())


def planted(items, seeds=1, seed=0):
    """Scores whose items are hard in all cells or in none, and lower where languages are mixed.

    The chance to be right is that of the item, less 0.2 off the diagonal.
    """
    random = np.random.default_rng(seed)
    ease = 0.6 + random.uniform(-0.35, 0.35, size=(1, 1, items, 1, 1))
    return (random.random((1, seeds, items, 3, 3)) < ease - 0.2 * MIXED).astype(float)


@pytest.fixture
def penalty(monkeypatch):
    """A function that gives the table of an array, or of a table, from some draws."""

    def of(predictions, resamples=5, arms=("a",), baseline=""):
        monkeypatch.setattr(mixed_pairs, "RESAMPLES", resamples)
        if isinstance(predictions, np.ndarray):
            predictions = table(predictions, arms)
        return mixed_pairs.penalty(predictions, baseline)

    return of


def test_a_matrix_of_two_items_by_hand(penalty):
    cells = np.zeros((1, 2, 2, 3, 3))
    cells[0, :, 0] = np.eye(3)  # the first item is right where nothing is mixed
    cells[0, 1, 1, 0, :] = 1  # the second one, with the second seed, if the first text is English
    result = score_matrix(table(cells)).set_index(["language", "other"])
    expected = {("en", "en"): 75, ("en", "de"): 25, ("de", "de"): 50, ("de", "en"): 0}
    assert result.loc[list(expected), "value"].to_dict() == expected
    assert len(result) == 9 and result["n"].eq(2).all() and result["seeds"].eq(2).all()
    row = penalty(cells).iloc[0]
    assert row[list(NAMES)].tolist() == pytest.approx([175 / 3, 50 / 6, 50 / 6 - 175 / 3])
    assert (row["arm"], row["task"], row["n"], row["seeds"]) == ("a", "nli", 2, 2)


def test_the_bootstrap_of_two_items_has_three_outcomes(penalty):
    """One item always right and one never: a mean of 0, 50 or 100, with odds of 1, 2 and 1."""
    cells = np.zeros((1, 1, 2, 3, 3))
    cells[0, 0, 0] = 1
    row = penalty(cells, 400).iloc[0]
    assert (row["diagonal"], row["diagonal_low"], row["diagonal_high"]) == (50, 0, 100)
    # and the whole matrix goes with the item, so that nothing is left of the difference
    assert row[["penalty", "penalty_low", "penalty_high"]].tolist() == pytest.approx([0, 0, 0])


def test_a_planted_penalty_is_covered(penalty):
    rows = [penalty(planted(60, seed=trial), 300).iloc[0] for trial in range(40)]
    hits = sum(row["penalty_low"] <= -20 <= row["penalty_high"] for row in rows)
    assert hits >= 34  # 38 of 40 on average
    assert all(row["penalty_high"] < 0 for row in rows)


def test_equal_seeds_add_nothing_and_different_ones_widen_the_interval(penalty):
    same = np.repeat(planted(100), 4, axis=1)
    shifted = same.copy()
    shifted[:, 0] *= np.eye(3)  # a seed that fails wherever languages are mixed
    rows = [penalty(cells, 1500).iloc[0] for cells in (planted(100), same, shifted)]
    one, equal, different = (row["penalty_high"] - row["penalty_low"] for row in rows)
    assert equal == pytest.approx(one, rel=0.1) and different > 1.5 * one


def test_arms_are_compared_on_the_same_items_and_seeds(penalty):
    base = planted(150, seeds=3)
    better = base.copy()  # an arm that mixing costs nothing
    better[..., MIXED] = base[..., ~MIXED].mean(-1, keepdims=True)
    result = penalty(np.concatenate([base, better]), 500, ("none", "robust"), "none")
    none, robust = (row for _, row in result.iterrows())
    assert none[[c for c in result if "difference" in c]].isna().all()
    assert robust["penalty"] == pytest.approx(0, abs=1e-4)
    assert robust["penalty_difference"] == pytest.approx(-none["penalty"], abs=1e-4)
    # the arms have the diagonal in common, so that nothing of it varies between them
    near = robust[["diagonal_difference_low", "diagonal_difference_high"]].tolist()
    assert near == pytest.approx([0, 0], abs=1e-6)
    assert robust["diagonal_high"] - robust["diagonal_low"] > 3
    assert robust["penalty_difference_low"] == pytest.approx(-none["penalty_high"], abs=1e-3)


def test_gaps_are_refused(penalty):
    whole = table(planted(4, seeds=2))
    gone = (whole["example_id"] == "x2") & (whole["language"] == "de") & (whole["seed"] == 1)
    for part, counts in ((whole[~gone], (3, 0)), (pd.concat([whole, whole[gone]]), (0, 3))):
        message = "nli: {} of 72 scores are missing, and {} are there twice".format(*counts)
        with pytest.raises(ValueError, match=message):
            penalty(part)
    with pytest.raises(ValueError, match="no baseline 'b'"):
        penalty(whole, baseline="b")


def test_the_matrix_is_drawn_with_the_first_text_down():
    cells = np.zeros((2, 1, 1, 3, 3))
    cells[:, 0, 0, :, 0] = 1  # right if the second text is English
    figure = plots.pairs(score_matrix(table(cells, ("none", "robust"))))
    left, right, _ = figure.axes
    assert [ax.get_title(loc="left") for ax in (left, right)] == ["arm: none", "arm: robust"]
    assert left.get_ylabel() == "language of the first text"
    assert [text.get_text() for text in left.texts] == ["100", "0", "0"] * 3
    names = [tick.get_text() for tick in left.get_yticklabels()]
    assert names == ["en English", "de German", "fr French"]
