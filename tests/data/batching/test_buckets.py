"""Bucketing: shapes hold the utterances they should, and chosen shapes have the least padding."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxasr.data.batching.buckets import Buckets, ChooseBuckets, best_edges
from jaxasr.data.batching.shape import Shape, assign_buckets, describe_shapes

RATE = 16_000


def librispeech_lengths(rng: np.random.Generator, utterances: int = 100_000) -> tuple[np.ndarray, np.ndarray]:
    """Returns samples and tokens like those of LibriSpeech's training parts, 960 h: about 14 characters a second."""
    long = rng.random(utterances) < 0.7
    seconds = np.where(long, rng.normal(14.2, 1.5, utterances), rng.uniform(1.5, 12.5, utterances)).clip(1.0, 24.5)
    tokens = (seconds * rng.normal(14.5, 1.5, utterances).clip(8, 20)).astype(np.int64)
    return (seconds * RATE).astype(np.int64), tokens


def padding(shapes: tuple[Shape, ...], samples: np.ndarray, tokens: np.ndarray) -> float:
    places = assign_buckets(shapes, samples, tokens)
    assert (places >= 0).all()
    return 1 - samples.sum() / np.array([shape.samples for shape in shapes])[places].sum()


@settings(max_examples=80, deadline=None)
@given(
    histogram=st.dictionaries(st.integers(1, 40), st.integers(1, 9), min_size=1, max_size=9), count=st.integers(1, 5)
)
def test_no_other_choice_of_edges_pads_less(histogram: dict[int, int], count: int):
    edges = np.array(sorted(histogram), np.int64)
    weights = np.array([histogram[int(edge)] for edge in edges], np.float64)

    def cost(ends: tuple[int, ...]) -> float:
        return float((edges[list(ends)][np.searchsorted(ends, np.arange(len(edges)))] * weights).sum())

    chosen = tuple(best_edges(edges, weights, count).tolist())
    assert len(chosen) == min(count, len(edges))
    last = len(edges) - 1
    choices = [(*rest, last) for k in range(count) for rest in combinations(range(last), k)]
    assert cost(chosen) == pytest.approx(min(cost(choice) for choice in choices))


def test_librispeech_in_eight_and_in_thirteen_shapes(rng: np.random.Generator):
    """No choice of eight lengths has less than 7.6 % padding on this distribution. Thirteen have less than 5 %."""
    samples, tokens = librispeech_lengths(rng)
    ones = np.ones(len(samples))
    found = {}
    for count in (8, 13):
        shapes = ChooseBuckets(count, seconds_per_batch=640.0).shapes(samples, tokens, ones, rate_hz=RATE)
        assert len(shapes) == count
        found[count] = padding(shapes, samples, tokens)
    assert found[8] == pytest.approx(0.076, abs=0.001)
    assert found[13] < 0.05
    longest_s = samples.max() / RATE
    even = Buckets(tuple(longest_s * (i + 1) / 8 for i in range(8)), tokens=999, seconds_per_batch=640.0)
    assert padding(even.shapes(samples, tokens, ones, rate_hz=RATE), samples, tokens) > found[8] + 0.015


def test_token_limits_come_from_the_utterances_of_each_shape(rng: np.random.Generator):
    samples, tokens = librispeech_lengths(rng, 5_000)
    shapes = ChooseBuckets(8, seconds_per_batch=640.0).shapes(samples, tokens, np.ones(5_000), rate_hz=RATE)
    places = assign_buckets(shapes, samples, tokens)
    assert shapes[0].tokens < shapes[-1].tokens / 2
    for place, shape in enumerate(shapes):
        assert tokens[places == place].max() <= shape.tokens
        assert shape.examples == 640 * RATE // shape.samples
    assert all(a.tokens <= b.tokens for a, b in pairwise(shapes))


