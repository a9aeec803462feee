"""Monotonic attention: stops as an expectation over all paths and as one path, chunks behind the stops, the quantity loss.

Every sum here is of numbers that are not negative, under factors of at most one. There is no division and no difference, so
float32 is enough for any length and any probabilities.

Source: Raffel et al. 2017 (1704.00784); Chiu and Raffel 2018 (1712.05382); Arivazhagan et al. 2019 (1906.05218).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops.attention.energies import masked_softmax
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.ops.products import widened

_NOTHING = -1e30  # an energy that weighs nothing


class StopPosition(NamedTuple):
    """The position of a stop. Without a stop it is the position of the start."""

    position_b: Int[Array, " b"]
    found_b: Bool[Array, " b"]


def expected_alignment(
    energy_bs: Float[Array, "b s"], before_bs: Float[Array, "b s"], valid_bs: Bool[Array, "b s"]
) -> Float[Array, "b s"]:
    """Returns the probability of stopping at each position, in float32 at least.

    Reading goes on from the previous stop, which was at k with probability `before_bs[:, k]`, and stops at each position it
    comes to with probability sigmoid(energy). What is left over has stopped nowhere: a row sums to at most that of `before`.

    Source: Raffel et al. 2017, equations 10 to 12, there by divisions with cumulative products that run out of range.
    """
    energy = widened(energy_bs)
    stop_bs = jnp.where(valid_bs, jax.nn.sigmoid(energy), 0.0)
    go_bs = jnp.where(valid_bs, jax.nn.sigmoid(-energy), 1.0)
    return stop_bs * linear_recurrence(shifted(go_bs, 1), widened(before_bs))


def hard_stop(energy_bs: Float[Array, "b s"], start_b: Int[Array, " b"], valid_bs: Bool[Array, "b s"]) -> StopPosition:
    """Returns the first position from `start_b` on whose probability of stopping is more than a half.

    Source: Raffel et al. 2017, algorithm 1.
    """
    positions = jnp.arange(energy_bs.shape[1])[None]
    stops_bs = valid_bs & (energy_bs > 0) & (positions >= start_b[:, None])
    found_b = jnp.any(stops_bs, axis=1)
    first_b = jnp.argmax(stops_bs, axis=1) if energy_bs.shape[1] else start_b
    return StopPosition(jnp.where(found_b, first_b, start_b).astype(start_b.dtype), found_b)


def expected_chunk(
    stops_bs: Float[Array, "b s"], energy_bs: Float[Array, "b s"], valid_bs: Bool[Array, "b s"], *, width: int
) -> Float[Array, "b s"]:
    """Returns the expected weights where each stop is replaced by a softmax over it and the positions before it.

    Args:
        stops_bs: probability of stopping, zero at padding.
        width: positions of a chunk, the stop's own included; 0: all of them.

    Source: Chiu and Raffel 2018, equations 19 to 21, there by a division of moving sums; without a limit: Arivazhagan et al.
    2019, equation 7.
    """
    energy = jnp.where(valid_bs, widened(energy_bs), _NOTHING)
    if width == 0:
        total_bs = jax.lax.cumlogsumexp(energy, axis=1)
        fall_bs = jnp.exp(total_bs - jnp.concatenate([total_bs[:, 1:], total_bs[:, -1:]], axis=1))
        return jnp.exp(energy - total_bs) * linear_recurrence(fall_bs, stops_bs, reverse=True)
    back = [shifted(energy, by, fill=_NOTHING) for by in range(width)]
    total_bs = jax.nn.logsumexp(jnp.stack(back), axis=0)
    shares = [shifted(stops_bs * jnp.exp(moved - total_bs), -by) for by, moved in enumerate(back)]
    return sum(shares[1:], shares[0])


def hard_chunk(
    stop: StopPosition, energy_bs: Float[Array, "b s"], valid_bs: Bool[Array, "b s"], *, width: int
) -> Float[Array, "b s"]:
    """Returns the softmax over the stop and the positions before it, `width` together (0: all); zero without a stop."""
    behind_bs = stop.position_b[:, None] - jnp.arange(energy_bs.shape[1])[None]
    chunk_bs = (behind_bs >= 0) & (behind_bs < (width or energy_bs.shape[1]))
    return masked_softmax(energy_bs, valid_bs & chunk_bs & stop.found_b[:, None])


def shifted(x_bs: Float[Array, "b s"], by: int, fill: float = 0.0) -> Float[Array, "b s"]:
    """Returns the row moved to later positions, to earlier ones if `by` is negative."""
    s = x_bs.shape[1]
    if abs(by) >= s:
        return jnp.full_like(x_bs, fill)
    ends = (by, 0) if by >= 0 else (0, -by)
    padded = jnp.pad(x_bs, ((0, 0), ends), constant_values=fill)
    return padded[:, :s] if by >= 0 else padded[:, -s:]


def linear_recurrence(
    decay_bs: Float[Array, "b s"], x_bs: Float[Array, "b s"], *, reverse: bool = False
) -> Float[Array, "b s"]:
    """Computes y_j = decay_j y_(j-1) + x_j from left to right, or y_j = decay_j y_(j+1) + x_j from right to left.

    It takes log2(s) steps over the whole row. The backward pass is the same recurrence in the other direction and stores only
    y.
    """
    return _recurrence(reverse, decay_bs, x_bs)


def _double(reverse: bool, decay: Array, x: Array) -> Array:
    by = 1
    while by < x.shape[1]:
        step = -by if reverse else by
        x = x + decay * shifted(x, step)
        decay = decay * shifted(decay, step)
        by *= 2
    return x


_recurrence = jax.custom_vjp(_double, nondiff_argnums=(0,))


def _recurrence_forward(reverse: bool, decay: Array, x: Array):
    y = _double(reverse, decay, x)
    return y, (decay, y)


def _recurrence_backward(reverse: bool, saved: tuple[Array, Array], dy: Array):
    decay, y = saved
    step = -1 if reverse else 1
    dx = _double(not reverse, shifted(decay, -step), dy)
    return dx * shifted(y, step), dx


_recurrence.defvjp(_recurrence_forward, _recurrence_backward)


def quantity_loss(weights_buhs: Float[Array, "b u h s"], token_lengths_b: Int[Array, " b"]) -> Float[Array, " b"]:
    """Returns the absolute difference of the expected number of stops and the tokens, the end included; mean over heads.

    Args:
        weights_buhs: a row for each token and one for the end; rows behind it are not looked at.
        token_lengths_b: tokens without the end.

    Source: Inaguma et al. 2020 (2005.00712), section 3.2, equation 9.
    """
    real_bu = valid_from_lengths(token_lengths_b + 1, weights_buhs.shape[1])
    weights = jnp.where(real_bu[..., None, None], weights_buhs, 0.0)
    stops_bh = jnp.sum(weights.astype(jnp.float32), axis=(1, 3))
    return jnp.mean(jnp.abs(stops_bh - (token_lengths_b + 1.0)[:, None]), axis=1)


def expected_position(weights_buhs: Float[Array, "b u h s"], lengths_b: Int[Array, " b"]) -> Float[Array, "b u"]:
    """Returns the mean position of the weights, over heads too; what a row lacks to a sum of 1 counts at position length."""
    weights_bus = jnp.mean(widened(weights_buhs), axis=2)
    ahead_bs = jnp.arange(weights_bus.shape[-1])[None] - lengths_b[:, None]
    return lengths_b[:, None] + jnp.einsum("bus,bs->bu", weights_bus, ahead_bs.astype(weights_bus.dtype))
