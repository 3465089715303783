"""Does a model give the same answer to the same question in any two languages?

Results in, tidy tables out; nothing is trained or predicted. All items are paired by
``example_id``, so the test sets have to be translations of one another. Accuracy alone already
makes answers agree: each measure stands beside what it would be by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from xltkit.analysis.intervals import t_interval
from xltkit.analysis.parallel import COMPARABLE, agreement, parallel_tables
from xltkit.studies.results import Results
from xltkit.tasks import get

WEIGHTS = ("softmax", "norm1", "norm2")
PAIR_MEANS = ["agreement", "kappa", "covered", "rankc_corrected"]
ITEM_SHARES = ["all_right", "all_same"]


def _weights(n: int, weights: str) -> np.ndarray:
    """The weight of the first 1, 2, .. n places, which sum to 1."""
    if weights not in WEIGHTS or n < 1:
        raise ValueError(f"weights is {weights!r} for {n} candidates; use one of {WEIGHTS}.")
    place = np.arange(n, 0, -1, dtype=float)  # n - j + 1
    raw = {"softmax": np.exp(place - n), "norm1": place, "norm2": place**2}[weights]
    return raw / raw.sum()


def ranks(scores: np.ndarray) -> np.ndarray:
    """The rank (0 is the best) of each candidate; of equal scores the lower index comes first.

    Args:
        scores: (items, candidates), higher is better.

    Raises:
        ValueError: if it is no such matrix, or a score is not a number.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or np.isnan(scores).any():
        raise ValueError(f"scores of shape {scores.shape}: expected (items, candidates), no NaN.")
    order = np.argsort(-scores, axis=1, kind="stable")
    found = np.empty(scores.shape, dtype=np.int32)
    np.put_along_axis(found, order, np.arange(scores.shape[1], dtype=np.int32)[None], axis=1)
    return found


def rank_consistency(one: np.ndarray, other: np.ndarray, weights: str = "softmax") -> np.ndarray:
    """RankC of each item: how alike two languages rank its candidates (Qi et al. 2023, 2310.10378).

    The sum over j = 1..N of w_j P@j, where P@j is the share of the first j candidates that the two
    rankings have in common. Candidates are matched by their index, and ties broken as in ``ranks``.

    Args:
        one: scores in a language, (items, N), higher is better.
        other: scores of the same items and candidates in another.
        weights: w_j in proportion to exp(N - j) (``softmax``, that of the paper), N - j + 1
            (``norm1``) or its square (``norm2``).

    Returns:
        (items,), 1 for equal rankings. For unrelated ones it is ``rank_floor`` on average, not 0.

    Raises:
        ValueError: for other weights, or matrices that are not alike.
    """
    first, second = ranks(one), ranks(other)
    if first.shape != second.shape:
        raise ValueError(f"Scores of shapes {first.shape} and {second.shape} cannot be compared.")
    return _from_ranks(first, second, weights)


def _from_ranks(first: np.ndarray, second: np.ndarray, weights: str) -> np.ndarray:
    n = first.shape[1]
    shares = _weights(n, weights) / np.arange(1, n + 1)
    # A candidate is among the first j of both as soon as j exceeds the worse of its two ranks.
    from_rank = shares[::-1].cumsum()[::-1]
    return from_rank[np.maximum(first, second)].sum(axis=1)


def rank_floor(n: int, weights: str = "softmax") -> float:
    """The mean RankC of two independent uniform rankings of n candidates, where E[P@j] = j / n."""
    return float(_weights(n, weights) @ np.arange(1, n + 1)) / n


class _Wide(NamedTuple):
    """What an arm and seed said in a task: arrays (items, languages), source language first.

    ``said`` (codes of predictions) is there for kinds whose predictions can be compared, ``ranks``
    (items, languages, candidates) where all candidates were scored. ``there`` masks all of them.
    """

    languages: list[str]
    there: np.ndarray
    right: np.ndarray
    said: np.ndarray | None
    ranks: np.ndarray | None


