"""Claims of the literature, each held against what the kit measured.

A claim is a row: what is said, by whom, which figure, whether that figure could be confirmed, and
which difference of arms measures it. Which arms stand for what depends on the suite: the microworld
has no SQuAD, but questions of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from xltkit.analysis.compare import per_seed
from xltkit.analysis.intervals import difference, holm
from xltkit.studies.saved import Saved
from xltkit.tasks import get

VERDICTS = ("agrees", "disagrees", "cannot tell at this size", "not measured")
UNCONFIRMED = "not confirmed"
NEGLIGIBLE = 1.0  # points; what is surely smaller counts as none


class Measured(NamedTuple):
    """A difference in points with its interval; ``p`` and the smallest effect if known."""

    arms: str
    difference: float
    low: float
    high: float
    p: float = np.nan
    smallest_effect: float = np.nan
    n_seeds: int = 0


Way = Callable[[Saved], Measured | None]  # None: the run has not what it takes


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        says: the claim, in words.
        by: who claims it.
        figure: in points, as it is told; NaN for a claim without one.
        confirmed: what is known of the figure.
        notebook: whose runs measure it.
        way: how they do.
        none: whether the claim is that there is no gain.
    """

    says: str
    by: str
    figure: float
    confirmed: str
    notebook: str
    way: Way
    none: bool = False


def _there(saved: Saved, names: Sequence[str]) -> str:
    """The first of the arms that a run has: the real one, or what stands in for it."""
    return next((name for name in names if name in saved.arms), "")


def gain(
    saved: Saved, arm: Sequence[str], over: Sequence[str], tasks: Sequence[str] = ()
) -> Measured | None:
    """An arm minus another: mean over the transfer languages, then over the tasks (all or some)."""
    one, other = _there(saved, arm), _there(saved, over)
    table = saved.main[saved.main["arm"].isin([one, other])]
    table = table[table["task"].isin(tasks)] if tasks else table
    if not (one and other) or table.empty:
        return None
    grid = _transfer(table, ["arm"])
    return _measured(f"{one} - {other}", grid[one] - grid[other])


