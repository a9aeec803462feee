"""Confidences measured and mapped: against definitions written out, and on words whose probability is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxasr.score.confidence import BINS, Platt, fit, logits, reliability, words_right


def drawn(rng: np.random.Generator, words: int, *, slope: float, offset: float):
    """Log posteriors, and words that are right as often as the map says."""
    log_posteriors = np.log(rng.uniform(0.02, 0.999, words))
    truth = Platt(slope, offset)(log_posteriors)
    return log_posteriors, rng.uniform(size=words) < truth, truth


def test_a_word_is_right_where_the_alignment_has_it_as_equal():
    found = words_right(["a b c", "a b", "", "x"], ["a x c", "a a b b", "a", ""])
    assert [each.tolist() for each in found[:1]] == [[True, False, True]]
    assert sorted(found[1].tolist()) == [False, False, True, True]
    assert found[2].tolist() == [False]
    assert found[3].shape == (0,)


def test_the_map_that_made_the_words_is_found_again(rng):
    log_posteriors, right, truth = drawn(rng, 20_000, slope=0.6, offset=-0.7)
    found = fit(log_posteriors, right)
    assert found.slope == pytest.approx(0.6, abs=0.03)
    assert found.offset == pytest.approx(-0.7, abs=0.04)
    before, after = reliability(np.exp(log_posteriors), right), reliability(found(log_posteriors), right)
    assert before.calibration_error > 0.08
    assert after.calibration_error < 0.012
    assert after.cross_entropy > before.cross_entropy
    assert after.cross_entropy == pytest.approx(reliability(truth, right).cross_entropy, abs=0.002)
    assert after.area == pytest.approx(before.area, abs=1e-12)  # the order of the words stays


def test_the_fit_is_where_the_gradient_vanishes(rng):
    log_posteriors, right, _ = drawn(rng, 300, slope=1.5, offset=0.4)
    found = fit(log_posteriors, right)
    hits = right.sum()
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    errors = found(log_posteriors) - targets
    x = logits(log_posteriors)
    assert abs(errors.sum()) < 1e-5
    assert abs((errors * x).sum() + 1e-3 * (found.slope - 1)) < 1e-5


@pytest.mark.parametrize("kind", ["all right", "all wrong", "separable", "one word", "all alike"])
def test_sets_that_tell_little_still_give_a_monotone_map(rng, kind):
    log_posteriors = np.log(rng.uniform(0.3, 0.999, 40))
    right = {
        "all right": np.ones(40, bool),
        "all wrong": np.zeros(40, bool),
        "separable": log_posteriors > np.log(0.6),
        "one word": np.ones(40, bool),
        "all alike": rng.uniform(size=40) < 0.7,
    }[kind]
    if kind == "one word":
        log_posteriors, right = log_posteriors[:1], right[:1]
    if kind == "all alike":
        log_posteriors = np.full(40, -0.1)
    found = fit(log_posteriors, right)
    confidences = found(np.sort(log_posteriors))
    assert found.slope >= 0
    assert np.isfinite([found.slope, found.offset]).all()
    assert np.all(np.diff(confidences) >= 0)
    assert abs(confidences.mean() - right.mean()) < 0.35


def test_confidences_that_point_the_wrong_way_are_levelled(rng):
    log_posteriors, right, _ = drawn(rng, 2_000, slope=1.0, offset=0.0)
    found = fit(log_posteriors, ~right)
    assert found.slope == 0
    np.testing.assert_allclose(found(log_posteriors), (~right).mean(), atol=2e-3)


def test_measures_by_hand():
    confidences = np.array([0.05, 0.05, 0.95, 0.95, 1.0, 0.55])
    right = np.array([False, True, True, True, False, True])
    found = reliability(confidences, right)
    gaps = 2 * abs(0.05 - 0.5) + abs(0.55 - 1) + 3 * abs((0.95 * 2 + 1) / 3 - 2 / 3)
    assert found.calibration_error == pytest.approx(gaps / 6)
    assert sum(each.words for each in found.bins) == found.words == 6
    assert len(found.bins) == 3 <= BINS
    pairs = [(a, b) for a in confidences[right] for b in confidences[~right]]
    assert found.area == pytest.approx(sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs))


def test_cross_entropy_is_0_for_the_share_alone_and_nears_1_for_knowledge():
    right = np.array([True] * 9 + [False])
    assert reliability(np.full(10, 0.9), right).cross_entropy == pytest.approx(0.0, abs=1e-12)
    assert reliability(right.astype(float), right).cross_entropy > 0.999
    assert reliability(np.full(10, 0.2), right).cross_entropy < 0


def test_what_a_set_cannot_tell_is_nan():
    found = reliability(np.array([0.5, 0.7]), np.array([True, True]))
    assert math.isnan(found.cross_entropy)
    assert math.isnan(found.area)
    for measure in (reliability, fit):
        with pytest.raises(ValueError, match="no words to"):
            measure(np.zeros(0), np.zeros(0, bool))


@given(st.floats(-1e9, 0.0))
def test_no_log_posterior_is_too_small_or_too_large(x):
    value = Platt(2.0, -1.0)(np.array([x]))[0]
    assert 0 < value < 1
