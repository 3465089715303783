"""Items drawn again: how far a score, or a difference, would move on other test items.

Every metric of the kit is a ratio of sums over items (accuracy: points over items; F1: twice what
is right over what is predicted and what is there), or a mean of such ratios. So a resample needs
the sums alone: a corpus metric is computed anew on the items drawn, never averaged over them.
Items with one id in several languages are translations of one another and are drawn together;
a data set that is not parallel has the language in its ids (``tasks.table``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from xltkit.analysis.intervals import difference, of_mean, student
from xltkit.tasks import get

if TYPE_CHECKING:  # results give their items
    from xltkit.studies.results import Results

RESAMPLES = 2000
FLIPS = 9999  # and the data as it is: p has steps of 1 in 10,000
_AT_ONCE = 4_000_000  # numbers of one draw held in memory
# Ways to compare, by the question: would the difference hold with other seeds (on these examples),
# with other examples (of these models), with both?
METHODS = {
    "seeds": "paired t over seeds",
    "both": "paired t over seeds and examples",
    "examples": "bootstrap over examples",
    "flip seeds": "sign flips of seeds",
    "flip examples": "sign flips of examples",
}

Cell = tuple[str, str]  # a task, and the language that arms are compared on


def shares(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """How large a part of each draw (count, size) every one of ``size`` things makes up."""
    drawn = random.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
    return np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size) / size


@dataclass(frozen=True)
class Block:
    """Items that are drawn together, and what they add in the cells they are in.

    ``cells`` names the columns; one may stand there several times, once a part of its metric.
    ``top`` and ``bottom`` have the shape (arms, seeds, columns, items); an item that a column
    does not have adds nothing to either.
    """

    cells: tuple[Cell, ...]
    top: np.ndarray
    bottom: np.ndarray

    @cached_property
    def ratios(self) -> np.ndarray:
        """The metric (arms, seeds, columns), in points."""
        return _over(self.top.sum(-1), self.bottom.sum(-1))

    @cached_property
    def pull(self) -> np.ndarray:
        """What an item adds to the metric, linearised, less its mean (arms, seeds, columns, items).

        The sum over items is 0; the sum of squares is the variance of the metric (infinitesimal
        jackknife; Efron 1982), corrected for the number of items.
        """
        count = self.top.shape[-1]
        rest = self.top - self.ratios[..., None] * self.bottom
        return _over(rest, self.bottom.sum(-1)[..., None]) * np.sqrt(count / max(1, count - 1))

    @cached_property
    def drawn(self) -> np.ndarray:
        """How far the metric moves, as a mean over seeds, in ``RESAMPLES`` draws of the items.

        Shape (arms, draws, columns). A draw is the same in all arms, seeds and columns.
        """
        random, count = np.random.default_rng(0), self.top.shape[-1]
        wide = [x.reshape(-1, count).T for x in (self.top, self.bottom)]
        start, parts = self.ratios, []
        step = max(1, _AT_ONCE // max(count, wide[0].shape[1]))
        for first in range(0, RESAMPLES, step):
            weights = count * shares(random, min(step, RESAMPLES - first), count)
            sums = [(weights @ x).reshape(-1, *start.shape) for x in wide]
            parts.append((_over(*sums) - start).mean(2).swapaxes(0, 1))
        # A sample varies by (n - 1) / n of what it was drawn from.
        return np.concatenate(parts, axis=1) * np.sqrt(count / max(1, count - 1))


def _over(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Nothing over nothing is 0, as the F1 of nothing predicted where nothing is."""
    return np.divide(top, bottom, out=np.zeros(np.broadcast(top, bottom).shape), where=bottom != 0)


