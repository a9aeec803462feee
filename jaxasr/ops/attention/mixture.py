"""Mixtures of output distributions over several positions, for latent attention. No parameters."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

NEVER = -1e30  # the log probability of what is left out; finite, so that its gradient is zero and not NaN


def masked_log_softmax(energy_bs: Float[Array, "b s"], valid_bs: Bool[Array, "b s"]) -> Float[Array, "b s"]:
    """Returns log-softmax over the valid positions in float32; zero, with zero gradient, at all others."""
    energy_bs = jnp.where(valid_bs, energy_bs.astype(jnp.float32), NEVER)
    peak_b1 = jax.lax.stop_gradient(jnp.max(energy_bs, axis=-1, keepdims=True, initial=NEVER))
    exp_bs = jnp.where(valid_bs, jnp.exp(jnp.where(valid_bs, energy_bs - peak_b1, 0.0)), 0.0)
    total_b1 = jnp.sum(exp_bs, axis=-1, keepdims=True)
    return jnp.where(valid_bs, energy_bs - peak_b1 - jnp.log(jnp.maximum(total_b1, 1e-30)), 0.0)


def mixed_log_probs(
    logits_wv: Float[Array, "*batch w v"],
    log_probs_w: Float[Array, "*batch w"],
    valid_w: Bool[Array, "*batch w"],
    *,
    mixing: Literal["sum", "max"],
) -> Float[Array, "*batch v"]:
    """Returns log sum_w a_w softmax(logits_w) in float32; "max": the largest term instead of the sum, renormalised over v.

    Args:
        log_probs_w: log a_w. Where nothing is valid the first component stands alone.

    Source: Shankar et al. 2018, equation 5.
    """
    first_w = jnp.arange(valid_w.shape[-1]) == 0
    used_w = valid_w | jnp.broadcast_to(first_w, valid_w.shape)
    terms_wv = jax.nn.log_softmax(logits_wv.astype(jnp.float32)) + jnp.where(used_w, log_probs_w, NEVER)[..., None]
    if mixing == "sum":
        return jax.nn.logsumexp(terms_wv, axis=-2)
    return jax.nn.log_softmax(jnp.max(terms_wv, axis=-2))
