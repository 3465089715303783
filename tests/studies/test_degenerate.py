"""Runs that learned nothing are recognized."""

from __future__ import annotations

import pandas as pd
from analysis.fakes import FakeResults, right_or_wrong

from xltkit.studies.results import degenerate_runs


def test_degenerate_runs_are_found():
    marks = {("a", 0, "en"): "1" * 60, ("b", 0, "en"): "10" * 30, ("c", 0, "en"): "110" * 20,
             ("d", 0, "en"): "1100" * 15, ("d", 0, "qbe"): "1" * 60}  # fmt: skip
    table = FakeResults(right_or_wrong(marks, task="paws-x")).degenerate.set_index("arm")
    assert table["degenerate"].to_dict() == {"a": False, "b": True, "c": False, "d": True}
    assert table.loc["b", "why"] == "one prediction for everything"
    assert "50.0" in table.loc["d", "why"]


def test_chance_of_tags_is_the_most_frequent_one():
    table = pd.DataFrame({
        "arm": "a", "seed": 0, "task": "pos", "language": "en", "example_id": ["0", "1"],
        "gold": ["NOUN NOUN VERB", "NOUN DET"], "pred": ["NOUN NOUN NOUN", "NOUN NOUN"],
        "score": [2 / 3, 1 / 2],
    })  # fmt: skip
    results = FakeResults(table)
    floor = results.scores.assign(metric="majority", value=60.0)
    floor["main"] = False
    runs = degenerate_runs(pd.concat([results.scores, floor]), table)
    assert runs["degenerate"].item() and "60.0" in runs["why"].item()


def test_an_untrained_search_has_no_runs_to_judge():
    predictions = right_or_wrong({("a", 0, "en"): "0000"}).assign(task="retrieval")
    assert FakeResults(predictions).degenerate.empty
