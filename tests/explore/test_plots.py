"""Figures show the numbers they say, in every language's name."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import xltkit as xlt
from xltkit.analysis.intervals import t_interval
from xltkit.data.languages import LANGUAGES, columns
from xltkit.data.microworld.languages import LANGUAGES as MICRO
from xltkit.explore.plots import MARKERS, _style, bars, differences, dots, heatmap
from xltkit.explore.plots_runs import LINES, curve, gap, plane, seeds
from xltkit.studies.results import Results
from xltkit.training.phases import Target


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


class Given(Results):
    """Results of which the scores are given: (arm, task, language) -> one value a seed."""

    def __init__(self, values):
        rows = [
            {"arm": arm, "seed": seed, "task": task, "language": code, "base_language": code,
             "is_source": code == "en", "value": float(value), "n": 100, "metric": "accuracy",
             "main": True, "chance": 33.3}
            for (arm, task, code), by_seed in values.items()
            for seed, value in enumerate(by_seed)
        ]  # fmt: skip
        table = pd.DataFrame(rows)
        self.scores = table.join(columns(sorted(table["language"].unique())), on="language")
        self.degenerate = table[["arm", "seed", "task"]].drop_duplicates().assign(degenerate=False)
        arms = dict.fromkeys(table["arm"])
        self.study = SimpleNamespace(arms=arms, source="en", runs=())


VALUES = {
    ("none", "nli", "en"): [90, 91, 92],
    ("none", "nli", "de"): [80, 82, 84],
    ("none", "nli", "sw"): [60, 60, 63],
    ("text", "nli", "en"): [91, 92, 93],
    ("text", "nli", "de"): [83, 84, 88],
    ("text", "nli", "sw"): [61, 61, 64],
}


def drawn(ax, marker="o"):
    """The points of markers of a kind, without those of the legend."""
    points = [line.get_xydata() for line in ax.lines if line.get_marker() == marker]
    return np.concatenate([p for p in points if len(p)])


@pytest.mark.parametrize("codes", [[c for c in LANGUAGES if c not in MICRO], list(MICRO)])
def test_every_name_of_a_language_can_be_read(codes):
    codes = ["en", *[c for c in codes if c != "en"]]
    assert len(codes) in (56, len(MICRO))  # the 50 of XTREME-R, and those of captions
    results = Given({("none", "nli", code): [50, 51, 53] for code in codes})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Glyph 2325 missing from font(s) DejaVu Sans."
        for draw in (lambda: dots(results, "nli"), lambda: heatmap(results), lambda: gap(results)):
            draw().figure.canvas.draw()


def test_a_missing_glyph_would_have_been_noticed():
    ax = plt.figure().add_subplot()
    ax.set_title("\u0915\u092e\u0932")
    with pytest.warns(UserWarning, match="missing from"):
        ax.figure.canvas.draw()


def test_every_run_is_a_dot_and_failures_are_crossed():
    results = Given(VALUES)
    results.degenerate.loc[results.degenerate.index[1], "degenerate"] = True  # none, seed 1
    ax = seeds(results, "nli")
    found = drawn(ax)
    assert len(found) == 2 * 3 * 2  # arms, seeds, source and transfer
    assert sorted(found[:, 0])[:3] == [70, 71, 72] and 93 in found[:, 0]
    crosses = drawn(ax, "x")
    assert sorted(crosses[:, 0]) == [71, 91] and len(set(crosses[:, 1])) == 1
    assert "accuracy" in ax.get_xlabel() and "points" in ax.get_xlabel()


def test_gaps_stand_over_the_amount_of_text():
    ax = gap(Given(VALUES))
    points = {round(10**x, 1): y for x, y in drawn(ax)}
    assert points == {66.6: pytest.approx(9), 1.6: pytest.approx(30)}  # German, Swahili
    spans = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 2]
    assert any(span == pytest.approx(t_interval([10, 9, 8])) for span in spans)
    assert "GiB" in ax.get_xlabel()
    none = gap(Given(VALUES | {("none", "nli", "yo"): [50, 50, 50]}))
    assert none.get_xticklabels()[0].get_text() == "0"
    by_class = gap(Given({("a", "nli", "en"): [90], ("a", "nli", "qad"): [80]}))
    assert "class" in by_class.get_xlabel() and drawn(by_class)[0][1] == 10
    with pytest.raises(ValueError, match=r"nil.*nli"):
        gap(Given(VALUES), "nil")
    with pytest.raises(ValueError, match="'en'"):
        gap(Given({("a", "nli", "de"): [90]}))


def test_the_plane_shows_source_and_transfer():
    ax = plane(Given(VALUES))
    assert drawn(ax, MARKERS[0]).tolist() == [[91, pytest.approx((70 + 71 + 73.5) / 3)]]
    two = plane(Given({key: values[:2] for key, values in VALUES.items()}))
    assert len(drawn(two, MARKERS[0])) == 2  # no interval of two seeds: every run is shown


def test_differences_draw_the_interval_of_the_method_they_name():
    results = Given(VALUES)
    ax = differences(results, "none", method="seeds")
    row = xlt.compare(results, "none").query("languages == 'transfer'").iloc[0]
    spans = [list(line.get_xdata()) for line in ax.lines]
    assert [row["low"], row["high"]] in spans
    assert bars(results) == "dot: mean of 3 seeds; bar: 95 % t interval over seeds"
    assert bars(results, "both").endswith("over seeds and examples")


def test_no_two_of_many_arms_differ_by_colour_alone():
    arms = list("abcdef")
    style = _style(arms, "a")
    assert len({style[arm]["marker"] for arm in arms}) == len(arms)
    assert style["a"]["color"] == "#333333"
    assert len(set(LINES[2:])) == len(LINES) - 2  # of lines: from the fourth on


@pytest.fixture
def logged(tmp_path):
    """Results of three seeds of two arms, with the losses that their stages wrote."""
    results = Given(VALUES)
    cells = []
    for arm, shift in (("none", 0.0), ("text", 0.5)):
        for seed in range(3):
            name = f"{arm}{seed}"
            (tmp_path / name).mkdir()
            lines = [{"step": s, "loss": 2.0 + shift + seed - s / 40} for s in (20, 40)]
            (tmp_path / name / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
            stage = SimpleNamespace(phase=Target("nli"), key=name)
            last = SimpleNamespace(chain=[None, stage])
            cells.append(SimpleNamespace(arm=arm, seed=seed, task="nli", stage=last))
    results.study.runs = tuple(cells)
    results.store = SimpleNamespace(path=lambda key: tmp_path / key)
    return results


def test_learning_curves_are_means_with_a_band(logged):
    ax = curve(logged)
    lines = [line.get_xydata().tolist() for line in ax.lines if len(line.get_xdata())]
    assert lines == [[[20, 2.5], [40, 2.0]], [[20, 3.0], [40, 2.5]]]
    band = ax.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx(
        (t_interval([1, 2, 3])[0], t_interval([1.5, 2.5, 3.5])[1])
    )
    assert len(curve(logged, arms=["text"]).collections) == 1
    with pytest.raises(ValueError, match=r"intermediate.*target"):
        curve(logged, phase="intermediate")
