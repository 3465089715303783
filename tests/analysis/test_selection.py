"""Selecting the best of several arms: what is luck, and what a cross-validated selection keeps."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from analysis.fakes import labelled

from xltkit.analysis.selection import CROSS_VALIDATED, IN_SAMPLE, select_arms
from xltkit.studies.given import GivenResults

ARMS = ("none", "a", "b", "c", "d", "e")
NAMES = {"nli": ("entailment", "neutral"), "paraphrase": ("paraphrase", "different")}


def predictions(rate, seeds=5, items=400):
    """Predictions that are right with the probability ``rate`` of an arm, task and language."""
    random = np.random.default_rng(0)
    tables = []
    for task, arm, language, seed in product(NAMES, ARMS, ("en", "qad"), range(seeds)):
        right = random.random(items) < rate(arm, task, language)
        labels = {language: np.where(right, *NAMES[task])}
        tables.append(labelled([NAMES[task][0]] * items, labels, arm, seed, task))
    return pd.concat(tables, ignore_index=True)


def select(table, source="en"):
    """The table of the selection, and its gain over all tasks by rule."""
    selection = select_arms(GivenResults(table, source), "none")
    overall = selection[selection["task"] == "all"]
    return selection, overall.set_index(["rule", "scored"])["difference"]


def test_among_equal_arms_the_selection_gains_in_sample_alone():
    table, gains = select(predictions(lambda *_: 0.6, seeds=3, items=300))
    assert gains["best", IN_SAMPLE] > 0.7
    assert abs(gains["best", CROSS_VALIDATED]) < gains["best", IN_SAMPLE]
    assert table["oracle"].tolist() == (table["rule"] != "source").tolist()


def test_a_true_gain_is_found_by_every_rule_that_could_see_it():
    best = {("b", "nli"), ("c", "paraphrase")}
    table = predictions(lambda arm, task, _: 0.8 if (arm, task) in best else 0.6, items=2000)
    table, gains = select(table)
    assert gains[["best", "source"]].tolist() == pytest.approx([20] * 3, abs=2.5)
    assert gains["fixed", CROSS_VALIDATED] == pytest.approx(10, abs=2.5)
    assert set(table.loc[table["rule"] == "best", "arms"]) == {"b", "c", ""}


def test_the_luck_of_a_seed_is_no_gain_either():
    """One run of one arm is far above the others, and only the in-sample selection keeps that."""
    table = predictions(lambda *_: 0.6, seeds=3)
    lucky = (table["arm"] == "d") & (table["seed"] == 0)
    table["pred"] = table["pred"].mask(lucky, table["gold"])
    table["score"] = table["score"].mask(lucky, 1.0)
    _, gains = select(table)
    assert gains["best", IN_SAMPLE] > 10 and abs(gains["best", CROSS_VALIDATED]) < 3


def test_the_source_language_can_mislead():
    misleading = {"en": 0.9, "qad": 0.4}
    _, gains = select(predictions(lambda arm, _, code: misleading[code] if arm == "a" else 0.6))
    assert gains["source", CROSS_VALIDATED] == pytest.approx(-20, abs=3)


def test_a_task_without_english_takes_what_is_best_there_over_the_others():
    table = predictions(lambda arm, *_: 0.8 if arm == "c" else 0.5, items=1000)
    table = table.query("task != 'paraphrase' or language != 'en'")
    selection, _ = select(table)
    assert set(selection.query("rule == 'source' and task != 'all'")["arms"]) == {"c"}
    table = table[table["task"] == "paraphrase"]
    assert set(select(table)[0]["rule"]) == {"fixed", "best"}
    with pytest.raises(ValueError, match="nothing transfers"):
        select(table, source="qad")
    with pytest.raises(ValueError, match="two or more beside the baseline"):
        select(table[table["arm"].isin(["none", "a"])])
