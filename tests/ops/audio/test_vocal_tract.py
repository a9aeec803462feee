"""Vocal tract length perturbation against what it says of frequencies."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.ops.audio import features, vocal_tract

LIMITS = {"low_hz": 20.0, "high_hz": 7_600.0}


def tone(hz: float):
    wave_bn = jnp.asarray(0.5 * np.sin(2 * np.pi * hz * np.arange(1_600) / 16_000), jnp.float32)[None, :]
    return features.log_mel(wave_bn, jnp.array([1_600]), rate_hz=16_000, window_ms=25.0, hop_ms=10.0, bins=80, **LIMITS)


def test_a_factor_of_one_changes_nothing(rng):
    frames_btf = jnp.asarray(rng.normal(size=(2, 3, 80)), jnp.float32)
    same_btf = vocal_tract.warp_frequencies(frames_btf, jnp.ones(2), **LIMITS)
    np.testing.assert_allclose(same_btf, frames_btf, atol=2e-3)


def test_a_tone_moves_to_its_frequency_over_the_factor():
    for factor in (0.9, 1.1):
        moved_btf = vocal_tract.warp_frequencies(tone(1_500.0).frames_btf, jnp.array([factor]), **LIMITS)
        expected_btf = tone(1_500.0 / factor).frames_btf
        assert abs(int(moved_btf[0, 3].argmax()) - int(expected_btf[0, 3].argmax())) <= 1


def test_the_highest_frequency_stays_and_the_map_never_turns_back():
    hz_1f = jnp.linspace(0.0, 7_600.0, 200)[None, :]
    for factor in (0.8, 0.9, 1.1, 1.2):
        to_1f = np.asarray(vocal_tract._bent(hz_1f, jnp.array([[factor]]), 7_600.0))
        assert np.all(np.diff(to_1f) > 0)
        np.testing.assert_allclose(to_1f[0, [0, -1]], [0.0, 7_600.0], atol=0.1)


def test_factors_belong_to_the_example_and_fill_their_range():
    key = jax.random.key(0)
    ids_b = jnp.arange(400, dtype=jnp.uint32)
    factors_b = np.asarray(vocal_tract.warp_factors(share=0.1, ids_b=ids_b, key=key))
    assert factors_b.min() >= 0.9
    assert factors_b.max() <= 1.1
    assert np.ptp(factors_b) > 0.19
    flipped_b = vocal_tract.warp_factors(share=0.1, ids_b=ids_b[::-1], key=key)
    np.testing.assert_array_equal(flipped_b[::-1], factors_b)
