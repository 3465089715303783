"""Means, gaps and differences against values computed by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from analysis.fakes import FakeResults, right_or_wrong

from xltkit.analysis.compare import METHODS, compare, interaction, summary
from xltkit.analysis.intervals import t_interval

FAMILIES = {"en": "English", "qad": "Alvic", "qbe": "Beric"}
VALUES = {
    ("none", "nli", "en"): [90, 91, 92],
    ("none", "nli", "qad"): [70, 72, 74],
    ("none", "nli", "qbe"): [50, 50, 50],
    ("text", "nli", "en"): [91, 92, 93],
    ("text", "nli", "qad"): [73, 74, 78],
    ("text", "nli", "qbe"): [51, 51, 53],
}


def results_of(values):
    """Results without a study behind them; the last run of ``text`` is degenerate."""
    table = pd.DataFrame(
        [
            (*run, seed, value)
            for run, scores in values.items()
            for seed, value in enumerate(scores)
        ],
        columns=["arm", "task", "language", "seed", "value"],
    )
    table = table.assign(base_language=table["language"], family=table["language"].map(FAMILIES))
    table = table.assign(is_source=table["language"] == "en", n=100)
    runs = table[["arm", "seed", "task"]].drop_duplicates()
    degenerate = runs.assign(degenerate=(runs["arm"] == "text") & (runs["seed"] == 2))
    study = SimpleNamespace(arms=dict.fromkeys(table["arm"]))
    return SimpleNamespace(main=table, degenerate=degenerate, study=study)


def test_an_interaction_is_a_difference_of_gains():
    # The gains of the three seeds are 1, 1, 3 in qbe and 3, 2, 4 in qad.
    table = interaction(results_of(VALUES), "none", "family", ["Beric"], ["Alvic"]).iloc[0]
    assert table["arm"] == "text" and table["degenerate"] == 1
    assert table["gain_here"] == pytest.approx(5 / 3) and table["gain_there"] == 3
    assert table["difference"] == pytest.approx(-4 / 3)
    assert table["low"] == pytest.approx(t_interval([-2, -1, -1])[0])
    with pytest.raises(ValueError, match=r"Alvic.*Beric"):
        interaction(results_of(VALUES), "none", "family", ["English"], ["Alvic"])
    one_sided = VALUES | {(arm, "pos", "qad"): [60, 60, 60] for arm in ("none", "text")}
    both = interaction(results_of(one_sided), "none", "family", ["Beric"], ["Alvic"])
    assert both.iloc[0]["difference"] == pytest.approx(-4 / 3)  # pos is left out


def test_the_source_is_apart_from_the_transfer_mean():
    row = summary(results_of(VALUES)).set_index("arm").loc["none"]
    assert row["source"] == pytest.approx(91)
    assert row["transfer"] == pytest.approx((72 + 50) / 2)
    assert row["gap"] == pytest.approx(30)
    assert row["worst"] == "qbe, qad" and row["seeds"] == 3 and row["degenerate"] == 0


def test_differences_are_paired_by_seed():
    table = compare(results_of(VALUES), "none").set_index("languages")
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


@pytest.mark.parametrize(
    ("baseline", "options", "message"),
    [
        ("nonne", {}, "none"),
        ("none", {"by": "langauge"}, "language"),
        ("none", {"method": "bootstrap"}, r"bootstrap.*seeds, both"),
    ],
)
def test_bad_input_is_named(baseline, options, message):
    with pytest.raises(ValueError, match=message):
        compare(results_of(VALUES), baseline, **options)
    assert set(compare(results_of(VALUES), "none", by="family")["family"]) == {*FAMILIES.values()}


def test_seeds_that_are_all_alike_leave_the_items():
    """Untrained retrieval: the t over seeds has no variance to read, the items have."""
    digits = {"a": "1010" * 10, "b": "1110" * 10}
    marks = {(arm, s, c): digits[arm] for s in (0, 1) for c in ("en", "qbe") for arm in digits}

    def transfer(marks, method):
        results = FakeResults(right_or_wrong(marks))
        return compare(results, "a", method=method).query("languages == 'transfer'").iloc[0]

    row = transfer(marks, "seeds")
    assert np.isnan(row["p"]) and row["difference"] == 25
    row = transfer(marks, "both")
    # 10 of 40 items differ by 100: variance 100^2 * 0.25 * 0.75 / 39
    error = 100 * (0.25 * 0.75 / 39) ** 0.5
    assert row["method"] == "bootstrap over examples"
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.05)
    single = transfer({run: digits for run, digits in marks.items() if run[1] == 0}, "both")
    assert single["low"] == pytest.approx(row["low"]) and single["n_seeds"] == 1


def test_comparing_by_each_method():
    random = np.random.default_rng(1)
    marks = {}
    for seed in range(3):
        for code in ("en", "qad", "qbe"):
            for arm, chance in {"a": 0.4, "b": 0.8}.items():
                digits = random.choice(["0", "1"], 60, p=[1 - chance, chance])
                marks[arm, seed, code] = "".join(digits)
    results = FakeResults(right_or_wrong(marks))
    tables = [compare(results, "a", method=method) for method in METHODS]
    rows = [table.set_index("languages").loc["transfer"] for table in tables]
    assert len({round(row["difference"], 9) for row in rows}) == 1
    assert [row["method"] for row in rows] == list(METHODS.values())
    assert rows[-1]["p"] < 1e-4
    columns = "difference low high p p_holm smallest_effect n_seeds n_examples method degenerate"
    assert set(columns.split()) <= set(tables[0].columns)
