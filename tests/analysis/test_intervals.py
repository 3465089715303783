"""Intervals and p values of a few numbers, by hand."""

import numpy as np
import pytest
from scipy import stats

from xltkit.analysis.intervals import difference, holm, t_interval, t_test


def test_t_interval_of_three_values():
    # mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653
    assert t_interval([1, 2, 3]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert np.isnan(t_interval([5])).all() and np.isnan(t_interval([5, 5, 5])).all()


def test_the_degrees_of_freedom_grow_with_the_variance_of_items():
    # seeds: variance 4 on 1 degree of freedom; with 3 more it is 7 on 7 / 4 of one
    row = difference([3, -1], 3.0)
    half = stats.t.ppf(0.975, 7 / 4) * 7**0.5
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((1, 1 - half, 1 + half))
    assert row["p"] == pytest.approx(2 * stats.t.sf(1 / 7**0.5, 7 / 4))
    assert row["smallest_effect"] == pytest.approx(half + stats.t.ppf(0.8, 7 / 4) * 7**0.5)
    without = difference([1, 2, 3])
    assert (without["low"], without["high"]) == t_interval([1, 2, 3])


def test_nothing_that_varies_gives_no_interval():
    assert np.isnan(t_test(1.0, 0.0, 2)["low"]) and np.isnan(difference([2.0, 2.0])["p"])


def test_holm_multiplies_by_the_number_of_tests_left():
    corrected = holm([0.01, 0.04, 0.03, np.nan])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, np.nan], nan_ok=True)
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert np.isnan(holm([np.nan])).all()
