"""Test sets that are translations of one another: which they are, and whether predictions agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from xltkit.data import loading as data
from xltkit.studies.results import Results

COMPARABLE = ("classification", "choice")  # a prediction means the same in every language


def known_tasks(results: Results, names: Sequence[str]) -> list[str]:
    """The tasks named, or all that were predicted if none is; unknown ones are an error."""
    known = list(dict.fromkeys(results.predictions["task"]))
    if isinstance(names, str) or (unknown := [n for n in names if n not in known]):
        wrong = names if isinstance(names, str) else unknown
        raise ValueError(f"tasks is {wrong!r}; expected a list of some of {known}.")
    return list(names) or known


def parallel_tables(results: Results, tasks: Sequence[str] = ()) -> list[tuple[str, pd.DataFrame]]:
    """The predictions of each task whose items have the same ids in every language.

    Args:
        results: of a study.
        tasks: which; empty means all that are parallel, and the others are told in a warning.

    Returns:
        Pairs of the name and its rows of ``results.predictions``.

    Raises:
        ValueError: for a task that was named and is not parallel, or if none is.
    """
    found = []
    for name in known_tasks(results, tasks):
        table = results.predictions.query("task == @name")
        try:
            _check_parallel(table, name, results.study.source)
        except ValueError as error:
            if tasks:
                raise
            data.warn_once(f"Left out: {error}")
            continue
        found.append((name, table))
    if not found:
        names = known_tasks(results, tasks)
        raise ValueError(f"None of {names} is parallel with the source language.")
    return found


def _check_parallel(table: pd.DataFrame, task: str, source: str) -> None:
    ids = {code: set(part["example_id"]) for code, part in table.groupby("language")}
    others = [code for code in ids if code != source]
    if source not in ids or not others:
        raise ValueError(
            f"{task} was scored in {sorted(ids)}: overlap needs the source language {source!r} "
            "and another. Leave it out with tasks=[...]."
        )
    for code in others:
        if lacking := ids[code] - ids[source]:
            raise ValueError(
                f"{task} is not parallel: {len(lacking)} of its {len(ids[code])} items in {code!r} "
                f"are not among the {len(ids[source])} in {source!r} (such as "
                f"{min(lacking)!r}). Leave it out with tasks=[...]."
            )


def agreement(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """How often two series of labels say the same, and how often they would by chance.

    Args:
        one: labels of some items (names or numbers).
        other: labels of the same items.

    Returns:
        ``agreement`` and ``expected`` (0 to 100), the latter what two such distributions of labels
        would give if they had nothing in common; ``kappa`` = (agreement - expected) / (1 -
        expected), -1 to 1 (Cohen 1960), not a number if only one label was ever given.
    """
    codes, _ = pd.factorize(np.concatenate([one, other]))
    first, second = codes[: len(one)], codes[len(one) :]
    same = float(np.mean(first == second))
    shares = [np.bincount(part, minlength=codes.max() + 1) / len(part) for part in (first, second)]
    chance = float(np.dot(*shares))
    kappa = (same - chance) / (1 - chance) if chance < 1 else np.nan
    return {"agreement": 100 * same, "expected": 100 * chance, "kappa": kappa}
