"""Selecting the best of several arms: what is luck, and what a cross-validated selection keeps."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from analysis.fakes import FakeResults

from xltkit.analysis.selection import CROSS_VALIDATED, IN_SAMPLE, select_arms

ARMS = ("none", "a", "b", "c", "d", "e")
NAMES = {"nli": ("entailment", "neutral"), "paraphrase": ("paraphrase", "different")}


def predictions(rate, seeds=5, items=400):
    """Predictions that are right with the probability ``rate`` of an arm, task and language."""
    random = np.random.default_rng(0)
    tables = []
    for task, arm, language, seed in product(NAMES, ARMS, ("en", "qad"), range(seeds)):
        right = random.random(items) < rate(arm, task, language)
        table = pd.DataFrame({"pred": np.where(right, *NAMES[task]), "score": right * 1.0})
        table["example_id"] = [f"test-{i}" for i in range(items)]
        run = {"arm": arm, "seed": seed, "task": task, "language": language}
        tables.append(table.assign(**run, gold=NAMES[task][0]))
    return pd.concat(tables, ignore_index=True)


def select(table, source="en"):
    return select_arms(FakeResults(table, source), "none")


def gain(table, rule, scored):
    is_row = (table["rule"] == rule) & (table["scored"] == scored) & (table["task"] == "all")
    return table.loc[is_row, "gain"].item()


def test_among_equal_arms_the_selection_gains_in_sample_alone():
    table = select(predictions(lambda *_: 0.6, seeds=3, items=300))
    assert gain(table, "best", IN_SAMPLE) > 0.7
    assert abs(gain(table, "best", CROSS_VALIDATED)) < gain(table, "best", IN_SAMPLE)
    assert table["oracle"].tolist() == (table["rule"] != "source").tolist()


def test_a_true_gain_is_found_by_every_rule_that_could_see_it():
    def rate(arm, task, language):
        return 0.8 if arm == {"nli": "b", "paraphrase": "c"}[task] else 0.6

    table = select(predictions(rate, items=2000))
    assert gain(table, "best", IN_SAMPLE) == pytest.approx(20, abs=2.5)
    assert gain(table, "best", CROSS_VALIDATED) == pytest.approx(20, abs=2.5)
    assert gain(table, "source", CROSS_VALIDATED) == pytest.approx(20, abs=2.5)
    assert gain(table, "fixed", CROSS_VALIDATED) == pytest.approx(10, abs=2.5)
    assert set(table.loc[table["rule"] == "best", "arms"]) == {"b", "c", ""}


def test_the_luck_of_a_seed_is_no_gain_either():
    """One run of one arm is far above the others, and only the in-sample selection keeps that."""
    table = predictions(lambda *_: 0.6, seeds=3)
    lucky = (table["arm"] == "d") & (table["seed"] == 0)
    table.loc[lucky, "pred"] = table.loc[lucky, "gold"]
    table.loc[lucky, "score"] = 1.0
    selection = select(table)
    assert gain(selection, "best", IN_SAMPLE) > 10
    assert abs(gain(selection, "best", CROSS_VALIDATED)) < 3


def test_the_source_language_can_mislead():
    def rate(arm, task, language):
        if arm == "a":
            return 0.9 if language == "en" else 0.4
        return 0.6

    assert gain(select(predictions(rate)), "source", CROSS_VALIDATED) == pytest.approx(-20, abs=3)


def test_two_arms_leave_nothing_to_select():
    table = predictions(lambda *_: 0.5, seeds=1, items=10)
    with pytest.raises(ValueError, match="two or more beside the baseline"):
        select(table[table["arm"].isin(["none", "a"])])


def test_a_task_without_english_takes_what_is_best_there_over_the_others():
    def rate(arm, task, language):
        return 0.8 if arm == "c" and (task == "nli" or language == "qad") else 0.5

    table = predictions(rate, items=1000)
    table = table[(table["task"] != "paraphrase") | (table["language"] != "en")]
    selection = select(table)
    by_source = selection[(selection["rule"] == "source") & (selection["task"] != "all")]
    assert set(by_source["arms"]) == {"c"}
    table = table[table["task"] == "paraphrase"]
    assert set(select(table)["rule"]) == {"fixed", "best"}
    with pytest.raises(ValueError, match="nothing transfers"):
        select(table, source="qad")
