"""Scaling laws: how a score grows with data, fitted and tested on a held-out size, or refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from xltkit.analysis.intervals import LEVEL, difference, holm, t_interval
from xltkit.keys import choose

FEWEST = 5  # data sizes needed to fit a law with three parameters; one of them is held out


def _power(x: np.ndarray, start: float, slope: float, exponent: float) -> np.ndarray:
    """``a + b M^alpha``, written so that alpha = 0 is a straight line in log M."""
    growth = np.expm1(exponent * x) / exponent if abs(exponent) > 1e-6 else x
    return start + slope * growth


def _log_power(x: np.ndarray, start: float, slope: float, exponent: float) -> np.ndarray:
    """``(log(A D^alpha))^beta``, with log A as the ``start``, from the smallest size on."""
    return np.maximum(0.0, start + slope * x) ** exponent


# By name: the function of x = log(size / smallest size), an initial guess, and the bounds of the
# parameters, of which the last is the exponent.
FORMS = {
    "power": (_power, lambda y: (y[0], max(0.1, y[-1] - y[0]), -0.3), ((0, 0, -3), (100, 1000, 1))),
    "log power": (
        _log_power,
        lambda y: (max(1.0, y[0]), max(0.1, y[-1] - y[0]), 1.0),
        ((0, 0, 0.05), (1e4, 1e4, 8)),
    ),
}


def law(table: pd.DataFrame, form: str = "power") -> dict[str, Any]:
    """A scaling law of ``value`` (points) in ``size`` (rows or tokens), and how it extrapolates.

    The table has one row per ``size`` and ``seed``; duplicates are averaged. Forms:

    - ``power``: ``a + b M^alpha`` with ``b alpha > 0``. With 0 < alpha <= 1 it is the law of Ahuja
      et al. 2022 for few-shot rows; below 0 it saturates at ``a``; at 0 it is linear in log M.
    - ``log power``: ``(log(A D^alpha))^beta``, the law of Isik et al. 2024 for translation quality
      by pretraining tokens; the exponent is beta.

    The law is fitted by least squares to means over seeds; the ``exponent`` has a jackknife t
    interval over seeds (``low``, ``high``). Then the largest size is held out: ``off`` is the
    prediction of the law fitted to the other sizes minus the measured score, in points.
    ``off_constant`` is the same error for repeating the score of the second largest size,
    ``off_line`` for a straight line in log M.

    ``refused`` says why no law is given; the other columns are then NaN. Reasons are fewer than
    five sizes; a score that does not rise from the smallest to the largest size (95 % interval over
    seeds); one that falls significantly in between, as with misaligned pretraining; and an exponent
    at the bounds of the search, as for a score that rises once and then stays flat.
    """
    function, guess, limits = FORMS[choose("form", form, FORMS)]
    scores = table.pivot_table("value", "seed", "size")
    sizes = scores.columns.to_numpy(dtype=float)
    row = {"form": form, "sizes": len(sizes), "seeds": len(scores), "refused": _refusal(scores)}
    missing = dict.fromkeys(["exponent", "low", "high", "off", "off_constant", "off_line"], np.nan)
    if row["refused"]:
        return row | missing
    x = np.log(sizes / sizes[0])

    def fit(y: np.ndarray) -> np.ndarray:
        places = x[: len(y)]
        found = least_squares(lambda p: function(places, *p) - y, guess(y), bounds=limits)
        return found.x

    def estimate(seeds: pd.Index) -> float:
        return fit(scores.loc[seeds].mean().to_numpy())[-1]

    exponent, low, high = _jackknife(estimate, scores.index)
    lowest, highest = (limit[-1] for limit in limits)
    if np.isclose(exponent, [lowest, highest], atol=0.01).any():
        return row | missing | {"refused": f"no exponent from {lowest} to {highest} fits"}
    row |= {"exponent": exponent, "low": low, "high": high}
    means = scores.mean().to_numpy()
    seen, last = means[:-1], means[-1]
    line = np.polyfit(x[:-1], seen, 1)
    row["off"] = function(x[-1:], *fit(seen))[0] - last
    return row | {"off_constant": seen[-1] - last, "off_line": np.polyval(line, x[-1]) - last}


def _refusal(scores: pd.DataFrame) -> str:
    """Why no law is fitted to scores (seeds x sizes); empty if one is."""
    if len(scores.columns) < FEWEST:
        return f"{len(scores.columns)} sizes; a law needs {FEWEST}"
    if len(scores) < 2:
        return "one seed; an interval needs two"
    values = scores.to_numpy()
    rise = difference(values[:, -1] - values[:, 0])
    if not np.nan_to_num(rise["low"], nan=rise["difference"]) > 0:  # NaN: all seeds rise alike
        return "it does not rise"
    steps = [difference(step) for step in np.diff(values).T]
    is_sure = holm([step["p"] for step in steps]) < 1 - LEVEL
    for size, step, sure in zip(scores.columns[1:], steps, is_sure, strict=True):
        if sure and step["difference"] < 0:
            return f"it falls at {size:,}, by {-step['difference']:.1f} points"
    return ""


def _jackknife(
    estimate: Callable[[pd.Index], float], seeds: pd.Index
) -> tuple[float, float, float]:
    """An estimate from all seeds, with a t interval from leaving out each seed in turn."""
    whole = estimate(seeds)
    without = np.array([estimate(seeds.drop(seed)) for seed in seeds])
    return whole, *t_interval(len(seeds) * whole - (len(seeds) - 1) * without)


def rows_saved(alone: pd.DataFrame, transferred: pd.DataFrame) -> pd.DataFrame:
    """How many target-language labels transfer saves (effective data, Hernandez et al. 2021).

    Both tables have ``size`` (labels in the target language), ``seed`` and ``value``, for training
    on these labels ``alone`` and with transfer; size 0 is zero-shot. ``equivalent`` is the number
    of labels with which training alone reaches the score with transfer (means over seeds,
    interpolated in log size); ``saved`` is ``equivalent`` minus ``size``, with a jackknife t
    interval over seeds. All are NaN outside the curve: for a score above or below those of all
    sizes, and at the largest size. Only a zero-shot score below the curve counts as 0 labels.
    """
    curves = alone.pivot_table("value", "seed", "size")
    with_transfer = transferred.pivot_table("value", "seed", "size")
    rows = []
    for size, values in with_transfer.items():

        def equivalent(seeds: pd.Index, size: float = size, values: pd.Series = values) -> float:
            curve = curves.loc[seeds].mean().cummax()  # monotone: a dip is noise
            curve = curve[~curve.duplicated()]
            logs = np.log(curve.index.to_numpy(dtype=float))
            if size >= curves.columns[-1]:
                return np.nan
            lowest = np.nan if size else -np.inf
            reached = np.interp(values.loc[seeds].mean(), curve, logs, left=lowest, right=np.nan)
            return float(np.exp(reached))

        known, low, high = _jackknife(equivalent, values.index)
        row = {"size": size, "equivalent": known, "saved": known - size}
        rows.append(row | {"low": low - size, "high": high - size, "seeds": len(values)})
    return pd.DataFrame(rows)
