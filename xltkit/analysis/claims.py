"""Claims of the literature, each held against what finished runs measured.

The claims are the rows of ``claims.toml``: what is claimed, by whom, which figure, whether that
figure could be confirmed, and which difference of arms measures it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from xltkit.analysis.compare import per_seed
from xltkit.analysis.intervals import difference, holm
from xltkit.studies.saved import Saved
from xltkit.tasks import get

VERDICTS = ("agrees", "disagrees", "cannot tell at this size", "not measured")
UNCONFIRMED = "not confirmed"
NEGLIGIBLE = 1.0  # points; what is surely smaller counts as none

_FILE = Path(__file__).with_name("claims.toml")
CLAIMS: list[dict[str, Any]] = tomllib.loads(_FILE.read_text(encoding="utf-8"))["claims"]


class Measured(NamedTuple):
    """A difference in points with its interval; ``p`` and the smallest effect if known."""

    arms: str
    difference: float
    low: float
    high: float
    p: float = np.nan
    smallest_effect: float = np.nan
    n_seeds: int = 0


def gain(
    saved: Saved, arm: Sequence[str], over: Sequence[str], tasks: Sequence[str] = ()
) -> Measured | None:
    """An arm minus another: mean over the transfer languages, then over the tasks (all or some)."""
    one = _first(arm, saved.arms)
    other = _first(over, saved.arms)
    table = saved.main[saved.main["arm"].isin([one, other])]
    if tasks:
        table = table[table["task"].isin(tasks)]
    if not one or not other or table.empty:
        return None
    by_seed = _transfer(table, ["arm"])
    return _measured(f"{one} - {other}", by_seed[one] - by_seed[other])


def retrieval_above_rest(saved: Saved, arm: Sequence[str], over: Sequence[str]) -> Measured | None:
    """The gain in retrieval minus the mean gain in the tasks that are fine-tuned for."""
    one = _first(arm, saved.arms)
    other = _first(over, saved.arms)
    is_retrieval = saved.main["task"].map(lambda name: get(name).kind == "retrieval")
    if not one or not other or is_retrieval.nunique() < 2:
        return None
    by_seed = _transfer(saved.main.assign(is_retrieval=is_retrieval), ["arm", "is_retrieval"])
    gains = by_seed[one] - by_seed[other]
    return _measured(f"{one} - {other}", gains[True] - gains[False])


def table_row(
    saved: Saved,
    table: Sequence[str],
    where: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    arms: str,
) -> Measured | None:
    """A difference that the notebook itself worked out, and its interval: a row of a table."""
    name = _first(table, saved.tables)
    if not name:
        return None
    rows = saved.tables[name]
    for column, values in where.items():
        rows = rows[rows[column].isin(values)]
    if rows.empty:
        return None
    interval = rows.iloc[0][list(columns)].astype(float)
    return Measured(arms, *interval, n_seeds=saved.main["seed"].nunique())


MEASURES = {function.__name__: function for function in (gain, retrieval_above_rest, table_row)}


def verdict(measured: Measured, is_null: bool = False) -> str:
    """What an interval says of a claim: agrees, disagrees, or cannot tell at this size.

    A gain is agreed with if the whole interval lies above 0, and disagreed with if it lies below.
    That there is no gain is agreed with if the interval lies below 1 point (``NEGLIGIBLE``), and
    disagreed with if it lies above 0. An interval that is missing decides nothing.
    """
    agrees, disagrees, undecided, _ = VERDICTS
    if measured.low > 0:
        return disagrees if is_null else agrees
    if is_null and measured.high < NEGLIGIBLE:
        return agrees
    if not is_null and measured.high < 0:
        return disagrees
    return undecided


def verdict_shares(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per cent of each verdict among what was measured: one row per table."""
    rows = {}
    for name, table in tables.items():
        verdicts = table.loc[table["verdict"] != VERDICTS[-1], "verdict"]
        rows[name] = 100 * verdicts.value_counts(normalize=True)
    return pd.DataFrame(rows).reindex(VERDICTS[:3]).fillna(0).T


def permute_arms(saved: Saved, seed: int) -> Saved:
    """The same run with the names of the arms permuted at random, for each seed and task.

    No arm can then truly be better than another: a check of whatever compares them.
    """
    random = np.random.default_rng(seed)
    arms = np.array(saved.arms)
    parts = []
    for _, part in saved.main.groupby(["seed", "task"]):
        names = dict(zip(arms, random.permutation(arms), strict=True))
        parts.append(part.assign(arm=part["arm"].map(names)))
    return Saved(saved.name, saved.record, {"scores": pd.concat(parts)})


def claims_table(
    runs: Mapping[str, Saved], claims: Sequence[Mapping[str, Any]] = CLAIMS
) -> pd.DataFrame:
    """Every claim beside every run that measures it; a claim that none measures has one row, too.

    Returns:
        One row per claim and run: ``claim``, ``by``, ``figure``, ``confirmed`` and ``is_null`` as
        in ``claims.toml``, ``run``, ``suite``, the fields of ``Measured``, ``measured`` (the
        difference and its interval as a text), ``verdict`` (``not measured`` if no run has what it
        takes) and ``p_holm`` (over the rows that have a p value).
    """
    rows = []
    for claim in claims:
        is_null = claim.get("is_null", False)
        about = {"claim": claim["claim"], "by": claim["by"], "figure": claim.get("figure", np.nan)}
        about |= {"confirmed": claim["confirmed"], "is_null": is_null}
        about["verdict"] = VERDICTS[-1]
        measured_rows = []
        for name, saved in runs.items():
            if not name.startswith(claim["notebook"]):
                continue
            measured = MEASURES[claim["measure"]](saved, **claim["options"])
            if measured:
                row = about | {"run": name, "suite": saved.suite} | measured._asdict()
                row["measured"] = "{1:+.1f} [{2:+.1f}, {3:+.1f}]".format(*measured)
                row["verdict"] = verdict(measured, is_null)
                measured_rows.append(row)
        rows += measured_rows or [about]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]))


def _first(names: Sequence[str], present: Iterable[str]) -> str:
    """The first of the names that is present: the real arm, or its stand-in; else empty."""
    return next((name for name in names if name in present), "")


def _transfer(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Means over the transfer languages, then over tasks: one row per seed."""
    by_seed = per_seed(table[~table["is_source"]], columns)
    return by_seed.pivot(index="seed", columns=columns, values="value")


def _measured(arms: str, differences: pd.Series) -> Measured:
    test = difference(differences.to_numpy())
    return Measured(arms, *(test[name] for name in Measured._fields[1:]))