@dataclass(frozen=True)
class Items:
    """The items of a study: all that resampling needs. ``weights`` below are those of cells."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    blocks: tuple[Block, ...]

    @cached_property
    def parts(self) -> dict[Cell, int]:
        """The number of parts of each cell's metric."""
        cells = [cell for block in self.blocks for cell in block.cells]
        return {cell: cells.count(cell) for cell in cells}

    def _weighted(self, weights: Mapping[Cell, float]) -> list[tuple[Block, np.ndarray]]:
        """The blocks that bear weight, with the weight of their columns."""
        found = []
        for block in self.blocks:
            columns = np.array([weights.get(c, 0.0) / self.parts[c] for c in block.cells])
            if columns.any():
                found.append((block, columns))
        return found

    def values(self, arm: str, weights: Mapping[Cell, float]) -> np.ndarray:
        """The weighted sum of an arm's scores, one a seed."""
        at = self.arms.index(arm)
        return np.sum([block.ratios[at] @ w for block, w in self._weighted(weights)], axis=0)

    def variance(self, arm: str, baseline: str, weights: Mapping[Cell, float]) -> tuple[float, ...]:
        """Of the mean difference of two arms: what other items add to its variance.

        Returns:
            What they add for these very models: the variance over draws of the items. And what
            they add beside other seeds: the same, less what each seed does with each item alone,
            which the spread over seeds holds already (in the terms of an analysis of variance,
            the mean square of items less that of seeds x items, over the number of both). The
            second is not a number for one seed.
        """
        a, b = self.arms.index(arm), self.arms.index(baseline)
        moved, plain, both = np.zeros(RESAMPLES), 0.0, 0.0
        for block, w in self._weighted(weights):
            moved = moved + (block.drawn[a] - block.drawn[b]) @ w
            pull = np.einsum("scu,c->su", block.pull[a] - block.pull[b], w)
            mean = pull.mean(0)
            plain += (mean**2).sum()
            both += ((pull - mean) ** 2).sum()
        total, seeds = float(moved.var()), len(self.seeds)
        if seeds < 2:
            return total, np.nan
        both /= seeds * (seeds - 1)
        return total, total * max(0.0, 1 - both / plain) if plain else 0.0

    def flipped(self, arm: str, baseline: str, weights: Mapping[Cell, float]) -> float:
        """The p value of swapping the two arms in random items, in all seeds and languages at once.

        The metric is computed anew after every swap (Koehn 2004 and Yeh 2000 do so with one model
        each).
        """
        a, b = self.arms.index(arm), self.arms.index(baseline)
        seen, found = 0.0, np.zeros(FLIPS)
        random = np.random.default_rng(0)
        for block, w in self._weighted(weights):
            seen += float(((block.ratios[a] - block.ratios[b]) @ w).mean())
            swaps = random.integers(2, size=(FLIPS, block.top.shape[-1])).astype(np.float32)
            sums = []
            for table in (block.top, block.bottom):
                gap = table[b] - table[a]
                shift = (swaps @ gap.reshape(-1, gap.shape[-1]).T).reshape(-1, *gap.shape[:2])
                sums.append((table[a].sum(-1) + shift, table[b].sum(-1) - shift))
            (top_a, top_b), (bottom_a, bottom_b) = sums
            found += ((_over(top_a, bottom_a) - _over(top_b, bottom_b)) @ w).mean(1)
        return _share_as_far(seen, found)


def flip(differences: np.ndarray) -> float:
    """The p value of swapping the two arms in seeds: exact up to 13 seeds, else of random swaps.

    With n seeds it is never under 2 to the (1 - n): 0.25 with three.
    """
    count = len(differences)
    if count > 13:
        signs = np.random.default_rng(0).choice([-1, 1], size=(FLIPS, count))
        return _share_as_far(differences.sum(), signs @ differences)
    signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    return float((np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9).mean())


def _share_as_far(seen: float, found: np.ndarray) -> float:
    return float((1 + (np.abs(found) >= abs(seen) - 1e-9).sum()) / (1 + len(found)))


