"""Paired tests: against worked examples, SciPy, enumeration and simulations."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from jaxasr.score.alignment import align_words
from jaxasr.score.comparison.paired_tests import (
    approximate_randomisation,
    block_sums,
    detectable_difference,
    holm,
    mapsswe_segments,
    mcnemar,
    standard_error,
)


def aligned(reference, hypothesis):
    return align_words([reference], [hypothesis])[0]


def test_segments_of_the_example_of_nist():
    """The example with which NIST's scoring toolkit explains the matched-pairs test: errors 2-0, 0-1, 1-2 and 1-0."""
    reference = "it was the best of times it was the worst of times it was"
    a = aligned(reference, "its the best of times it is the worst of times or it was")
    b = aligned(reference, "it was the best times it won the test of times it was")
    assert mapsswe_segments(a, b) == [(2, 0), (0, 1), (1, 2), (1, 0)]


def test_a_longer_buffer_joins_segments_and_no_error_is_lost():
    reference = "a b c d e f g"
    a = aligned(reference, "x b c y e f g")
    b = aligned(reference, "a b c d e f")
    assert mapsswe_segments(a, b) == [(1, 0), (1, 0), (0, 1)]
    assert mapsswe_segments(a, b, buffer=3) == [(2, 1)]
    assert mapsswe_segments(aligned("a b", "a b"), aligned("a b", "a b")) == []


def test_an_insertion_between_correct_words_is_an_error_of_its_own():
    found = mapsswe_segments(aligned("a b c d", "a b x c d"), aligned("a b c d", "y a b c d"))
    assert found == [(0, 1), (1, 0)]


def test_segments_need_one_reference():
    with pytest.raises(ValueError, match="2 and 1 words of reference"):
        mapsswe_segments(aligned("a b", "a"), aligned("a", "a"))


@pytest.mark.parametrize(("only_a", "only_b"), [(13, 3), (3, 13), (5, 5), (1, 0), (0, 9)])
def test_mcnemar_is_the_binomial_test(only_a, only_b):
    """13 and 3 of 16 utterances are the first example of Gillick and Cox (1989): 72 and 62 errors of 1,400, 59 in common."""
    wrong_a = [True] * (only_a + 59) + [False] * (only_b + 1_325)
    wrong_b = [False] * only_a + [True] * (59 + only_b) + [False] * 1_325
    few = min(only_a, only_b)
    count = only_a + only_b
    expected = min(1.0, 2 * sum(math.comb(count, k) for k in range(few + 1)) / 2**count)
    assert mcnemar(wrong_a, wrong_b) == pytest.approx(expected)


def test_mcnemar_of_equal_systems():
    assert mcnemar([True, False], [True, False]) == 1.0


def test_exchanges_of_few_blocks_are_counted():
    values = np.array([3.0, -1.0, 2.0, 0.0, 4.0, 1.0, -2.0])
    found = approximate_randomisation(values)
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((-1, 1), repeat=len(values))]
    assert found == pytest.approx(np.mean(np.array(sums) >= values.sum()))
    witness = stats.permutation_test(
        (values, np.zeros_like(values)), lambda x, y: np.sum(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert found == pytest.approx(witness.pvalue)


def test_exchanges_of_many_blocks_are_drawn(rng):
    values = rng.normal(0.3, 1.0, size=16)
    exact = approximate_randomisation(values, most_exact=16)
    drawn = approximate_randomisation(values, permutations=20_000)
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))
    assert drawn == approximate_randomisation(values, permutations=20_000)


def test_equal_systems_have_no_difference_to_exchange():
    assert approximate_randomisation([0, 0, 0]) == 1.0


def test_the_standard_error_is_that_of_a_bootstrap(rng):
    words = rng.integers(3, 30, size=80)
    differences = rng.poisson(0.1 * words) - rng.poisson(0.12 * words)
    draws = rng.integers(80, size=(20_000, 80))
    rates = differences[draws].sum(axis=1) / words[draws].sum(axis=1)
    assert standard_error(differences, words) == pytest.approx(rates.std(), rel=0.05)


def test_the_detectable_difference_is_detected_four_times_of_five(rng):
    blocks = 60
    spread = rng.normal(0.0, 1.0, size=(3_000, blocks))
    words = np.full(blocks, 10.0)
    shift = detectable_difference(spread[0], words) * 10 * spread.std() / spread[0].std(ddof=1)
    shifted = spread + shift
    errors = shifted.std(axis=1, ddof=1) / math.sqrt(blocks)
    shown = np.mean(np.abs(shifted.mean(axis=1)) > stats.norm.ppf(0.975) * errors)
    assert shown == pytest.approx(0.8, abs=0.03)


def test_one_block_has_no_spread():
    with pytest.raises(ValueError, match="1 blocks with 5 words"):
        standard_error([1], [5])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_sums_of_blocks_keep_their_order():
    assert block_sums([1, 2, 3, 4], ["b", "a", "b", "c"]).tolist() == [4, 2, 4]
