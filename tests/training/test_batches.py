"""The order of training is a pure function of the seed."""

from __future__ import annotations

from itertools import islice

import numpy as np

from xltkit.keys import hashed_uniform
from xltkit.training.supervised import batch_stream, plan

LENGTHS = np.random.default_rng(0).integers(3, 60, size=1003).tolist()
COUNT = -(-1003 // 16)  # batches of 16 in an epoch


def test_an_epoch_holds_every_example_once_among_others_of_similar_length():
    stream = islice(batch_stream(LENGTHS, 16, seed=1), 2 * COUNT)
    epochs, batches = zip(*stream, strict=True)
    assert list(epochs) == [0] * COUNT + [1] * COUNT
    for part in (batches[:COUNT], batches[COUNT:]):
        assert sorted(np.concatenate(part)) == list(range(1003))
        padded = sum(max(np.array(LENGTHS)[batch]) * len(batch) for batch in part)
        assert padded / sum(LENGTHS) < 1.05  # 1.5 and more in random batches


def test_seed_and_epoch_are_hashed_together():
    def order(seed, epoch):
        stream = islice(batch_stream(LENGTHS, 16, seed), epoch * COUNT, (epoch + 1) * COUNT)
        return np.concatenate([batch for _, batch in stream]).tolist()

    assert order(1, 0) == order(1, 0)
    # A sum of the two would make epoch 1 of seed 0 the same as epoch 0 of seed 1.
    assert order(0, 1) != order(1, 0)


def test_a_plan_gives_training_sets_their_share_and_walks_through_each():
    steps = plan([LENGTHS, LENGTHS[:64]], [0.75, 0.25], 2000, 16, seed=3)
    assert abs(np.mean([training_set for training_set, *_ in steps]) - 0.25) < 0.03
    first = [examples for training_set, epoch, examples in steps if (training_set, epoch) == (1, 0)]
    assert sorted(np.concatenate(first)) == list(range(64))


def test_hashed_uniform_is_uniform_and_depends_on_every_part_of_the_key():
    draw = hashed_uniform(7, 0, np.arange(2000), 50)
    assert draw.min() >= 0 and draw.max() < 1
    counts = np.histogram(draw, bins=10, range=(0, 1))[0]
    expected = draw.size / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9  # chi-squared, 9 df, p = 0.001
    assert abs(np.corrcoef(draw[:-1, 0], draw[1:, 0])[0, 1]) < 0.08
    assert abs(np.corrcoef(draw[:, 0], draw[:, 1])[0, 1]) < 0.08
    for other in (hashed_uniform(8, 0, np.arange(5), 4), hashed_uniform(7, 1, np.arange(5), 4)):
        assert not np.isclose(other, draw[:5, :4]).any()
    # The number of an example does not depend on who stands beside it in the batch.
    assert (hashed_uniform(7, 0, np.array([9, 3]), 50) == draw[[9, 3]]).all()
