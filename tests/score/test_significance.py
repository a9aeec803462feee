"""Bootstrap intervals and paired comparisons: known cases, and whether 95 % is 95 %."""

import numpy as np
import pytest

from jaxasr.score import Interval, compare, mean_interval, rate_interval
from jaxasr.score.significance import matched_pairs, totals


def test_a_rate_that_does_not_vary_has_no_width():
    found = rate_interval([1] * 20, [10] * 20)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_two_utterances_are_drawn_with_their_probabilities():
    """Four equally likely draws of two: rates 0, 1/2 (twice) and 1."""
    rows = totals([[0, 1], [1, 1]], resamples=4000)
    values, counts = np.unique(rows[:, 0] / rows[:, 1], return_counts=True)
    np.testing.assert_array_equal(values, [0.0, 0.5, 1.0])
    np.testing.assert_allclose(counts / 4000, [0.25, 0.5, 0.25], atol=0.03)


def test_the_seed_decides():
    errors, words = [0, 1, 2, 0, 5], [5, 6, 7, 8, 9]
    first, second = (totals([errors, words], seed=seed) for seed in (0, 1))
    assert (first != second).any()


def test_the_interval_holds_the_truth_as_often_as_it_says(rng):
    """200 sets of 60 utterances whose error rate is 0.2 by construction: about 95 % of the intervals hold it."""
    held = 0
    for _ in range(200):
        words = rng.integers(1, 20, size=60)
        errors = rng.binomial(words, 0.2)
        found = rate_interval(errors, words)
        held += found.low <= 0.2 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_speakers_that_differ_widen_the_interval():
    """Ten speakers of ten utterances, half of them hopeless: it is the speakers that were sampled, not the utterances."""
    speakers = [f"s{i // 10}" for i in range(100)]
    errors = [5 if (i // 10) % 2 else 1 for i in range(100)]
    free = rate_interval(errors, [10] * 100)
    blocked = rate_interval(errors, [10] * 100, blocks=speakers)
    assert blocked.low < free.low < 0.3 < free.high < blocked.high


def test_blocks_of_one_are_utterances():
    errors, words = [0, 1, 2, 0, 5], [5, 6, 7, 8, 9]
    assert rate_interval(errors, words, blocks=["a", "b", "c", "d", "e"]) == rate_interval(errors, words)


def test_a_pair_cancels_what_is_hard_for_both():
    """Utterances differ widely, the systems by one error each: the difference is certain although the rates are not."""
    a, words = list(range(5, 45)), [50] * 40
    b = [errors - 1 for errors in a]
    found = compare(a, b, words)
    assert found.difference == pytest.approx(-1 / 50)
    assert (found.interval.low, found.interval.high) == pytest.approx((-1 / 50, -1 / 50))
    assert found.better == 1.0
    assert found.p_value == 0.0
    assert rate_interval(a, words).low < rate_interval(b, words).high


def test_equal_systems_do_not_differ():
    found = compare([1, 2, 0], [1, 2, 0], [5, 5, 5])
    assert (found.difference, found.better, found.p_value) == (0.0, 0.0, 1.0)


def test_the_comparison_turns_with_its_order(rng):
    words = rng.integers(5, 20, size=80)
    a, b = rng.binomial(words, 0.3), rng.binomial(words, 0.2)
    ab, ba = compare(a, b, words), compare(b, a, words)
    assert ab.difference == -ba.difference < 0
    assert ab.interval.low == pytest.approx(-ba.interval.high, abs=1e-3)
    assert ab.p_value == ba.p_value < 0.05
    assert ab.better > 0.95


def test_matched_pairs_on_a_known_case():
    """Mean 0.5, variance 5/3 over 4 segments: z = 0.5 / sqrt(5/12) = 0.7746, two-sided p 0.4386."""
    assert matched_pairs([-1, 0, 1, 2]) == pytest.approx(0.43858, abs=1e-5)
    assert matched_pairs([5]) == 1.0
    assert matched_pairs([0, 0, 0]) == 1.0


def test_matched_pairs_finds_nothing_where_there_is_nothing_in_19_of_20(rng):
    found = sum(matched_pairs(rng.integers(-3, 4, size=100)) < 0.05 for _ in range(400))
    assert 0.02 < found / 400 < 0.09


def test_sets_without_words_have_a_rate():
    assert rate_interval([0, 0], [0, 0]).low == 0.0
    assert rate_interval([1, 0], [0, 0]).high == float("inf")


def test_the_example_of_the_docstring():
    found = rate_interval([1, 0, 2, 1], [5, 4, 6, 5])
    assert (round(found.low, 3), round(found.high, 3)) == (0.062, 0.646)


def test_systems_are_compared_where_a_draw_has_no_words():
    """Two utterances, one of them without a word; each system writes one there. A quarter of the draws has no other."""
    same = compare([1, 1], [1, 1], [0, 5])
    assert (same.difference, same.interval.low, same.interval.high) == (0.0, 0.0, 0.0)
    worse = compare([1, 1], [2, 1], [0, 5])
    assert (worse.difference, worse.interval.low, worse.interval.high) == (0.2, 0.0, float("inf"))
    assert compare([2], [1], [0]).difference == float("-inf")


@pytest.mark.parametrize(
    "call",
    [
        lambda: rate_interval([], []),
        lambda: rate_interval([1, 2], [1]),
        lambda: compare([1], [1, 2], [1, 2]),
        lambda: rate_interval([1], [1], blocks=["a", "b"]),
        lambda: compare([1], [1], [1], resamples=0),
        lambda: rate_interval([1], [1], level=95.0),
    ],
)
def test_what_cannot_be_drawn_is_refused(call):
    with pytest.raises(ValueError, match=r"utterances|level"):
        call()


def test_the_mean_of_runs_has_students_interval():
    """Two degrees of freedom: 4.3027 standard errors (any table of t); three runs 1 apart have an error of 1 / sqrt(3)."""
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.low, found.high, found.level) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5, 0.95))
    assert mean_interval([5.0, 5.0]) == Interval(5.0, 5.0, 0.95)
    with pytest.raises(ValueError, match="1 values have no spread; two runs at least"):
        mean_interval([5.0])


def test_students_interval_holds_the_mean_as_often_as_it_says(rng):
    runs = rng.normal(3.0, 2.0, size=(2_000, 3))
    held = [each.low <= 3.0 <= each.high for each in (mean_interval(row.tolist(), level=0.8) for row in runs)]
    assert np.mean(held) == pytest.approx(0.8, abs=0.03)
