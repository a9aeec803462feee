"""The mathematics of attention: energies, masked normalisation, reading. No parameters."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxasr.ops.products import plus, wide_einsum


def additive_energy(
    query_bd: Float[Array, "b d"], keys_bsd: Float[Array, "b s d"], v_d: Float[Array, " d"]
) -> Float[Array, "b s"]:
    """Returns v . tanh(query + key) of projected queries and keys, in float32 at least.

    Source: Bahdanau et al. 2015, appendix A.1.2.
    """
    return wide_einsum("bsd,d->bs", jnp.tanh(plus(keys_bsd, query_bd[:, None])), v_d)


def masked_softmax(energy_bs: Float[Array, "b s"], valid_bs: Bool[Array, "b s"]) -> Float[Array, "b s"]:
    """Returns softmax over the valid positions in float32; all zero, with zero gradient, where nothing is valid."""
    energy = jnp.where(valid_bs, energy_bs.astype(jnp.float32), -jnp.inf)
    peak = jax.lax.stop_gradient(jnp.max(energy, axis=-1, keepdims=True, initial=-1e30))
    exp = jnp.where(valid_bs, jnp.exp(jnp.where(valid_bs, energy - peak, 0.0)), 0.0)
    return exp / jnp.maximum(jnp.sum(exp, axis=-1, keepdims=True), 1e-30)


def among_top(energy_bs: Float[Array, "b s"], valid_bs: Bool[Array, "b s"], *, top: int) -> Bool[Array, "b s"]:
    """Returns True at the `top` valid positions of the highest energy, and at those that are equal to the last of them.

    Source: Chorowski et al. 2015, section 2.2.
    """
    if top >= energy_bs.shape[1]:
        return valid_bs
    energy = jax.lax.stop_gradient(jnp.where(valid_bs, energy_bs.astype(jnp.float32), -jnp.inf))
    least_b1 = jax.lax.top_k(energy, top)[0][:, -1:]
    return valid_bs & (energy >= least_b1)


def by_head(values_bse: Float[Array, "b s e"], heads: int) -> Float[Array, "x s d"]:
    """Returns the values as each head reads them: x = b * heads rows of d = e / heads columns."""
    b, s, e = values_bse.shape
    return values_bse.reshape(b, s, heads, e // heads).swapaxes(1, 2).reshape(b * heads, s, e // heads)


def read(weights_bhs: Float[Array, "b h s"], values_bse: Float[Array, "b s e"]) -> Float[Array, "b e"]:
    """Returns the mean of the values under the weights; each of the heads reads its own e / h columns."""
    b, heads, s = weights_bhs.shape
    weights_xs = weights_bhs.reshape(b * heads, s).astype(values_bse.dtype)
    return jnp.einsum("xs,xsd->xd", weights_xs, by_head(values_bse, heads)).reshape(b, -1)


def location_features(weights_bs: Float[Array, "b s"], filters_kc: Float[Array, "k c"]) -> Float[Array, "b s c"]:
    """Returns a convolution of the previous weights, centred, k odd: f_s = sum_j F_j w_(s + j - k // 2).

    Written as one product with the matrix of shifted copies: a few hundred positions by a few hundred taps, where a
    convolution of one channel would leave a matrix unit idle.

    Source: Chorowski et al. 2015, equation 8.
    """
    taps = filters_kc.shape[0]
    padded = jnp.pad(weights_bs, ((0, 0), (taps // 2, taps // 2)))
    index_sk = jnp.arange(weights_bs.shape[1])[:, None] + jnp.arange(taps)[None, :]
    return jnp.take(padded, index_sk, axis=1).astype(filters_kc.dtype) @ filters_kc


def attention_weights(
    scores_bhqk: Float[Array, "b h q k"],
    visible_bqk: Bool[Array, "#b #q k"],
    dtype: jnp.dtype = jnp.dtype(jnp.float32),
) -> Float[Array, "b h q k"]:
    """Returns softmax over the visible keys of each query, in float32; all zero, with zero gradient, where none is visible.

    Scores where nothing is visible may be anything, NaN too.

    Args:
        dtype: of the weights that come out. The backward pass keeps them alone.
    """
    return _weights(dtype, scores_bhqk.astype(jnp.float32), visible_bqk[:, None])


def read_all(weights_bhqk: Float[Array, "b h q k"], values_bkhe: Float[Array, "b k h e"]) -> Float[Array, "b q m"]:
    """Returns the mean of the values under the weights of each query, the heads side by side: m = h * e."""
    read_bqhe = jnp.einsum("bhqk,bkhe->bqhe", weights_bhqk.astype(values_bkhe.dtype), values_bkhe)
    return read_bqhe.reshape(*read_bqhe.shape[:2], -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weights(dtype: jnp.dtype, scores: Array, visible: Array) -> Array:
    scores = jnp.where(visible, scores, -jnp.inf)
    peak = jnp.max(scores, axis=-1, keepdims=True, initial=-1e30)
    exp = jnp.exp(scores - peak)
    return (exp / jnp.maximum(jnp.sum(exp, axis=-1, keepdims=True), 1e-30)).astype(dtype)


def _weights_forward(dtype: jnp.dtype, scores: Array, visible: Array):
    weights = _weights(dtype, scores, visible)
    return weights, weights


def _weights_backward(dtype: jnp.dtype, weights: Array, d_weights: Array):
    del dtype
    weights = weights.astype(jnp.float32)
    d_weights = d_weights * weights
    return d_weights - weights * jnp.sum(d_weights, axis=-1, keepdims=True), None


_weights.defvjp(_weights_forward, _weights_backward)
