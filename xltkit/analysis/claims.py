"""Claims from the literature (``claims.toml``), each compared with what finished runs measured."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xltkit.analysis.compare import per_seed
from xltkit.analysis.intervals import difference, holm
from xltkit.files import read
from xltkit.studies.saved import Saved
from xltkit.tasks import get

VERDICTS = ("agrees", "disagrees", "cannot tell at this size", "not measured")
UNCONFIRMED = "not confirmed"
NEGLIGIBLE = 1.0  # points; a gain that is surely smaller counts as none

CLAIMS = tomllib.loads(read(Path(__file__).with_name("claims.toml")))["claims"]
# The row of a claim that no run measures.
NOT_MEASURED = {"claim": "", "by": "", "figure": np.nan, "confirmed": "", "is_null": False}
NOT_MEASURED |= {"verdict": VERDICTS[-1], "p": np.nan}
DIFFERENCE = ["difference", "low", "high", "p", "smallest_effect", "n_seeds"]
# Columns of claims_table from one run: arms, difference, low and high in points, n_seeds and more;
# empty if the run lacks what a claim is about.
Measured = dict[str, Any]


def gain(
    saved: Saved, arm: Sequence[str], over: Sequence[str], tasks: Sequence[str] = (), kind: str = ""
) -> Measured:
    """One arm minus another: mean over the transfer languages, then over tasks (default: all).

    With a ``kind``, the gain in the tasks of this kind minus the gain in all others.
    """
    one, other = _first(arm, saved.arms), _first(over, saved.arms)
    names = list(saved.main["task"].unique())
    of_kind = [name for name in names if not kind or get(name).kind == kind]
    gains = _gains(saved, one, other, tasks or of_kind)
    if kind:
        gains = gains - _gains(saved, one, other, set(names).difference(of_kind))
    if gains.empty:
        return {}
    return {"arms": f"{one} - {other}"} | difference(gains.to_numpy())


def table_row(saved: Saved, table: str, where: dict[str, list[str]], arms: str) -> Measured:
    """A difference and its interval that the notebook itself computed: a row of a table."""
    rows = saved.tables.get(table, pd.DataFrame(columns=list(where)))
    rows = rows[rows.isin(where)[list(where)].all(axis=1)]
    return {} if rows.empty else {"arms": arms} | rows.iloc[0][DIFFERENCE].to_dict()


MEASURES = {function.__name__: function for function in (gain, table_row)}


def _first(names: Sequence[str], present: Iterable[str]) -> str:
    """The first name that is present (the real arm or its stand-in), or an empty string."""
    return next((name for name in names if name in present), "")


def _gains(saved: Saved, one: str, other: str, tasks: Iterable[str]) -> pd.Series:
    """One arm minus another by seed: means over the transfer languages, then over tasks."""
    table = saved.main[saved.main["task"].isin(tasks) & ~saved.main["is_source"]]
    by_seed = per_seed(table, ["arm"]).pivot(index="seed", columns="arm", values="value")
    by_seed = by_seed.reindex(columns=[one, other])
    return (by_seed[one] - by_seed[other]).dropna()


def verdict(low: float, high: float, is_null: bool = False) -> str:
    """What an interval says about a claim: agrees, disagrees, or cannot tell at this size.

    It agrees with a claimed gain if it lies above 0, and disagrees if it lies below 1 point
    (``NEGLIGIBLE``): any remaining gain is too small to matter. For a claim of no gain
    (``is_null``) it is the other way round. A missing interval decides nothing.
    """
    agrees, disagrees, undecided, _ = VERDICTS
    if low > 0:
        return disagrees if is_null else agrees
    if high < NEGLIGIBLE:
        return agrees if is_null else disagrees
    return undecided


def claims_table(runs: Mapping[str, Saved]) -> pd.DataFrame:
    """One row per claim and run that measures it; a claim that no run measures has a row, too.

    Columns are those of ``claims.toml``, the ``run``, ``suite`` and ``arms`` that measured it,
    ``measured_on`` (the suite and, if the run has only one, its task), those of ``difference``, the
    difference and its interval as text (``measured``), the ``verdict``, and ``p_holm`` over the
    rows that have a p value.
    """
    rows = []
    for claim in CLAIMS:
        about = {name: claim.get(name, default) for name, default in NOT_MEASURED.items()}
        measured_rows = []
        for name in [name for name in runs if name.startswith(claim["notebook"])]:
            row = MEASURES[claim["measure"]](runs[name], **claim["options"])
            if row:
                text = "{difference:+.1f} [{low:+.1f}, {high:+.1f}]".format_map(row)
                tasks = runs[name].main["task"].unique()
                suite = runs[name].suite
                on = f"{suite}, {tasks[0]}" if len(tasks) == 1 else suite
                row |= {"run": name, "suite": suite, "measured_on": on, "measured": text}
                row["verdict"] = verdict(row["low"], row["high"], about["is_null"])
                measured_rows.append(about | row)
        rows += measured_rows or [about]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]))


def verdict_shares(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The percentage of each verdict among the measured claims, one row per table."""
    counts = {name: table["verdict"].value_counts() for name, table in tables.items()}
    measured = pd.DataFrame(counts).reindex(VERDICTS[:3])
    return 100 * (measured / measured.sum()).fillna(0).T


def permute_arms(saved: Saved, seed: int) -> Saved:
    """The same run with arm names permuted at random within each seed and task.

    No arm is then truly better than another, so this checks any method that compares them.
    """
    random = np.random.default_rng(seed)
    parts = []
    for _, part in saved.main.groupby(["seed", "task"]):
        names = dict(zip(saved.arms, random.permutation(saved.arms), strict=True))
        parts.append(part.assign(arm=part["arm"].map(names)))
    return Saved(saved.name, saved.record, {"scores": pd.concat(parts)})
