"""Lengths and token limits chosen together: exact among the candidates, and taken only where tokens are padded much."""

from itertools import pairwise, product

import numpy as np
import pytest

from jaxasr.data.batching.buckets import ChooseBuckets
from jaxasr.data.batching.joint_buckets import PaddedWork, best_chain
from jaxasr.data.batching.shape import Shape, assign_buckets, describe_shapes

RATE_HZ = 16_000


def corpus(rng: np.random.Generator, utterances: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Returns samples and tokens of utterances that are spoken at 8 to 16 letters a second."""
    seconds = rng.uniform(1.0, 15.0, utterances)
    return np.round(seconds * RATE_HZ).astype(np.int64), np.round(seconds * rng.uniform(8, 16, utterances)).astype(
        np.int64
    )


def cost(chain: list[tuple[int, int]], lengths: np.ndarray, tokens: np.ndarray, work: PaddedWork) -> float:
    """Returns the padded work of a chain of shapes, utterance by utterance."""
    total = 0.0
    for length, limit in zip(lengths, tokens, strict=True):
        fitting = next(pair for pair in chain if pair[0] >= length and pair[1] >= limit)
        total += fitting[0] / work.mean_length + fitting[1] / work.mean_tokens
    return total


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_chain_has_less_padded_work(count: int):
    rng = np.random.default_rng(count)
    for _ in range(5):
        lengths = rng.integers(1, 6, 12).astype(np.int64)
        tokens = rng.integers(1, 6, 12).astype(np.int64)
        work = PaddedWork.of(lengths, tokens, np.ones(12))
        pairs = sorted(product(np.unique(lengths), np.unique(tokens)))
        last = (lengths.max(), tokens.max())
        chains = [[*chain, last] for chain in product(pairs, repeat=count - 1)]
        ordered = [c for c in chains if all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(c))]
        found = best_chain(lengths, tokens, np.ones(12), count, work)
        assert len(found) <= count
        assert cost(found, lengths, tokens, work) == pytest.approx(
            min(cost(chain, lengths, tokens, work) for chain in ordered)
        )


def test_one_long_transcript_does_not_pad_all_others(rng: np.random.Generator):
    samples, tokens = corpus(rng)
    shapes = ChooseBuckets(5, 200.0)
    usual = shapes.shapes(samples, tokens, np.ones(400), rate_hz=RATE_HZ)
    samples = np.append(samples, 16_000)
    tokens = np.append(tokens, 5_000)
    chosen = shapes.shapes(samples, tokens, np.ones(401), rate_hz=RATE_HZ)
    bucket_ids = assign_buckets(chosen, samples, tokens)
    assert len(chosen) <= 5
    assert (bucket_ids >= 0).all()
    assert (bucket_ids == bucket_ids[-1]).sum() == 1
    assert max(shape.tokens for shape in chosen[:-1]) <= usual[-1].tokens
    assert chosen[-1].tokens == 5_000


def test_the_shapes_of_an_ordinary_corpus_are_those_of_the_lengths_alone(rng: np.random.Generator):
    samples, tokens = corpus(rng)
    chosen = ChooseBuckets(5, 200.0).shapes(samples, tokens, np.ones(400), rate_hz=RATE_HZ)
    by_length = ChooseBuckets(5, 200.0).shapes(samples, np.ones_like(tokens), np.ones(400), rate_hz=RATE_HZ)
    assert [(shape.samples, shape.examples) for shape in chosen] == [(s.samples, s.examples) for s in by_length]
    bucket_ids = assign_buckets(
        (*by_length[:-1], Shape(by_length[-1].samples, 1 << 30, 1)), samples, np.ones_like(tokens)
    )
    assert [shape.tokens for shape in chosen] == list(
        np.maximum.accumulate([tokens[bucket_ids == k].max() for k in range(len(chosen))])
    )


def test_the_table_has_the_padding_of_tokens():
    table = describe_shapes(
        (Shape(100, 9, 2), Shape(200, 19, 1)),
        np.array([100, 50, 200]),
        np.array([9, 4, 4]),
        np.ones(3),
        rate_hz=100,
    ).splitlines()
    assert table[0].split()[-3:] == ["padding", "of", "tokens"]
    assert [line.split()[-2:] for line in table[1:]] == [
        ["25.00%", "25.00%"],
        ["0.00%", "75.00%"],
        ["12.50%", "50.00%"],
    ]
