"""Back-pointers to sequences: a beam stores the parent of each token and is read backwards once, at the end."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def trace(
    tokens_ubw: Int[Array, "u b w"],
    parents_ubw: Int[Array, "u b w"],
    lengths_bq: Int[Array, "b q"],
    slots_bq: Int[Array, "b q"],
) -> tuple[Int[Array, "u b q"], Int[Array, "u b q"]]:
    """Returns the tokens of q hypotheses per example, and the slot from which each token was predicted.

    Args:
        tokens_ubw: the token that slot w of step u wrote.
        parents_ubw: the slot of step u - 1 which slot w of step u continues.
        lengths_bq: tokens of each hypothesis; entries behind them are returned as 0.
        slots_bq: the slot that holds the last token of each hypothesis.
    """

    def back(slots_bq: Int[Array, "b q"], step):
        i, tokens_bw, parents_bw = step
        inside_bq = i < lengths_bq
        here_bq = jnp.take_along_axis(tokens_bw, slots_bq, axis=1)
        before_bq = jnp.take_along_axis(parents_bw, slots_bq, axis=1)
        slots_bq = jnp.where(inside_bq, before_bq, slots_bq)
        return slots_bq, (jnp.where(inside_bq, here_bq, 0), slots_bq)

    steps = (jnp.arange(tokens_ubw.shape[0]), tokens_ubw, parents_ubw)
    _, (tokens_ubq, sources_ubq) = jax.lax.scan(back, slots_bq, steps, reverse=True)
    return tokens_ubq, sources_ubq


def along(
    weights_ubwhs: Float[Array, "u b w h s"], sources_ub: Int[Array, "u b"], lengths_b: Int[Array, " b"]
) -> Float[Array, "b u h s"]:
    """Returns the attention along one hypothesis per example: at step u the row of the slot that predicted token u."""
    weights_ubhs = jax.vmap(jax.vmap(lambda weights_whs, source: weights_whs[source]))(weights_ubwhs, sources_ub)
    inside_ub = jnp.arange(sources_ub.shape[0])[:, None] < lengths_b[None, :]
    return jnp.moveaxis(jnp.where(inside_ub[..., None, None], weights_ubhs, 0.0), 0, 1)
