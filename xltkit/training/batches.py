"""The order of training: which examples make up which step, as pure functions of the seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xltkit.keys import derive

POOL = 50  # batches that are sorted by length together: enough to save padding, still shuffled


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
    for at in range(0, len(order), POOL * batch_size):
        pool = order[at : at + POOL * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


class Step(NamedTuple):
    """What one optimiser step is made of: some examples of one training set."""

    training_set: int
    epoch: int
    examples: np.ndarray


class Plan:
    """All steps of a phase. ``plan[i]`` is the same whether or not the steps before were taken.

    Args:
        lengths: for each training set, the length of each of its examples.
        weights: the share of the steps each training set gets.
        steps: number of optimiser steps.
        batch_size: examples in a step.
        seed: of the phase; training sets draw their order from it independently.
    """

    def __init__(
        self, lengths: Sequence[Sequence[int]], weights: Sequence[float], steps: int,
        batch_size: int, seed: int,
    ):  # fmt: skip
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        random = np.random.default_rng(derive(seed, "mixing"))
        self.training_sets = random.choice(len(weights), size=steps, p=np.asarray(weights))
        # How often the training set of a step was drawn before it.
        self.turns = np.zeros(steps, dtype=int)
        for training_set in range(len(weights)):
            mine = self.training_sets == training_set
            self.turns[mine] = np.arange(mine.sum())
        self._epochs: dict[int, tuple[int, list[np.ndarray]]] = {}

    def __len__(self) -> int:
        return len(self.training_sets)

    def __getitem__(self, step: int) -> Step:
        training_set, turn = int(self.training_sets[step]), int(self.turns[step])
        lengths = self.lengths[training_set]
        epoch, at = divmod(turn, -(-len(lengths) // self.batch_size))
        if self._epochs.get(training_set, (-1,))[0] != epoch:
            seed = derive(self.seed, "order", training_set)
            self._epochs[training_set] = (
                epoch,
                epoch_batches(lengths, self.batch_size, seed, epoch),
            )
        return Step(training_set, epoch, self._epochs[training_set][1][at])
