"""Maxima over neighbours, in time under the mask and over frequency. The last group of an axis may be incomplete."""

import functools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxasr.ops.masks import zero_padding


def max_over_time(x: Float[Array, "b t *rest"], valid_bt: Bool[Array, "b t"], by: int) -> Float[Array, "b k *rest"]:
    """Returns the largest of each `by` neighbours in time among those that are real; zero where none is. k = ceil(t / by)."""
    b, t, *rest = x.shape
    groups = -(-t // by)
    behind = groups * by - t
    valid = jnp.pad(valid_bt, ((0, 0), (0, behind)))
    padded = jnp.pad(x, ((0, 0), (0, behind)) + ((0, 0),) * len(rest))
    floor = jnp.where(valid.reshape(b, groups * by, *(1,) * len(rest)), padded, -jnp.inf)
    largest = _largest(floor.reshape(b, groups, by, *rest), axis=2)
    return zero_padding(largest, jnp.any(valid.reshape(b, groups, by), axis=2))


def max_over_bins(x_btfc: Float[Array, "b t f c"], by: int) -> Float[Array, "b t k c"]:
    """Returns the largest of each `by` neighbours in frequency, k = ceil(f / by)."""
    b, t, f, c = x_btfc.shape
    groups = -(-f // by)
    padded = jnp.pad(x_btfc, ((0, 0), (0, 0), (0, groups * by - f), (0, 0)), constant_values=-jnp.inf)
    return _largest(padded.reshape(b, t, groups, by, c), axis=3)


def _largest(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Returns the maximum over a short axis, two at a time: XLA fuses that into what is around it, and its gradient too."""
    return functools.reduce(jnp.maximum, [lax.index_in_dim(x, at, axis, keepdims=False) for at in range(x.shape[axis])])
