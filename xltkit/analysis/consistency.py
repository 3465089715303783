"""Does a model give the same answer to the same question in any two languages?

Items are paired by their id, so the test sets have to be translations of one another. Accuracy
alone already makes answers agree: each measure stands beside what it would be by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from xltkit.analysis.intervals import t_interval
from xltkit.analysis.items import grid, item_table
from xltkit.data.loading import warn_once
from xltkit.studies.results import Results
from xltkit.tasks import get

RUN = ["arm", "seed", "task"]


def ranks(scores: np.ndarray) -> np.ndarray:
    """The rank (0 is the best) of each candidate; of equal scores the lower index comes first.

    Args:
        scores: shape (items, candidates), higher is better.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    # The inverse of a permutation is what sorts it.
    return np.argsort(order, axis=1)


def rank_consistency(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """RankC of each item: how alike two languages rank its candidates (Qi et al. 2023, 2310.10378).

    The sum over j = 1..N of w_j P@j, where P@j is the share of the first j candidates that the two
    rankings have in common, and w_j is in proportion to exp(N - j).

    Args:
        first: ``ranks`` in one language, shape (items, N).
        second: ranks of the same items and candidates in another.

    Returns:
        Shape (items,), 1 for equal rankings; for unrelated ones ``rank_floor`` on average, not 0.
    """
    count = first.shape[1]
    # A candidate is among the first j of both as soon as j exceeds the worse of its two ranks, and
    # then adds 1 / j to P@j.
    by_place = _place_weights(count) / np.arange(1, count + 1)
    from_rank = by_place[::-1].cumsum()[::-1]
    return from_rank[np.maximum(first, second)].sum(axis=1)


def rank_floor(count: int) -> float:
    """The mean RankC of two independent uniform rankings of ``count`` candidates: E[P@j] = j/N."""
    return float(_place_weights(count) @ np.arange(1, count + 1)) / count


def _place_weights(count: int) -> np.ndarray:
    weights = np.exp(-np.arange(count, dtype=float))
    return weights / weights.sum()


def agreement(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """How often two series of labels are the same, and how often they would be by chance.

    Args:
        first: the codes (0, 1, ..) of the labels of some items.
        second: those of the same items elsewhere.

    Returns:
        ``agreement`` and ``expected`` (0 to 100), the latter what two such distributions of labels
        would give if they had nothing in common; ``kappa`` = (agreement - expected) / (1 -
        expected), -1 to 1 (Cohen 1960), NaN if only one label was ever given.
    """
    same = float(np.mean(first == second))
    labels = max(first.max(), second.max()) + 1
    first_shares = np.bincount(first, minlength=labels) / len(first)
    second_shares = np.bincount(second, minlength=labels) / len(second)
    expected = float(first_shares @ second_shares)
    kappa = (same - expected) / (1 - expected) if expected < 1 else np.nan
    return {"agreement": 100 * same, "expected": 100 * expected, "kappa": kappa}


def pairwise(
    results: Results, tasks: Sequence[str] = (), languages: Sequence[str] = ()
) -> pd.DataFrame:
    """How well any two languages agree, on the items that they have in common.

    Args:
        results: of a study.
        tasks: which; empty means all that are parallel, and a warning names the others.
        languages: which; empty means all, the source language included.

    Returns:
        One row per arm, seed, task and unordered pair ``language``, ``other`` (the source language
        is never the ``other``). ``agreement``, ``expected`` and ``kappa`` are those of
        ``agreement``, NaN for texts. ``rankc`` is the mean of ``rank_consistency`` (0 to 100), and
        ``rankc_corrected`` (RankC - floor) / (1 - floor), 0 for unrelated rankings; NaN where only
        the best candidate was kept. ``n`` counts items.

    Raises:
        ValueError: for unknown names, tasks that were named and are not parallel, items predicted
            twice, or if there is no pair.
    """
    rows = []
    for answers in _all_answers(results, tasks, languages):
        for i, j in combinations(range(len(answers.languages)), 2):
            common = answers.present[:, i] & answers.present[:, j]
            if common.any():
                row = {"language": answers.languages[i], "other": answers.languages[j]}
                rows.append(answers.run | row | _pair(answers, i, j, common))
    if not rows:
        raise ValueError(f"No task has two of the languages {list(languages)} and common items.")
    return pd.DataFrame(rows)


def consistency(
    results: Results, tasks: Sequence[str] = (), languages: Sequence[str] = ()
) -> pd.DataFrame:
    """How consistent each arm is over languages: means over pairs, and shares of the items.

    Args:
        results: of a study.
        tasks: as in ``pairwise``; so are ``languages``.

    Returns:
        One row per arm and task. ``agreement``, ``kappa`` and ``rankc_corrected`` are means over
        the pairs of languages, each counting once. ``all_right`` is the share of items with a
        perfect score in every language, ``all_right_expected`` what it would be if errors were
        independent (the product of the accuracies). Means over ``seeds``, with their t intervals
        ``<column>_low`` and ``<column>_high``. ``n`` counts the items that all ``languages`` have.

    Raises:
        ValueError: as ``pairwise``.
    """
    measures = ["agreement", "kappa", "rankc_corrected", "all_right"]
    pair_means = pairwise(results, tasks, languages).groupby(RUN)[measures[:3]].mean()
    runs = [_in_all_languages(answers) for answers in _all_answers(results, tasks, languages)]
    table = pd.DataFrame(runs).join(pair_means, on=RUN, how="inner")
    rows = []
    for (arm, task), part in table.groupby(["arm", "task"], sort=False):
        row = {"arm": arm, "task": task}
        for name in measures:
            low, high = t_interval(part[name])
            row |= {name: part[name].mean(), f"{name}_low": low, f"{name}_high": high}
        row["all_right_expected"] = part["all_right_expected"].mean()
        row |= {"languages": part["languages"].iloc[0], "n": part["n"].iloc[0]}
        rows.append(row | {"seeds": part["seed"].nunique()})
    return pd.DataFrame(rows)


class _Answers(NamedTuple):
    """What an arm answered with one seed in one task: arrays of shape (items, languages).

    ``predictions`` are codes, None for task types whose predictions are texts. ``ranks``, of shape
    (items, languages, candidates), is None where not all candidates were scored.
    """

    run: dict[str, object]
    languages: list[str]
    present: np.ndarray
    right: np.ndarray
    predictions: np.ndarray | None
    ranks: np.ndarray | None


def _all_answers(
    results: Results, tasks: Sequence[str], languages: Sequence[str]
) -> Iterator[_Answers]:
    """The answers of every run, in the languages asked for, the source language first."""
    tables = _parallel_tables(results, tasks)
    scored = list(dict.fromkeys(code for table in tables for code in table["language"]))
    if isinstance(languages, str) or not set(languages) <= set(scored):
        raise ValueError(f"languages is {languages!r}; expected a list of some of {scored}.")
    for table in tables:
        table = table[table["language"].isin(languages or scored)]
        codes = sorted(table["language"].unique(), key=lambda code: code != results.study.source)
        for key, part in table.groupby(RUN, sort=False):
            yield _answers(part, dict(zip(RUN, key, strict=True)), codes)


def _answers(table: pd.DataFrame, run: dict[str, object], languages: list[str]) -> _Answers:
    axes = {"item": table["item"].unique(), "language": languages}
    counts = grid(table, axes, np.ones(len(table), dtype=int))
    if counts.max() > 1:
        raise ValueError(f"{run['task']} has two predictions for one item: was it a target twice?")
    right = grid(table, axes, table["score"] >= 1)
    predictions = None
    if get(run["task"]).type.is_comparable:
        predictions = grid(table, axes, pd.factorize(table["prediction"])[0])
    candidate_ranks = None
    if "log_probs" in table and table["log_probs"].notna().all():
        candidate_ranks = grid(table, axes, ranks(np.stack(table["log_probs"].tolist())))
    return _Answers(run, languages, counts > 0, right, predictions, candidate_ranks)


def _pair(answers: _Answers, i: int, j: int, common: np.ndarray) -> dict[str, float]:
    """The measures of two languages on their common items."""
    row = dict.fromkeys(("agreement", "expected", "kappa", "rankc", "rankc_corrected"), np.nan)
    if answers.predictions is not None:
        row |= agreement(answers.predictions[common, i], answers.predictions[common, j])
    if answers.ranks is not None:
        floor = rank_floor(answers.ranks.shape[2])
        rankc = rank_consistency(answers.ranks[common, i], answers.ranks[common, j]).mean()
        row["rankc"] = 100 * rankc
        row["rankc_corrected"] = 100 * (rankc - floor) / (1 - floor) if floor < 1 else np.nan
    return row | {"n": int(common.sum())}


def _in_all_languages(answers: _Answers) -> dict:
    """The shares of the items that all languages have; NaN if there is none."""
    common = answers.present.all(axis=1)
    right = answers.right[common]
    row = answers.run | {"languages": len(answers.languages), "n": int(common.sum())}
    row |= {"all_right": np.nan, "all_right_expected": np.nan}
    if len(right):
        row["all_right"] = 100 * right.all(axis=1).mean()
        row["all_right_expected"] = 100 * right.mean(axis=0).prod()
    return row


def _parallel_tables(results: Results, tasks: Sequence[str]) -> list[pd.DataFrame]:
    """The items of each task that has the source language's items in every language."""
    tables = []
    for name, table in item_table(results, tasks).groupby("task", sort=False):
        reason = _why_not_parallel(table, results.study.source)
        if not reason:
            tables.append(table)
        elif tasks:
            raise ValueError(f"{name} {reason}. Leave it out with tasks=[...].")
        else:
            warn_once(f"Left out: {name} {reason}.")
    if not tables:
        names = list(results.predictions["task"].unique())
        raise ValueError(f"None of {names} is parallel with the source language.")
    return tables


def _why_not_parallel(table: pd.DataFrame, source: str) -> str:
    """Why a task's languages cannot be compared item by item; empty if they can."""
    ids = {code: set(names) for code, names in table.groupby("language")["item"]}
    if source not in ids or len(ids) < 2:
        return f"was scored in {sorted(ids)}, and needs the source language {source!r} and another"
    for code, names in ids.items():
        missing = names - ids[source]
        if missing:
            return (
                f"is not parallel: {len(missing)} of its {len(names)} items in {code!r} are not "
                f"among the {len(ids[source])} in {source!r} (such as {min(missing)!r})"
            )
    return ""
