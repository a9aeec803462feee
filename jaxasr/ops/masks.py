"""Lengths to masks. Lengths cross the borders of modules; masks are made where they are used. True = real."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxasr.shapes import Lengths


def valid_from_lengths(lengths_b: Lengths, positions: int) -> Bool[Array, "b {positions}"]:
    """Returns True where a position of the padded axis is real.

    Example: lengths [2, 0] at 3 positions are [[True, True, False], [False, False, False]].
    """
    return jnp.arange(positions)[None, :] < lengths_b[:, None]


def zero_padding(x: Float[Array, "b t *rest"], valid_bt: Bool[Array, "b t"]) -> Float[Array, "b t *rest"]:
    """Returns `x` with zeros at its padding; values there, infinite and NaN included, get no gradient."""
    return jnp.where(valid_bt.reshape(valid_bt.shape + (1,) * (x.ndim - 2)), x, jnp.zeros((), x.dtype))
