"""Does a model give the same answer to the same question in any two languages?

Items are paired by their id, so the test sets have to be translations of one another. Accuracy
alone already makes answers agree: each measure stands beside what it would be by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

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

    Raises:
        ValueError: if it is no such matrix, or a score is NaN.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or np.isnan(scores).any():
        raise ValueError(f"scores of shape {scores.shape}: expected (items, candidates), no NaN.")
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
        Shape (items,), 1 for equal rankings. For unrelated ones it is ``rank_floor`` on average,
        not 0.
    """
    count = first.shape[1]
    # A candidate is among the first j of both as soon as j exceeds the worse of its two ranks, and
    # then adds 1 / j to P@j.
    by_place = _place_weights(count) / np.arange(1, count + 1)
    from_rank = by_place[::-1].cumsum()[::-1]
    return from_rank[np.maximum(first, second)].sum(axis=1)


def rank_floor(count: int) -> float:
    """The mean RankC of two independent uniform rankings of so many candidates: E[P@j] = j / N."""
    return float(_place_weights(count) @ np.arange(1, count + 1)) / count


def _place_weights(count: int) -> np.ndarray:
    """The weight of the first 1, 2, .. ``count`` places, a softmax of count, count - 1, .. 1."""
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

    An item counts as right if its score is perfect.

    Args:
        results: of a study.
        tasks: which; empty means all that are parallel, and a warning names the others.
        languages: which; empty means all, the source language included.

    Returns:
        One row per arm, seed, task and unordered pair ``language``, ``other`` (the source language
        is never the ``other``). ``agreement``, ``expected`` and ``kappa`` are those of
        ``agreement``, NaN for texts. ``right`` and ``other_right`` are the two accuracies p and q,
        ``both_right`` the share of items right in both, ``covered`` the same of those right in at
        least one (COverlap of Qi et al. 2023), ``covered_expected`` what that would be if errors
        were independent: pq / (p + q - pq). ``rankc`` is the mean of ``rank_consistency``, and
        ``rankc_corrected`` (RankC - floor) / (1 - floor), 0 for unrelated rankings; NaN where only
        the best candidate was kept. All but kappa are 0 to 100 (``rankc_corrected`` can be below);
        ``n`` counts items.

    Raises:
        ValueError: for unknown names, tasks that were named and are not parallel, items predicted
            twice, or if there is no pair.
    """
    rows = []
    for answers in _all_answers(results, tasks, languages):
        rows += answers.pairs()
    if not rows:
        raise ValueError(f"No task has two of the languages {list(languages)} and common items.")
    return pd.DataFrame(rows)


def consistency(
    results: Results, tasks: Sequence[str] = (), languages: Sequence[str] = ()
) -> pd.DataFrame:
    """How consistent each arm is over languages: means over pairs, and shares of the items.

    Args:
        results: of a study.
        tasks: as in ``pairwise``.
        languages: as in ``pairwise``.

    Returns:
        One row per arm and task. ``agreement``, ``kappa``, ``covered`` and ``rankc_corrected`` are
        means over the pairs of languages, each counting once (one without the measure does not
        count). ``all_right`` is the share of items right in every language, ``all_right_expected``
        what it would be if errors were independent (the product of the accuracies), ``all_same``
        the share with one prediction in every language. Means over ``seeds``, with their t
        intervals ``<column>_low`` and ``<column>_high``. ``n`` counts the items that all
        ``languages`` have.

    Raises:
        ValueError: as ``pairwise``.
    """
    measures = ["agreement", "kappa", "covered", "rankc_corrected", "all_right", "all_same"]
    pair_means = pairwise(results, tasks, languages).groupby(RUN)[measures[:4]].mean()
    runs = [answers.in_all_languages() for answers in _all_answers(results, tasks, languages)]
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


@dataclass(frozen=True)
class _Answers:
    """What an arm answered with one seed in one task, as arrays (items, languages).

    Attributes:
        run: the arm, seed and task.
        languages: the source language first.
        is_there: which items each language has; the others hold nothing.
        right: whether the score is perfect.
        predictions: codes; None for task types whose predictions are texts.
        ranks: shape (items, languages, candidates); None where not all candidates were scored.
    """

    run: dict[str, object]
    languages: list[str]
    is_there: np.ndarray
    right: np.ndarray
    predictions: np.ndarray | None
    ranks: np.ndarray | None

    def pairs(self) -> list[dict]:
        """The rows of ``pairwise``."""
        rows = []
        for i, j in combinations(range(len(self.languages)), 2):
            common = self.is_there[:, i] & self.is_there[:, j]
            if common.any():
                pair = {"language": self.languages[i], "other": self.languages[j]}
                rows.append(self.run | pair | self._pair(i, j, common) | {"n": int(common.sum())})
        return rows

    def _pair(self, i: int, j: int, common: np.ndarray) -> dict[str, float]:
        """The measures of two languages on their common items."""
        row = dict.fromkeys(("agreement", "expected", "kappa"), np.nan)
        if self.predictions is not None:
            row |= agreement(self.predictions[common, i], self.predictions[common, j])
        first = self.right[common, i]
        second = self.right[common, j]
        p = first.mean()
        q = second.mean()
        both = (first & second).mean()
        either = (first | second).mean()
        row |= {
            "right": 100 * p,
            "other_right": 100 * q,
            "both_right": 100 * both,
            "covered": 100 * both / either if either else np.nan,
            "covered_expected": 100 * p * q / (p + q - p * q) if either else np.nan,
            "rankc": np.nan,
            "rankc_corrected": np.nan,
        }
        if self.ranks is not None:
            floor = rank_floor(self.ranks.shape[2])
            rankc = rank_consistency(self.ranks[common, i], self.ranks[common, j]).mean()
            row["rankc"] = 100 * rankc
            row["rankc_corrected"] = 100 * (rankc - floor) / (1 - floor) if floor < 1 else np.nan
        return row

    def in_all_languages(self) -> dict:
        """Over the items that all languages have: those right, and the same, in all of them."""
        common = self.is_there.all(axis=1)
        row = self.run | {"languages": len(self.languages), "n": int(common.sum())}
        row |= dict.fromkeys(("all_right", "all_same", "all_right_expected"), np.nan)
        if common.any():
            right = self.right[common]
            row["all_right"] = 100 * right.all(axis=1).mean()
            row["all_right_expected"] = 100 * right.mean(axis=0).prod()
            if self.predictions is not None:
                predictions = self.predictions[common]
                row["all_same"] = 100 * (predictions == predictions[:, :1]).all(axis=1).mean()
        return row


def _all_answers(
    results: Results, tasks: Sequence[str], languages: Sequence[str]
) -> Iterator[_Answers]:
    """The answers of every run, in the languages asked for."""
    tables = _parallel_tables(results, tasks)
    scored = list(dict.fromkeys(code for table in tables.values() for code in table["language"]))
    if isinstance(languages, str) or not set(languages) <= set(scored):
        raise ValueError(f"languages is {languages!r}; expected a list of some of {scored}.")
    for table in tables.values():
        table = table[table["language"].isin(languages or scored)]
        for key, part in table.groupby(RUN, sort=False):
            run = dict(zip(RUN, key, strict=True))
            yield _answers(part, run, results.study.source)


def _answers(table: pd.DataFrame, run: dict[str, object], source: str) -> _Answers:
    languages = sorted(table["language"].unique(), key=lambda code: code != source)
    axes = {"item": table["item"].unique(), "language": languages}
    counts = grid(table, axes, np.ones(len(table), dtype=int))
    if counts.max() > 1:
        raise ValueError(
            f"{run['task']} has two predictions for one item: was a target given twice?"
        )
    predictions = None
    if get(run["task"]).type.is_comparable:
        predictions = grid(table, axes, pd.factorize(table["prediction"])[0])
    candidate_ranks = None
    if "log_probs" in table and table["log_probs"].notna().all():
        candidate_ranks = grid(table, axes, ranks(np.stack(table["log_probs"].tolist())))
    right = grid(table, axes, table["score"] >= 1)
    return _Answers(run, languages, counts > 0, right, predictions, candidate_ranks)


def _parallel_tables(results: Results, tasks: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The items of each task that has the source language's items in every language.

    A task that was named and is not parallel is an error; if none is named, it is left out with a
    warning, and an error says if no task is left.
    """
    tables = {}
    for name, table in item_table(results, tasks).groupby("task", sort=False):
        reason = _why_not_parallel(table, name, results.study.source)
        if not reason:
            tables[name] = table
        elif tasks:
            raise ValueError(reason)
        else:
            warn_once(f"Left out: {reason}")
    if not tables:
        names = list(results.predictions["task"].unique())
        raise ValueError(f"None of {names} is parallel with the source language.")
    return tables


def _why_not_parallel(table: pd.DataFrame, task: str, source: str) -> str:
    """Why a task's languages cannot be compared item by item; empty if they can."""
    ids = {code: set(part) for code, part in table.groupby("language")["item"]}
    if source not in ids or len(ids) < 2:
        return (
            f"{task} was scored in {sorted(ids)}: items can be compared with the source language "
            f"{source!r} and another. Leave it out with tasks=[...]."
        )
    for code, items_of_language in ids.items():
        if lacking := items_of_language - ids[source]:
            return (
                f"{task} is not parallel: {len(lacking)} of its {len(items_of_language)} items in "
                f"{code!r} are not among the {len(ids[source])} in {source!r} (such as "
                f"{min(lacking)!r}). Leave it out with tasks=[...]."
            )
    return ""
