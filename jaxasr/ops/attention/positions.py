"""Positional encodings: sinusoids, rotations, relative distances."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.ops.products import widened

_SLOWEST = 10_000.0  # the longest wave is this many times 2 pi positions


def sinusoid(positions_t: Int[Array, " t"], width: int) -> Float[Array, "t {width}"]:
    """Sines of the positions at width / 2 frequencies, then their cosines. Positions may be negative: distances.

    Raises:
        ValueError: an odd width.

    Source: Vaswani et al. 2017, section 3.5, with sines and cosines side by side instead of interleaved.
    """
    angles_te = positions_t[:, None] * _frequencies(width)[None, :]
    return jnp.concatenate([jnp.sin(angles_te), jnp.cos(angles_te)], axis=-1)


def rotary(x_bthe: Float[Array, "b t h e"], positions_t: Int[Array, " t"]) -> Float[Array, "b t h e"]:
    """Rotates each head by its position, column i with column i + e / 2, so that products depend on distances alone.

    Raises:
        ValueError: heads of an odd width.

    Source: Su et al. 2021, arXiv:2104.09864, equation 34; the halves are paired, not neighbours.
    """
    angles_te = positions_t[:, None] * _frequencies(x_bthe.shape[-1])[None, :]
    cos, sin = (f(angles_te)[None, :, None, :] for f in (jnp.cos, jnp.sin))
    first, second = jnp.split(widened(x_bthe), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_bthe.dtype)


def distances(positions: int) -> Int[Array, " r"]:
    """Returns all distances from a query back to a key among so many positions: t - 1, ..., 0, ..., -(t - 1)."""
    return jnp.arange(positions - 1, -positions, -1)


def shift_relative(scores_bhqr: Float[Array, "b h q r"]) -> Float[Array, "b h q k"]:
    """Scores by distance as scores by key, of r = q + k - 1 distances that descend by one.

    Row q has the distances of its k keys from column (last row - q) on. Among all positions entry [q, k] is the score of the
    distance q - k, one of `distances(t)`. A row is one place further than the row above, so a longer row length lines all of
    them up: no gather.
    Example: rows [1 0 -1] and [1 0 -1] of two queries become [0 -1] and [1 0].

    Source: Dai et al. 2019, Transformer-XL, arXiv:1901.02860, appendix B.
    """
    b, h, q, r = scores_bhqr.shape
    if q <= 1:
        return scores_bhqr
    flat = scores_bhqr.reshape(b, h, -1)[..., q - 1 :][..., : q * (r - 1)]
    return flat.reshape(b, h, q, r - 1)[..., : r + 1 - q]


def _frequencies(width: int) -> Float[Array, " e"]:
    if width < 2 or width % 2:
        raise ValueError(f"positions came with width {width}; sines and cosines need an even one")
    return _SLOWEST ** (-2.0 * jnp.arange(width // 2) / width)
