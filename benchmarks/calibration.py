"""Whether intervals cover what they promise, and how often arms that are the same look different.

    python benchmarks/calibration.py [--studies 1000] [--real] [--save FILE.npz]

Simulated studies of two arms without a true difference, in which seeds, items and seeds with items
matter in known proportions, and, with ``--real``, studies cut out of many runs of one recipe in the
microworld (trained in the store if they are not there: half an hour on one core). ``size`` is the
share of p < 0.05, and coverage is 100 minus it: the truth is no difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from xltkit.analysis.intervals import difference, t_test, variance_of_mean
from xltkit.analysis.items import Block, Items
from xltkit.analysis.items import items as items_of

CELL = ("task", "language")
WEIGHTS = {CELL: 1.0}
Arrays = tuple[np.ndarray, np.ndarray]  # numerator and denominator (arms, seeds, items)


def draw_weights(random: np.random.Generator, draws: int, size: int) -> np.ndarray:
    """The share of each draw with replacement that every one of ``size`` has (draws, size)."""
    drawn = random.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * size).reshape(draws, size) / size


def normal(
    random: np.random.Generator, studies: int, seeds: int, items: int,
    by_seed: float, by_item: float, alone: float, heavy: bool = False,
) -> Arrays:  # fmt: skip
    """Scores whose differences have these standard deviations, in points of a single item."""

    def draw(*shape: int) -> np.ndarray:
        # t with 3 degrees of freedom has the variance 3.
        return random.standard_t(3, shape) / 3**0.5 if heavy else random.standard_normal(shape)

    gap = by_seed * draw(studies, seeds, 1) + by_item * draw(studies, 1, items)
    gap = gap + alone * draw(studies, seeds, items)
    numerator = np.stack([gap, np.zeros_like(gap)], axis=1).reshape(2 * studies, seeds, items)
    return numerator, np.ones_like(numerator)


def _chances(
    random: np.random.Generator, studies: int, seeds: int, items: int, mean: float,
    by_seed: float, by_item: float,
) -> np.ndarray:  # fmt: skip
    """How likely every run (2 x studies, seeds) is right on every item, on average ``mean``."""
    hard = 1.5 * random.standard_normal((studies, 1, 1, items))
    own = by_item * random.standard_normal((studies, 2, 1, items))
    run = by_seed * random.standard_normal((studies, 2, seeds, 1))
    spread = np.sqrt(1 + 1.5**2 + by_item**2 + by_seed**2)
    latent = scipy_stats.norm.ppf(mean) * spread + hard + own + run
    return scipy_stats.norm.cdf(latent).reshape(2 * studies, seeds, items)


def binary(random: np.random.Generator, studies: int, seeds: int, items: int, **more) -> Arrays:
    """Right or wrong."""
    chances = _chances(random, studies, seeds, items, **more)
    numerator = 100.0 * (random.random(chances.shape) < chances)
    return numerator, np.ones_like(numerator)


def chunks(random: np.random.Generator, studies: int, seeds: int, items: int, **more) -> Arrays:
    """Sentences with some chunks (most with one or two), of which some are found: F1."""
    chances = _chances(random, studies, seeds, items, **more)
    there = np.repeat(random.poisson(1.3, (studies, 1, 1, items)), 2, axis=0)[:, 0]
    there = np.broadcast_to(there, chances.shape)
    right = random.binomial(there, chances)
    wrong = random.binomial(there - right, 0.7) + random.binomial(1, 0.1 * (1 - chances))
    return 200.0 * right, (there + right + wrong).astype(float)


STRUCTURES: dict[str, Callable[..., Arrays]] = {
    "seeds matter most": partial(normal, by_seed=5, by_item=2, alone=10),
    "items matter most": partial(normal, by_seed=0.1, by_item=20, alone=12),
    "both alike": partial(normal, by_seed=1.4, by_item=20, alone=12),
    "neither (chance)": partial(normal, by_seed=0, by_item=0, alone=20),
    "heavy tails": partial(normal, by_seed=1, by_item=8, alone=12, heavy=True),
    "binary, mean 0.9": partial(binary, mean=0.9, by_seed=0.12, by_item=0.5),
    "binary, few differ": partial(binary, mean=0.9, by_seed=0.2, by_item=0.0),
    "corpus F1": partial(chunks, mean=0.8, by_seed=0.12, by_item=0.5),
}


def study(numerator: np.ndarray, denominator: np.ndarray) -> Items:
    """Arms 0, 2, 4 ... and their baselines 1, 3, 5 ... as one study, whose draws they share."""
    block = Block((CELL,), numerator[:, :, None, :], denominator[:, :, None, :])
    return Items(tuple(map(str, range(len(numerator)))), (block,))


def by_kit(items: Items, method: str) -> pd.DataFrame:
    """What ``compare`` would say of every study."""
    rows = []
    metric = items.blocks[0].metric[:, :, 0]
    for i, (a, b) in enumerate(zip(items.arms[::2], items.arms[1::2], strict=True)):
        seeds = metric[2 * i] - metric[2 * i + 1]
        if method == "seeds":
            rows.append(difference(seeds))
            continue
        alone, beside = items.variance(a, b, WEIGHTS)
        some = method == "both" and variance_of_mean(seeds)
        rows.append(difference(seeds, beside) if some else t_test(seeds.mean(), alone, np.inf))
    return pd.DataFrame(rows)


def naive(items: Items) -> pd.DataFrame:
    """The percentile intervals of a bootstrap that draws seeds and items with replacement."""
    (block,) = items.blocks
    random, count = np.random.default_rng(0), block.numerator.shape[-1]
    found, draws = [], 500
    weights, runs = (
        draw_weights(random, draws, count),
        draw_weights(random, draws, block.numerator.shape[1]),
    )
    for first in range(0, len(items.arms), 200):
        numerator, denominator = (
            x[first : first + 200, :, 0] @ weights.T for x in (block.numerator, block.denominator)
        )
        ratios = numerator / np.where(denominator, denominator, 1)
        means = np.einsum("bs,asb->ab", runs, ratios[::2] - ratios[1::2])
        low, high = np.quantile(means, [0.025, 0.975], axis=1)
        p = 2 * np.minimum((means <= 0).mean(1), (means >= 0).mean(1))
        found.append(pd.DataFrame({"low": low, "high": high, "p": np.minimum(p, 1)}))
    return pd.concat(found)


METHODS: dict[str, Callable[[Items], pd.DataFrame]] = {
    "seeds": partial(by_kit, method="seeds"),
    "both": partial(by_kit, method="both"),
    "examples": partial(by_kit, method="examples"),
    "two-level percentile": naive,
}


def judged(items: Items, method: str) -> dict[str, float]:
    """How often 0 is in the interval, how often p < 0.05 (both in %), and the mean width."""
    found = METHODS[method](items)
    return {
        "coverage": 100 * ((found["low"] <= 0) & (found["high"] >= 0)).mean(),
        "size": 100 * (found["p"] < 0.05).mean(),
        "width": (found["high"] - found["low"]).mean(),
    }


def simulated(name: str, seeds: int, studies: int, items: int = 200) -> Items:
    """Studies of a structure, always the same."""
    random = np.random.default_rng([seeds, *map(ord, name)])
    return study(*STRUCTURES[name](random, studies, seeds, items))


def same_recipe(
    numerator: np.ndarray, denominator: np.ndarray, seeds: int, studies: int, items: int = 0
) -> Items:
    """Studies of two arms that are the same, cut out of runs of one recipe.

    Args:
        numerator: of runs (runs, items), of one recipe with other seeds.
        denominator: likewise.
        seeds: runs of each arm; no run is in both.
        studies: how many to cut.
        items: drawn with replacement for each study; 0 keeps them all as they are.
    """
    random = np.random.default_rng([seeds, items])
    numerators, denominators = [], []
    for _ in range(studies):
        runs = random.permutation(len(numerator))[: 2 * seeds].reshape(2, seeds)
        some = random.integers(numerator.shape[1], size=items) if items else slice(None)
        numerators.append(numerator[runs][..., some])
        denominators.append(denominator[runs][..., some])
    return study(*(np.concatenate(x).astype(float) for x in (numerators, denominators)))


def components(items: Items, arm: int = 0) -> dict[str, float]:
    """Standard deviations of a difference, in points: by seed, by item, by both (one item)."""
    (block,) = items.blocks
    gap = (block.influence[arm] - block.influence[arm + 1])[:, 0] * block.numerator.shape[-1]
    seeds, count = gap.shape
    values = (block.metric[arm] - block.metric[arm + 1])[:, 0]
    alone = ((gap - gap.mean(0)) ** 2).sum() / ((seeds - 1) * count)
    by_item = (gap.mean(0) ** 2).sum() / count - alone / seeds
    by_seed = values.var(ddof=1) - alone / count
    roots = {"by_seed": by_seed, "by_item": by_item, "alone": alone}
    return {name: float(np.sqrt(max(0.0, value))) for name, value in roots.items()}


def show(name: str, items: Items) -> None:
    """A row of the table for each method, as soon as it is known."""
    for method in METHODS:
        found = judged(items, method)
        print(
            f"{name:24} {items.blocks[0].numerator.shape[1]:5}  {method:21}"
            f"{found['coverage']:8.1f} {found['size']:6.1f} {found['width']:7.2f}",
            flush=True,
        )


def runs(task: str, steps: int, count: int) -> Arrays:
    """Real runs of one recipe in the microworld: sums over the transfer languages (runs, items)."""
    import xltkit as xlt

    found = items_of(
        xlt.study({"one": xlt.encoder("micro")}, [task], range(count), steps=steps).run()
    )
    (block,) = found.blocks  # the microworld is parallel
    transfer = [language != "en" for _, language in block.columns]
    return tuple(x[0][:, transfer].sum(1) for x in (block.numerator, block.denominator))


def two_recipes(task: str, steps: int, count: int) -> dict[str, float]:
    """The components of a difference of two recipes, with and without an intermediate task."""
    import xltkit as xlt

    base = xlt.encoder("micro")
    between = xlt.Intermediate(["choice"], steps=60, batch_size=16, learning_rate=5e-4)
    arms = {"none": base, "text": base.then(between)}
    (block,) = items_of(xlt.study(arms, [task], range(count), steps=steps).run()).blocks
    transfer = [language != "en" for _, language in block.columns]
    return components(
        study(*(x[:, :, transfer].sum(2) for x in (block.numerator, block.denominator)))
    )


RUNS = {"ner": 60, "choice": 80}  # tasks and their steps


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10])
    parser.add_argument("--real", type=int, default=0, metavar="RUNS", help="of one recipe, say 24")
    parser.add_argument("--save", type=Path, help="file for what the runs scored, item by item")
    options = parser.parse_args()
    print(f"{'structure':24} seeds  {'method':21}coverage   size   width")
    for seeds in options.seeds:
        for name in STRUCTURES:
            show(name, simulated(name, seeds, options.studies))
    if not options.real:
        return
    found = {task: runs(task, steps, options.real) for task, steps in RUNS.items()}
    if options.save:
        arrays = {f"{t}_{n}": a.astype(np.uint16) for t, two in found.items()
                  for n, a in zip(("numerator", "denominator"), two, strict=True)}  # fmt: skip
        np.savez_compressed(options.save, **arrays)
    for task, arrays in found.items():
        halves = study(*(x[: options.real // 2 * 2].reshape(2, -1, x.shape[1]) for x in arrays))
        print(f"{task}, one recipe against itself: {components(halves)}")
    print(f"ner, two recipes: {two_recipes('ner', RUNS['ner'], 5)}")
    for task, arrays in found.items():
        for seeds in (3, 5):
            for items in (0, 200):
                cut = same_recipe(*arrays, seeds, options.studies, items)
                show(f"{task}, {items or 'the same'} items", cut)


if __name__ == "__main__":
    main()
