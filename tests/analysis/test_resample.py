"""Items drawn again: designs small enough to be computed by hand, and real predictions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from xltkit.analysis import items as resample
from xltkit.analysis.compare import compare, interaction
from xltkit.analysis.intervals import difference, student, t_interval
from xltkit.analysis.items import Block, Items, flip
from xltkit.studies.results import Results, degenerate_runs
from xltkit.tasks import get
from xltkit.tasks.base import TYPES

CELL = ("nli", "qbe")
LABELS = ("entailment", "contradiction")


def items(gaps, cells=(CELL,)) -> Items:
    """Two arms whose difference (seeds, items) or (seeds, columns, items) is given."""
    gaps = np.asarray(gaps, dtype=float)
    gaps = gaps if gaps.ndim == 3 else gaps[:, None]
    top = np.stack([gaps, np.zeros_like(gaps)])
    block = Block(cells, top, np.ones_like(top))
    return Items(("a", "b"), tuple(range(len(gaps))), (block,))


class Found(Results):
    """Results without a store: the predictions are given, and the scores are what they give."""

    def __init__(self, predictions):
        self.predictions = predictions
        rows = []
        for (arm, seed, task, code), mine in predictions.groupby(
            ["arm", "seed", "task", "language"], sort=False
        ):
            row = {"arm": arm, "seed": seed, "task": task, "language": code, "base_language": code}
            row |= {"is_source": code == "en", "n": mine["example_id"].nunique(), "main": True}
            kind = get(task).type
            value = kind.metrics(get(task), mine, code)[get(task).metric]
            rows.append(row | {"value": value, "metric": get(task).metric,
                               "chance": get(task).chance, "family": code})  # fmt: skip
        self.scores = pd.DataFrame(rows)
        self.study = type("Study", (), {"arms": dict.fromkeys(predictions["arm"])})


def answers(right, task="nli", ids=None) -> pd.DataFrame:
    """Predictions of nli from what was right (arm, seed, language) -> a string of 1 and 0."""
    rows = []
    for (arm, seed, code), marks in right.items():
        for i, mark in enumerate(marks):
            gold = LABELS[i % 2]
            pred = gold if mark == "1" else LABELS[1 - i % 2]
            name = ids(code, i) if ids else str(i)
            rows.append((arm, seed, task, code, name, gold, pred, float(mark)))
    columns = ["arm", "seed", "task", "language", "example_id", "gold", "pred", "score"]
    return pd.DataFrame(rows, columns=columns)


def test_variances_of_a_design_of_two_seeds_and_two_items():
    """The gaps 4, 2 of seed 0 and 2, -4 of seed 1: an analysis of variance by hand.

    The mean is 1, seeds are 3 and -1, items 3 and -1, what is left 0 +- 1:
    MS(seeds) = 2 (2^2 + 2^2) = 16, MS(items) = 16, MS(left) = 4. What items add to the variance
    of the mean beside seeds is (16 - 4) / 4 = 3; by itself it is 16 / 4 = 4, and that of seeds 4.
    """
    found = items([[4, 2], [2, -4]])
    alone, beside = found.variance("a", "b", {CELL: 1.0})
    assert beside / alone == pytest.approx(12 / 16)
    assert alone == pytest.approx(4, rel=0.1)  # by drawing; what follows is exact
    (block,) = found.blocks
    assert (block.pull[0].mean(0) ** 2).sum() == pytest.approx(4)
    assert list(found.values("a", {CELL: 1.0})) == [3, -1]
    # seeds: variance 4 on 1 degree of freedom; with 3 more it is 7 on 7 / 4 of one
    row = difference([3, -1], 3.0)
    half = scipy_stats.t.ppf(0.975, 7 / 4) * 7**0.5
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((1, 1 - half, 1 + half))
    assert row["p"] == pytest.approx(2 * scipy_stats.t.sf(1 / 7**0.5, 7 / 4))
    assert row["smallest_effect"] == pytest.approx(half + scipy_stats.t.ppf(0.8, 7 / 4) * 7**0.5)


def test_without_variance_of_items_it_is_the_t_interval():
    assert (difference([1, 2, 3])["low"], difference([1, 2, 3])["high"]) == t_interval([1, 2, 3])
    # Every seed finds other items: nothing is left for items as such.
    found = items([[1, -1, 0], [-1, 1, 0]])
    assert found.variance("a", "b", {CELL: 1.0})[1] == 0


def test_translations_are_drawn_together():
    random = np.random.default_rng(0)
    same = np.repeat(random.normal(size=(3, 1, 400)), 2, axis=1)
    cells = (("nli", "qad"), ("nli", "qbe"))
    half = dict.fromkeys(cells, 0.5)
    together, _ = items(same, cells).variance("a", "b", half)
    one, _ = items(same[:, :1]).variance("a", "b", {CELL: 1.0})
    # The same items in a second language tell nothing new ...
    assert together == pytest.approx(one)
    parts = [items(same[:, [k]], (cell,)).blocks[0] for k, cell in enumerate(cells)]
    apart = Items(("a", "b"), (0, 1, 2), tuple(parts))
    # ... and other items do (the draws of two blocks are the same, so here: their variances add).
    plain = sum((0.5 * b.pull[0].mean(0)).ravel() @ (0.5 * b.pull[0].mean(0)).ravel()
                for b in apart.blocks)  # fmt: skip
    assert plain == pytest.approx(one / 2, rel=0.1)


def test_items_are_those_of_the_predictions():
    right = {("a", 0, "en"): "1100", ("a", 0, "qbe"): "1000", ("b", 0, "en"): "1111",
             ("b", 0, "qbe"): "1010"}  # fmt: skip
    parallel = Found(answers(right)).items
    assert [b.cells for b in parallel.blocks] == [(("nli", "en"), CELL)]
    assert parallel.values("b", {CELL: 1.0}) == [50]
    apart = Found(answers(right, ids=lambda code, i: f"{code}-{i}")).items
    assert sorted(b.cells for b in apart.blocks) == [(("nli", "en"),), (CELL,)]
    wrong = Found(answers(right))
    wrong.scores["value"] += 1
    with pytest.raises(ValueError, match=r"101\.000|51\.000.*method='seeds'"):
        _ = wrong.items


def test_seeds_that_are_all_alike_leave_the_items():
    """Untrained retrieval: the t over seeds has nothing to say, the items have."""
    right = {(arm, seed, code): marks * 10 for seed in (0, 1) for code in ("en", "qbe")
             for arm, marks in {"a": "1010", "b": "1110"}.items()}  # fmt: skip
    results = Found(answers(right))
    row = compare(results, "a").query("languages == 'transfer'").iloc[0]
    assert np.isnan(row["p"]) and row["difference"] == 25
    row = compare(results, "a", method="both").query("languages == 'transfer'").iloc[0]
    # 10 of 40 items differ by 100: variance 100^2 * 0.25 * 0.75 / 39
    error = 100 * (0.25 * 0.75 / 39) ** 0.5
    assert row["method"] == "bootstrap over examples"
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.05)
    one = Found(answers({k: v for k, v in right.items() if k[1] == 0}))
    again = compare(one, "a", method="both").query("languages == 'transfer'").iloc[0]
    assert again["low"] == pytest.approx(row["low"]) and again["n_seeds"] == 1


def test_comparing_by_each_method():
    random = np.random.default_rng(1)
    draw = lambda chance: "".join(random.choice(["0", "1"], 60, p=[1 - chance, chance]))  # noqa: E731
    right = {(arm, seed, code): draw(chance) for seed in range(3) for code in ("en", "qad", "qbe")
             for arm, chance in {"a": 0.4, "b": 0.8}.items()}  # fmt: skip
    results = Found(answers(right))
    rows = {m: compare(results, "a", method=m).set_index("languages").loc["transfer"]
            for m in resample.METHODS}  # fmt: skip
    assert len({round(row["difference"], 9) for row in rows.values()}) == 1
    assert {row["method"] for row in rows.values()} == set(resample.METHODS.values())
    assert rows["flip seeds"]["p"] == 0.25 == rows["flip seeds"]["smallest_p"]
    assert rows["flip examples"]["p"] == 1e-4 and np.isnan(rows["flip examples"]["low"])
    assert rows["examples"]["p"] < 1e-4
    columns = "difference low high p p_holm smallest_effect n_seeds n_examples method degenerate"
    assert set(columns.split()) <= set(compare(results, "a").columns)
    split = interaction(results, "a", "family", ["qad"], ["qbe"], method="both").iloc[0]
    assert split["difference"] == pytest.approx(split["gain_here"] - split["gain_there"])
    both = results.items.values("b", {("nli", "qad"): 1, CELL: -1}) - results.items.values(
        "a", {("nli", "qad"): 1, CELL: -1}
    )
    assert split["difference"] == pytest.approx(both.mean())


def test_a_corpus_metric_is_computed_anew_on_every_draw():
    """F1 of sentences with very different numbers of chunks; a mean of their F1 would be 50."""
    tops, bottoms = np.array([200.0, 0.0]), np.array([2.0, 18.0])
    top, bottom = (np.stack([x, x])[:, None, None] for x in (tops, bottoms))
    block = Block((CELL,), top, bottom)
    assert block.ratios[0, 0, 0] == pytest.approx(10)
    moved = np.unique(np.round(block.drawn[0, :, 0] / 2**0.5, 6))
    # Drawn are the first twice (100), both (10) or the second twice (0); less 10.
    assert list(moved) == [-10, 0, 90]


def test_flips_of_seeds_by_hand():
    assert flip(np.array([1.0, 2.0, 3.0])) == 0.25  # only +++ and --- are as far
    assert flip(np.array([1.0, -2.0, 3.0])) == 0.75  # sums 0, 2, 2, 4, 4, 6: six of eight
    assert flip(np.array([5.0])) == 1.0
    assert flip(np.ones(10)) == 2**-9
    assert 0 < flip(np.ones(20)) < 0.001


def test_flips_of_items_swap_the_arms_in_all_languages():
    cells = (("nli", "qad"), ("nli", "qbe"))
    gaps = np.array([[[1.0, 1, 1], [1, 1, 1]]])  # one seed, two languages, three items
    p = items(gaps, cells).flipped("a", "b", dict.fromkeys(cells, 0.5))
    # Three joint swaps: 2 of 8 are as far. Six single ones would give 2 of 64.
    assert p == pytest.approx(0.25, abs=0.02)
    assert items([[0.0, 0.0]]).flipped("a", "b", {CELL: 1.0}) == 1.0


PREDICTIONS = {
    "nli": (["entailment", "neutral"], ["entailment", "contradiction"], [1, 0]),
    "pos": (["NOUN VERB .", "NOUN"], ["NOUN NOUN .", "VERB"], [2 / 3, 0]),
    "ner": (
        ["B-PER I-PER O B-LOC", "O B-LOC", "O"],
        ["B-PER I-PER B-LOC O", "O B-LOC", "B-PER"],
        [0.5, 1, 0],
    ),
    "xquad": ([json.dumps(["the red cat", "cat"]), json.dumps(["dog"])], ["a cat sat", "dog"],
              [2 / 3, 1]),
    "mlqa": ([json.dumps(["der Hund"]), json.dumps(["Katze"])], ["Hund", "die Katze schläft"],
             [0, 0]),
    "linking": ([json.dumps(["x"]), json.dumps(["y"])], [json.dumps(["z", "x"]), json.dumps(["y"])],
                [0.5, 1]),
    "bucc": (["e1", "e2", "", "e5"], ["e1", "", "e4", "e6"], [1, 0, 0, 0]),
}  # fmt: skip


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_sums_of_items_give_the_metric(name):
    gold, pred, score = PREDICTIONS[name]
    ids = ["a", "b", "c", "c"][: len(gold)] if name == "bucc" else [*map(str, range(len(gold)))]
    table = pd.DataFrame({"example_id": ids, "gold": gold, "pred": pred, "score": score})
    table.index += 7  # as a part of the table of all languages
    task = get(name)
    code = "de" if name == "mlqa" else "en"
    terms = task.type.terms(task, table, code)
    value = task.type.metrics(task, table, code)[task.metric]
    assert 0 < value < 100
    assert terms["top"].sum() / terms["bottom"].sum() == pytest.approx(value)


def test_pictures_are_items_with_all_their_captions():
    rows = [("p/0", "text to image", 1), ("p/1", "text to image", 3), ("q/0", "text to image", 2),
            ("p", "image to text", 1), ("q", "image to text", 9)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["example_id", "direction", "rank"])
    task = get("captions")
    terms = TYPES["captions"].terms(task, table, "en")
    assert set(terms["item"]) == {"p", "q"}
    sums = terms.groupby("part")[["top", "bottom"]].sum()
    value = TYPES["captions"].metrics(task, table, "en")["r@1"]
    assert (sums["top"] / sums["bottom"]).mean() == pytest.approx(value) == pytest.approx(125 / 3)


def test_failed_runs_are_found():
    right = {("a", 0, "en"): "1" * 60, ("b", 0, "en"): "10" * 30, ("c", 0, "en"): "110" * 20,
             ("d", 0, "en"): "1100" * 15, ("d", 0, "qbe"): "1" * 60}  # fmt: skip
    results = Found(answers(right, task="paws-x"))
    table = degenerate_runs(results.main, results.scores, results.predictions).set_index("arm")
    assert table["degenerate"].to_dict() == {"a": False, "b": True, "c": False, "d": True}
    assert table.loc["b", "why"] == "one prediction for everything"
    assert "50.0" in table.loc["d", "why"]


def test_chance_of_tags_is_the_most_frequent_one():
    table = pd.DataFrame({
        "arm": "a", "seed": 0, "task": "pos", "language": "en", "example_id": ["0", "1"],
        "gold": ["NOUN NOUN VERB", "NOUN DET"], "pred": ["NOUN NOUN NOUN", "NOUN NOUN"],
        "score": [2 / 3, 1 / 2],
    })  # fmt: skip
    results = Found(table)
    floor = results.scores.assign(metric="majority", value=60.0)
    found = degenerate_runs(results.main, pd.concat([results.scores, floor]), table)
    assert found["degenerate"].item() and "60.0" in found["why"].item()


def test_an_untrained_search_has_no_runs_to_fail():
    right = {("a", 0, "en"): "0000"}
    results = Found(answers(right).assign(task="retrieval"))
    assert degenerate_runs(results.main, results.scores, results.predictions).empty


def test_nothing_that_varies_gives_no_interval():
    assert np.isnan(student(1.0, 0.0, 2)["low"]) and np.isnan(difference([2.0, 2.0])["p"])
