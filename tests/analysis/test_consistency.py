"""Consistency between languages: tables worked out by hand, and what chance alone would give."""

from __future__ import annotations

from itertools import pairwise as neighbours

import numpy as np
import pandas as pd
import pytest

import xltkit as xlt
from xltkit.analysis.consistency import (
    _weights,
    consistency,
    pairwise,
    rank_consistency,
    rank_floor,
    ranks,
)
from xltkit.analysis.errors import error_overlap
from xltkit.explore import plots_matrix

E, N, C = "entailment", "neutral", "contradiction"
FLOORS = {  # for 2, 3, 4, 5 and 10 candidates
    "softmax": [0.6345, 0.4749, 0.3768, 0.3096, 0.1582],
    "norm1": [0.6667, 0.5556, 0.5000, 0.4667, 0.4000],
    "norm2": [0.6000, 0.4762, 0.4167, 0.3818, 0.3143],
}


class Table:
    """Results without a study behind them."""

    def __init__(self, task, predictions, names=("log_probs",)):
        columns = ["arm", "seed", "language", "example_id", "gold", "pred", "score", *names]
        table = pd.DataFrame([row[: len(columns)] for row in predictions], columns=columns)
        self.predictions = table.assign(task=task)
        self.study = type("Study", (), {"source": "en", "arms": {"a": None}})


def labelled(golds, preds, arm="a", seed=0, scores=None):
    """Rows of one arm and seed; ``scores`` of each language are a matrix of log-probabilities."""
    return [
        (arm, seed, code, str(i), gold, pred, float(gold == pred), scores and scores[code][i])
        for code, mine in preds.items()
        for i, (gold, pred) in enumerate(zip(golds, mine, strict=True))
    ]


def test_rankc_of_three_candidates_by_hand():
    # best first: 0 1 2 and 1 0 2. In common of the first 1, 2, 3: none, both, all.
    one, other = np.array([[3.0, 2.0, 1.0]]), np.array([[2.0, 3.0, 1.0]])
    assert rank_consistency(one, other, "norm1") == pytest.approx([(3 * 0 + 2 * 1 + 1 * 1) / 6])
    assert rank_consistency(one, other, "norm2") == pytest.approx([(4 + 1) / 14])
    e = np.e
    assert rank_consistency(one, other) == pytest.approx([(e + 1) / (e * e + e + 1)])
    # 0 1 2 and 2 1 0: none, one of two, all
    assert rank_consistency(one, one[:, ::-1], "norm1") == pytest.approx([(2 * 0.5 + 1) / 6])


@pytest.mark.parametrize("weights", FLOORS)
def test_rankc_of_random_rankings_is_its_floor(weights):
    sizes = (2, 3, 4, 5, 10)
    floors = [rank_floor(n, weights) for n in sizes]
    assert floors == pytest.approx(FLOORS[weights], abs=5e-5)
    random = np.random.default_rng(0)
    for n, floor in zip(sizes, floors, strict=True):
        one, other = random.normal(size=(2, 20_000, n))
        found = rank_consistency(one, other, weights)
        assert found.mean() == pytest.approx(floor, abs=5 * found.std() / np.sqrt(20_000))


@pytest.mark.parametrize("weights", FLOORS)
def test_rankc_is_symmetric_and_knows_no_order_of_the_candidates(weights):
    one, other = np.random.default_rng(1).normal(size=(2, 50, 7))
    found = rank_consistency(one, other, weights)
    assert np.array_equal(found, rank_consistency(other, one, weights))
    order = np.random.default_rng(2).permutation(7)
    assert rank_consistency(one[:, order], other[:, order], weights) == pytest.approx(found)
    assert rank_consistency(one, np.exp(one), weights) == pytest.approx(np.ones(50))
    # the definition, place by place
    first, second = np.argsort(-one, axis=1), np.argsort(-other, axis=1)
    slow = [
        sum(w * len({*a[:j]} & {*b[:j]}) / j for j, w in enumerate(_weights(7, weights), 1))
        for a, b in zip(first, second, strict=True)
    ]
    assert found == pytest.approx(slow)


