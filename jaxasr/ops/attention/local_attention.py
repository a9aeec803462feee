"""Attention that looks near a place only: windows, where a row of weights stands, moving on, mixtures of Gaussians."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops.attention.monotonic import shifted


def near(centre_b: Float[Array, " b"], positions: int, *, left: int, right: int) -> Bool[Array, "b {positions}"]:
    """Returns True from `left` positions before the centre to `right` positions after it, both included."""
    distance_bs = jnp.arange(positions, dtype=jnp.float32)[None] - centre_b[:, None]
    return (distance_bs >= -left) & (distance_bs <= right)


def median(weights_bs: Float[Array, "b s"]) -> Int[Array, " b"]:
    """Returns the first position at which half of the row's weight is reached, to rounding; 0 where there is no weight."""
    reached_bs = jnp.cumsum(weights_bs, axis=1) >= 0.5 * jnp.sum(weights_bs, axis=1, keepdims=True) - 1e-6
    return jnp.argmax(reached_bs, axis=1).astype(jnp.int32)


def bell(centre_b: Float[Array, " b"], positions: int, *, spread: float) -> Float[Array, "b {positions}"]:
    """Returns a Gaussian of height 1 around each centre: exp(-(s - centre)^2 / (2 spread^2)).

    Source: Luong et al. 2015, equation 10.
    """
    distance_bs = jnp.arange(positions, dtype=jnp.float32)[None] - centre_b[:, None]
    return jnp.exp(-0.5 * jnp.square(distance_bs / spread))


def moved_on(before_bs: Float[Array, "b s"], *, reach: int, move_b: Float[Array, " b"] | None) -> Float[Array, "b s"]:
    """Returns the weights after a move: each position stays or moves up to `reach` positions further.

    Args:
        move_b: the probability of moving, shared by all moves alike, where staying has the rest. None: staying and each of
            the moves count one.

    Source: Zhang et al. 2018, equation 6, and equation 10 with the agent; `reach` is 1 there.
    """
    moves = [shifted(before_bs, by) for by in range(1, reach + 1)]
    moved_bs = sum(moves[1:], moves[0])
    if move_b is None:
        return before_bs + moved_bs
    return (1 - move_b)[:, None] * before_bs + (move_b / reach)[:, None] * moved_bs


def gaussians(
    shares_bk: Float[Array, "b k"],
    centres_bk: Float[Array, "b k"],
    spreads_bk: Float[Array, "b k"],
    valid_bs: Bool[Array, "b s"],
) -> Float[Array, "b s"]:
    """Weights sum_k share_k exp(-(s - centre_k)^2 / (2 spread_k^2)), scaled down where a row would sum to more than 1.

    Source: Battenberg et al. 2020, equation 8, without the limit of the sum.
    """
    positions = jnp.arange(valid_bs.shape[1], dtype=jnp.float32)
    distance_bks = (positions[None, None] - centres_bk[..., None]) / spreads_bk[..., None]
    weights_bs = jnp.sum(shares_bk[..., None] * jnp.exp(-0.5 * jnp.square(distance_bks)), axis=1)
    weights_bs = jnp.where(valid_bs, weights_bs, 0.0)
    return weights_bs / jnp.maximum(jnp.sum(weights_bs, axis=1, keepdims=True), 1.0)
