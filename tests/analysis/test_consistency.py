"""Consistency between languages: tables worked out by hand, and what chance alone would give."""

import numpy as np
import pandas as pd
import pytest
from analysis.fakes import C, E, N, labelled
from scipy.stats import rankdata

from xltkit.analysis.consistency import consistency, pairwise, rank_consistency
from xltkit.explore import plots
from xltkit.studies.given import GivenResults

FLOORS = {2: 0.6345, 3: 0.4749, 4: 0.3768, 5: 0.3096, 10: 0.1582}


def rankc(one, other):
    """RankC of each item above its floor; the best candidate has the largest score."""
    ranks = [rankdata(-np.array(x), "ordinal", axis=1).astype(int) for x in (one, other)]
    return np.array([rank_consistency(x[None], y[None]) for x, y in zip(*ranks, strict=True)])


def above_floor(value, count):
    return pytest.approx((value - FLOORS[count]) / (1 - FLOORS[count]), abs=2e-4)


@pytest.mark.parametrize("count", FLOORS)
def test_rankc_of_random_rankings_is_its_floor_and_follows_its_definition(count):
    one, other = np.random.default_rng(0).normal(size=(2, 2000, count))
    values = rankc(one, other)
    assert values.mean() == pytest.approx(0, abs=5 * values.std() / 2000**0.5)
    assert np.array_equal(values, rankc(other, one))
    order = np.random.default_rng(2).permutation(count)
    assert rankc(one[:, order], other[:, order]) == pytest.approx(values)
    assert rankc(one, np.exp(one)) == pytest.approx(np.ones(2000))
    weights = np.exp(-np.arange(count)) / np.exp(-np.arange(count)).sum()
    for i, (first, second) in enumerate(zip(np.argsort(-one), np.argsort(-other), strict=True)):
        shares = [len({*first[:j]} & {*second[:j]}) / j for j in range(1, count + 1)]
        assert values[i] == above_floor(weights @ shares, count)


# E E N C. English: E E N N, 3 right. German: E N N E, 2. French: E E C C, 3.
GOLDS = [E, E, N, C]
PREDICTIONS = {"de": [E, N, N, E], "en": [E, E, N, N], "fr": [E, E, C, C]}
# Log-probabilities that rank the prediction first and the rest in the order of labels.
CHANCES = {E: [0.7, 0.2, 0.1], N: [0.2, 0.7, 0.1], C: [0.2, 0.1, 0.7]}


def test_four_items_by_hand():
    log_probs = {code: np.log([CHANCES[p] for p in ps]) for code, ps in PREDICTIONS.items()}
    results = GivenResults(labelled(GOLDS, PREDICTIONS, log_probs=log_probs))
    pairs = pairwise(results)
    codes = pairs[["language", "other"]].to_numpy().tolist()
    assert codes == [["en", "de"], ["en", "fr"], ["de", "fr"]]
    row = pairs.iloc[0]
    # The same in 0 and 2. P(E), P(N): 2/4 and 2/4 in both.
    assert (row["agreement"], row["kappa"], row["n"]) == (50, 0, 4)
    # E and N, twice: E N C and N E C, so that nothing but the first place differs: 1 - w_1.
    # The other two are equal.
    value = 1 - np.e**2 / (np.e**2 + np.e + 1) / 2
    assert row["rankc_corrected"] / 100 == above_floor(value, 3)
    assert pairs.iloc[2]["agreement"] == 25  # de and fr agree in the first item alone
    row = consistency(results).iloc[0]
    for column in ("agreement", "kappa", "rankc_corrected"):
        assert row[column] == pytest.approx(pairs[column].mean())
    # Only item 0 is right everywhere. Accuracies 3/4, 2/4, 3/4.
    assert (row["all_right"], row["languages"], row["n"]) == (25, 3, 4)
    assert row["all_right_expected"] == pytest.approx(100 * 18 / 64)
    assert np.isnan(row["agreement_low"]) and row["seeds"] == 1