def test_ends_and_errors_of_rankc():
    assert rank_consistency([[1.0]], [[2.0]]).tolist() == [1] and rank_floor(1) == 1
    assert ranks([[1.0, 1.0, 2.0], [0.0, 0.0, 0.0]]).tolist() == [[1, 2, 0], [0, 1, 2]]
    many = _weights(2000, "softmax")
    assert many.sum() == pytest.approx(1) and all(a >= b for a, b in neighbours(many))
    with pytest.raises(ValueError, match="no NaN"):
        ranks([[np.nan, 1.0]])
    with pytest.raises(ValueError, match=r"\(3,\): expected \(items, candidates\)"):
        ranks([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(1, 1\)"):
        rank_consistency([[1.0, 2.0]], [[1.0]])
    with pytest.raises(ValueError, match="'norm3' for 2 candidates; use one of"):
        rank_floor(2, "norm3")


# E E N C. English: E E N N, 3 right. German: E N N E, 2. French: E E C C, 3.
GOLDS = [E, E, N, C]
PREDS = {"de": [E, N, N, E], "en": [E, E, N, N], "fr": [E, E, C, C]}


def sure(preds):
    """Log-probabilities that rank the prediction first and the rest in the order of labels."""
    chances = {E: [0.7, 0.2, 0.1], N: [0.2, 0.7, 0.1], C: [0.2, 0.1, 0.7]}
    return [np.log(chances[pred]).astype(np.float32) for pred in preds]


def test_pairs_of_four_items_by_hand():
    scores = {code: sure(preds) for code, preds in PREDS.items()}
    table = pairwise(Table("nli", labelled(GOLDS, PREDS, scores=scores)))
    assert table[["language", "other"]].to_numpy().tolist() == [
        ["en", "de"], ["en", "fr"], ["de", "fr"],
    ]  # fmt: skip
    row = table.iloc[0]
    # The same in 0 and 2. P(E), P(N): 2/4 and 2/4 in both.
    assert (row["agreement"], row["expected"], row["kappa"], row["n"]) == (50, 50, 0, 4)
    assert row["both_right"] == 50 and row["covered"] == pytest.approx(200 / 3)
    assert row["covered_expected"] == pytest.approx(100 * 0.375 / 0.875)
    # E and N, twice: E N C and N E C, so that nothing but the first place differs: 1 - w_1.
    # The other two are equal.
    first = np.e**2 / (np.e**2 + np.e + 1)
    rankc = 1 - first / 2
    assert row["rankc"] == pytest.approx(100 * rankc)
    assert row["rankc_corrected"] == pytest.approx(
        100 * (rankc - rank_floor(3)) / (1 - rank_floor(3))
    )
    last = table.iloc[2]  # de and fr agree, and are both right, in the first item alone
    assert (last["agreement"], last["both_right"], last["covered"]) == (25, 25, 25)


def test_what_pairs_say_of_the_source_is_what_error_overlap_says():
    random = np.random.default_rng(3)
    golds = random.choice([E, N, C], 60)
    preds = {code: random.choice([E, N, C], 60) for code in ("en", "de", "fr")}
    made = Table("nli", labelled(golds, preds))
    pairs = pairwise(made).query("language == 'en'").set_index("other")
    overlap = error_overlap(made).set_index("language")
    for column in ("agreement", "expected", "kappa", "n"):
        assert pairs[column].to_dict() == pytest.approx(overlap[column].to_dict())
    assert pairs["rankc"].isna().all()  # nothing but the best was kept


def test_consistency_of_four_items_by_hand():
    scores = {code: sure(preds) for code, preds in PREDS.items()}
    made = Table("nli", labelled(GOLDS, PREDS, scores=scores))
    pairs, table = pairwise(made), consistency(made).set_index("pairs")
    assert table.index.tolist() == ["all", "with source", "others"]
    for column in ("agreement", "kappa", "covered", "rankc_corrected"):
        assert table.loc["all", column] == pytest.approx(pairs[column].mean())
        assert table.loc["with source", column] == pytest.approx(pairs[column][:2].mean())
        assert table.loc["others", column] == pytest.approx(pairs[column][2])
    # Only item 0 is right, and the same, everywhere. Accuracies 3/4, 2/4, 3/4.
    every = table.loc["all"]
    assert (every["all_right"], every["all_same"], every["languages"], every["n"]) == (25, 25, 3, 4)
    assert every["all_right_expected"] == pytest.approx(100 * 18 / 64)
    assert table.loc["others", ["all_right", "all_right_expected"]].tolist() == [25, 37.5]
    assert table.loc["with source", ["all_right", "all_same"]].isna().all()
    assert table["agreement_low"].isna().all() and table["seeds"].eq(1).all()


def test_perfect_agreement_is_100_even_where_all_are_wrong():
    wrong = [N, C, E, E]
    scores = {code: sure(wrong) for code in PREDS}
    made = Table("nli", labelled(GOLDS, dict.fromkeys(PREDS, wrong), scores=scores))
    row = consistency(made).iloc[0]
    assert row[["agreement", "all_same", "rankc_corrected"]].tolist() == pytest.approx([100] * 3)
    assert row["kappa"] == 1 and row["all_right"] == 0 and np.isnan(row["covered"])


def test_independent_errors_and_rankings_are_what_is_expected_by_chance():
    random = np.random.default_rng(4)
    golds = random.choice([E, N, C], 6000)
    scores = {code: list(random.normal(size=(6000, 3))) for code in ("en", "de", "fr")}
    preds = {code: np.array([E, N, C])[np.argmax(s, axis=1)] for code, s in scores.items()}
    made = Table("nli", labelled(golds, preds, scores=scores))
    pairs, row = pairwise(made), consistency(made).iloc[0]
    assert pairs["kappa"].abs().max() < 0.04 and pairs["rankc_corrected"].abs().max() < 4
    assert pairs["covered"].tolist() == pytest.approx(pairs["covered_expected"].tolist(), abs=2)
    assert row["all_right"] == pytest.approx(row["all_right_expected"], abs=1)


def test_seeds_are_averaged_with_the_interval_of_their_mean():
    rows = []
    for seed, german in enumerate([[E, E, N, C], [E, E, N, N], [E, E, C, N]]):
        rows += labelled(GOLDS, {"en": GOLDS, "de": german}, seed=seed)  # 100, 75 and 50 agree
        rows += labelled(GOLDS, {"en": GOLDS, "de": GOLDS}, arm="b", seed=seed)
    made = Table("nli", rows)
    assert pairwise(made).query("arm == 'a'")["agreement"].tolist() == [100, 75, 50]
    table = consistency(made)
    assert table[["arm", "pairs"]].to_numpy().tolist() == [
        ["a", "all"], ["a", "with source"], ["b", "all"], ["b", "with source"],
    ]  # fmt: skip
    row, half = table.iloc[0], 4.3027 * 25 / np.sqrt(3)
    assert (row["agreement"], row["all_right"], row["seeds"]) == (75, 75, 3)
    assert row["agreement_high"] == pytest.approx(75 + half, abs=1e-2)
    assert row["all_right_low"] == pytest.approx(75 - half, abs=1e-2)


def test_spans_count_from_a_score_on_and_have_no_agreement():
    rows = [
        ("a", 0, "en", "x", "g", "p", 1.0), ("a", 0, "en", "y", "g", "p", 0.6),
        ("a", 0, "de", "x", "g", "p", 0.6), ("a", 0, "de", "y", "g", "p", 0.0),
    ]  # fmt: skip
    strict, mild = (pairwise(Table("qa", rows, ()), right=r).iloc[0] for r in (1.0, 0.5))
    assert (strict["both_right"], strict["covered"]) == (0, 0)
    assert (mild["both_right"], mild["covered"]) == (50, 50)
    assert strict[["agreement", "expected", "kappa", "rankc", "rankc_corrected"]].isna().all()
    row = consistency(Table("qa", rows, ()), right=0.5).iloc[0]
    assert row["all_right"] == 50 and np.isnan(row["all_same"]) and np.isnan(row["kappa"])


def test_pairs_are_of_the_items_in_common():
    rows = labelled(GOLDS, PREDS)
    rows = [row for row in rows if (row[2], row[3]) not in {("de", "0"), ("fr", "1")}]
    table = pairwise(Table("nli", rows)).set_index(["language", "other"])
    assert table["n"].tolist() == [3, 3, 2]
    assert table.loc[("de", "fr"), "agreement"] == 0
    assert consistency(Table("nli", rows)).iloc[0]["n"] == 2


def test_what_cannot_be_compared_is_refused():
    made = Table("nli", labelled(GOLDS, PREDS))
    assert pairwise(made, languages=["fr", "de"])[["language", "other"]].values.tolist() == [
        ["de", "fr"]
    ]
    with pytest.raises(ValueError, match=r"\['xx'\]; expected a list of some of \['de', 'en'"):
        pairwise(made, languages=["xx"])
    for table in (pairwise, consistency):
        with pytest.raises(ValueError, match="No task has two"):
            table(made, languages=["de"])
    twice = Table("nli", labelled(GOLDS, PREDS) * 2)
    with pytest.raises(ValueError, match="two predictions for one item"):
        pairwise(twice)
    apart = Table("nli", [*labelled(GOLDS, PREDS), ("a", 0, "de", "z", E, E, 1.0, None)])
    with pytest.raises(ValueError, match="not parallel: 1 of its 5"):
        pairwise(apart, ["nli"])
    with pytest.warns(UserWarning, match="Left out"), pytest.raises(ValueError, match="None of"):
        pairwise(apart)


def test_a_study_keeps_scores_and_is_drawn(tiny, store):
    from xltkit.studies.recipe import Recipe

    found = xlt.study(
        {"none": Recipe(tiny)}, ["nli", "choice", "qa"], [0], steps=2, examples=20,
        languages=["en", "qad", "qto", "qbe"],
    ).run(store)  # fmt: skip
    table = found.predictions
    scored = table["log_probs"].notna().groupby(table["task"]).mean()
    assert scored.to_dict() == {"nli": 1, "choice": 1, "qa": 0}
    for row in table[table["log_probs"].notna()].itertuples():
        assert np.exp(row.log_probs).sum() == pytest.approx(1, abs=1e-5)
    best = table.query("task == 'choice'")
    assert best["pred"].tolist() == [str(s.argmax()) for s in best["log_probs"]]
    pairs = pairwise(found)
    assert len(pairs) == 3 * 6 and pairs["n"].eq(20).all()
    assert pairs.groupby("task")["rankc"].count().to_dict() == {"nli": 6, "choice": 6, "qa": 0}
    # of two alternatives the rankings are the same if and only if the prediction is
    two = pairs.query("task == 'choice'")
    assert two["rankc_corrected"].tolist() == pytest.approx(
        (100 * (two["agreement"] / 100 - 0.5) / 0.5).tolist()
    )
    assert len(consistency(found, ["nli"])) == 3
    figure = plots_matrix.agreement(found, "rankc_corrected", "nli")
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert sorted(name.split()[0] for name in names) == ["en", "qad", "qbe", "qto"]
    assert names[0].startswith("en") and figure.axes[0].get_ylabel() == "language"
    assert figure.axes[-1].get_ylabel().startswith("nli: RankC above its floor")
    assert len([t for t in figure.axes[0].texts if t.get_text()]) == 12  # no diagonal
    with pytest.raises(ValueError, match="no column 'rank'"):
        plots_matrix.agreement(found, "rank")
    with pytest.raises(ValueError, match="no arm with agreement of 'nli' 'b'"):
        plots_matrix.agreement(found, task="nli", arms=["b"])
