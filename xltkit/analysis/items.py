"""The test items of a study: one table, one grid, and how far a score would move on other items.

Every metric of the kit is a ratio of sums over items (accuracy: points over items; F1: twice the
true positives over predicted plus gold), or a mean of such ratios. So drawing items again needs the
sums alone: a corpus metric is computed anew on the items drawn, never averaged over them. Items
with one id in several languages are translations of one another and are drawn together; a data set
that is not parallel has the language in its ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from xltkit.studies.results import Results
from xltkit.tasks import get

RESAMPLES = 2000
_IN_MEMORY = 1_000_000  # numbers of one batch of draws

Column = tuple[str, str]  # a task, and the language that arms are compared on


def item_table(results: Results, tasks: Sequence[str] = ()) -> pd.DataFrame:
    """Every prediction of a study: one row per arm, seed, task, language and item.

    Args:
        results: of a study.
        tasks: which; empty means all that were predicted.

    Returns:
        ``arm``, ``seed``, ``task``, ``language``, ``item``, ``score`` (0 to 1), ``prediction``, and
        ``log_probs`` where all labels or candidates were scored (an array, else missing).

    Raises:
        ValueError: for tasks that were not predicted.
    """
    table = results.predictions
    predicted = list(dict.fromkeys(table["task"]))
    if isinstance(tasks, str) or not set(tasks) <= set(predicted):
        raise ValueError(f"tasks is {tasks!r}; expected a list of some of {predicted}.")
    names = {"example_id": "item", "pred": "prediction"}
    return table[table["task"].isin(tasks or predicted)].rename(columns=names)


def grid(table: pd.DataFrame, axes: Mapping[str, Sequence], values: np.ndarray) -> np.ndarray:
    """A long table as an array with one axis per column.

    Args:
        table: one row per value.
        axes: the columns to spread over, and the levels of each in order.
        values: what to spread, shape (rows, ...).

    Returns:
        The values, shape (levels of the first axis, ..., levels of the last, ...): 0 where there
        is no row, the sum where there are several.
    """
    values = np.asarray(values)
    places = [pd.Index(levels).get_indexer(table[name]) for name, levels in axes.items()]
    shape = [len(levels) for levels in axes.values()]
    array = np.zeros([*shape, *values.shape[1:]], dtype=values.dtype)
    np.add.at(array, tuple(places), values)
    return array


def draw_weights(random: np.random.Generator, draws: int, size: int) -> np.ndarray:
    """Shape (draws, size): which share of each draw with replacement every one of ``size`` is."""
    drawn = random.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * size).reshape(draws, size) / size


def draw_batches(
    random: np.random.Generator, draws: int, size: int, width: int = 1
) -> Iterator[np.ndarray]:
    """``draw_weights`` in batches that fit into memory; each draw gives ``width`` numbers."""
    step = max(1, _IN_MEMORY // max(size, width))
    for start in range(0, draws, step):
        yield draw_weights(random, min(step, draws - start), size)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Numerator over denominator; 0 over 0 is 0, as F1 without predictions and gold labels is."""
    out = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


@dataclass(frozen=True)
class Block:
    """Items that are drawn together, and what they add to the metric in each column.

    Attributes:
        columns: tasks and languages. A column stands here several times if its metric is a mean
            of several ratios.
        numerator: shape (arms, seeds, columns, items); 0 for an item that a column does not have.
        denominator: the same shape.
    """

    columns: tuple[Column, ...]
    numerator: np.ndarray
    denominator: np.ndarray

    @cached_property
    def metric(self) -> np.ndarray:
        """The metric in points, shape (arms, seeds, columns)."""
        return ratio(self.numerator.sum(-1), self.denominator.sum(-1))

    @cached_property
    def influence(self) -> np.ndarray:
        """What each item adds to the metric, linearized, shape (arms, seeds, columns, items).

        The influence values of the infinitesimal jackknife (Efron 1982): their sum over items is
        0, and the sum of their squares is the variance of the metric. Corrected for the number of
        items n by sqrt(n / (n - 1)).
        """
        count = self.numerator.shape[-1]
        residual = self.numerator - self.metric[..., None] * self.denominator
        values = ratio(residual, self.denominator.sum(-1)[..., None])
        return values * np.sqrt(count / max(1, count - 1))

    @cached_property
    def resampled(self) -> np.ndarray:
        """How far the metric, a mean over seeds, moves in each of ``RESAMPLES`` draws of the items.

        Shape (arms, draws, columns). A draw is the same in all arms, seeds and columns.
        """
        count = self.numerator.shape[-1]
        numerator = self.numerator.reshape(-1, count).T
        denominator = self.denominator.reshape(-1, count).T
        random = np.random.default_rng(0)
        batches = []
        for weights in draw_batches(random, RESAMPLES, count, numerator.shape[1]):
            # Sums are means times the count, which cancels in the ratio.
            metric = ratio(weights @ numerator, weights @ denominator)
            moved = metric.reshape(-1, *self.metric.shape) - self.metric
            batches.append(moved.mean(axis=2).swapaxes(0, 1))
        # A sample varies by (n - 1) / n of what it was drawn from.
        return np.concatenate(batches, axis=1) * np.sqrt(count / max(1, count - 1))


