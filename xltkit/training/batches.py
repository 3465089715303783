"""Batches, and which examples make up which step, as pure functions of the seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from xltkit.keys import derive

POOL = 50  # batches that are sorted by length together: enough to save padding, still shuffled


class Batch(NamedTuple):
    """Tensors of some examples. ``targets`` counts what the summed loss is a sum over."""

    training_set: int
    inputs: dict[str, Tensor]
    labels: Tensor
    targets: int


def epoch_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """The batches of an epoch: examples of similar length together, in a random order.

    Every example comes exactly once. The last batch may be smaller.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    lengths = np.asarray(lengths)
    batches = []
    for start in range(0, len(order), POOL * batch_size):
        pool = order[start : start + POOL * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


class Plan:
    """All steps of a phase. ``plan[i]`` is the same whether or not the steps before were taken.

    Args:
        lengths: for each training set, the length of each of its examples.
        weights: the share of the steps each training set gets.
        steps, batch_size: number of optimizer steps, and of examples in each.
        seed: of the phase; training sets draw their order from it independently.
    """

    def __init__(
        self,
        lengths: Sequence[Sequence[int]],
        weights: Sequence[float],
        steps: int,
        batch_size: int,
        seed: int,
    ):
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        random = np.random.default_rng(derive(seed, "mixing"))
        self.training_sets = random.choice(len(weights), size=steps, p=np.asarray(weights))
        # How often the training set of a step was drawn before it.
        draws = pd.Series(self.training_sets).groupby(self.training_sets).cumcount()
        self.draws = draws.to_numpy()
        # The batches of the current epoch of each training set: computed once, not once a step.
        self._epochs: dict[int, tuple[int, list[np.ndarray]]] = {}

    def __getitem__(self, step: int) -> tuple[int, int, np.ndarray]:
        """The number of the training set of a step, its epoch, and the numbers of its examples."""
        training_set = int(self.training_sets[step])
        lengths = self.lengths[training_set]
        batches_per_epoch = -(-len(lengths) // self.batch_size)
        epoch, batch = divmod(int(self.draws[step]), batches_per_epoch)
        if self._epochs.get(training_set, (-1,))[0] != epoch:
            seed = derive(self.seed, "order", training_set)
            batches = epoch_batches(lengths, self.batch_size, seed, epoch)
            self._epochs[training_set] = (epoch, batches)
        return training_set, epoch, self._epochs[training_set][1][batch]
