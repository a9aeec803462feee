import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.ops import random
from jaxasr.ops.audio import noise
from tests.reference import noise as reference

KEY = jax.random.key(3)
IDS = jnp.arange(40, 56, dtype=jnp.uint32)
coloured_noise = jax.jit(noise.coloured_noise, static_argnums=1)
add_noise = jax.jit(functools.partial(noise.add_noise, share=0.5, low_db=5.0, high_db=20.0, key=KEY))
noise_always = jax.jit(functools.partial(noise.add_noise, share=1.0, low_db=5.0, high_db=20.0, key=KEY))


def decibels(signal_n, noise_n):
    return 10 * np.log10(np.sum(np.square(signal_n, dtype=float)) / np.sum(np.square(noise_n, dtype=float)))


def test_colour_against_the_loop():
    keys_b, samples = random.example_keys(KEY, IDS[:2]), 700
    found_bn = coloured_noise(keys_b, samples, jnp.array([0.0, 0.7]))
    draws_bcn = np.asarray(random.example_bytes(keys_b, (3, 512)), float)
    white_bcn = (draws_bcn - np.mean(range(256))) / np.std(range(256))
    for row, colour in enumerate((0.0, 0.7)):
        octaves = [white_bcn[row, :, 256 >> k : 512 >> k].ravel() for k in range(noise.OCTAVES + 1)]
        expected_n = reference.voss(octaves, np.float32(colour), samples)
        np.testing.assert_allclose(found_bn[row], expected_n, atol=2e-5)


def test_white_is_flat_and_pink_falls_three_decibels_an_octave():
    keys_b = random.example_keys(KEY, IDS)
    for colour, slope_db in ((0.0, 0.0), (1.0, -3.01)):
        noise_bn = np.asarray(coloured_noise(keys_b, 16_384, jnp.full(16, colour)))
        power_c = (np.abs(np.fft.rfft(noise_bn)) ** 2).mean(axis=0)
        octaves_db = [10 * np.log10(power_c[64 << i : 128 << i].mean()) for i in range(7)]
        slope = np.polyfit(range(7), octaves_db, 1)[0]
        assert abs(slope - slope_db) < 0.25


def test_the_ratio_is_met_over_the_real_samples_and_padding_is_left(rng):
    lengths = rng.integers(300, 1_001, size=16)
    wave_bn = np.where(np.arange(1_000) < lengths[:, None], rng.normal(size=(16, 1_000)) * 0.05, 0).astype(np.float32)
    noisy_bn = np.asarray(noise_always(jnp.asarray(wave_bn), jnp.asarray(lengths), ids_b=IDS))
    ratios_db = []
    for row, length in enumerate(lengths):
        assert not np.any(noisy_bn[row, length:])
        ratios_db.append(decibels(wave_bn[row, :length], (noisy_bn - wave_bn)[row, :length]))
    assert min(ratios_db) > 4.99
    assert max(ratios_db) < 20.01
    assert max(ratios_db) - min(ratios_db) > 8


def test_a_share_is_left_as_it_was(rng):
    ids_b = jnp.arange(400, dtype=jnp.uint32)
    wave_bn = jnp.asarray(rng.normal(size=(400, 8)), jnp.float32)
    touched_b = np.any(np.asarray(add_noise(wave_bn, jnp.full(400, 8), ids_b=ids_b) != wave_bn), axis=1)
    assert abs(touched_b.mean() - 0.5) < 0.1


def test_padding_and_row_change_only_the_last_bits(rng):
    wave_bn = (rng.normal(size=(16, 200)) * 0.1).astype(np.float32)
    lengths_b = jnp.asarray(rng.integers(0, 201, size=16))
    short_bn = add_noise(jnp.asarray(wave_bn), lengths_b, ids_b=IDS)
    turned_bn = jnp.asarray(np.pad(wave_bn, ((0, 0), (0, 333)))[::-1].copy())
    long_bn = add_noise(turned_bn, lengths_b[::-1], ids_b=IDS[::-1])[::-1]
    np.testing.assert_allclose(long_bn[:, :200], short_bn, rtol=1e-5, atol=1e-7)
    assert not np.any(long_bn[:, 200:])


def test_silence_stays_silent_with_a_finite_gradient():
    silent_bn, lengths_b = jnp.zeros((16, 64)), jnp.full(16, 64).at[0].set(0)
    np.testing.assert_array_equal(noise_always(silent_bn, lengths_b, ids_b=IDS), 0)
    gradient_bn = jax.grad(lambda wave: noise_always(wave, lengths_b, ids_b=IDS).sum())(silent_bn)
    np.testing.assert_array_equal(gradient_bn, 1)
