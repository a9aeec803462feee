"""Products of narrow numbers whose sums are float32.

Where operands are bfloat16 a matrix unit adds in float32 and rounds the sum to bfloat16 at its end. What a softmax or a loss
is made of should not be rounded: an attention energy of 10 would be off by up to 0.03, and its weight by 3 %. Here the sum
comes out as it is. The backward pass multiplies in the operands' precision again: the gradient that comes in is rounded to
it, or the unit would have to multiply float32. For float32 operands all of this is the plain product.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Product = Callable[..., Array]  # of two arrays, with preferred_element_type


def wide(dtype: jnp.dtype) -> jnp.dtype:
    """Returns the precision of sums over numbers of this one: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def widened(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns the array in the precision of sums."""
    return x.astype(wide(x.dtype))


def wide_einsum(equation: str, x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes `jnp.einsum` of two arrays of one dtype, in float32 at least."""
    return _product(functools.partial(jnp.einsum, equation), x, y)


def wide_dot_general(
    x: Float[Array, "..."], y: Float[Array, "..."], dimension_numbers: Any, precision: Any = None
) -> Float[Array, "..."]:
    """Computes `lax.dot_general` of two arrays of one dtype, in float32 at least."""
    product = functools.partial(jax.lax.dot_general, dimension_numbers=dimension_numbers, precision=precision)
    return _product(product, x, y)


def times(x: Float[Array, "..."], factor: float | Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns the array times a number that is not rounded to the array's precision: in bfloat16, 1 / 0.9 would be 1.1094."""
    return (widened(x) * factor).astype(x.dtype)


def plus(x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns x + y in the dtype of `x`; the gradient of a broadcast `y` is summed in float32 at least."""
    return (widened(x) + widened(y)).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(product: Product, x: Array, y: Array) -> Array:
    return product(x, y, preferred_element_type=wide(x.dtype))


def _forward(product: Product, x: Array, y: Array):
    return _product(product, x, y), (x, y)


def _backward(product: Product, saved: tuple[Array, Array], d_z: Array):
    x, y = saved
    _, backward = jax.vjp(product, x, y)
    return backward(d_z.astype(x.dtype))


_product.defvjp(_forward, _backward)
