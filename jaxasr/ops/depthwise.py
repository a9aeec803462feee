"""A convolution over time of each channel by itself, as sums of shifted copies.

XLA on a CPU takes such a convolution element by element, which is slower by an order of magnitude, forward and backward.
A sum of shifted products is one fused loop over the channels. The gradient of the input is again such a sum; that of the
filters sums over time, so it is taken in pieces of time side by side, added up by a product with ones.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.ops.products import wide, widened

_PIECE = 40  # frames: long enough that overlaps cost little, short enough that one loop holds a piece


def depthwise(
    x_btc: Float[Array, "b t c"], filters_kc: Float[Array, "k c"], *, causal: bool = False
) -> Float[Array, "b t c"]:
    """Computes y_t = sum_j F_j x_(t + j - before), zero outside; before = k - 1 if causal, else (k - 1) // 2.

    A filter of an even number of taps sees one position more after its centre than before it.

    Source: Gulati et al. 2020, arXiv:2005.08100, figure 2; Chollet 2017 for the name.
    """
    taps = filters_kc.shape[0]
    return _convolve(x_btc, filters_kc, taps - 1 if causal else (taps - 1) // 2)


def _shifted_sum(x_btc: Array, filters_kc: Array, before: int) -> Array:
    (taps, _) = filters_kc.shape
    t = x_btc.shape[1]
    padded = jnp.pad(x_btc, ((0, 0), (before, taps - 1 - before), (0, 0)))
    total = jnp.zeros(x_btc.shape, wide(x_btc.dtype))
    for j in range(taps):
        total += widened(padded[:, j : j + t]) * widened(filters_kc[j])[None, None]
    return total.astype(x_btc.dtype)


def _filter_gradient(x_btc: Array, dy_btc: Array, before: int, taps: int) -> Array:
    """Computes dF_j = sum over b and t of x_(t + j - before) dy_t."""
    b, t, c = x_btc.shape
    pieces = max(1, -(-t // _PIECE))
    piece = -(-t // pieces)
    behind = pieces * piece - t
    padded = jnp.pad(x_btc, ((0, 0), (before, behind + taps - 1 - before), (0, 0)))
    windows = jnp.stack([padded[:, n * piece : (n + 1) * piece + taps - 1] for n in range(pieces)], axis=1)
    dy = jnp.pad(dy_btc, ((0, 0), (0, behind), (0, 0))).reshape(b, pieces, piece, c)
    sums = jnp.zeros((b, pieces, taps, c), wide(x_btc.dtype))
    for i in range(piece):
        sums += widened(windows[:, :, i : i + taps]) * widened(dy[:, :, i : i + 1])
    ones = jnp.ones((1, b * pieces), sums.dtype)
    return jnp.matmul(ones, sums.reshape(b * pieces, -1), precision="highest").reshape(taps, c)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x_btc: Array, filters_kc: Array, before: int) -> Array:
    return _shifted_sum(x_btc, filters_kc, before)


def _forward(x_btc: Array, filters_kc: Array, before: int):
    return _shifted_sum(x_btc, filters_kc, before), (x_btc, filters_kc)


def _backward(before: int, saved: tuple[Array, Array], dy_btc: Array):
    x_btc, filters_kc = saved
    taps = filters_kc.shape[0]
    dx_btc = _shifted_sum(dy_btc, filters_kc[::-1], taps - 1 - before)
    return dx_btc, _filter_gradient(x_btc, dy_btc, before, taps).astype(filters_kc.dtype)


_convolve.defvjp(_forward, _backward)
