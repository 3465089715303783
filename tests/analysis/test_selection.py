"""Picking the best of several arms: what is luck, found by halving the test items."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from xltkit.analysis.selection import halves, picked

ARMS = ("none", "a", "b", "c", "d", "e")


def made_up(rate, seeds=5, items=400, languages=("en", "qad"), tasks=("nli", "paraphrase")):
    """Results whose accuracy by arm, task and language is known: right with that probability."""
    random = np.random.default_rng(0)
    tables = []
    for task in tasks:
        names = ("entailment", "neutral") if task == "nli" else ("paraphrase", "different")
        for arm in ARMS:
            for language in languages:
                for seed in range(seeds):
                    right = random.random(items) < rate(arm, task, language)
                    tables.append(
                        pd.DataFrame(
                            {
                                "arm": arm,
                                "seed": seed,
                                "task": task,
                                "language": language,
                                "example_id": [f"test-{i}" for i in range(items)],
                                "gold": names[0],
                                "pred": np.where(right, *names),
                                "score": right * 1.0,
                            }
                        )
                    )
    study = SimpleNamespace(arms=dict.fromkeys(ARMS), source="en")
    return SimpleNamespace(study=study, predictions=pd.concat(tables, ignore_index=True))


def gain(table, rule, scored, task="all"):
    mine = table[(table["rule"] == rule) & (table["scored"] == scored) & (table["task"] == task)]
    return mine["gain"].item()


def test_halves_are_the_same_items_in_every_arm_and_score_as_the_metric_does():
    results = made_up(lambda *_: 0.7, seeds=1)
    table = halves(results)
    assert len(table) == len(ARMS) * 2 * 2 * 2
    whole = results.predictions.groupby(["arm", "task", "language"])["score"].mean() * 100
    mean = table.groupby(["arm", "task", "language"])["value"].mean()
    assert np.abs(mean - whole).max() < 2  # the halves are nearly of one size


def test_among_equal_arms_the_naive_pick_gains_and_the_honest_one_does_not():
    table = picked(made_up(lambda *_: 0.6, seeds=3, items=300), "none")
    assert gain(table, "best", "naive") > 0.7
    assert abs(gain(table, "best", "honest")) < gain(table, "best", "naive")
    assert table["oracle"].tolist() == (table["rule"] != "source").tolist()


def test_a_true_gain_is_found_by_every_rule_that_could_see_it():
    def rate(arm, task, language):
        helps = {"nli": "b", "paraphrase": "c"}[task]
        return 0.8 if arm == helps else 0.6

    table = picked(made_up(rate, items=2000), "none")
    for rule, scored in [("best", "naive"), ("best", "honest"), ("source", "honest")]:
        assert gain(table, rule, scored) == pytest.approx(20, abs=2.5)
    assert gain(table, "fixed", "honest") == pytest.approx(10, abs=2.5)
    assert set(table.loc[table["rule"] == "best", "arms"]) == {"b", "c", ""}


def test_the_luck_of_a_seed_is_no_gain_either():
    """One run of one arm is far above the others: the naive pick keeps that, the honest not."""
    results = made_up(lambda *_: 0.6, seeds=3, items=400)
    lucky = (results.predictions["arm"] == "d") & (results.predictions["seed"] == 0)
    results.predictions.loc[lucky, "pred"] = results.predictions.loc[lucky, "gold"]
    table = picked(results, "none")
    assert gain(table, "best", "naive") > 10
    assert abs(gain(table, "best", "honest")) < 3


def test_the_source_language_can_mislead():
    def rate(arm, task, language):
        if language == "en":
            return 0.9 if arm == "a" else 0.6
        return 0.4 if arm == "a" else 0.6

    table = picked(made_up(rate), "none")
    assert gain(table, "source", "honest") == pytest.approx(-20, abs=3)


def test_two_arms_leave_nothing_to_pick():
    results = made_up(lambda *_: 0.5, seeds=1, items=10)
    results.study.arms = {"none": None, "a": None}
    with pytest.raises(ValueError, match="two or more beside the baseline"):
        picked(results, "none")


def test_a_task_that_says_nothing_in_english_takes_what_is_best_there_over_the_others():
    """Retrieval of English by English is 100 in every arm, and some tasks have no English."""

    def rate(arm, task, language):
        return 0.8 if arm == "c" and (task == "nli" or language == "qad") else 0.5

    results = made_up(rate, items=1000)
    mute = (results.predictions["task"] == "paraphrase") & (results.predictions["language"] == "en")
    results.predictions = results.predictions[~mute]
    table = picked(results, "none")
    assert set(table.loc[(table["rule"] == "source") & (table["task"] != "all"), "arms"]) == {"c"}
    results.predictions = results.predictions[results.predictions["task"] == "paraphrase"]
    assert set(picked(results, "none")["rule"]) == {"fixed", "best"}
    results.study.source = "qad"
    with pytest.raises(ValueError, match="nothing transfers"):
        picked(results, "none")