def _wide(part: pd.DataFrame, task: str, source: str, right: float) -> _Wide:
    if part.duplicated(["language", "example_id"]).any():
        raise ValueError(f"{task} has two predictions for one item: was a target given twice?")
    codes = sorted(dict.fromkeys(part["language"]), key=lambda code: code != source)
    at = pd.factorize(part["example_id"])[0], pd.Index(codes).get_indexer(part["language"])
    shape = (at[0].max() + 1, len(codes))

    def spread(values: np.ndarray) -> np.ndarray:
        grid = np.zeros(shape + values.shape[1:], dtype=values.dtype)
        grid[at] = values
        return grid

    said = pd.factorize(part["pred"])[0] if get(task).kind in COMPARABLE else None
    scored = "log_probs" in part.columns and part["log_probs"].notna().all()
    return _Wide(
        codes,
        spread(np.ones(len(part), dtype=bool)),
        spread((part["score"] >= right).to_numpy()),
        None if said is None else spread(said),
        spread(ranks(np.stack(part["log_probs"].tolist()))) if scored else None,
    )


def _wides(
    results: Results, tasks: Sequence[str], languages: Sequence[str], right: float
) -> Iterator[tuple[tuple, _Wide]]:
    tables = parallel_tables(results, tasks)
    known = list(dict.fromkeys(code for _, table in tables for code in table["language"]))
    if isinstance(languages, str) or not set(languages) <= set(known):
        raise ValueError(f"languages is {languages!r}; expected a list of some of {known}.")
    for name, table in tables:
        table = table[table["language"].isin(languages or known)]
        for (arm, seed), part in table.groupby(["arm", "seed"], sort=False):
            yield (arm, seed, name), _wide(part, name, results.study.source, right)


def _pairs(wide: _Wide) -> list[dict]:
    rows = []
    for i, j in combinations(range(len(wide.languages)), 2):
        both = wide.there[:, i] & wide.there[:, j]
        if both.any():
            pair = {"language": wide.languages[i], "other": wide.languages[j]}
            rows.append(pair | _pair(wide, i, j, both) | {"n": int(both.sum())})
    return rows


def _pair(wide: _Wide, i: int, j: int, both: np.ndarray) -> dict[str, float]:
    found = dict.fromkeys(("agreement", "expected", "kappa"), np.nan)
    if wide.said is not None:
        found = agreement(wide.said[both, i], wide.said[both, j])
    one, other = wide.right[both, i], wide.right[both, j]
    p, q, joint, either = one.mean(), other.mean(), (one & other).mean(), (one | other).mean()
    found |= {
        "both_right": 100 * joint,
        "covered": 100 * joint / either if either else np.nan,
        "covered_expected": 100 * p * q / (p + q - p * q) if either else np.nan,
        "rankc": np.nan,
        "rankc_corrected": np.nan,
    }
    if wide.ranks is not None:
        n = wide.ranks.shape[2]
        rankc = _from_ranks(wide.ranks[both, i], wide.ranks[both, j], "softmax").mean()
        floor = rank_floor(n)
        found["rankc"] = 100 * rankc
        found["rankc_corrected"] = 100 * (rankc - floor) / (1 - floor) if n > 1 else np.nan
    return found


def pairwise(
    results: Results, tasks: Sequence[str] = (), languages: Sequence[str] = (), *,
    right: float = 1.0,
) -> pd.DataFrame:  # fmt: skip
    """How well any two languages agree, on the items that they have in common.

    Args:
        results: of a study.
        tasks: which; empty means all that are parallel, and the others are told in a warning.
        languages: which; empty means all, the source language included.
        right: the score (0 to 1) from which on an item counts as right. Labels score 0 or 1; of
            spans (F1) and tags (share) only the perfect ones count unless this is lowered.

    Returns:
        One row per arm, seed, task and unordered pair ``language``, ``other`` (the source language
        is never the ``other``). ``agreement``, ``expected`` and ``kappa`` are those of
        ``parallel.agreement``, not numbers for texts. ``both_right`` is the share of items right
        in both, ``covered`` the same of those right in at least one (COverlap of Qi et al. 2023),
        ``covered_expected`` what that would be if errors were independent: pq / (p + q - pq) of
        the accuracies. ``rankc`` is the mean of ``rank_consistency``, and ``rankc_corrected``
        (RankC - floor) / (1 - floor), 0 for unrelated rankings; not numbers where only the best
        candidate was kept. All but kappa are 0 to 100 (``rankc_corrected`` can be below); ``n``
        counts items.

    Raises:
        ValueError: for unknown names, tasks that were named and are not parallel, items predicted
            twice, or if there is no pair.
    """
    rows = [
        dict(zip(("arm", "seed", "task"), key, strict=True)) | row
        for key, wide in _wides(results, tasks, languages, right)
        for row in _pairs(wide)
    ]
    if not rows:
        raise ValueError(f"No task has two of the languages {list(languages)} and common items.")
    return pd.DataFrame(rows)


