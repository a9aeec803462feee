"""Additive noise on waves: at a random level, of a random colour between white and pink, keyed by example."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Key

from jaxasr.ops import masks, random
from jaxasr.shapes import Ids, Lengths, PRNGKey, Wave

OCTAVES = 8  # that pink noise reaches below the highest: at 16 kHz, down to about 16 Hz


def add_noise(
    wave_bn: Wave,
    sample_lengths_b: Lengths,
    *,
    share: float,
    low_db: float,
    high_db: float,
    ids_b: Ids,
    key: PRNGKey,
) -> Wave:
    """Returns a share of the waves with noise at a signal-to-noise ratio drawn evenly from [low_db, high_db].

    Signal and noise are measured over the real samples of the utterance, so the drawn ratio is met exactly. Silence
    stays silent, padding stays as it was, and no gradient flows through the level of the noise.

    Args:
        share: Probability, in [0, 1], that an utterance gets noise.
        ids_b: Hash of the example, `Batch.ids_b`.
    """
    keys_b = random.example_keys(key, ids_b)
    draws_b3 = jax.vmap(lambda key: jax.random.uniform(key, (3,)))(keys_b)
    valid_bn = masks.valid_from_lengths(sample_lengths_b, wave_bn.shape[1])
    noise_bn = masks.zero_padding(coloured_noise(keys_b, wave_bn.shape[1], draws_b3[:, 0]), valid_bn)
    ratio_db_b = low_db + (high_db - low_db) * draws_b3[:, 1]
    signal_b = jnp.square(masks.zero_padding(wave_bn, valid_bn)).sum(axis=1)
    target_b = signal_b * 10 ** (-ratio_db_b / 10)
    gain_b = jnp.sqrt(target_b / jnp.maximum(jnp.square(noise_bn).sum(axis=1), 1e-9))
    gain_b = jax.lax.stop_gradient(jnp.where(draws_b3[:, 2] < share, gain_b, 0))
    return wave_bn + (gain_b[:, None] * noise_bn).astype(wave_bn.dtype)


def coloured_noise(
    keys_b: Key[Array, " b"], samples: int, colour_b: Float[Array, " b"]
) -> Float32[Array, "b {samples}"]:
    """Draws noise, white at colour 0, pink (-3 dB per octave) at 1: white_0[n] + colour * sum_k white_k[n // 2^k].

    White is even over 256 levels, with variance 1: a window sums hundreds of samples, so its spectrum is Gaussian all
    the same. Draws come in blocks of 2^OCTAVES samples, octave k of a block in m = 2^(OCTAVES - k) bytes from m on: one
    array of draws for all octaves, and the beginning of it that of any longer noise.

    Source: Voss's algorithm, after Gardner 1978, Scientific American 238(4).
    """
    block = 1 << OCTAVES
    bytes_bcn = random.example_bytes(keys_b, (-(-samples // block), 2 * block))
    white_bcn = (bytes_bcn.astype(jnp.float32) - 127.5) / ((256**2 - 1) / 12) ** 0.5
    slow_bcn = white_bcn[..., 1:2]
    for octave in reversed(range(1, OCTAVES)):
        held = block >> octave
        slow_bcn = jnp.repeat(slow_bcn, 2, axis=-1) + white_bcn[..., held : 2 * held]
    noise_bcn = white_bcn[..., block:] + colour_b[:, None, None] * jnp.repeat(slow_bcn, 2, axis=-1)
    return noise_bcn.reshape(len(noise_bcn), -1)[:, :samples]
