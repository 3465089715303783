"""The test items of a study, and how far a score would move on other items.

Every metric of the kit is a ratio of sums over items (F1: twice the true positives over predicted
plus gold), or a mean of such ratios, so what an item adds to it follows from the sums. Items with
the same id in several languages are translations of one another and vary together; a data set that
is not parallel has the language in its ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from xltkit.analysis.intervals import item_variances
from xltkit.studies.results import Results
from xltkit.tasks import get

Column = tuple[str, str]  # a task, and the language that arms are compared on


def grid(table: pd.DataFrame, axes: Mapping[str, Sequence], values: np.ndarray) -> np.ndarray:
    """A table as an array with one axis per column: 0 if there is no row, the sum if several."""
    places = [pd.Index(levels).get_indexer(table[name]) for name, levels in axes.items()]
    array = np.zeros([len(levels) for levels in axes.values()], dtype=values.dtype)
    np.add.at(array, tuple(places), values)
    return array


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Numerator over denominator; 0 / 0 is 0, like F1 with neither predictions nor gold labels."""
    out = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


@dataclass(frozen=True)
class Block:
    """Items that vary together, and what they add to the metric in each column.

    ``numerator`` and ``denominator`` (arms, seeds, columns, items) are 0 for an item that a column
    does not have. A column whose metric is a mean of ratios appears once for each of them.
    """

    columns: tuple[Column, ...]
    numerator: np.ndarray
    denominator: np.ndarray

    @cached_property
    def metric(self) -> np.ndarray:
        """The metric in points (arms, seeds, columns)."""
        return ratio(self.numerator.sum(-1), self.denominator.sum(-1))

    @cached_property
    def influence(self) -> np.ndarray:
        """What each item adds to the metric, linearized (arms, seeds, columns, items).

        The infinitesimal jackknife (Efron 1982): the values sum to 0 over items, their squares to
        the variance of the metric (hence the correction for the number of items).
        """
        count = self.numerator.shape[-1]
        correction = np.sqrt(count / max(1, count - 1))
        residual = self.numerator - self.metric[..., None] * self.denominator
        return correction * ratio(residual, self.denominator.sum(-1)[..., None])


@dataclass(frozen=True)
class Items:
    """The items of a study in blocks."""

    arms: tuple[str, ...]
    blocks: tuple[Block, ...]

    def variance(
        self, arm: str, baseline: str, weights: Mapping[Column, float]
    ) -> tuple[float, float]:
        """``item_variances`` of the weighted mean difference of two arms, over all blocks."""
        one, other = self.arms.index(arm), self.arms.index(baseline)
        columns = [column for block in self.blocks for column in block.columns]
        variances = np.zeros(2)
        for block in self.blocks:
            shares = np.array([weights.get(c, 0.0) / columns.count(c) for c in block.columns])
            gap = block.influence[one] - block.influence[other]
            variances += item_variances(np.einsum("sci,c->si", gap, shares))
        alone, beside_seeds = np.maximum(0.0, variances)
        return alone, beside_seeds


@lru_cache(maxsize=2)
def items(results: Results) -> Items:
    """The items of a study, from its predictions (cached)."""
    arms = tuple(results.study.arms)
    seeds = results.main["seed"].unique()
    blocks = []
    for task, table in metric_terms(results).groupby("task", sort=False):
        # Languages that share items, directly or through others, form one block.
        languages = pd.factorize(table["base_language"])[0]
        names = pd.factorize(table["item"])[0]
        has_item = coo_array((np.ones(len(table)), (languages, names))).tocsr()
        _, groups = connected_components(has_item @ has_item.T, directed=False)
        for _, part in table.groupby(groups[languages], sort=False):
            ratios = part[["base_language", "part"]].drop_duplicates()
            part = part.assign(ratio=part.groupby(list(ratios), sort=False).ngroup())
            axes = {"arm": arms, "seed": seeds, "ratio": range(len(ratios))}
            axes["item"] = part["item"].unique()
            sums = [grid(part, axes, part[name]) for name in ("numerator", "denominator")]
            columns = tuple((task, language) for language in ratios["base_language"])
            blocks.append(Block(columns, *sums))
    return Items(arms, tuple(blocks))


def metric_terms(results: Results) -> pd.DataFrame:
    """``TaskType.terms`` of all runs in one table: what every item adds to the metric of its task.

    Raises ValueError if the predictions do not reproduce a score of the study.
    """
    keys = ["arm", "seed", "task", "language"]
    scores = results.main.set_index(keys)[["base_language", "value"]]
    tables = {}
    for run, predictions in results.predictions.groupby(keys, sort=False):
        arm, seed, name, language = run
        task = get(name)
        table = task.type.terms(task, predictions, language)
        value = scores.at[run, "value"]
        sums = table.groupby("part")[["numerator", "denominator"]].sum()
        if abs(ratio(sums["numerator"], sums["denominator"]).mean() - value) > 1e-3:
            raise ValueError(
                f"{arm} (seed {seed}) scored {value:.3f} on {name} in {language}, which is not the "
                f"{task.metric} of its predictions: items cannot be resampled. Use compare(..., "
                "method='seeds')."
            )
        tables[run] = table
    terms = pd.concat(tables, names=keys).reset_index(keys).reset_index(drop=True)
    return terms.join(scores["base_language"], on=keys)
