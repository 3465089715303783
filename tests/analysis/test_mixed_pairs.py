"""Two texts in two languages: small matrices by hand, and intervals of planted ones."""

import numpy as np
import pandas as pd
import pytest

from xltkit.analysis import mixed_pairs
from xltkit.analysis.intervals import difference, over_seeds_and_items
from xltkit.analysis.mixed_pairs import STATISTICS, score_matrix
from xltkit.explore import plots

CODES = ["en", "de", "fr"]
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


def penalty(cells, arms=("a",), baseline=""):
    """The table of an array, by arm and statistic."""
    return mixed_pairs.penalty(table(cells, arms), baseline).set_index(["arm", "statistic"])


def test_a_matrix_of_two_items_by_hand():
    cells = np.zeros((1, 2, 2, 3, 3))
    cells[0, :, 0] = np.eye(3)  # the first item is right where nothing is mixed
    cells[0, 1, 1, 0, :] = 1  # the second one, with the second seed, if the first text is English
    result = score_matrix(table(cells)).set_index(["language", "other"])
    expected = {("en", "en"): 75, ("en", "de"): 25, ("de", "de"): 50, ("de", "en"): 0}
    assert result.loc[list(expected), "value"].to_dict() == expected
    assert len(result) == 9 and result["n"].eq(2).all() and result["seeds"].eq(2).all()
    costs = penalty(cells).loc["a"]
    expected = dict(zip(STATISTICS, (175 / 3, 50 / 6, 50 / 6 - 175 / 3), strict=True))
    assert costs["value"].to_dict() == pytest.approx(expected)
    assert (costs["n"] == 2).all() and (costs["n_seeds"] == 2).all()


def test_the_interval_is_that_of_both_seeds_and_items():
    # Its parts by hand: the seeds' means vary by 4, the items' by 1, and nothing else does.
    values = np.add.outer([0.0, 4, 8], [10.0, 12, 14, 16])
    by_hand = difference([13, 17, 21], item_variance=(20 / 3) / 4)
    assert over_seeds_and_items(values) == pytest.approx(by_hand)
    # What a seed does with an item is in the spread over seeds already: here it is all there is.
    random = np.random.default_rng(0).normal(size=(3, 4))
    mixed = random - random.mean(axis=0) + [[0], [1], [2]]
    assert over_seeds_and_items(mixed) == pytest.approx(difference(mixed.mean(axis=1)))
    one = over_seeds_and_items(values[:1])
    assert one["low"] == pytest.approx(13 - 1.96 * np.sqrt((20 / 3) / 4), abs=1e-3)


def test_a_planted_penalty_is_covered():
    rows = [penalty(planted(60, seeds=3, seed=trial)).loc[("a", "penalty")] for trial in range(60)]
    hits = sum(row["value_low"] <= -20 <= row["value_high"] for row in rows)
    assert hits >= 53  # 57 of 60 on average
    assert np.mean([row["value_high"] < 0 for row in rows]) > 0.9


def test_arms_are_compared_on_the_same_items_and_seeds():
    base = planted(150, seeds=3)
    better = base.copy()  # an arm that mixing costs nothing
    better[..., MIXED] = base[..., ~MIXED].mean(-1, keepdims=True)
    result = penalty(np.concatenate([base, better]), ("none", "robust"), "none")
    none, robust = (result.loc[arm] for arm in ("none", "robust"))
    assert none[["difference", "low", "high"]].isna().all(axis=None)
    assert robust.loc["penalty", "value"] == pytest.approx(0, abs=1e-4)
    gain = robust.loc["penalty"]
    own = none.loc["penalty", ["value", "value_low", "value_high"]]
    assert gain[["difference", "high", "low"]].tolist() == pytest.approx((-own).tolist(), abs=1e-3)
    # The arms have the diagonal in common, so that nothing of it varies between them.
    assert robust.loc["diagonal", "difference"] == 0 and robust.loc["diagonal", "value_low"] > 0


def test_gaps_are_refused():
    whole = table(planted(4, seeds=2))
    gone = (whole["example_id"] == "x2") & (whole["language"] == "de") & (whole["seed"] == 1)
    for part, counts in ((whole[~gone], (3, 0)), (pd.concat([whole, whole[gone]]), (0, 3))):
        message = "nli: {} of 72 scores are missing, and {} are there twice".format(*counts)
        with pytest.raises(ValueError, match=message):
            mixed_pairs.penalty(part)
    with pytest.raises(ValueError, match="no baseline 'b'"):
        mixed_pairs.penalty(whole, baseline="b")


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
