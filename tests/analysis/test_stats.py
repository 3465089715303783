"""Means, gaps and differences against values computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from xltkit.analysis.compare import compare, holm, interaction, summary, t_interval


class Table:
    """Results without a study behind them."""

    def __init__(self, values):
        rows = [
            {
                "arm": arm,
                "seed": seed,
                "task": task,
                "language": code,
                "base_language": code,
                "is_source": code == "en",
                "family": {"en": "English", "qad": "Alvic", "qbe": "Beric"}[code],
                "value": value,
                "n": 100,
                "metric": "accuracy",
            }
            for (arm, task, code), by_seed in values.items()
            for seed, value in enumerate(by_seed)
        ]
        self.main = self.scores = pd.DataFrame(rows)
        runs = self.main[["arm", "seed", "task"]].drop_duplicates()
        self.degenerate = runs.assign(
            degenerate=(runs["arm"] == "text") & (runs["seed"] == 2), why=""
        )
        self.study = type("Study", (), {"arms": dict.fromkeys(r["arm"] for r in rows)})


VALUES = {
    ("none", "nli", "en"): [90, 91, 92],
    ("none", "nli", "qad"): [70, 72, 74],
    ("none", "nli", "qbe"): [50, 50, 50],
    ("text", "nli", "en"): [91, 92, 93],
    ("text", "nli", "qad"): [73, 74, 78],
    ("text", "nli", "qbe"): [51, 51, 53],
}


def test_t_interval_of_three_values():
    # mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653
    assert t_interval([1, 2, 3]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert np.isnan(t_interval([5])).all() and np.isnan(t_interval([5, 5, 5])).all()


def test_holm_multiplies_by_the_number_of_tests_left():
    assert holm([0.01, 0.04, 0.03, np.nan]) == pytest.approx(
        [0.03, 0.06, 0.06, np.nan], nan_ok=True
    )
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert np.isnan(holm([np.nan])).all()


def test_an_interaction_is_a_difference_of_gains():
    # The gains of the three seeds are 1, 1, 3 in qbe and 3, 2, 4 in qad.
    table = interaction(Table(VALUES), "none", "family", ["Beric"], ["Alvic"]).iloc[0]
    assert table["arm"] == "text"
    assert table["gain_here"] == pytest.approx(5 / 3) and table["gain_there"] == 3
    assert (table["difference"], table["low"]) == pytest.approx(
        (-4 / 3, t_interval([-2, -1, -1])[0])
    )
    with pytest.raises(ValueError, match=r"Alvic.*Beric"):
        interaction(Table(VALUES), "none", "family", ["English"], ["Alvic"])


def test_an_interaction_leaves_out_tasks_of_one_side():
    values = VALUES | {(arm, "pos", "qad"): [60, 60, 60] for arm in ("none", "text")}
    both = interaction(Table(values), "none", "family", ["Beric"], ["Alvic"])
    assert both.iloc[0]["difference"] == pytest.approx(-4 / 3)


def test_the_source_is_apart_from_the_transfer_mean():
    row = summary(Table(VALUES)).set_index("arm").loc["none"]
    assert row["source"] == pytest.approx(91)
    assert row["transfer"] == pytest.approx((72 + 50) / 2)
    assert row["gap"] == pytest.approx(30)
    assert row["worst"] == "qbe, qad" and row["seeds"] == 3 and row["degenerate"] == 0


def test_differences_are_paired_by_seed():
    table = compare(Table(VALUES), "none").set_index("languages")
    # transfer: ((3, 2, 4) + (1, 1, 3)) / 2 = 2, 1.5, 3.5 by seed
    paired = np.array([2, 1.5, 3.5])
    row = table.loc["transfer"]
    assert row["difference"] == pytest.approx(paired.mean())
    assert (row["low"], row["high"]) == pytest.approx(t_interval(paired))
    assert row["n_seeds"] == 3 and row["n_examples"] == 200
    # the same difference with every seed: no variance was seen, so no interval is claimed
    assert table.loc["source", "difference"] == 1 and np.isnan(table.loc["source", "p"])
    error = paired.std(ddof=1) / 3**0.5
    assert row["smallest_effect"] == pytest.approx((4.302653 + 1.060660) * error, rel=1e-4)
    assert 0 < row["p"] == row["p_holm"] < 1
    # a degenerate run is counted, and is in the mean
    assert row["degenerate"] == 1


def test_groups_and_bad_input():
    table = compare(Table(VALUES), "none", by="family")
    assert set(table["family"]) == {"English", "Alvic", "Beric"}
    with pytest.raises(ValueError, match="none"):
        compare(Table(VALUES), "nonne")
    with pytest.raises(ValueError, match="language"):
        compare(Table(VALUES), "none", by="langauge")
    with pytest.raises(ValueError, match=r"bootstrap.*seeds, both"):
        compare(Table(VALUES), "none", method="bootstrap")


def test_known_gaps():
    """The gap of published rows (PAWS-X, mBERT, ERNIE-M README: 14.05)."""
    scores = {"en": 94.0, "qad": 85.7, "qbe": 87.4}
    table = Table({("a", "paws-x", c): [v, v] for c, v in scores.items()})
    row = summary(table).iloc[0]
    assert row["gap"] == pytest.approx(94.0 - (85.7 + 87.4) / 2)
