"""The condition for a CTC alignment, and the best path. The blank is token 0.

Source: Graves et al. 2006, Connectionist Temporal Classification, ICML.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops import masks
from jaxasr.shapes import Lengths, Tokens

BLANK = 0


class CtcLabels(NamedTuple):
    """The token sequences, zero after their lengths, in an array as long as the frames."""

    tokens_bu: Tokens
    token_lengths_b: Lengths


def ctc_alignable(lengths_b: Lengths, tokens_bu: Tokens, token_lengths_b: Lengths) -> Bool[Array, " b"]:
    """Returns True where the frames suffice: one for each token, and one for the blank between two equal neighbours.

    Example: "hello" needs 6 frames: h e l - l o.
    """
    inside_bu = masks.valid_from_lengths(token_lengths_b, tokens_bu.shape[1])[:, 1:]
    repeats_b = jnp.sum((tokens_bu[:, 1:] == tokens_bu[:, :-1]) & inside_bu, axis=1)
    return lengths_b >= token_lengths_b + repeats_b


def greedy_collapse(log_probs_bsv: Float[Array, "b s v"], lengths_b: Lengths) -> CtcLabels:
    """Returns the likeliest path with repeats merged and blanks removed: - h h - e l l - l o reads h e l l o.

    Source: best path decoding, Graves et al. 2006, section 3.2.
    """
    path_bs = jnp.argmax(log_probs_bsv, axis=-1)
    before_bs = jnp.pad(path_bs, ((0, 0), (1, 0)))[:, :-1]  # a blank before the first frame merges with nothing
    valid_bs = masks.valid_from_lengths(lengths_b, path_bs.shape[1])
    kept_bs = valid_bs & (path_bs != BLANK) & (path_bs != before_bs)
    return CtcLabels(_compacted(path_bs, kept_bs), kept_bs.sum(axis=1))


def _compacted(path_bs: Int[Array, "b s"], kept_bs: Bool[Array, "b s"]) -> Tokens:
    batch, positions = path_bs.shape
    to_bs = jnp.where(kept_bs, jnp.cumsum(kept_bs, axis=1) - 1, positions)
    return jnp.zeros_like(path_bs).at[jnp.arange(batch)[:, None], to_bs].set(path_bs, mode="drop")
