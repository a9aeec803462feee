"""Tests of the map from scores of a hypothesis to the probability of no speech, and of its fit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from jaxasr.score.logistic import fit_logistic
from jaxasr.score.no_speech import LOSS, NoSpeechMap, SpeechEvidence, fit_no_speech

SCORES = st.floats(0.0, 1.0)
WEIGHTS = st.floats(0.0, 20.0)


def drawn(rng: np.random.Generator, windows: int, decoder: float, ctc: float | None, spread: float):
    """Returns evidence around a pair of scores."""
    near = rng.normal((decoder, ctc or 0.0), spread, (windows, 2))
    return [SpeechEvidence(a, None if ctc is None else b) for a, b in np.clip(near, 0.0, 1.0).tolist()]


@given(WEIGHTS, WEIGHTS, st.floats(-10.0, 10.0), SCORES, SCORES, st.floats(0.0, 1.0))
def test_the_probability_never_rises_with_a_score(decoder_weight, ctc_weight, offset, decoder, ctc, more):
    """Checks both scores, from impossible tokens to certain ones."""
    weights = NoSpeechMap(decoder_weight, ctc_weight, offset)
    here = weights(SpeechEvidence(decoder, ctc))
    assert 0.0 <= here <= 1.0
    assert weights(SpeechEvidence(min(decoder + more, 1.0), ctc)) <= here
    assert weights(SpeechEvidence(decoder, min(ctc + more, 1.0))) <= here


def test_the_map_is_a_logistic_function_of_the_scores():
    """Compares with the formula, with and without a CTC head."""
    weights = NoSpeechMap(2.0, 3.0, -4.0)
    assert weights(SpeechEvidence(0.5, 0.9)) == pytest.approx(expit(-(1.0 + 2.7 - 4.0)))
    assert NoSpeechMap(2.0, 0.0, -4.0)(SpeechEvidence(0.5, None)) == pytest.approx(expit(3.0))


@pytest.mark.parametrize("ctc", [True, False])
def test_the_default_keeps_confident_windows_and_withholds_guesses(ctc):
    """Checks scores of speech that is recognised well, and of the worst guesses."""
    weights = NoSpeechMap.default(ctc=ctc)
    assert weights(SpeechEvidence(0.85, 0.85 if ctc else None)) < 0.1
    assert weights(SpeechEvidence(0.3, 0.2 if ctc else None)) > 0.9


def test_maps_that_are_none():
    """Checks the errors of impossible weights, and of evidence that lacks what the map reads."""
    for values in ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (math.nan, 1.0, 1.0), (1.0, 1.0, math.inf)):
        with pytest.raises(ValueError, match="finite numbers are needed, and weights of at least 0"):
            NoSpeechMap(*values)
    with pytest.raises(ValueError, match="reads a CTC head, and the model has none"):
        NoSpeechMap(1.0, 1.0, 0.0)(SpeechEvidence(0.5, None))


@pytest.mark.parametrize("ctc", [True, False])
def test_kinds_that_do_not_overlap_are_told_apart(rng, ctc):
    """Fits 40 windows of each kind, and asks for others. The costs move the limit towards the other sounds."""
    scores = (0.85, 0.85 if ctc else None), (0.4, 0.25 if ctc else None)
    seen = [*drawn(rng, 40, *scores[0], spread=0.04), *drawn(rng, 40, *scores[1], spread=0.04)]
    fitted = fit_no_speech(seen, np.arange(80) < 40, np.ones(80))
    assert bool(fitted.ctc_weight) == ctc
    assert max(map(fitted, drawn(rng, 200, *scores[0], spread=0.04))) < 0.5
    assert min(map(fitted, drawn(rng, 200, *scores[1], spread=0.04))) > 0.5
    assert math.isfinite(fitted.offset)


def test_the_weight_of_a_kind_is_independent_of_its_size(rng):
    """Fits kinds that overlap completely, of very different sizes: the ratio of the costs alone is left."""
    seen = drawn(rng, 4_000, 0.5, 0.5, spread=0.1)
    weights_n = np.where(np.arange(4_000) < 400, 3.0, 1.0)
    fitted = fit_no_speech(seen, np.arange(4_000) < 400, weights_n)
    assert fitted(SpeechEvidence(0.5, 0.5)) == pytest.approx(1 / (1 + LOSS), abs=0.05)


def test_a_score_that_falls_with_speech_is_left_out(rng):
    """Fits a decoder that is surer of other sounds than of speech."""
    seen = [*drawn(rng, 50, 0.4, 0.9, spread=0.1), *drawn(rng, 50, 0.8, 0.2, spread=0.1)]
    fitted = fit_no_speech(seen, np.arange(100) < 50, np.ones(100))
    assert fitted.decoder_weight == 0.0
    assert fitted.ctc_weight > 1.0


@pytest.mark.parametrize(("speech", "weight"), [(2, 1.0), (0, 1.0), (1, 0.0)])
def test_a_kind_that_is_missing(speech, weight):
    """Checks two windows of which none, or none with words, is of one kind."""
    with pytest.raises(ValueError, match="both are needed for a no-speech decision"):
        fit_no_speech([SpeechEvidence(0.9, 0.9)] * 2, np.arange(2) < speech, np.array([weight, 1.0]))


def test_logistic_parameters_are_found_again(rng):
    """Fits weighted examples that a known model has drawn."""
    truth = np.array([1.5, -2.0, 0.5])
    inputs = np.concatenate([rng.normal(size=(20_000, 2)), np.ones((20_000, 1))], axis=1)
    targets = (rng.uniform(size=20_000) < expit(inputs @ truth)) * 1.0
    found = fit_logistic(inputs, targets, prior_k=np.zeros(3), ridge_k=np.full(3, 1e-3))
    np.testing.assert_allclose(found, truth, atol=0.08)
    twice = fit_logistic(
        inputs[:10_000],
        targets[:10_000],
        prior_k=np.zeros(3),
        ridge_k=np.full(3, 2e-3),
        weights_n=np.full(10_000, 2.0),
    )
    alone = fit_logistic(inputs[:10_000], targets[:10_000], prior_k=np.zeros(3), ridge_k=np.full(3, 1e-3))
    np.testing.assert_allclose(twice, alone, atol=1e-6)
