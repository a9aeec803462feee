"""A scan whose weights get their gradient in one product after the backward pass.

Automatic differentiation of `lax.scan` adds an outer product of the size of each weight matrix to its gradient at every
step: with 16 examples in a batch that is nearly all memory traffic. Here the step says its loop-invariant products through
`linear(name, x)`; the backward pass keeps only their inputs and the gradients of their outputs, and multiplies once.

Of bfloat16 numbers the products come out in float32, and so is added up over the steps what all constants get of gradients:
a sum in bfloat16 would stop growing where a step adds less than a 256th of it.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.ops.products import wide_einsum, widened

Weights = Mapping[str, Float[Array, "..."]]
Arrays = dict[str, Float[Array, "..."]]


class Linear:
    """The products of one step by name: x @ weight for a matrix, and example by example for a weight [b, d, e]."""

    def __init__(self, weights: Weights, taps: Weights | None = None):
        self._weights = weights
        self._taps = taps
        self.inputs: Arrays = {}
        self.outputs: Arrays = {}

    def __call__(self, name: str, x: Float[Array, "b d"]) -> Float[Array, "b e"]:
        """Returns the product with the weight of this name, once a step, in float32 at least."""
        if name in self.inputs:
            raise ValueError(f"the product {name!r} is taken twice in one step; give each its own name")
        product = _differentiable if self._taps is None else _product
        y = product(x, self._weights[name])
        self.inputs[name] = x
        self.outputs[name] = y if self._taps is None else y + self._taps[name]
        return self.outputs[name]


Step = Callable[[Linear, Any, Any, Any], tuple[Any, Any]]  # linear, constants, carry, x -> carry, y


def scan(step: Step, weights: Weights, constants: Any, carry: Any, xs: Any) -> tuple[Any, Any]:
    """Returns the last carry and the stacked ys of `step` over the first axis of `xs`.

    Args:
        step: pure; all it differentiates comes in through its arguments.
        weights: what `linear` multiplies with: [d, e], or [b, d, e] with one matrix an example.
        constants: anything else that stays the same at every step.
    """
    return _scan(step, dict(weights), constants, carry, xs)


def _run(step: Step, weights: Weights, taps: Weights | None, constants: Any, carry: Any, xs: Any):
    def body(carry: Any, now: Any):
        x, tap = now
        linear = Linear(weights, tap)
        carry, y = step(linear, constants, carry, x)
        return carry, (y, linear.inputs)

    carry, (ys, inputs) = jax.lax.scan(body, carry, (xs, taps))
    return (carry, ys), inputs


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(step: Step, weights: Weights, constants: Any, carry: Any, xs: Any):
    return _run(step, weights, None, constants, carry, xs)[0]


def _forward(step: Step, weights: Weights, constants: Any, carry: Any, xs: Any):
    taps = _zero_taps(step, weights, constants, carry, xs)

    def run(taps: Arrays, constants: Any, carry: Any, xs: Any):
        def narrow(linear: Linear, wide: Any, carry: Any, x: Any) -> tuple[Any, Any]:
            return step(linear, jax.tree.map(_in_dtype_of, wide, given), carry, x)

        return _run(narrow, weights, taps, constants, carry, xs)

    given = constants
    out, backward, inputs = jax.vjp(run, taps, jax.tree.map(_wide, constants), carry, xs, has_aux=True)
    return out, (backward, inputs, weights, constants)


def _backward(step: Step, saved: Any, d_out: Any):
    del step
    backward, inputs, weights, constants = saved
    d_taps, d_constants, d_carry, d_xs = backward(d_out)
    d_constants = jax.tree.map(_in_dtype_of, d_constants, constants)
    used = {name: _outer(inputs[name], d_taps[name], weights[name]) for name in inputs}
    d_weights = jax.tree.map(jnp.zeros_like, weights) | used
    return d_weights, d_constants, d_carry, d_xs


_scan.defvjp(_forward, _backward)


def _outer(x: Array, dy: Array, weight: Array) -> Array:
    """Returns the gradient of a weight from the inputs and output gradients of all steps."""
    how = "ubd,ube->de" if weight.ndim == 2 else "ubd,ube->bde"
    return jnp.einsum(how, x, dy.astype(x.dtype), preferred_element_type=dy.dtype).astype(weight.dtype)


def _wide(leaf: Any) -> Any:
    return widened(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _in_dtype_of(leaf: Any, other: Any) -> Any:
    return leaf.astype(other.dtype) if jnp.issubdtype(other.dtype, jnp.floating) else leaf


def _differentiable(x: Array, weight: Array) -> Array:
    return wide_einsum("bd,de->be" if weight.ndim == 2 else "bd,bde->be", x, weight)


@jax.custom_vjp
def _product(x: Array, weight: Array) -> Array:
    """Its gradient is that of x alone: the weight's is made once, of all steps."""
    return _differentiable(x, weight)


def _product_forward(x: Array, weight: Array):
    return _product(x, weight), (x, weight)


def _product_backward(saved: tuple[Array, Array], dy: Array):
    x, weight = saved
    how = "be,de->bd" if weight.ndim == 2 else "be,bde->bd"
    return jnp.einsum(how, dy.astype(x.dtype), weight), None


_product.defvjp(_product_forward, _product_backward)


def _zero_taps(step: Step, weights: Weights, constants: Any, carry: Any, xs: Any) -> Arrays:
    """Zeros in the shape of all outputs of `linear`: what they are added to, their gradient is that of the outputs."""

    def outputs(constants: Any, carry: Any, x: Any) -> Arrays:
        linear = Linear(weights)
        step(linear, constants, carry, x)
        return linear.outputs

    steps = jax.tree.leaves(xs)[0].shape[0]
    first = jax.tree.map(lambda leaf: leaf[0], xs)
    shapes = jax.eval_shape(outputs, constants, carry, first)
    return {name: jnp.zeros((steps, *shape.shape), shape.dtype) for name, shape in shapes.items()}
