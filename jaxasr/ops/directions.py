"""What the recurrences share: sequences of several directions, turned so that one loop runs over the first axis."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops.masks import valid_from_lengths


def time_major(x_btm: Float[Array, "b t m"], back: bool) -> Float[Array, "t b m"]:
    """Time first; the last position first where the recurrence runs backward."""
    x_tbm = jnp.swapaxes(x_btm, 0, 1)
    return jnp.flip(x_tbm, 0) if back else x_tbm


def batch_major(h_tbd: Float[Array, "t b d"], back: bool) -> Float[Array, "b t d"]:
    """What `time_major` turned, turned back."""
    return jnp.swapaxes(jnp.flip(h_tbd, 0) if back else h_tbd, 0, 1)


def time_major_valids(
    lengths_b: Int[Array, " b"], positions: int, reverse: tuple[bool, ...]
) -> tuple[Bool[Array, "t b"], ...]:
    """For each direction, where a step of the loop stands on a real position."""
    valid_tb = valid_from_lengths(lengths_b, positions).T
    return tuple(jnp.flip(valid_tb, 0) if back else valid_tb for back in reverse)


def weight_gradient(
    start_bd: Float[Array, "b d"] | None,
    hidden_tbd: Float[Array, "t b d"],
    d_gates_tbm: Float[Array, "t b m"],
    scale_bd: Float[Array, "b d"] | None,
) -> Float[Array, "d m"]:
    """The gradient of the recurrent weights: each state times the gradient of the gates it went into, in one product.

    Args:
        start_bd: the state before the first step; None: zero.
        hidden_tbd: the state after each step; the last one went into no gates.
        d_gates_tbm: gradients of the recurrent part of the gates.
        scale_bd: what the states were multiplied with on their way.
    """
    before_tbd = hidden_tbd[:-1] if scale_bd is None else hidden_tbd[:-1] * scale_bd[None]
    d_dm = jnp.einsum("tbd,tbm->dm", before_tbd, d_gates_tbm[1:])
    return d_dm if start_bd is None else d_dm + scaled(start_bd, scale_bd).T @ d_gates_tbm[0]


def scaled(x_bd: Float[Array, "b d"], scale_bd: Float[Array, "b d"] | None) -> Float[Array, "b d"]:
    """`x` times the scale, where there is one."""
    return x_bd if scale_bd is None else x_bd * scale_bd
