"""Two token limits for each length: the least padded work by trying everything, and batches of such shapes."""

from dataclasses import replace
from itertools import chain, combinations, product

import numpy as np
import pytest

from jaxasr import data
from jaxasr.data.batching.grid_buckets import best_grid
from jaxasr.data.batching.joint_buckets import PaddedWork
from jaxasr.data.batching.lengths import Lengths
from jaxasr.data.batching.plan import TrainingPlan
from jaxasr.data.batching.shape import Shape, assign_buckets


def drawn(rng, count):
    samples = rng.integers(1, 9, size=count)
    tokens = np.maximum(1, samples * rng.integers(1, 4, size=count) - rng.integers(0, 2, size=count))
    return samples.astype(np.int64), tokens.astype(np.int64), rng.uniform(0.1, 3.0, size=count)


def work_of(pairs, samples, tokens, weights, work):
    """Returns the padded work of utterances that take the first length that holds them, then the first limit."""
    total = 0.0
    for length, limit, weight in zip(samples, tokens, weights, strict=True):
        own = min(pair[0] for pair in pairs if pair[0] >= length)
        limits = [pair[1] for pair in pairs if pair[0] == own and pair[1] >= limit]
        if not limits:
            return np.inf
        total += weight * (own / work.mean_length + min(limits) / work.mean_tokens)
    return total


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_work_is_the_least_of_all_lengths_and_limits(rng, count):
    samples, tokens, weights = drawn(rng, 12)
    work = PaddedWork.of(samples, tokens, weights)
    least = np.inf
    for inner in combinations(np.unique(samples)[:-1].tolist(), min(count, len(np.unique(samples))) - 1):
        lengths = [*inner, int(samples.max())]
        choices = []
        for low, high in zip([0, *lengths[:-1]], lengths, strict=True):
            here = np.unique(tokens[(samples > low) & (samples <= high)]).tolist()
            choices.append([[(high, limit), (high, here[-1])] for limit in here])
        least = min(least, *(work_of([*chain(*grid)], samples, tokens, weights, work) for grid in product(*choices)))
    found = best_grid(samples, tokens, weights, count, work)
    assert found == sorted(found)
    assert len({length for length, _ in found}) <= count
    assert work_of(found, samples, tokens, weights, work) == pytest.approx(least)


def test_the_first_shape_that_holds_an_utterance_is_its_own(rng):
    shapes = tuple(Shape(*size, examples=1) for size in [(3, 2), (3, 9), (5, 4), (8, 1), (8, 7)])
    samples, tokens = rng.integers(0, 10, size=(40, 2)), rng.integers(0, 11, size=(40, 2))
    found = assign_buckets(shapes, samples, tokens)
    for place in np.ndindex(40, 2):
        holding = [
            number
            for number, shape in enumerate(shapes)
            if samples[place] <= shape.samples and tokens[place] <= shape.tokens
        ]
        assert found[place] == (holding[0] if holding else -1)
    assert {-1, 0, 1, 2, 4} <= set(found.reshape(-1).tolist())


@pytest.mark.parametrize("many", [False, True])  # more lengths and limits than candidates
def test_token_padding_falls_and_every_utterance_is_read_once(rng, many):
    samples = rng.integers(800, 16_000 * 20, size=3_000)
    scale = 100 if many else 8
    tokens = np.maximum(1, (samples / 16_000 * rng.uniform(1.0, 4.0, size=3_000) * scale).astype(int))
    one = data.ChooseBuckets(count=4, seconds_per_batch=200.0, examples_multiple=2)
    two = replace(one, token_limits=2)
    padded = []
    for choice in (one, two):
        shapes = choice.shapes(samples, tokens, np.ones(3_000), rate_hz=16_000)
        own = assign_buckets(shapes, samples, tokens)
        assert own.min() >= 0
        padded.append(sum(shapes[number].tokens for number in own))
        lengths = Lengths(samples[:, None], tokens, np.arange(3_000, dtype=np.uint32), np.ones(3_000))
        epoch = TrainingPlan(lengths, shapes, seed=3).epoch(0)
        rows = [epoch.row(batch) for batch in range(len(epoch))]
        read = np.concatenate([row.examples_b[row.valid_b] for row in rows])
        assert sorted(read.tolist()) == list(range(3_000))
        assert all(row.token_lengths_b.max() <= row.shape.tokens for row in rows)
        assert all(row.sample_lengths_b.max() <= row.shape.samples for row in rows)
    assert len(shapes) == 8
    assert padded[1] < 0.85 * padded[0]


def test_other_numbers_of_limits_are_refused():
    with pytest.raises(ValueError, match="token_limits is 3; it must be 1 or 2"):
        data.ChooseBuckets(count=2, seconds_per_batch=10.0, token_limits=3)
