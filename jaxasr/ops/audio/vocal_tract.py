"""Vocal tract length perturbation: log-mel frames as if the speaker's vocal tract were shorter or longer.

Source: Jaitly and Hinton 2013, "Vocal tract length perturbation (VTLP) improves speech recognition", section 3. There the
filters' centres move; here the finished log energies are read between bins, which is the same where neighbouring filters
change little, and costs one small product.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.ops import random
from jaxasr.shapes import Frames, Ids, PRNGKey


def warp_factors(*, share: float, ids_b: Ids, key: PRNGKey) -> Float[Array, " b"]:
    """Returns a factor for each example, uniform in [1 - share, 1 + share]."""
    return jax.vmap(lambda k: jax.random.uniform(k, (), minval=1 - share, maxval=1 + share))(
        random.example_keys(key, ids_b)
    )


def warp_frequencies(frames_btf: Frames, factor_b: Float[Array, " b"], *, low_hz: float, high_hz: float) -> Frames:
    """Frames whose energy at frequency x comes from x * factor; bins equally wide on the HTK mel scale.

    Above the frequency that lands on 80 % of `high_hz` the map bends, so that `high_hz` stays where it is.
    """
    bins = frames_btf.shape[-1]
    mel_f = jnp.linspace(_mel(jnp.asarray(low_hz)), _mel(jnp.asarray(high_hz)), bins + 2)[1:-1]
    source_bf = _bent(_hz(mel_f)[None, :], factor_b[:, None], high_hz)
    step = (_mel(jnp.asarray(high_hz)) - _mel(jnp.asarray(low_hz))) / (bins + 1)
    position_bf = jnp.clip((_mel(source_bf) - mel_f[0]) / step, 0, bins - 1)
    nearness = jax.nn.relu(1 - jnp.abs(jnp.arange(bins)[None, :, None] - position_bf[:, None, :]))
    return jnp.einsum("btf,bfv->btv", frames_btf, nearness.astype(frames_btf.dtype))


def _bent(hz_bf: Array, factor_b1: Array, high_hz: float) -> Float[Array, "b f"]:
    """Returns x * factor up to a knee, and a straight line to (high, high) above it."""
    knee_b1 = 0.8 * high_hz / jnp.maximum(factor_b1, 1.0)
    slope_b1 = (high_hz - factor_b1 * knee_b1) / (high_hz - knee_b1)
    return jnp.where(hz_bf <= knee_b1, hz_bf * factor_b1, high_hz - slope_b1 * (high_hz - hz_bf))


def _mel(hz: Array) -> Array:
    return 2595 * jnp.log10(1 + hz / 700)


def _hz(mel: Array) -> Array:
    return 700 * (10 ** (mel / 2595) - 1)
