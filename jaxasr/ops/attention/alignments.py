"""Measures of attention weights without labels: sharpness, order and completeness of an alignment.

Rows are steps of the decoder, columns positions of the encoder. A step attends if its weights sum to more than
`LEAST_MASS`. A step that does not attend (a monotonic attention without a stop) keeps the position of the step before and is
left out of all means. The peak of a step is its position of most weight, the front the furthest peak so far.

Sources: the diagonal is that of guided attention, Tachibana et al. 2017 (1710.08969), equation 8; the lag is average
lagging, Ma et al. 2019 (1810.08398), equation 8, in encoder positions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops.masks import valid_from_lengths
from jaxasr.shapes import Lengths

LEAST_MASS = 1e-2
DIAGONAL = 0.2  # deviation of the band around the diagonal, as a share of the utterance: g of Tachibana et al.
DIFFUSE = 0.9  # share of the largest possible entropy, above which a head looks nowhere
LEAST_STEPS = 4  # and positions, below which nothing is called collapsed


class Alignments(NamedTuple):
    """One number a head and utterance: 0 where there is no step or no position."""

    entropy_bh: Float[Array, "b h"]  # nats, mean over steps
    diffuse_bh: Float[Array, "b h"]  # the same as a share of log(positions): 0 one position, 1 all alike
    back_bh: Float[Array, "b h"]  # share of steps whose peak lies before that of the step before
    behind_bh: Float[Array, "b h"]  # share of steps whose peak lies behind the front: what is read again, loops
    skip_bh: Float[Array, "b h"]  # the largest move forward between two steps, as a share of the utterance
    coverage_bh: Float[Array, "b h"]  # share of the weight that lies as if spread evenly over the utterance
    again_bh: Float[Array, "b h"]  # share of the weight by which positions have had more than 1
    diagonal_bh: Float[Array, "b h"]  # weight near the diagonal: 1 all of it
    lag_bh: Float[Array, "b h"]  # positions that the front is ahead of an even pace: the wait of a hard attention
    collapsed_bh: Bool[Array, "b h"]  # diffuse above DIFFUSE, or every step on the same position; LEAST_STEPS of both


def alignments(weights_buhs: Float[Array, "b u h s"], steps_b: Lengths, hidden_lengths_b: Lengths) -> Alignments:
    """Measures the alignment of every head.

    Args:
        weights_buhs: what lies beyond the lengths is not read.
        steps_b: of the decoder, the end included where it has weights.
    """
    valid_bu = valid_from_lengths(steps_b, weights_buhs.shape[1])
    valid_bs = valid_from_lengths(hidden_lengths_b, weights_buhs.shape[3])
    weights_buhs = jnp.where(
        valid_bu[:, :, None, None] & valid_bs[:, None, None, :], weights_buhs.astype(jnp.float32), 0.0
    )
    mass_buh = jnp.sum(weights_buhs, axis=-1)
    attends_buh = mass_buh > LEAST_MASS
    share_buhs = weights_buhs / jnp.maximum(mass_buh, LEAST_MASS)[..., None]
    positions_b1 = hidden_lengths_b[:, None].astype(jnp.float32)

    entropy_bh = _mean(-jnp.sum(xlogy(share_buhs, share_buhs), axis=-1), attends_buh)
    diffuse_bh = entropy_bh / jnp.log(jnp.maximum(positions_b1, 2.0))
    near_bus = _diagonal(steps_b, hidden_lengths_b, valid_bu.shape[1], valid_bs.shape[1])
    peak_buh = _held(jnp.argmax(weights_buhs, axis=-1), attends_buh)
    front_buh = jax.lax.cummax(peak_buh, axis=1)
    moved_buh = jnp.diff(peak_buh, axis=1)
    moves_buh = attends_buh[:, 1:] & (jnp.cumsum(attends_buh, axis=1)[:, :-1] > 0)
    enough_b1 = (jnp.minimum(steps_b, hidden_lengths_b) >= LEAST_STEPS)[:, None]
    stuck_bh = (jnp.sum(attends_buh, axis=1) >= LEAST_STEPS) & ~jnp.any(moves_buh & (moved_buh != 0), axis=1)
    return Alignments(
        entropy_bh=entropy_bh,
        diffuse_bh=diffuse_bh,
        back_bh=_mean((moved_buh < 0).astype(jnp.float32), moves_buh),
        behind_bh=_mean((peak_buh < front_buh).astype(jnp.float32), attends_buh),
        skip_bh=jnp.max(jnp.where(moves_buh, moved_buh, 0), axis=1, initial=0) / jnp.maximum(positions_b1, 1.0),
        coverage_bh=_coverage(weights_buhs, hidden_lengths_b),
        again_bh=_again(weights_buhs),
        diagonal_bh=_mean(jnp.einsum("buhs,bus->buh", share_buhs, near_bus), attends_buh),
        lag_bh=_lag(front_buh, steps_b, hidden_lengths_b),
        collapsed_bh=enough_b1 & ((diffuse_bh > DIFFUSE) | stuck_bh),
    )


def _mean(values_buh: Float[Array, "b u h"], counts_buh: Bool[Array, "b u h"]) -> Float[Array, "b h"]:
    """Returns the mean over the steps that count; 0 if none does."""
    total_bh = jnp.sum(jnp.where(counts_buh, values_buh, 0.0), axis=1)
    return total_bh / jnp.maximum(jnp.sum(counts_buh, axis=1), 1)


def _held(peak_buh: Int[Array, "b u h"], attends_buh: Bool[Array, "b u h"]) -> Int[Array, "b u h"]:
    """Returns the peak of the last step that attended; 0 before the first one."""
    steps_u = jnp.arange(peak_buh.shape[1])[None, :, None]
    last_buh = jax.lax.cummax(jnp.where(attends_buh, steps_u, -1), axis=1)
    return jnp.where(last_buh < 0, 0, jnp.take_along_axis(peak_buh, jnp.maximum(last_buh, 0), axis=1))


def _diagonal(steps_b: Lengths, hidden_lengths_b: Lengths, steps: int, positions: int) -> Float[Array, "b u s"]:
    """Returns exp(-d^2 / 2 g^2), with d the distance between the middles of a step and a position, as utterance fractions."""
    rows_bu = (jnp.arange(steps) + 0.5)[None, :] / jnp.maximum(steps_b, 1)[:, None]
    columns_bs = (jnp.arange(positions) + 0.5)[None, :] / jnp.maximum(hidden_lengths_b, 1)[:, None]
    return jnp.exp(-0.5 * ((rows_bu[:, :, None] - columns_bs[:, None, :]) / DIAGONAL) ** 2)


def _coverage(weights_buhs: Float[Array, "b u h s"], hidden_lengths_b: Lengths) -> Float[Array, "b h"]:
    """Returns the overlap of where the weight lies with an even spread: 1 evenly, 1 / positions all on one."""
    had_bhs = jnp.sum(weights_buhs, axis=1)
    total_bh = jnp.sum(had_bhs, axis=-1)
    even_bh = total_bh / jnp.maximum(hidden_lengths_b, 1)[:, None]
    return jnp.sum(jnp.minimum(had_bhs, even_bh[..., None]), axis=-1) / jnp.maximum(total_bh, LEAST_MASS)


def _again(weights_buhs: Float[Array, "b u h s"]) -> Float[Array, "b h"]:
    had_bhs = jnp.sum(weights_buhs, axis=1)
    more_bh = jnp.sum(jnp.maximum(had_bhs - 1.0, 0.0), axis=-1)
    return more_bh / jnp.maximum(jnp.sum(had_bhs, axis=-1), LEAST_MASS)


def _lag(front_buh: Int[Array, "b u h"], steps_b: Lengths, hidden_lengths_b: Lengths) -> Float[Array, "b h"]:
    """Returns the mean number of positions read ahead of an even pace, over the steps until all positions are read."""
    length_b11 = hidden_lengths_b[:, None, None]
    valid_bu1 = valid_from_lengths(steps_b, front_buh.shape[1])[..., None]
    read_buh = jnp.where(length_b11 > 0, front_buh + 1, 0)
    pace_b1 = hidden_lengths_b[:, None] / jnp.maximum(steps_b, 1)[:, None]
    even_bu1 = (jnp.arange(front_buh.shape[1])[None, :] * pace_b1)[..., None]
    done_buh = jnp.pad(read_buh >= length_b11, ((0, 0), (1, 0), (0, 0)))[:, :-1]  # all was read a step before
    return _mean(read_buh - even_bu1, valid_bu1 & ~done_buh)
