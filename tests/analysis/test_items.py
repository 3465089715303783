"""What other items would change: designs computed by hand, and real predictions."""

import json

import numpy as np
import pandas as pd
import pytest
from analysis.fakes import right_or_wrong

from xltkit.analysis.items import Block, Items, items
from xltkit.studies.given import GivenResults
from xltkit.tasks import get

COLUMN = ("nli", "qbe")


def design(gaps, columns=(COLUMN,)) -> Items:
    """Two arms whose difference (seeds, items) or (seeds, columns, items) is given."""
    gaps = np.asarray(gaps, dtype=float)
    gaps = gaps if gaps.ndim == 3 else gaps[:, None]
    numerator = np.stack([gaps, np.zeros_like(gaps)])
    return Items(("a", "b"), (Block(columns, numerator, np.ones_like(numerator)),))


def test_variances_of_a_design_of_two_seeds_and_two_items():
    """The gaps 4, 2 of seed 0 and 2, -4 of seed 1: an analysis of variance by hand.

    The mean is 1, seeds are 3 and -1, items 3 and -1, what is left 0 +- 1:
    MS(seeds) = 2 (2^2 + 2^2) = 16, MS(items) = 16, MS(left) = 4. What items add to the variance
    of the mean beside seeds is (16 - 4) / 4 = 3; by itself it is 16 / 4 = 4, and that of seeds 4.
    """
    statistics = design([[4, 2], [2, -4]])
    alone, beside_seeds = statistics.variance("a", "b", {COLUMN: 1.0})
    assert beside_seeds == pytest.approx(3)
    assert alone == pytest.approx(4)
    assert statistics.blocks[0].metric[0, :, 0].tolist() == [3, -1]
    # Every seed finds other items: nothing is left for items as such.
    every = design([[1, -1, 0], [-1, 1, 0]])
    assert every.variance("a", "b", {COLUMN: 1.0})[1] == 0


def test_translations_vary_together():
    random = np.random.default_rng(0)
    same = np.repeat(random.normal(size=(3, 1, 400)), 2, axis=1)
    columns = (("nli", "qad"), ("nli", "qbe"))
    together, _ = design(same, columns).variance("a", "b", dict.fromkeys(columns, 0.5))
    one, _ = design(same[:, :1]).variance("a", "b", {COLUMN: 1.0})
    # The same items in a second language add no information ...
    assert together == pytest.approx(one)
    # ... and other items do: two blocks of their own.
    blocks = [design(same[:, [i]], (column,)).blocks[0] for i, column in enumerate(columns)]
    apart, _ = Items(("a", "b"), tuple(blocks)).variance("a", "b", dict.fromkeys(columns, 0.5))
    assert apart == pytest.approx(one / 2)


def test_items_are_those_of_the_predictions():
    digits = {"a": {"en": "1100", "qbe": "1000"}, "b": {"en": "1111", "qbe": "1010"}}
    marks = {(arm, 0, code): row for arm, rows in digits.items() for code, row in rows.items()}
    (parallel,) = items(GivenResults(right_or_wrong(marks))).blocks
    assert parallel.columns == (("nli", "en"), COLUMN)
    assert parallel.metric[1, 0].tolist() == [100, 50]
    table = right_or_wrong(marks, ids=lambda language, i: f"{language}-{i}")
    blocks = items(GivenResults(table)).blocks
    assert sorted(b.columns for b in blocks) == [(("nli", "en"),), (COLUMN,)]
    wrong = GivenResults(right_or_wrong(marks))
    wrong.scores["value"] += 1
    with pytest.raises(ValueError, match=r"101\.000|51\.000.*method='seeds'"):
        items(wrong)


def test_a_corpus_metric_varies_as_it_does_when_items_are_drawn_again():
    """F1 of sentences with very different numbers of chunks; a mean of their F1 is another one."""
    random = np.random.default_rng(0)
    denominator = random.integers(2, 30, size=300).astype(float)
    numerator = 100 * denominator * random.random(300)
    block = Block((COLUMN,), *(sums.reshape(1, 1, 1, -1) for sums in (numerator, denominator)))
    assert block.metric.item() == pytest.approx(numerator.sum() / denominator.sum())
    drawn = random.integers(300, size=(4000, 300))
    metric = numerator[drawn].sum(axis=1) / denominator[drawn].sum(axis=1)
    assert (block.influence**2).sum() == pytest.approx(metric.var(), rel=0.05)


# Task, and by example: id, gold, prediction, score.
PREDICTIONS = {
    "nli": [("0", "entailment", "entailment", 1), ("1", "neutral", "contradiction", 0)],
    "pos": [("0", "NOUN VERB .", "NOUN NOUN .", 2 / 3), ("1", "NOUN", "VERB", 0)],
    "ner": [("0", "B-PER I-PER O B-LOC", "B-PER I-PER B-LOC O", 0.5), ("1", "O", "B-PER", 0)],
    "xquad": [("0", '["the red cat", "cat"]', "a cat sat", 2 / 3), ("1", '["dog"]', "dog", 1)],
    "mlqa": [("0", '["der Hund"]', "Hund", 0), ("1", '["Katze"]', "die Katze schläft", 0)],
    "linking": [("0", '["x"]', json.dumps(["z", "x"]), 0.5), ("1", '["y"]', json.dumps(["y"]), 1)],
    "bucc": [("a", "e1", "e1", 1), ("b", "e2", "", 0), ("c", "", "e4", 0), ("c", "e5", "e6", 0)],
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_sums_of_items_give_the_metric(name):
    table = pd.DataFrame(PREDICTIONS[name], columns=["example_id", "gold", "pred", "score"])
    table.index += 7  # as a part of the table of all languages
    task = get(name)
    language = "de" if name == "mlqa" else "en"
    terms = task.type.terms(task, table, language)
    value = task.type.metrics(task, table, language)[task.metric]
    assert 0 < value < 100
    assert terms["numerator"].sum() / terms["denominator"].sum() == pytest.approx(value)


def test_pictures_are_items_with_all_their_captions():
    ranks = {"example_id": ["p/0", "p/1", "q/0", "p", "q"], "rank": [1, 3, 2, 1, 9]}
    table = pd.DataFrame(ranks | {"direction": ["text to image"] * 3 + ["image to text"] * 2})
    task = get("captions")
    terms = task.type.terms(task, table, "en")
    assert set(terms["item"]) == {"p", "q"}
    sums = terms.groupby("part")[["numerator", "denominator"]].sum()
    assert (sums["numerator"] / sums["denominator"]).mean() == pytest.approx(125 / 3)
    assert task.type.metrics(task, table, "en")["r@1"] == pytest.approx(125 / 3)
