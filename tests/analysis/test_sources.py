"""Which source a rule selects, and what it loses, by hand; what two texts have in common."""

from types import SimpleNamespace

import pandas as pd
import pytest

import xltkit as xlt
from xltkit.analysis.intervals import t_interval
from xltkit.analysis.sources import regrets, rules, similarity
from xltkit.data import microworld
from xltkit.studies.results import Results

# By source and target; the diagonal is no transfer.
MATRIX = {"en": [99, 60, 50], "de": [70, 99, 20], "sw": [50, 30, 99]}


class Matrix(Results):
    """Results of arms that differ in their source, from a matrix of scores for each seed."""

    def __init__(self, *matrices):
        rows = []
        for seed, matrix in enumerate(matrices):
            for source, values in matrix.items():
                for language, value in zip(matrix, values, strict=True):
                    rows.append((seed, source, language, float(value), source == language))
        names = ["seed", "source_language", "language", "value", "is_source"]
        table = pd.DataFrame(rows, columns=names).assign(task="pos", main=True)
        self.scores = table.assign(family=table["language"])
        self.study = SimpleNamespace(arms=dict.fromkeys(matrices[0]))


def features(matrix, **columns):
    pairs = [("pos", s, t) for s in matrix for t in matrix if s != t]
    index = pd.MultiIndex.from_tuples(pairs, names=["task", "source_language", "language"])
    near = pd.DataFrame({"family": 0.0, "branch": 0.0, "script": 0.0, "pieces": 0.0}, index)
    return near.assign(**columns)


def test_regret_is_what_the_best_source_has_more():
    near = features(MATRIX)
    near.loc[("pos", "sw", "de"), "pieces"] = 0.3
    near.loc[("pos", "de", "sw"), "family"] = 1.0
    table = regrets(Matrix(MATRIX), near).set_index(["language", "rule"])
    assert set(table.index.unique("language")) == {"de", "sw"}  # English is no target of English
    assert table.loc[("de", "always en"), "regret"] == 0
    assert table.loc[("de", "nearest"), ["selected", "regret"]].tolist() == ["sw", 30]
    assert table.loc[("sw", "nearest"), ["selected", "regret"]].tolist() == ["de", 30]
    assert table.loc[("sw", "any at random"), "score"] == 35
    means = rules(table.reset_index()).set_index("rule")
    assert means.loc["nearest", ["regret", "difference", "n_families"]].tolist() == [30, -30, 2]
    assert means.loc["always en", "regret"] == 0


def test_the_best_on_average_is_that_of_the_other_targets():
    four = {
        "en": [99, 60, 50, 70],
        "de": [70, 99, 20, 60],
        "sw": [50, 30, 99, 10],
        "fr": [60, 40, 90, 99],
    }
    table = regrets(Matrix(four), features(four)).set_index(["language", "rule"])
    # French is best for Swahili. By English, German and French, English is 7.5 above the mean.
    assert table.loc[("sw", "best on average"), ["selected", "regret"]].tolist() == ["en", 40]


def test_the_best_source_is_selected_by_other_seeds():
    """Each seed has another source far above the rest: luck, which the other seeds do not share."""
    lucky = [
        {"en": [99, 50, a], "de": [50, 99, b], "sw": [50, 50, 99]} for a, b in ((10, 90), (90, 10))
    ]
    table = regrets(Matrix(*lucky), features(MATRIX)).query("language == 'sw'")
    table = table[table["rule"] == "always en"]
    assert table["best"].tolist() == [10, 10]  # by seed 1 it is English, by seed 0 German
    assert table["regret"].tolist() == [0, -80]


def test_relatives_count_as_one_for_other_languages():
    columns = ["rule", "family", "language", "seed", "regret", "score"]
    rows = [
        ("always en", family, language, seed, regret + seed, 50)
        for family, language, regret in (("a", "x", 0), ("a", "y", 2), ("b", "z", 9), ("c", "w", 5))
        for seed in (0, 1, 2)
    ]
    row = rules(pd.DataFrame(rows, columns=columns)).iloc[0]
    assert row["regret"] == 5 and row["n_families"] == 3
    low, high = t_interval([2.0, 10.0, 6.0])  # means of the families over seeds
    assert (row["families_low"], row["families_high"]) == pytest.approx((low, high))
    assert (row["regret_low"], row["regret_high"]) == pytest.approx(t_interval([4.0, 5.0, 6.0]))


def test_a_ranker_learns_what_makes_a_good_source_and_nothing_from_noise():
    codes = ["en", "qad", "qam", "qbe", "qbi", "qke", "qko", "qto", "qti"]
    families = {code: microworld.language(code).family for code in codes}
    alike = {s: [80.0 if families[s] == families[t] else 40.0 for t in codes] for s in codes}
    near = features(alike)
    near["family"] = [float(families[s] == families[t]) for _, s, t in near.index]
    table = regrets(Matrix(alike), near).groupby("rule")["regret"].mean()
    assert table["ranker"] == 0 and table["always en"] == 40
    dealt = near.sample(frac=1, random_state=0).set_axis(near.index)
    assert regrets(Matrix(alike), dealt).groupby("rule")["regret"].mean()["ranker"] > 20


def test_two_sources_cannot_be_ranked():
    two = {"en": [99, 60], "de": [70, 99]}
    with pytest.raises(ValueError, match="three"):
        regrets(Matrix(two), features(two))
    with pytest.raises(ValueError, match="'fr'"):
        regrets(Matrix(MATRIX), features(MATRIX), usual="fr")


def test_arms_may_have_a_source_each(tiny, store):
    base = xlt.encoder(tiny)
    sources = {"of en": "en", "of qad": "qad", "of qto": "qto"}
    options = {"steps": 2, "examples": 10, "languages": list(sources.values())}
    study = xlt.study(dict.fromkeys(sources, base), ["pos"], [0, 1, 2], source=sources, **options)
    results = study.run(store)
    own = results.main[results.main["is_source"]]
    assert dict(zip(own["arm"], own["language"], strict=True)) == sources
    assert [run.stage.parent.phase.language for run in study.runs[::3]] == list(sources.values())
    # An arm is compared with another where neither has seen labels.
    against = xlt.compare(results, "of en", by="language").query("arm == 'of qad'")
    assert set(against["language"]) == {"qto"} and set(against["languages"]) == {"transfer"}
    with pytest.raises(ValueError, match="one source"):
        xlt.analysis.consistency(results)
    near = similarity(results).loc["pos"]
    assert near.loc[("en", "qad"), "words"] > near.loc[("en", "qto"), "words"] > 0
    assert near.loc[("en", "qto"), "script"] == 0 and near["words"].max() <= 0.5
    pd.testing.assert_series_equal(
        near.loc[("en", "qto"), ["words", "pieces"]],
        near.loc[("qto", "en"), ["words", "pieces"]],
        check_names=False,
    )
    with pytest.raises(ValueError, match="one source"):
        xlt.study({"a": base}, ["pos"], [0], source={"b": "en"}, **options)
