"""Items drawn again: designs small enough to be computed by hand, and real predictions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from analysis.fakes import FakeResults, right_or_wrong

from xltkit.analysis.items import Block, Items, items
from xltkit.tasks import get

COLUMN = ("nli", "qbe")


def design(gaps, columns=(COLUMN,)) -> Items:
    """Two arms whose difference (seeds, items) or (seeds, columns, items) is given."""
    gaps = np.asarray(gaps, dtype=float)
    gaps = gaps if gaps.ndim == 3 else gaps[:, None]
    numerator = np.stack([gaps, np.zeros_like(gaps)])
    block = Block(columns, numerator, np.ones_like(numerator))
    return Items(("a", "b"), (block,))


def test_variances_of_a_design_of_two_seeds_and_two_items():
    """The gaps 4, 2 of seed 0 and 2, -4 of seed 1: an analysis of variance by hand.

    The mean is 1, seeds are 3 and -1, items 3 and -1, what is left 0 +- 1:
    MS(seeds) = 2 (2^2 + 2^2) = 16, MS(items) = 16, MS(left) = 4. What items add to the variance
    of the mean beside seeds is (16 - 4) / 4 = 3; by itself it is 16 / 4 = 4, and that of seeds 4.
    """
    statistics = design([[4, 2], [2, -4]])
    alone, beside_seeds = statistics.variance("a", "b", {COLUMN: 1.0})
    assert beside_seeds / alone == pytest.approx(12 / 16)
    assert alone == pytest.approx(4, rel=0.1)  # by drawing; what follows is exact
    (block,) = statistics.blocks
    assert (block.influence[0].mean(0) ** 2).sum() == pytest.approx(4)
    assert block.metric[0, :, 0].tolist() == [3, -1]
    # Every seed finds other items: nothing is left for items as such.
    every = design([[1, -1, 0], [-1, 1, 0]])
    assert every.variance("a", "b", {COLUMN: 1.0})[1] == 0


def test_translations_are_drawn_together():
    random = np.random.default_rng(0)
    same = np.repeat(random.normal(size=(3, 1, 400)), 2, axis=1)
    columns = (("nli", "qad"), ("nli", "qbe"))
    together, _ = design(same, columns).variance("a", "b", dict.fromkeys(columns, 0.5))
    one, _ = design(same[:, :1]).variance("a", "b", {COLUMN: 1.0})
    # The same items in a second language add no information ...
    assert together == pytest.approx(one)
    # ... and other items do (the draws of two blocks are the same, so here: their variances add).
    blocks = [design(same[:, [i]], (column,)).blocks[0] for i, column in enumerate(columns)]
    added = sum(((0.5 * block.influence[0].mean(0)) ** 2).sum() for block in blocks)
    assert added == pytest.approx(one / 2, rel=0.1)


def test_items_are_those_of_the_predictions():
    marks = {("a", 0, "en"): "1100", ("a", 0, "qbe"): "1000", ("b", 0, "en"): "1111",
             ("b", 0, "qbe"): "1010"}  # fmt: skip
    parallel = items(FakeResults(right_or_wrong(marks)))
    assert [b.columns for b in parallel.blocks] == [(("nli", "en"), COLUMN)]
    assert parallel.blocks[0].metric[1, 0].tolist() == [100, 50]
    table = right_or_wrong(marks, ids=lambda language, i: f"{language}-{i}")
    blocks = items(FakeResults(table)).blocks
    assert sorted(b.columns for b in blocks) == [(("nli", "en"),), (COLUMN,)]
    wrong = FakeResults(right_or_wrong(marks))
    wrong.scores["value"] += 1
    with pytest.raises(ValueError, match=r"101\.000|51\.000.*method='seeds'"):
        items(wrong)


def test_a_corpus_metric_is_computed_anew_on_every_draw():
    """F1 of sentences with very different numbers of chunks; a mean of their F1 would be 50."""
    numerator = np.broadcast_to([200.0, 0.0], (2, 1, 1, 2))
    denominator = np.broadcast_to([2.0, 18.0], (2, 1, 1, 2))
    block = Block((COLUMN,), numerator, denominator)
    assert block.metric[0, 0, 0] == pytest.approx(10)
    moved = np.unique(np.round(block.resampled[0, :, 0] / 2**0.5, 6))
    # Drawn are the first twice (100), both (10) or the second twice (0); less 10.
    assert list(moved) == [-10, 0, 90]


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
    language = "de" if name == "mlqa" else "en"
    terms = task.type.terms(task, table, language)
    value = task.type.metrics(task, table, language)[task.metric]
    assert 0 < value < 100
    assert terms["numerator"].sum() / terms["denominator"].sum() == pytest.approx(value)


def test_pictures_are_items_with_all_their_captions():
    rows = [("p/0", "text to image", 1), ("p/1", "text to image", 3), ("q/0", "text to image", 2),
            ("p", "image to text", 1), ("q", "image to text", 9)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["example_id", "direction", "rank"])
    task = get("captions")
    terms = task.type.terms(task, table, "en")
    assert set(terms["item"]) == {"p", "q"}
    sums = terms.groupby("part")[["numerator", "denominator"]].sum()
    value = task.type.metrics(task, table, "en")["r@1"]
    assert (
        (sums["numerator"] / sums["denominator"]).mean()
        == pytest.approx(value)
        == pytest.approx(125 / 3)
    )
