"""Losses of single tokens and examples, in float32. Means are made by whoever knows the global count."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Float32

from jaxasr.ops import ctc, masks
from jaxasr.shapes import Lengths, Logits, Tokens


class CrossEntropy(NamedTuple):
    """The loss and correctness of each token; zero and False at padding."""

    loss_bu: Float32[Array, "b u"]
    correct_bu: Bool[Array, "b u"]  # the logits gave the target the highest place


class Ctc(NamedTuple):
    """The loss of each example, zero with zero gradient where `aligned_b` is False: too short for its tokens."""

    loss_b: Float32[Array, " b"]
    aligned_b: Bool[Array, " b"]


def label_smoothed_cross_entropy(
    logits_buv: Logits,
    targets_bu: Tokens,
    valid_bu: Bool[Array, "b u"],
    *,
    smoothing: float,
    prior_v: Float[Array, " v"] | None = None,
) -> CrossEntropy:
    """Returns - [(1 - smoothing) log p(target_u) + smoothing * sum_v prior_v log p(v)] for each valid u.

    Args:
        smoothing: In [0, 1]: the share of probability that is spread over all v tokens, the target included.
        prior_v: how it is spread; sums to one. None: evenly.

    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7; by frequency: Pereyra et al. 2017 (1701.06548), 3.2.
    """
    logits_buv = masks.zero_padding(logits_buv, valid_bu).astype(jnp.float32)
    target_bu = jnp.take_along_axis(logits_buv, targets_bu[..., None], axis=-1)[..., 0]
    if prior_v is None:
        spread_bu = jnp.mean(logits_buv, axis=-1)
    else:
        spread_bu = jnp.matmul(logits_buv, prior_v, precision=jax.lax.Precision.HIGHEST)
    expected_bu = (1 - smoothing) * target_bu + smoothing * spread_bu
    loss_bu = jax.nn.logsumexp(logits_buv, axis=-1) - expected_bu
    correct_bu = (jnp.argmax(logits_buv, axis=-1) == targets_bu) & valid_bu
    return CrossEntropy(jnp.where(valid_bu, loss_bu, 0), correct_bu)


def ctc_loss(logits_bsv: Float[Array, "b s v"], lengths_b: Lengths, tokens_bu: Tokens, token_lengths_b: Lengths) -> Ctc:
    """Returns - log p(tokens | frames), summed over all alignments; token 0 is the blank.

    An utterance with too few frames has probability zero. It is left out, since its loss would be infinite: where it
    stood, frames and tokens are taken as empty, so that neither its value nor its gradient can be anything but zero.

    Source: Graves et al. 2006, section 4.1.
    """
    aligned_b = ctc.ctc_alignable(lengths_b, tokens_bu, token_lengths_b)
    valid_bs = masks.valid_from_lengths(jnp.where(aligned_b, lengths_b, 0), logits_bsv.shape[1])
    valid_bu = masks.valid_from_lengths(jnp.where(aligned_b, token_lengths_b, 0), tokens_bu.shape[1])
    loss_b = optax.ctc_loss(
        masks.zero_padding(logits_bsv, valid_bs).astype(jnp.float32),
        (~valid_bs).astype(jnp.float32),
        jnp.where(valid_bu, tokens_bu, ctc.BLANK),
        (~valid_bu).astype(jnp.float32),
        blank_id=ctc.BLANK,
    )
    return Ctc(jnp.where(aligned_b, loss_b, 0), aligned_b)