def _items(wide: _Wide, chosen: np.ndarray) -> dict[str, float | int]:
    """Over the items that all the chosen languages have: right, and the same, in all of them."""
    kept = wide.there[:, chosen].all(axis=1)
    found = {"all_right": np.nan, "all_same": np.nan, "all_right_expected": np.nan}
    found |= {"languages": int(chosen.sum()), "n": int(kept.sum())}
    if kept.any():
        right = wide.right[kept][:, chosen]
        found["all_right"] = 100 * right.all(axis=1).mean()
        found["all_right_expected"] = 100 * right.mean(axis=0).prod()
        if wide.said is not None:
            said = wide.said[kept][:, chosen]
            found["all_same"] = 100 * (said == said[:, :1]).all(axis=1).mean()
    return found


def _groups(wide: _Wide, source: str) -> Iterator[dict]:
    """The means of one arm, seed and task: over all pairs, those with the source, the others."""
    table = pd.DataFrame(_pairs(wide))
    if table.empty:
        return
    every, mine = np.ones(len(table), dtype=bool), (table["language"] == source).to_numpy()
    codes = np.array(wide.languages)
    for name, pairs in {"all": every, "with source": mine, "others": ~mine}.items():
        if not pairs.any():
            continue
        items = _items(wide, (codes != source) | (name != "others"))
        if name == "with source":  # items are not of pairs: they stand in the row of all languages
            items |= dict.fromkeys([*ITEM_SHARES, "all_right_expected"], np.nan)
        yield {"pairs": name} | table.loc[pairs, PAIR_MEANS].mean().to_dict() | items


def consistency(
    results: Results, tasks: Sequence[str] = (), languages: Sequence[str] = (), *,
    right: float = 1.0,
) -> pd.DataFrame:  # fmt: skip
    """How consistent each arm is over languages: means over pairs, and shares of the items.

    Args:
        results: of a study.
        tasks: as in ``pairwise``.
        languages: as in ``pairwise``.
        right: as in ``pairwise``.

    Returns:
        One row per arm, task and ``pairs``: ``all``, those ``with source``, and the ``others``.
        ``agreement``, ``kappa``, ``covered`` and ``rankc_corrected`` are means over these pairs,
        each counting once (one without the measure does not count). ``all_right`` is the share of
        items right in every language of these pairs, ``all_right_expected`` what it would be if
        errors were independent (the product of the accuracies), ``all_same`` the share with one
        prediction in every language; not numbers ``with source``, whose languages are those of
        ``all``. Means over ``seeds``, with their t intervals ``<column>_low`` and
        ``<column>_high``. ``n`` counts the items that all ``languages`` have.

    Raises:
        ValueError: as ``pairwise``.
    """
    rows = [
        {"arm": arm, "seed": seed, "task": task} | row
        for (arm, seed, task), wide in _wides(results, tasks, languages, right)
        for row in _groups(wide, results.study.source)
    ]
    if not rows:
        raise ValueError(f"No task has two of the languages {list(languages)} and common items.")
    found = []
    for key, part in pd.DataFrame(rows).groupby(["arm", "task", "pairs"], sort=False):
        row = dict(zip(("arm", "task", "pairs"), key, strict=True))
        for name in [*PAIR_MEANS, *ITEM_SHARES]:
            low, high = t_interval(part[name])
            row |= {name: part[name].mean(), f"{name}_low": low, f"{name}_high": high}
        row["all_right_expected"] = part["all_right_expected"].mean()
        row |= {name: int(part[name].iloc[0]) for name in ("languages", "n")}
        found.append(row | {"seeds": part["seed"].nunique()})
    return pd.DataFrame(found)
