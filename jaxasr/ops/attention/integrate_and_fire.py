"""Continuous integrate-and-fire: each position has a share of a token, and a token is read when they add up to one."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def fired_weights(totals_bs: Float[Array, "b s"], tokens_b: Int[Array, " b"]) -> Float[Array, "b s"]:
    """Returns the weights of the positions for one token of each utterance.

    The weight is the part of a position's share that lies between the sums `tokens_b` and `tokens_b` + 1. A position at which
    a token is complete gives the rest of its share to the next token. The weights sum to 1, or to less behind the last
    complete token.

    Args:
        totals_bs: sums of the shares up to and including each position.
        tokens_b: the token, counted from 0.

    Source: Dong and Xu 2020 (1905.11235), section 3.1, figure 1, in closed form.
    """
    before_bs = jnp.pad(totals_bs[:, :-1], ((0, 0), (1, 0)))
    first_b1 = tokens_b[:, None].astype(totals_bs.dtype)
    return jnp.maximum(jnp.minimum(totals_bs, first_b1 + 1.0) - jnp.maximum(before_bs, first_b1), 0.0)


def count_loss(counts_bh: Float[Array, "b h"], token_lengths_b: Int[Array, " b"]) -> Float[Array, " b"]:
    """Returns the absolute difference of the summed shares and the tokens, the end included; mean over heads.

    Source: Dong and Xu 2020, section 3.2, the quantity loss; there without an end.
    """
    return jnp.mean(jnp.abs(counts_bh - (token_lengths_b + 1.0)[:, None]), axis=1)
