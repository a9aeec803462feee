"""Intervals by the jackknife: by hand, at the ends of the scale, and with few or unequal units."""

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from jaxasr.score import IndependentUnits, independent_units
from jaxasr.score.jackknife import Interval, Score, degrees_of_freedom, intervals, spread
from jaxasr.score.significance import rates

RATE = {"rate": Score(rates, "log", 1)}
SHARE = {"rate": Score(rates, "logit", 1)}
MEAN = {"rate": Score(rates, "identity", 1)}


def interval(errors, words, scores=RATE, **options) -> Interval:
    return intervals([errors, words], scores, **options)["rate"][1]


def test_the_jackknife_of_a_mean_is_its_standard_error(rng):
    """For a mean of units of one weight it is the textbook's, and the interval is Student's."""
    x = rng.normal(3.0, 1.0, size=12)
    left = (x.sum() - x) / 11
    found = spread(float(x.mean()), left, np.ones(12))
    assert found is not None
    assert found == pytest.approx((np.std(x, ddof=1) / math.sqrt(12), 11.0))
    bounds = interval(x, np.ones(12), MEAN)
    half = stdtrit(11, 0.975) * found.error
    assert (bounds.low, bounds.high) == pytest.approx((x.mean() - half, x.mean() + half))


def test_rates_are_symmetric_in_the_logarithm_and_shares_in_the_logit():
    errors, words = [1, 2, 0, 4, 1, 3], [10, 12, 9, 11, 10, 8]
    rate = sum(errors) / sum(words)
    found = interval(errors, words)
    assert found.low * found.high == pytest.approx(rate**2)
    share = interval(errors, words, SHARE)
    odds = [x / (1 - x) for x in (share.low, rate, share.high)]
    assert odds[0] * odds[2] == pytest.approx(odds[1] ** 2)
    assert 0 < share.low < found.low < rate < share.high < found.high < 1


@pytest.mark.parametrize("weights", [[1, 1, 1, 1, 1], [3, 1, 4, 1, 5, 9, 2, 6], [100, 1, 1, 1, 1, 1], [0, 2, 3, 4]])
def test_degrees_of_freedom_are_those_of_the_variance(weights):
    """(tr B)^2 / tr(B^2) of the matrix of the quadratic form."""
    a = np.array(weights) / sum(weights)
    m = np.eye(len(a)) - np.outer(np.ones(len(a)), a)
    b = m.T @ np.diag((a / (1 - a)) ** 2) @ m
    assert degrees_of_freedom(np.array(weights, float)) == pytest.approx(np.trace(b) ** 2 / np.trace(b @ b))
    assert degrees_of_freedom(np.ones(7)) == pytest.approx(6.0)
    assert degrees_of_freedom(np.array([5.0, 0.0])) == 0.0


def test_the_degrees_of_freedom_match_a_simulation(rng):
    """2 E[V]^2 / Var[V] of the jackknife variance of normal units."""
    weights = np.array([1.0, 2.0, 3.0, 4.0, 10.0])
    r = rng.standard_normal((40_000, 5))
    whole = r @ weights / weights.sum()
    left = (r @ weights)[:, None] - r * weights
    variances = np.sum((left / (weights.sum() - weights) - whole[:, None]) ** 2, axis=1)
    expected = 2 * variances.mean() ** 2 / variances.var()
    assert degrees_of_freedom(weights) == pytest.approx(expected, rel=0.05)


def test_a_set_without_errors_has_an_upper_limit():
    """Zero of 100: 1 - 0.025^(1/100) = 3.6 %, the exact limit of a share (Clopper and Pearson)."""
    for scores in (RATE, SHARE):
        found = interval([0] * 100, [1] * 100, scores)
        assert (found.low, found.high) == pytest.approx((0.0, 1 - 0.025**0.01))
    assert interval([1] * 100, [1] * 100, SHARE).low == pytest.approx(0.025**0.01)
    assert interval([0, 0], [0, 0]).high > 0


def test_one_unit_has_no_spread():
    assert interval([3], [4]) == Interval(0.0, math.inf, 0.95)
    assert interval([3], [4], SHARE) == Interval(0.0, 1.0, 0.95)
    assert interval([3, 1], [4, 4], blocks=["a", "a"]) == Interval(0.0, math.inf, 0.95)
    assert interval([3, 1], [4, 0]) == Interval(0.0, math.inf, 0.95)  # all words are in one


def test_errors_in_one_unit_only_have_a_wide_interval():
    found = interval([4, 0, 0, 0, 0, 0, 0, 0], [10] * 8)
    assert 0 < found.low < 0.05 / 5
    assert 0.05 * 5 < found.high < 1


def test_a_rate_that_is_infinite_is_shown_as_such():
    assert interval([1, 0], [0, 0]) == Interval(0.0, math.inf, 0.95)


def test_speakers_are_units_from_five_on():
    assert independent_units(["a", "b", "c", "d"] * 9) == IndependentUnits("utterances", 36, None)
    found = independent_units(["a", "b", "c", "d", "e"] * 2)
    assert (found.kind, found.count, found.title) == ("speakers", 5, "5 speakers")
    assert independent_units([""] * 9) == IndependentUnits("utterances", 9, None)


def test_an_utterance_of_an_unknown_speaker_is_a_unit_of_its_own():
    found = independent_units(["a", "b", "c", "d", "e", "", "", "a"])
    assert (found.kind, found.count) == ("speakers", 7)
    assert found.blocks is not None
    assert found.blocks[0] == found.blocks[7] != found.blocks[5] != found.blocks[6]


@pytest.mark.parametrize(
    "call",
    [
        lambda: interval([], []),
        lambda: interval([1, 2], [1]),
        lambda: interval([1], [1], blocks=["a", "b"]),
        lambda: interval([1], [1], level=95.0),
    ],
)
def test_columns_that_do_not_fit_are_refused(call):
    with pytest.raises(ValueError, match=r"utterances|level"):
        call()
