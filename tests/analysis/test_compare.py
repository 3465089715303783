"""Means, gaps, differences, intervals and p values against what was computed by hand."""

from itertools import product

import numpy as np
import pytest
from analysis.fakes import VALUES, Given, right_or_wrong
from scipy import stats

from xltkit.analysis.compare import METHODS, compare, interaction, summary
from xltkit.analysis.intervals import difference, holm, judge, t_interval
from xltkit.studies.given import GivenResults

FAMILIES = ["Niger-Congo"], ["Indo-European"]  # of sw, and of en and de


def test_an_interaction_is_a_difference_of_gains():
    # The gains of the three seeds are 1, 1, 1 in sw and 3, 2, 4 in de.
    table = interaction(Given(), "none", "family", *FAMILIES).iloc[0]
    columns = ["arm", "degenerate", "gain_here", "gain_there", "difference"]
    assert table[columns].tolist() == ["text", 1, 1, 3, -2]
    assert table["low"] == pytest.approx(t_interval([-2, -1, -3])[0])
    with pytest.raises(ValueError, match=r"Indo-European.*Niger-Congo"):
        interaction(Given(), "none", "family", ["Uralic"], FAMILIES[0])
    one_sided = VALUES | {(arm, "pos", "de"): [60, 60, 60] for arm in ("none", "text")}
    both = interaction(Given(one_sided), "none", "family", *FAMILIES)
    assert both.iloc[0]["difference"] == -2  # pos is left out


def test_the_source_is_apart_from_the_transfer_mean():
    row = summary(Given()).set_index("arm").loc["none"]
    assert row[["source", "transfer", "gap"]].tolist() == pytest.approx([91, 71.5, 19.5])
    assert row["worst"] == "sw, de" and row["seeds"] == 3 and row["degenerate"] == 0


def test_differences_are_paired_by_seed():
    table = compare(Given(), "none").set_index("languages")
    paired = np.array([2, 1.5, 2.5])  # transfer: ((3, 2, 4) + (1, 1, 1)) / 2 by seed
    row = table.loc["transfer"]
    assert row["difference"] == pytest.approx(paired.mean())
    assert (row["low"], row["high"]) == pytest.approx(t_interval(paired))
    assert row["n_seeds"] == 3 and row["n_examples"] == 200
    # the same difference with every seed: no variance was seen, so no interval is claimed
    assert table.loc["source", "difference"] == 1 and np.isnan(table.loc["source", "p"])
    error = paired.std(ddof=1) / 3**0.5
    assert row["smallest_effect"] == pytest.approx((4.302653 + 1.060660) * error, rel=1e-4)
    assert 0 < row["p"] == row["p_holm"] < 1 and row["degenerate"] == 1


def test_bad_input_is_named():
    bad = {"none": ("nonne",), "language": ("none", "langauge")}
    bad["jackknife.*seeds, both"] = ("none", "family", "jackknife")
    for message, arguments in bad.items():
        with pytest.raises(ValueError, match=message):
            compare(Given(), *arguments)
    families = compare(Given(), "none", by="family")["family"]
    assert set(families) == {"Indo-European", "Niger-Congo"}


def test_seeds_that_are_all_alike_leave_the_items():
    """Untrained retrieval: the t over seeds has no variance to read, the items have."""
    digits = {"a": "1010" * 10, "b": "1110" * 10}
    marks = {(arm, s, c): digits[arm] for s in (0, 1) for c in ("en", "qbe") for arm in digits}

    def transfer(marks, method):
        results = GivenResults(right_or_wrong(marks))
        return compare(results, "a", method=method).query("languages == 'transfer'").iloc[0]

    row = transfer(marks, "seeds")
    assert np.isnan(row["p"]) and row["difference"] == 25
    row = transfer(marks, "both")
    # 10 of 40 items differ by 100: variance 100^2 * 0.25 * 0.75 / 39
    error = 100 * (0.25 * 0.75 / 39) ** 0.5
    assert row["method"] == "over examples"
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.05)
    single = transfer({run: row for run, row in marks.items() if run[1] == 0}, "both")
    assert single["low"] == pytest.approx(row["low"]) and single["n_seeds"] == 1


def test_comparing_by_each_method():
    random = np.random.default_rng(1)
    marks = {}
    chances = {"a": 0.4, "b": 0.8}.items()
    for (arm, chance), seed, code in product(chances, range(3), ("en", "qad", "qbe")):
        marks[arm, seed, code] = "".join(random.choice(["0", "1"], 60, p=[1 - chance, chance]))
    results = GivenResults(right_or_wrong(marks))
    tables = [compare(results, "a", method=method) for method in METHODS]
    rows = [table.set_index("languages").loc["transfer"] for table in tables]
    assert len({round(row["difference"], 9) for row in rows}) == 1
    assert [row["method"] for row in rows] == list(METHODS.values())
    assert rows[-1]["p"] < 1e-4


# Intervals and p values of a few numbers


def test_t_interval_of_three_values():
    # mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653
    assert t_interval([1, 2, 3]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert np.isnan(t_interval([5])).all() and np.isnan(t_interval([5, 5, 5])).all()


def test_a_hypothesis_holds_if_the_whole_interval_lies_above_it():
    gains = {"yes": (2, 1.1, 2.9), "no": (0, -0.9, 0.9), "cannot tell": (2, 0.1, 3.9)}
    gains |= {"no interval": (3, np.nan, np.nan), "nothing": (np.nan, np.nan, np.nan)}
    rows = {k: dict(zip(("difference", "low", "high"), v, strict=True)) for k, v in gains.items()}
    held = judge({name: (row, 1) for name, row in rows.items()})["holds"].str.split(r"\W").str[0]
    assert held.tolist() == ["yes", "no", "cannot", "cannot", "not"]


def test_the_degrees_of_freedom_grow_with_the_variance_of_items():
    # seeds: variance 4 on 1 degree of freedom; with 3 more it is 7 on 7 / 4 of one
    row = difference([3, -1], 3.0)
    half = stats.t.ppf(0.975, 7 / 4) * 7**0.5
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((1, 1 - half, 1 + half))
    assert row["p"] == pytest.approx(2 * stats.t.sf(1 / 7**0.5, 7 / 4))
    assert row["smallest_effect"] == pytest.approx(half + stats.t.ppf(0.8, 7 / 4) * 7**0.5)


def test_holm_multiplies_by_the_number_of_tests_left():
    corrected = holm([0.01, 0.04, 0.03, np.nan])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, np.nan], nan_ok=True)
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert np.isnan(holm([np.nan])).all()
