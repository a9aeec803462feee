"""Lengths to masks. Lengths cross the borders of modules; masks are made where they are used. True = real."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxasr.shapes import Lengths, Tokens


def valid_from_lengths(lengths_b: Lengths, positions: int) -> Bool[Array, "b {positions}"]:
    """Returns True where a position of the padded axis is real.

    Example: lengths [2, 0] at 3 positions are [[True, True, False], [False, False, False]].
    """
    return jnp.arange(positions)[None, :] < lengths_b[:, None]


def zero_tokens(tokens_bu: Tokens, lengths_b: Lengths) -> Tokens:
    """Returns the tokens with 0, the end and the blank, behind their lengths."""
    return jnp.where(valid_from_lengths(lengths_b, tokens_bu.shape[1]), tokens_bu, 0)


def zero_padding(x: Float[Array, "b t *rest"], valid_bt: Bool[Array, "b t"]) -> Float[Array, "b t *rest"]:
    """Returns `x` with zeros at its padding; values there, infinite and NaN included, get no gradient."""
    return jnp.where(valid_bt.reshape(valid_bt.shape + (1,) * (x.ndim - 2)), x, jnp.zeros((), x.dtype))