def _transfer(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Means over the transfer languages, then over tasks: one row a seed."""
    seeds = per_seed(table[~table["is_source"]], columns)
    return seeds.pivot(index="seed", columns=columns, values="value")


def _measured(arms: str, differences: pd.Series) -> Measured:
    found = difference(differences.to_numpy())
    return Measured(arms, *(found[name] for name in Measured._fields[1:]))


def retrieval_above_rest(saved: Saved, arm: Sequence[str], over: str) -> Measured | None:
    """The gain in retrieval minus the mean gain in the tasks that are fine-tuned for."""
    one = _there(saved, arm)
    kinds = {task: get(task).kind for task in saved.main["task"].unique()}
    if not one or len({kind == "retrieval" for kind in kinds.values()}) < 2:
        return None
    is_retrieval = saved.main["task"].map(kinds) == "retrieval"
    table = saved.main.assign(what=np.where(is_retrieval, "retrieval", "rest"))
    grid = _transfer(table, ["arm", "what"])
    gains = grid[one] - grid[over]
    return _measured(f"{one} - {over}", gains["retrieval"] - gains["rest"])


def noted(
    saved: Saved, table: str, where: Mapping[str, str], columns: Sequence[str], arms: str
) -> Measured | None:
    """A difference that the notebook itself worked out, and its interval: a row of a table."""
    if table not in saved.tables:
        return None
    rows = saved.tables[table]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        return None
    values = rows.iloc[0][list(columns)].astype(float)
    return Measured(arms, *values, n_seeds=saved.main["seed"].nunique())


STILTS, ROBUST = "Phang et al. 2020", "Huang et al. 2021"
_BETWEEN = {"SQuAD": ("squad", "qa-large"), "MNLI": ("mnli", "nli"),
            "HellaSwag": ("hellaswag", "choice")}  # fmt: skip
_TEN = {"by": STILTS, "notebook": "10_intermediate_training"}
_ELEVEN = {"by": ROBUST, "notebook": "11_robust_training"}


def _between() -> list[Claim]:
    told = {"SQuAD": 8.2, "MNLI": 7.5, "HellaSwag": 7.0}
    return [
        Claim(
            f"{name} as the intermediate task improves the targets", figure=told[name],
            confirmed=UNCONFIRMED, way=partial(gain, arm=arms, over=("none",)), **_TEN,
        )
        for name, arms in _BETWEEN.items()
    ]  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    *_between(),
    Claim(
        "all nine intermediate tasks at once improve the targets", figure=8.7,
        confirmed=UNCONFIRMED, way=partial(gain, arm=("all",), over=("none",)), **_TEN,
    ),
    Claim(
        "retrieval gains most", figure=np.nan, confirmed="more than half of the gain, derived",
        way=partial(retrieval_above_rest, arm=("all",), over="none"), **_TEN,
    ),
    Claim(
        "TyDi QA gains", figure=12.7, confirmed="derived from published rows",
        way=partial(gain, arm=("all",), over=("none",), tasks=("tydiqa", "qa-small")), **_TEN,
    ),
    Claim(
        "XNLI does not gain", STILTS, 0.8, "derived from published rows", "05_clip_pretraining",
        partial(gain, arm=("text",), over=("plain",), tasks=("xnli", "nli")), none=True,
    ),
    Claim(
        "the best intermediate task for each target gains on XTREME", figure=5.4,
        confirmed="confirmed, last version",
        way=partial(
            noted, table="picked", where={"rule": "best", "scored": "honest", "task": "all"},
            columns=("gain", "low", "high"), arms="best for each - none",
        ), **_TEN,
    ),
    Claim(
        "English intermediate training beats mixing in multilingual masked language modelling",
        figure=np.nan, confirmed="no figure; the paper says: not consistently better",
        way=partial(gain, arm=("all",), over=("all + MLM",)), **_TEN,
    ),
    Claim(
        "English intermediate training beats translated intermediate data",
        figure=np.nan, confirmed="no figure; the paper says: not consistently better",
        way=partial(gain, arm=("odd-one-out", "mnli"), over=("translated",)), **_TEN,
    ),
    Claim(
        "robust training (synonyms) improves PAWS-X", figure=2.1, confirmed=UNCONFIRMED,
        way=partial(
            gain, arm=("synonyms",), over=("plain",), tasks=("paws-x", "paraphrase")
        ), **_ELEVEN,
    ),
    Claim(
        "robust training (synonyms) improves XNLI", figure=1.6, confirmed=UNCONFIRMED,
        way=partial(gain, arm=("synonyms",), over=("plain",), tasks=("xnli", "nli")), **_ELEVEN,
    ),
    Claim(
        "robust training (synonyms) helps more where the two texts differ in language",
        figure=np.nan, confirmed="confirmed, without a figure",
        way=partial(
            noted, table="mixing", where={"arm": "synonyms"}, arms="synonyms - plain",
            columns=[f"penalty_difference{end}" for end in ("", "_low", "_high")],
        ), **_ELEVEN,
    ),
    Claim(
        "alignment of embeddings needs parallel data: right pairs help more than wrong ones",
        figure=np.nan, confirmed="a premise of the paper, without a figure",
        way=partial(gain, arm=("aligned",), over=("aligned, wrong pairs",)), **_ELEVEN,
    ),
)  # fmt: skip


def verdict(found: Measured, none: bool = False) -> str:
    """What an interval says of a claim: agrees, disagrees, or cannot tell at this size.

    A gain is agreed with if the whole interval lies above 0, and disagreed with if it lies below.
    That there is no gain is agreed with if the interval lies below 1 point (``NEGLIGIBLE``), and
    disagreed with if it lies above 0. An interval that is missing decides nothing.
    """
    agrees = found.high < NEGLIGIBLE if none else found.low > 0
    disagrees = found.low > 0 if none else found.high < 0
    return VERDICTS[0 if agrees else 1 if disagrees else 2]


def shares(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per cent of each verdict among what was measured: one row a table."""
    given = {name: t.loc[t["verdict"] != VERDICTS[-1], "verdict"] for name, t in tables.items()}
    found = {name: 100 * column.value_counts(normalize=True) for name, column in given.items()}
    return pd.DataFrame(found).reindex(VERDICTS[:3]).fillna(0).T


def dealt(saved: Saved, seed: int) -> Saved:
    """The same run with the names of the arms dealt out at random, for each seed and task.

    No arm can then truly be better than another: a check of whatever compares them.
    """
    random, arms = np.random.default_rng(seed), np.array(saved.arms)
    parts = []
    for _, part in saved.main.groupby(["seed", "task"]):
        names = dict(zip(arms, random.permutation(arms), strict=True))
        parts.append(part.assign(arm=part["arm"].map(names)))
    return Saved(saved.name, saved.record, {"scores": pd.concat(parts)})


def table(runs: Mapping[str, Saved], claims: Sequence[Claim] = CLAIMS) -> pd.DataFrame:
    """Every claim beside every run that measures it; a claim that none measures has one row, too.

    ``measured`` says the difference and its interval in one text.

    Returns:
        One row per claim and run: ``claim``, ``by``, ``figure``, ``confirmed``, ``run``, ``suite``,
        ``arms``, the fields of ``Measured``, ``p_holm`` (over the rows that have a p value) and
        ``verdict``: ``not measured`` if no run has the arms it takes.
    """
    rows = []
    for claim in claims:
        about = {"claim": claim.says, "by": claim.by, "figure": claim.figure}
        about |= {"confirmed": claim.confirmed, "none": claim.none}
        own = {n: s for n, s in runs.items() if n.startswith(claim.notebook)}
        found = {name: measured for name, s in own.items() if (measured := claim.way(s))}
        rows += [
            about
            | {"run": name, "suite": runs[name].suite, **measured._asdict()}
            | {"measured": "{1:+.1f} [{2:+.1f}, {3:+.1f}]".format(*measured)}
            | {"verdict": verdict(measured, claim.none)}
            for name, measured in found.items()
        ] or [about | {"verdict": VERDICTS[-1]}]
    out = pd.DataFrame(rows)
    return out.assign(p_holm=holm(out["p"]))
