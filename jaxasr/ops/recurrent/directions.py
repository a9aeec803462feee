"""Shared parts of the recurrences: several directions over the same examples in one loop, each from its own end.

Time is the first axis. Sequences are not reversed, because a reversed copy of the gates costs a tenth of a training step.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.ops.products import wide

Reverse = tuple[bool, ...]


def time_major(x_btm: Float[Array, "b t m"]) -> Float[Array, "t b m"]:
    """Moves the time axis to the front."""
    return jnp.swapaxes(x_btm, 0, 1)


def batch_major(x_tbm: Float[Array, "t b m"]) -> Float[Array, "b t m"]:
    """Moves the time axis back behind the batch axis."""
    return jnp.swapaxes(x_tbm, 0, 1)


def rows_at(step: Array, sequences: Sequence[Array], reverse: Reverse) -> list[Array]:
    """Returns the row of each direction at a step of the loop; a backward direction begins at the last position."""
    pairs = zip(sequences, reverse, strict=True)
    return [jax.lax.dynamic_index_in_dim(x, _position(step, x, back), keepdims=False) for x, back in pairs]


def put_at(step: Array, sequences: Sequence[Array], rows: Sequence[Array], reverse: Reverse) -> tuple[Array, ...]:
    """Returns the sequences with what each direction made at this step of the loop."""
    triples = zip(sequences, rows, reverse, strict=True)
    put = jax.lax.dynamic_update_index_in_dim
    return tuple(put(x, row, _position(step, x, back), 0) for x, row, back in triples)


def _position(step: Array, x: Array, back: bool) -> Array:
    return len(x) - 1 - step if back else step


def weight_gradient(
    start_bd: Float[Array, "b d"] | None,
    hidden_tbd: Float[Array, "t b d"],
    d_gates_tbm: Float[Array, "t b m"],
    scale_bd: Float[Array, "b d"] | None,
    *,
    back: bool,
) -> Float[Array, "d m"]:
    """Returns the gradient of the recurrent weights: each state times the gradient of the gates it went into, in one product.

    Args:
        start_bd: the state before the first step; None: zero.
        hidden_tbd: the state after each step, zero at padding; the last one went into no gates.
        d_gates_tbm: gradients of the recurrent part of the gates, zero at padding.
        scale_bd: what the states were multiplied with on their way.
        back: the steps ran from the last position to the first.
    """
    before_tbd, d_tbm = (hidden_tbd[1:], d_gates_tbm[:-1]) if back else (hidden_tbd[:-1], d_gates_tbm[1:])
    before_tbd = before_tbd if scale_bd is None else before_tbd * scale_bd[None]
    d_dm = product(before_tbd.reshape(-1, before_tbd.shape[-1]).T, d_tbm.reshape(-1, d_tbm.shape[-1]))
    return d_dm if start_bd is None else d_dm + product(scaled(start_bd, scale_bd).T, d_gates_tbm[-1 if back else 0])


def product(x_bd: Float[Array, "b d"], weights_dm: Float[Array, "d m"]) -> Float[Array, "b m"]:
    """Returns the product of two matrices of one dtype, its sums in float32 at least. For backward passes of one's own."""
    return jnp.matmul(x_bd, weights_dm, preferred_element_type=wide(x_bd.dtype))


def scaled(x_bd: Float[Array, "b d"], scale_bd: Float[Array, "b d"] | None) -> Float[Array, "b d"]:
    """Returns `x` times the scale, if there is one."""
    return x_bd if scale_bd is None else x_bd * scale_bd
