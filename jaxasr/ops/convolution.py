"""A convolution over time and frequency whose gradient of the filters is made of products on a CPU.

XLA takes that gradient as a convolution with a window of the whole utterance, for which it has a quick form on GPUs and TPUs
but not on a CPU: 20 to 35 GFLOP/s on a core where the other two convolutions of a training step do 180. A product of
stretches of time, small enough for a core's cache, does 70 to 130.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxasr.ops.products import wide

Padding = tuple[tuple[int, int], tuple[int, int]]

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_STRETCH = 2**18  # numbers in the larger operand of a product


def convolve(
    x_btfc: Float[Array, "b t f c"],
    filters: Float[Array, "dt df c o"],
    padding: Padding,
    strides: tuple[int, int] = (1, 1),
) -> Float[Array, "b _ _ o"]:
    """Returns the result of `lax.conv_general_dilated`, channels last.

    Args:
        padding: zeros before and after, of time and of frequency.
        strides: of time and frequency; the gradient of the filters is XLA's own where one is above 1.
    """
    return _convolve(x_btfc, filters, padding) if strides == (1, 1) else _plain(x_btfc, filters, padding, strides)


def _plain(x_btfc: Array, filters: Array, padding: Padding, strides: tuple[int, int] = (1, 1)) -> Array:
    return lax.conv_general_dilated(x_btfc, filters, strides, padding, dimension_numbers=_LAYOUT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x_btfc: Array, filters: Array, padding: Padding) -> Array:
    return _plain(x_btfc, filters, padding)


def _forward(x_btfc: Array, filters: Array, padding: Padding):
    return _convolve(x_btfc, filters, padding), (x_btfc, filters)


def _backward(padding: Padding, saved: tuple[Array, Array], dy_bkmo: Array):
    x_btfc, filters = saved
    (dx_btfc,) = jax.linear_transpose(lambda x: _plain(x, filters, padding), x_btfc)(dy_bkmo)

    def by_products(x_btfc: Array, dy_bkmo: Array) -> Array:
        return _filter_gradient(x_btfc, dy_bkmo, padding, (filters.shape[0], filters.shape[1]))

    def by_convolution(x_btfc: Array, dy_bkmo: Array) -> Array:
        return jax.linear_transpose(lambda f: _plain(x_btfc, f, padding), filters)(dy_bkmo)[0]

    return dx_btfc, lax.platform_dependent(x_btfc, dy_bkmo, cpu=by_products, default=by_convolution)


_convolve.defvjp(_forward, _backward)


def _filter_gradient(x_btfc: Array, dy_bkmo: Array, padding: Padding, taps: tuple[int, int]) -> Array:
    """Returns dF_ijco = sum over b, k and m of x_(k + i)(m + j)c dy_kmo with padded x, one stretch of k after another."""
    (b, k, m, o) = dy_bkmo.shape
    c = x_btfc.shape[-1]
    rows = max(1, min(k, _STRETCH // (m * taps[1] * c)))
    stretches = max(1, -(-k // rows))
    behind = stretches * rows - k
    x = jnp.pad(x_btfc, ((0, 0), (padding[0][0], padding[0][1] + behind), padding[1], (0, 0)))
    dy = jnp.pad(dy_bkmo, ((0, 0), (0, behind), (0, 0), (0, 0))).reshape(b * stretches, rows * m, o)

    def add(total: Array, number: Array) -> tuple[Array, None]:
        example = number // stretches
        first = number % stretches * rows
        seen = lax.dynamic_slice(x, (example, first, 0, 0), (1, rows + taps[0] - 1, x.shape[2], c))[0]
        beside = jnp.concatenate([seen[:, j : j + m] for j in range(taps[1])], axis=-1).reshape(-1, taps[1] * c)
        sums = [
            lax.dot_general(
                beside[i * m : (i + rows) * m], dy[number], (((0,), (0,)), ((), ())), preferred_element_type=total.dtype
            )
            for i in range(taps[0])
        ]
        return total + jnp.stack(sums), None

    total = jnp.zeros((taps[0], taps[1] * c, o), wide(x.dtype))
    total, _ = lax.scan(add, total, jnp.arange(b * stretches))
    return total.reshape(*taps, c, o).astype(x.dtype)
