"""Forced alignment: the likeliest CTC path that spells given tokens, and with it where in time each token stands.

The path walks through the states of Graves' extended transcript, blank t1 blank t2 ... blank: at every frame it stays, goes
one state on, or leaves a blank out between two different tokens. What is kept of the search is one byte a frame and state,
how far the best way into it came.

Source: Graves et al. 2006, Connectionist Temporal Classification, section 4.1, with the maximum in place of the sum;
Kürzinger et al. 2020, CTC-Segmentation (2007.09127), section 2, for the use.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int8

from jaxasr.ops import masks
from jaxasr.ops.ctc import BLANK
from jaxasr.shapes import Lengths, Tokens


class CtcAlignment(NamedTuple):
    """The positions of the tokens on the best path. Zero at padding, and in all of an example without an alignment."""

    first_bu: Int[Array, "b u"]  # the first frame in which the path is in the token
    last_bu: Int[Array, "b u"]  # and the last; tokens don't overlap, and last >= first
    token_log_probs_bu: Float[Array, "b u"]  # mean over those frames
    log_probs_b: Float[Array, " b"]  # of the whole path, blanks included; -inf: not possible
    possible_b: Bool[Array, " b"]  # False: more tokens (and blanks between equal ones) than frames, or probability 0


def ctc_alignment(
    log_probs_bsv: Float[Array, "b s v"], lengths_b: Lengths, tokens_bu: Tokens, token_lengths_b: Lengths
) -> CtcAlignment:
    """Returns the likeliest of all paths that spell the tokens. What lies behind a length is not read, and may be anything.

    Of equally likely paths it is the one that is furthest on at every frame (there is always one), so that ties are
    resolved the same in every batch and on every device.

    Args:
        log_probs_bsv: log softmax of the CTC head; blank is token 0.
        lengths_b: frames.
        tokens_bu: without blanks.
    """
    extended_bm = _extended(tokens_bu)
    end_b = 2 * token_lengths_b  # the blank behind the last token
    scores_bm, moves_sbm = _forward(log_probs_bsv, lengths_b, extended_bm)
    log_probs_b, last_state_b = _ending(scores_bm, end_b)
    possible_b = log_probs_b > -jnp.inf
    states_bs = _backward(moves_sbm, last_state_b)
    valid_bs = masks.valid_from_lengths(lengths_b, states_bs.shape[1]) & possible_b[:, None]
    return _read(log_probs_bsv, extended_bm, states_bs, valid_bs, log_probs_b, tokens=tokens_bu.shape[1])


def _extended(tokens_bu: Tokens) -> Int[Array, "b m"]:
    """Returns the labels with blanks, "blank t1 blank t2 ... blank", m = 2 u + 1."""
    b, u = tokens_bu.shape
    pairs_bu2 = jnp.stack([jnp.full_like(tokens_bu, BLANK), tokens_bu], axis=-1)
    return jnp.concatenate([pairs_bu2.reshape(b, 2 * u), jnp.full((b, 1), BLANK, tokens_bu.dtype)], axis=1)


def _forward(
    log_probs_bsv: Float[Array, "b s v"], lengths_b: Lengths, extended_bm: Int[Array, "b m"]
) -> tuple[Float[Array, "b m"], Int8[Array, "s b m"]]:
    """Returns the best log probability of a path to each state, and the number of states that each step advances."""
    before_bm = jnp.pad(extended_bm, ((0, 0), (2, 0)), constant_values=BLANK)[:, :-2]
    leaves_blank_out_bm = (
        (extended_bm != BLANK) & (extended_bm != before_bm) & (jnp.arange(before_bm.shape[1]) >= 2)[None]
    )
    start_bm = jnp.full(extended_bm.shape, -jnp.inf).at[:, 0].set(0.0)  # in the first blank, before the first frame

    def step(scores_bm: Float[Array, "b m"], frame: tuple[Array, Array]):
        log_probs_bv, real_b = frame
        one_bm = jnp.pad(scores_bm, ((0, 0), (1, 0)), constant_values=-jnp.inf)[:, :-1]
        two_bm = jnp.pad(scores_bm, ((0, 0), (2, 0)), constant_values=-jnp.inf)[:, :-2]
        ways_3bm = jnp.stack([scores_bm, one_bm, jnp.where(leaves_blank_out_bm, two_bm, -jnp.inf)])
        moves_bm = jnp.where(real_b[:, None], jnp.argmax(ways_3bm, axis=0), 0).astype(jnp.int8)
        emitted_bm = jnp.take_along_axis(log_probs_bv.astype(jnp.float32), extended_bm, axis=1)
        scores_bm = jnp.where(real_b[:, None], jnp.max(ways_3bm, axis=0) + emitted_bm, scores_bm)
        return scores_bm, moves_bm

    real_sb = masks.valid_from_lengths(lengths_b, log_probs_bsv.shape[1]).T
    return jax.lax.scan(step, start_bm, (jnp.moveaxis(log_probs_bsv, 1, 0), real_sb))


def _ending(scores_bm: Float[Array, "b m"], end_b: Int[Array, " b"]) -> tuple[Float[Array, " b"], Int[Array, " b"]]:
    """Returns the better of the last blank and, where there is one, the last token."""
    blank_b = jnp.take_along_axis(scores_bm, end_b[:, None], axis=1)[:, 0]
    token_b = jnp.take_along_axis(scores_bm, jnp.maximum(end_b - 1, 0)[:, None], axis=1)[:, 0]
    token_b = jnp.where(end_b > 0, token_b, -jnp.inf)
    return jnp.maximum(blank_b, token_b), jnp.where(blank_b >= token_b, end_b, end_b - 1)


def _backward(moves_sbm: Int8[Array, "s b m"], last_state_b: Int[Array, " b"]) -> Int[Array, "b s"]:
    """Returns the state at each frame, read back from the last one."""

    def step(state_b: Int[Array, " b"], moves_bm: Int8[Array, "b m"]):
        moved_b = jnp.take_along_axis(moves_bm, state_b[:, None], axis=1)[:, 0]
        return state_b - moved_b.astype(state_b.dtype), state_b

    _, states_sb = jax.lax.scan(step, last_state_b, moves_sbm, reverse=True)
    return states_sb.T


def _read(
    log_probs_bsv: Float[Array, "b s v"],
    extended_bm: Int[Array, "b m"],
    states_bs: Int[Array, "b s"],
    valid_bs: Bool[Array, "b s"],
    log_probs_b: Float[Array, " b"],
    *,
    tokens: int,
) -> CtcAlignment:
    """Frames and log probabilities gathered by the token that the path is in."""
    b, s = states_bs.shape
    rows_b1 = jnp.arange(b)[:, None]
    frames_1s = jnp.arange(s)[None, :]
    in_token_bs = valid_bs & (states_bs % 2 == 1)
    token_bs = jnp.where(in_token_bs, states_bs // 2, tokens)  # out of range: dropped
    path_bs = jnp.take_along_axis(extended_bm, states_bs, axis=1)
    emitted_bs = jnp.take_along_axis(log_probs_bsv.astype(jnp.float32), path_bs[:, :, None], axis=2)[:, :, 0]
    frames_bs = jnp.broadcast_to(frames_1s, (b, s))

    first_bu = jnp.full((b, tokens), s).at[rows_b1, token_bs].min(frames_bs, mode="drop")
    last_bu = jnp.zeros((b, tokens), frames_bs.dtype).at[rows_b1, token_bs].max(frames_bs, mode="drop")
    sums_bu = jnp.zeros((b, tokens)).at[rows_b1, token_bs].add(jnp.where(in_token_bs, emitted_bs, 0.0), mode="drop")
    there_bu = first_bu < s
    first_bu = jnp.where(there_bu, first_bu, 0)
    token_log_probs_bu = jnp.where(there_bu, sums_bu / (last_bu - first_bu + 1), 0.0)
    return CtcAlignment(first_bu, last_bu, token_log_probs_bu, log_probs_b, log_probs_b > -jnp.inf)