def test_seeds_are_averaged_with_the_interval_of_their_mean():
    tables = []
    for seed, german in enumerate([[E, E, N, C], [E, E, N, N], [E, E, C, N]]):
        tables.append(labelled(GOLDS, {"en": GOLDS, "de": german}, seed=seed))
        tables.append(labelled(GOLDS, {"en": GOLDS, "de": GOLDS}, arm="b", seed=seed))
    results = GivenResults(pd.concat(tables))
    assert pairwise(results).query("arm == 'a'")["agreement"].tolist() == [100, 75, 50]
    table = consistency(results)
    assert table["arm"].tolist() == ["a", "b"]
    row = table.iloc[0]
    half = 4.3027 * 25 / np.sqrt(3)
    assert (row["agreement"], row["all_right"], row["seeds"]) == (75, 75, 3)
    assert row["agreement_high"] == pytest.approx(75 + half, abs=1e-2)
    assert row["all_right_low"] == pytest.approx(75 - half, abs=1e-2)


def test_spans_have_no_agreement():
    table = labelled(['["g"]', '["h"]'], {"en": ["g", "x"], "de": ["g", "h"]}, task="qa")
    table["score"] = [1.0, 0.6, 1.0, 1.0]  # an item is right if its score is perfect
    row = pairwise(GivenResults(table)).iloc[0]
    assert row[["agreement", "kappa", "rankc_corrected"]].isna().all()
    row = consistency(GivenResults(table)).iloc[0]
    assert row["all_right"] == 50 and np.isnan(row["kappa"])


def test_pairs_are_of_the_items_in_common():
    table = labelled(GOLDS, PREDICTIONS)
    gone = (table["language"] + table["example_id"]).isin(["de0", "fr1"])
    results = GivenResults(table[~gone])
    pairs = pairwise(results).set_index(["language", "other"])
    assert pairs["n"].tolist() == [3, 3, 2]
    assert pairs.loc[("de", "fr"), "agreement"] == 0
    assert consistency(results).iloc[0]["n"] == 2


def test_what_cannot_be_compared_is_refused():
    results = GivenResults(labelled(GOLDS, PREDICTIONS))
    pairs = pairwise(results, languages=["fr", "de"])
    assert pairs[["language", "other"]].to_numpy().tolist() == [["de", "fr"]]
    with pytest.raises(ValueError, match="no language 'xx'"):
        pairwise(results, languages=["xx"])
    with pytest.raises(ValueError, match="No task has items in common"):
        consistency(results, languages=["de"])


@pytest.mark.parametrize("ids", [{"en": "01", "de": "0x"}, {"fr": "01"}])
def test_what_is_not_parallel_is_refused(ids):
    table = labelled([E, E], {code: [E, E] for code in ids})
    table["example_id"] = [key for keys in ids.values() for key in keys]
    with pytest.raises(ValueError, match=r"nli is not parallel: 'en' lacks .* in \['(de|fr)'\]"):
        pairwise(GivenResults(table), ["nli"])
    with pytest.warns(match="Left out: nli"), pytest.raises(ValueError, match="source: 'en'"):
        pairwise(GivenResults(table))


def test_pairs_of_a_study(looked_at):
    pairs = pairwise(looked_at, ["nli", "choice", "qa"])
    assert len(pairs) == 3 * 3 * 2 * 2 and pairs["n"].eq(20).all()
    counts = pairs.groupby("task")["rankc_corrected"].count()
    assert counts.to_dict() == {"nli": 12, "choice": 12, "qa": 0}
    # of two alternatives the rankings are the same if and only if the prediction is
    two = pairs.query("task == 'choice'")
    expected = 100 * (two["agreement"] / 100 - 0.5) / 0.5
    assert two["rankc_corrected"].tolist() == pytest.approx(expected.tolist())
    figure = plots.pairs(pairwise(looked_at), ["none"])
    assert figure.axes[-1].get_ylabel().startswith("nli: same prediction")
    assert len([t for t in figure.axes[0].texts if t.get_text()]) == 6  # no diagonal
    with pytest.raises(ValueError, match="no arm of 'nli' 'b'"):
        plots.pairs(pairwise(looked_at), ["b"])