@dataclass(frozen=True)
class Items:
    """The items of a study in blocks. ``weights`` of the methods are those of columns."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    blocks: tuple[Block, ...]

    def _weighted(self, weights: Mapping[Column, float]) -> list[tuple[Block, np.ndarray]]:
        """The blocks that bear weight, with the weights of their columns, shape (columns,)."""
        columns = [column for block in self.blocks for column in block.columns]
        pairs = []
        for block in self.blocks:
            shares = [weights.get(c, 0.0) / columns.count(c) for c in block.columns]
            if any(shares):
                pairs.append((block, np.array(shares)))
        return pairs

    def scores(self, arm: str, weights: Mapping[Column, float]) -> np.ndarray:
        """The weighted sum of an arm's metrics, shape (seeds,)."""
        index = self.arms.index(arm)
        sums = [block.metric[index] @ shares for block, shares in self._weighted(weights)]
        return np.sum(sums, axis=0)

    def variance(
        self, arm: str, baseline: str, weights: Mapping[Column, float]
    ) -> tuple[float, float]:
        """What other items would add to the variance of the mean difference of two arms.

        Returns:
            For these very models: the variance over draws of the items. And beside other seeds:
            the same, less what each seed does with each item alone, which the spread over seeds
            holds already (in the terms of an analysis of variance, the mean square of items less
            that of seeds x items, over the number of both); NaN for one seed.
        """
        one, other = self.arms.index(arm), self.arms.index(baseline)
        seeds = len(self.seeds)
        moved = np.zeros(RESAMPLES)
        item_squares = 0.0
        interaction_squares = 0.0
        for block, shares in self._weighted(weights):
            moved = moved + (block.resampled[one] - block.resampled[other]) @ shares
            gap = block.influence[one] - block.influence[other]
            by_item = np.einsum("sci,c->si", gap, shares)
            mean = by_item.mean(axis=0)
            item_squares += (mean**2).sum()
            interaction_squares += ((by_item - mean) ** 2).sum()
        alone = float(moved.var())
        if seeds < 2:
            return alone, np.nan
        if not item_squares:
            return alone, 0.0
        interaction = interaction_squares / (seeds * (seeds - 1))
        return alone, alone * max(0.0, 1 - interaction / item_squares)


@lru_cache(maxsize=2)
def items(results: Results) -> Items:
    """The items of a study, from its predictions; kept for the next call.

    Raises:
        ValueError: if a score of the study is not what its predictions give.
    """
    arms = tuple(results.study.arms)
    seeds = tuple(results.main["seed"].unique())
    blocks = []
    for task, table in metric_terms(results).groupby("task", sort=False):
        for languages in _parallel_groups(table):
            part = table[table["base_language"].isin(languages)]
            ratios = part[["base_language", "part"]].drop_duplicates()
            part = part.assign(ratio=part.groupby(list(ratios), sort=False).ngroup())
            names = part["item"].unique()
            axes = {"arm": arms, "seed": seeds, "ratio": range(len(ratios)), "item": names}
            numerator = grid(part, axes, part["numerator"])
            denominator = grid(part, axes, part["denominator"])
            columns = tuple((task, language) for language in ratios["base_language"])
            blocks.append(Block(columns, numerator, denominator))
    return Items(arms, seeds, tuple(blocks))


def metric_terms(results: Results) -> pd.DataFrame:
    """What every item adds to the metric of its task: ``TaskType.terms`` of all runs in one table.

    Returns:
        ``arm``, ``seed``, ``task``, ``language``, ``base_language`` (what arms are compared on),
        ``item``, ``part``, ``numerator`` and ``denominator``: the metric in points is the sum of
        the one over the sum of the other, and the mean of these ratios if there are several parts.

    Raises:
        ValueError: if a score of the study is not what its predictions give.
    """
    keys = ["arm", "seed", "task", "language"]
    scores = results.main.set_index(keys)[["base_language", "value"]]
    predictions = results.predictions.drop(columns="log_probs", errors="ignore")
    tables = []
    for (arm, seed, name, language), group in predictions.groupby(keys, sort=False):
        base_language, value = scores.loc[(arm, seed, name, language)]
        task = get(name)
        table = task.type.terms(task, group, language)
        sums = table.groupby("part")[["numerator", "denominator"]].sum()
        if abs(ratio(sums["numerator"], sums["denominator"]).mean() - value) > 1e-3:
            raise ValueError(
                f"{name} in {language} scored {value:.3f} (arm {arm!r}, seed {seed}), which is not "
                f"the {task.metric} of its predictions: their items cannot be drawn again. "
                "Type compare(..., method='seeds')."
            )
        run = {"arm": arm, "seed": seed, "task": name, "language": language}
        tables.append(table.assign(**run, base_language=base_language))
    return pd.concat(tables, ignore_index=True)


def _parallel_groups(table: pd.DataFrame) -> list[set[str]]:
    """Languages in groups that have items in common."""
    groups: list[tuple[set, set]] = []
    for language, items_of_language in table.groupby("base_language", sort=False)["item"]:
        languages, names = {language}, set(items_of_language)
        others = []
        for group in groups:
            if group[1] & names:
                languages, names = languages | group[0], names | group[1]
            else:
                others.append(group)
        groups = [*others, (languages, names)]
    return [languages for languages, _ in groups]
