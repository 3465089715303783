"""Figures show the numbers they say, in every language's name."""

import subprocess
import sys
import warnings

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from analysis.fakes import VALUES, Given

import xltkit as xlt
from xltkit.analysis.claims import VERDICTS
from xltkit.analysis.intervals import t_interval
from xltkit.batch import parameters
from xltkit.data.languages import LANGUAGES
from xltkit.data.microworld.languages import LANGUAGES as MICRO
from xltkit.explore.plots import claims, differences, dots, heatmap, interval_caption, show


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("codes", [[c for c in LANGUAGES if c not in MICRO], list(MICRO)])
def test_every_name_of_a_language_can_be_read(codes):
    codes = ["en", *[c for c in codes if c != "en"]]
    assert len(codes) in (92, len(MICRO))
    results = Given({("none", "nli", code): [50, 51, 53] for code in codes})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Glyph 2325 missing from font(s) DejaVu Sans."
        dots(results, "nli", color="family").figure.canvas.draw()
        figure = heatmap(results)
        figure.canvas.draw()
    figure.suptitle("\u0915\u092e\u0932")  # a missing one would have been noticed
    with pytest.warns(UserWarning, match="missing from"):
        figure.canvas.draw()


def drawn(ax):
    """All dots, and the ends of all bars with where they stand."""
    bars, dots = ax.collections[::2], ax.collections[1::2]
    points = {tuple(point) for part in dots for point in part.get_offsets().tolist()}
    return points, [bar.ravel().tolist() for part in bars for bar in part.get_segments()]


def test_a_dot_is_a_mean_and_a_bar_its_interval():
    points, bars = drawn(dots(Given(), "nli", arms=["none"]))
    low, high = t_interval([80, 82, 84])
    assert {(91, 0), (82, 1), (61, 2)} == points and [low, 1, high, 1] in bars  # en, de, sw
    two = dots(Given({key: values[:2] for key, values in VALUES.items()}), "nli", arms=["none"])
    points, bars = drawn(two)  # no interval of two seeds: every run is shown
    assert {(90, 0), (91, 0), (80, 1), (82, 1), (60, 2)} == points and not any(bars)
    with pytest.raises(ValueError, match=r"no task 'nil'.*nli"):
        dots(Given(), "nil")


def test_differences_draw_the_interval_of_the_comparison():
    results = Given()
    row = xlt.compare(results, "none").query("languages == 'transfer'").iloc[0]
    points, bars = drawn(differences(results, "none"))
    assert (row["difference"], 0) in points and [row["low"], 0, row["high"], 0] in bars
    assert interval_caption(results) == "dot: mean of 3 seeds; bar: 95 % t interval over seeds"
    assert interval_caption(results, "seeds").endswith("paired difference over seeds")


def test_claims_stand_beside_what_was_measured():
    row = {"run": "r", "difference": 2.0, "low": 1.0, "high": 3.0, "confirmed": "not confirmed"}
    row |= {"measured_on": "microworld"}
    rows = [row | {"claim": verdict, "verdict": verdict, "figure": 5.0} for verdict in VERDICTS]
    ax = claims(pd.DataFrame(rows))
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names == list(VERDICTS[:3])  # what no run measures is left out
    hollow = next(line for line in ax.lines if line.get_label() == "not confirmed")
    assert hollow.get_fillstyle() == "none" and hollow.get_xdata().tolist() == [5, 5, 5]
    rows.append(
        rows[0] | {"run": "s", "measured_on": "xtreme-small"}
    )  # measured twice: it says where
    names = [tick.get_text() for tick in claims(pd.DataFrame(rows)).get_yticklabels()]
    assert {"agrees (microworld)", "agrees (xtreme-small)"} <= set(names)


def test_figures_leave_the_defaults_of_the_session_alone():
    code = "from matplotlib import rcParams; before = dict(rcParams); import xltkit.explore.widgets"
    check = "assert dict(rcParams) == before"
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"{code}; {check}"], check=True)
    before = dict(plt.rcParams)
    ax = dots(Given(), "nli")
    assert dict(plt.rcParams) == before
    assert ax.xaxis.get_gridlines()[0].get_visible() and not before["axes.grid"]


@pytest.mark.parametrize("name", ["_a", "$x_{", "costs $5 and $6", "x $5^$ y"])
def test_figures_write_names_as_they_are_whatever_the_settings_of_a_person(name):
    values = {(arm, *key[1:]): value for key, value in VALUES.items() for arm in (key[0], name)}
    with plt.rc_context({"text.usetex": True, "font.size": 40}):
        ax = dots(Given(values), "nli", arms=["none", name])
        show(ax, caption="", alt="")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["none", name]


def test_a_smoke_run_is_marked(monkeypatch):
    monkeypatch.setattr(parameters, "smoke", True)
    figure = dots(Given(), "nli").figure
    show(figure, caption="caption", alt="alt")
    assert [text.get_text() for text in figure.texts] == ["SMOKE"]
