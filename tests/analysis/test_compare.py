"""Means, gaps and differences against values computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis.fakes import FakeResults, right_or_wrong

from xltkit.analysis.compare import METHODS, compare, interaction, summary
from xltkit.analysis.intervals import t_interval


class Table:
    """Results without a study behind them."""

    def __init__(self, values):
        families = {"en": "English", "qad": "Alvic", "qbe": "Beric"}
        names = "arm task language family seed value".split()
        rows = [
            (arm, task, code, families[code], seed, value)
            for (arm, task, code), by_seed in values.items()
            for seed, value in enumerate(by_seed)
        ]
        table = pd.DataFrame(rows, columns=names)
        table["base_language"] = table["language"]
        self.main = self.scores = table.assign(is_source=table["language"] == "en", n=100)
        runs = self.main[["arm", "seed", "task"]].drop_duplicates()
        self.degenerate = runs.assign(
            degenerate=(runs["arm"] == "text") & (runs["seed"] == 2), why=""
        )
        self.study = type("Study", (), {"arms": dict.fromkeys(table["arm"])})


VALUES = {
    ("none", "nli", "en"): [90, 91, 92],
    ("none", "nli", "qad"): [70, 72, 74],
    ("none", "nli", "qbe"): [50, 50, 50],
    ("text", "nli", "en"): [91, 92, 93],
    ("text", "nli", "qad"): [73, 74, 78],
    ("text", "nli", "qbe"): [51, 51, 53],
}


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


def test_seeds_that_are_all_alike_leave_the_items():
    """Untrained retrieval: the t over seeds has no variance to read, the items have."""
    marks = {(arm, seed, code): digits * 10 for seed in (0, 1) for code in ("en", "qbe")
             for arm, digits in {"a": "1010", "b": "1110"}.items()}  # fmt: skip
    results = FakeResults(right_or_wrong(marks))
    row = compare(results, "a").query("languages == 'transfer'").iloc[0]
    assert np.isnan(row["p"]) and row["difference"] == 25
    row = compare(results, "a", method="both").query("languages == 'transfer'").iloc[0]
    # 10 of 40 items differ by 100: variance 100^2 * 0.25 * 0.75 / 39
    error = 100 * (0.25 * 0.75 / 39) ** 0.5
    assert row["method"] == "bootstrap over examples"
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.05)
    one_seed = FakeResults(right_or_wrong({k: v for k, v in marks.items() if k[1] == 0}))
    single = compare(one_seed, "a", method="both").query("languages == 'transfer'").iloc[0]
    assert single["low"] == pytest.approx(row["low"]) and single["n_seeds"] == 1


def test_comparing_by_each_method():
    random = np.random.default_rng(1)
    marks = {}
    for seed in range(3):
        for code in ("en", "qad", "qbe"):
            for arm, chance in {"a": 0.4, "b": 0.8}.items():
                marks[arm, seed, code] = "".join(
                    random.choice(["0", "1"], 60, p=[1 - chance, chance])
                )
    results = FakeResults(right_or_wrong(marks))
    tables = {method: compare(results, "a", method=method) for method in METHODS}
    rows = {
        method: table.set_index("languages").loc["transfer"] for method, table in tables.items()
    }
    assert len({round(row["difference"], 9) for row in rows.values()}) == 1
    assert {row["method"] for row in rows.values()} == set(METHODS.values())
    assert rows["examples"]["p"] < 1e-4
    columns = "difference low high p p_holm smallest_effect n_seeds n_examples method degenerate"
    assert set(columns.split()) <= set(tables["seeds"].columns)
    split = interaction(results, "a", "family", ["qad"], ["qbe"], method="both").iloc[0]
    assert split["difference"] == pytest.approx(split["gain_here"] - split["gain_there"])
