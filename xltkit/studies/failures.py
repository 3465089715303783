"""Runs that learned nothing: counted beside every mean, never dropped without a word."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from xltkit.tasks import get
from xltkit.tasks.labels import TYPES

RUN = ["arm", "seed", "task"]
# A model that knows nothing passes for one that learned something once in a hundred runs.
LUCK = 0.01


def failures(main: pd.DataFrame, scores: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Which runs failed: at chance, or with one prediction for everything, in the source language.

    A task without the source language is judged in the language the run is best in. Chance is the
    task's, or, of tags, always saying the most frequent one; a score counts as above it if a model
    at chance would get so far in fewer than one of a hundred test sets of this size. Of tasks for
    which nothing is trained there are no runs to fail.

    Args:
        main: ``Results.main``.
        scores: ``Results.scores``.
        predictions: ``Results.predictions``.

    Returns:
        One row per arm, seed and task: ``failed``, and ``why`` (empty if not).
    """
    kinds = {name: TYPES[get(name).kind] for name in main["task"].unique()}
    trained = main[~main["task"].map(lambda name: kinds[name].frozen)]
    ranked = trained.sort_values(["is_source", "value"], ascending=False, kind="stable")
    judged = ranked.drop_duplicates(RUN)[[*RUN, "language", "value", "n", "chance"]]
    keys = [*RUN, "language"]
    floor = scores.loc[scores["metric"] == "majority"].set_index(keys)["value"]
    constant = _constant(predictions.merge(judged[keys]), keys)
    rows = []
    for run in judged.sort_index().itertuples(index=False):
        key = (run.arm, run.seed, run.task, run.language)
        tags = key in floor.index and get(run.task).metric == "accuracy"
        why = _why(run.value, floor[key] if tags else run.chance, run.n, key in constant)
        rows.append((run.arm, run.seed, run.task, bool(why), why))
    return pd.DataFrame(rows, columns=[*RUN, "failed", "why"])


def _constant(predictions: pd.DataFrame, keys: list[str]) -> set[tuple]:
    """Runs that predict the same for all items, though the items are not all the same."""
    kinds = predictions.groupby(keys)[["gold", "pred"]].nunique()
    return set(kinds.index[(kinds["pred"] == 1) & (kinds["gold"] > 1)])


def _why(value: float, chance: float, count: int, constant: bool) -> str:
    if constant:
        return "one prediction for everything"
    error = np.sqrt(chance * (100 - chance) / count)
    if value <= chance + scipy_stats.norm.ppf(1 - LUCK) * error:
        return f"{value:.1f} in the source language, where chance is {chance:.1f}"
    return ""