def tested(
    results: Results, arms: tuple[str, str], weights: Mapping[Cell, float],
    seeds: np.ndarray, method: str,
) -> dict[str, float | str]:  # fmt: skip
    """The difference of two arms by a method: what ``stats.compare`` says of it.

    ``seeds`` are the differences by seed, and ``weights`` those of the cells they are sums of.
    """
    found = difference(seeds) | {"method": METHODS[method]}
    if method == "seeds":
        return found
    if method.startswith("flip"):
        without = dict.fromkeys(("low", "high", "smallest_effect"), np.nan)
        least = 2.0 ** (1 - len(seeds)) if method == "flip seeds" else 0.0
        p = flip(seeds) if method == "flip seeds" else results.items.flipped(*arms, weights)
        return found | without | {"p": p, "smallest_p": max(least, 1 / (FLIPS + 1))}
    alone, beside = results.items.variance(*arms, weights)
    if method == "both" and of_mean(seeds) > 0:
        return found | difference(seeds, beside)
    # The items alone vary: there is one seed, or several that are all alike, or none is asked for.
    return found | student(seeds.mean(), alone, np.inf) | {"method": METHODS["examples"]}


def items(results: Results) -> Items:
    """The items of a study, from its predictions.

    Raises:
        ValueError: if a score of the study is not what its predictions say.
    """
    arms, seeds = tuple(results.study.arms), tuple(dict.fromkeys(results.main["seed"]))
    blocks = []
    for task, table in _terms(results, arms, seeds).items():
        for languages in _sharing(table):
            part = table[table["base_language"].isin(languages)]
            at, columns = pd.factorize(part["base_language"] + "\n" + part["part"])
            unit, units = pd.factorize(part["item"])
            where = (part["arm"].to_numpy(), part["seed"].to_numpy(), at, unit)
            arrays = []
            for name in ("top", "bottom"):
                array = np.zeros((len(arms), len(seeds), len(columns), len(units)))
                np.add.at(array, where, part[name].to_numpy())
                arrays.append(array)
            cells = tuple((task, column.partition("\n")[0]) for column in columns)
            blocks.append(Block(cells, *arrays))
    return Items(arms, seeds, tuple(blocks))


def _terms(results: Results, arms: Sequence[str], seeds: Sequence[int]) -> dict[str, pd.DataFrame]:
    """``TaskType.terms`` of each task, with numbers of arm and seed, and ``base_language``."""
    keys = ["arm", "seed", "task", "language"]
    scored = results.main.set_index(keys)[["base_language", "value"]]
    needed = results.predictions.drop(columns="log_probs", errors="ignore")
    found: dict[str, list[pd.DataFrame]] = {}
    for (arm, seed, task, language), group in needed.groupby(keys, sort=False):
        base_language, value = scored.loc[(arm, seed, task, language)]
        table = get(task).type.terms(get(task), group, language)
        at, parts = pd.factorize(table["part"])
        sums = (np.bincount(at, table[name], len(parts)) for name in ("top", "bottom"))
        if abs(_over(*sums).mean() - value) > 1e-3:
            raise ValueError(
                f"{task} in {language} scored {value:.3f} (arm {arm!r}, seed {seed}), which is not "
                f"the {get(task).metric} of its predictions: their items cannot be drawn again. "
                "Type compare(..., method='seeds')."
            )
        table["arm"], table["seed"] = arms.index(arm), seeds.index(seed)
        table["base_language"] = np.full(len(table), base_language, dtype=object)
        found.setdefault(task, []).append(table)
    return {task: pd.concat(tables, ignore_index=True) for task, tables in found.items()}


def _sharing(table: pd.DataFrame) -> list[set[str]]:
    """Languages in groups that have items in common."""
    groups: list[tuple[set, set]] = []
    for language, found in table.groupby("base_language", sort=False)["item"]:
        languages, names, apart = {language}, set(found), []
        for group in groups:
            if group[1] & names:
                languages, names = languages | group[0], names | group[1]
            else:
                apart.append(group)
        groups = [*apart, (languages, names)]
    return [languages for languages, _ in groups]