def test_what_comes_more_often_counts_more():
    samples = np.array([10, 20, 30]) * RATE
    tokens = np.ones(3, np.int64)
    spec = ChooseBuckets(2, seconds_per_batch=60.0)
    for weights, expected in (([9.0, 1.0, 1.0], 10), ([1.0, 9.0, 1.0], 20)):
        shapes = spec.shapes(samples, tokens, np.array(weights), rate_hz=RATE)
        assert [shape.samples // RATE for shape in shapes] == [expected, 30]


def test_an_utterance_goes_where_both_its_wave_and_its_tokens_fit():
    shapes = (Shape(10, 5, 6), Shape(20, 8, 4))
    places = assign_buckets(shapes, np.array([10, 11, 5, 5, 21]), np.array([5, 5, 6, 9, 1]))
    assert places.tolist() == [0, 1, 1, -1, -1]


def test_buckets_by_hand():
    spec = Buckets(seconds=(6.0, 12.0), tokens=140, seconds_per_batch=100.0, examples_multiple=4)
    nothing = np.zeros(0, np.int64)
    shapes = spec.shapes(nothing, nothing, np.zeros(0), rate_hz=RATE)
    assert shapes == (Shape(96_000, 140, 16), Shape(192_000, 140, 8))


def test_an_evaluation_has_shapes_for_everything():
    spec = Buckets(seconds=(6.0, 12.0), tokens=10, seconds_per_batch=48.0)
    samples = np.array([1, 20, 70]) * RATE
    tokens = np.array([3, 30, 2])
    shapes = spec.eval_buckets(samples, tokens, rate_hz=RATE)
    assert shapes[:2] == spec.shapes(samples, tokens, np.ones(3), rate_hz=RATE)
    assert shapes[2:] == (
        Shape(24 * RATE, 30, 2),
        Shape(48 * RATE, 30, 1),
        Shape(70 * RATE, 30, 1),
    )
    assert assign_buckets(shapes, samples, tokens).tolist() == [0, 2, 4]
    assert spec.eval_buckets(samples[:1], tokens[:1], rate_hz=RATE) == shapes[:2]
    chosen = ChooseBuckets(2, seconds_per_batch=48.0).eval_buckets(samples, tokens, rate_hz=RATE)
    assert (assign_buckets(chosen, samples, tokens) >= 0).all()


def test_many_tokens_in_a_short_wave_are_covered():
    spec = Buckets(seconds=(6.0, 12.0), tokens=10, seconds_per_batch=48.0)
    shapes = spec.eval_buckets(np.array([RATE]), np.array([99]), rate_hz=RATE)
    assert shapes[2:] == (Shape(12 * RATE, 99, 4),)


def test_a_corpus_of_hours_is_quantised_more_coarsely(rng: np.random.Generator):
    samples = rng.integers(RATE, 7200 * RATE, 3_000)
    shapes = ChooseBuckets(4, 7300.0).shapes(samples, np.ones(3_000, np.int64), np.ones(3_000), rate_hz=RATE)
    assert samples.max() <= shapes[-1].samples < samples.max() + 4 * RATE


def test_the_table_tells_shares_and_padding():
    shapes = (Shape(10, 5, 6), Shape(20, 8, 4))
    table = describe_shapes(shapes, np.array([5, 10, 20, 99]), np.array([1, 5, 8, 1]), np.ones(4), rate_hz=10)
    assert table.splitlines() == [
        "  seconds  tokens  examples  utterances  padding  of tokens",
        "     1.00       5         6      66.67%   25.00%     33.33%",
        "     2.00       8         4      33.33%    0.00%      0.00%",
        "      all                                 12.50%     19.05%",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Buckets((), 1, 9.0), "positive and increasing"),
        (lambda: Buckets((2.0, 1.0), 1, 9.0), "positive and increasing"),
        (lambda: Buckets((1.0, 2.0), (3, 2), 9.0), "never less for a longer shape"),
        (lambda: Buckets((1.0, 2.0), (3,), 9.0), "one for each of the 2 seconds"),
        (lambda: Buckets((1.0, 8.0), 5, 9.0, examples_multiple=2), "examples_multiple = 2 utterances of 8 s: 16 or"),
        (lambda: Buckets((1.0,), 5, 9.0, examples_multiple=0), "at least 1"),
        (lambda: ChooseBuckets(0, 9.0), "count 0 >= 1"),
        (lambda: ChooseBuckets(2, 9.0).shapes(*_one(10 * RATE), np.ones(1), rate_hz=RATE), "KeepSeconds"),
        (lambda: ChooseBuckets(2, 9.0).shapes(*_one(0, 0), np.ones(0), rate_hz=RATE), "no utterances"),
        (lambda: ChooseBuckets(2, 9.0).eval_buckets(*_one(0, 0), rate_hz=RATE), "no utterances"),
    ],
)
def test_mistakes_are_named(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()


def _one(samples: int, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return np.full(count, samples), np.ones(count, np.int64)
