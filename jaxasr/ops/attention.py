"""The mathematics of attention: energies, masked normalisation, reading. No parameters."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def additive_energy(
    query_bd: Float[Array, "b d"], keys_bsd: Float[Array, "b s d"], v_d: Float[Array, " d"]
) -> Float[Array, "b s"]:
    """v . tanh(query + key): both are projected already.

    Source: Bahdanau et al. 2015, appendix A.1.2.
    """
    return jnp.tanh(query_bd[:, None] + keys_bsd) @ v_d


def masked_softmax(energy_bs: Float[Array, "b s"], valid_bs: Bool[Array, "b s"]) -> Float[Array, "b s"]:
    """Softmax over the valid positions in float32; all zero, with zero gradient, where nothing is valid."""
    energy = jnp.where(valid_bs, energy_bs.astype(jnp.float32), -jnp.inf)
    peak = jax.lax.stop_gradient(jnp.max(energy, axis=-1, keepdims=True, initial=-1e30))
    exp = jnp.where(valid_bs, jnp.exp(jnp.where(valid_bs, energy - peak, 0.0)), 0.0)
    return exp / jnp.maximum(jnp.sum(exp, axis=-1, keepdims=True), 1e-30)


def by_head(values_bse: Float[Array, "b s e"], heads: int) -> Float[Array, "x s d"]:
    """The values as each head reads them: x = b * heads rows of d = e / heads columns."""
    b, s, e = values_bse.shape
    return values_bse.reshape(b, s, heads, e // heads).swapaxes(1, 2).reshape(b * heads, s, e // heads)


def read(weights_bhs: Float[Array, "b h s"], values_bse: Float[Array, "b s e"]) -> Float[Array, "b e"]:
    """The mean of the values under the weights; each of the heads reads its own e / h columns."""
    b, heads, s = weights_bhs.shape
    weights_xs = weights_bhs.reshape(b * heads, s).astype(values_bse.dtype)
    return jnp.einsum("xs,xsd->xd", weights_xs, by_head(values_bse, heads)).reshape(b, -1)


def location_features(weights_bs: Float[Array, "b s"], filters_kc: Float[Array, "k c"]) -> Float[Array, "b s c"]:
    """A convolution of the previous weights, centred, k odd: f_s = sum_j F_j w_(s + j - k // 2).

    Written as one product with the matrix of shifted copies: a few hundred positions by a few hundred taps, where a
    convolution of one channel would leave a matrix unit idle.

    Source: Chorowski et al. 2015, equation 8.
    """
    taps = filters_kc.shape[0]
    padded = jnp.pad(weights_bs, ((0, 0), (taps // 2, taps // 2)))
    index_sk = jnp.arange(weights_bs.shape[1])[:, None] + jnp.arange(taps)[None, :]
    return jnp.take(padded, index_sk, axis=1) @ filters_kc.astype(weights_bs.dtype)
