"""The parts of Transformer and Conformer layers, and the function that runs a stack of layers."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.nn.layer_rng import LayerRng, rng_id
from jaxasr.nn.layers import Dense
from jaxasr.ops.attention.blockwise import ByDistance, blockwise_attention
from jaxasr.ops.attention.energies import attention_weights, read_all
from jaxasr.ops.attention.positions import distances, rotary, shift_relative, sinusoid
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.ops.products import plus, times, wide_einsum
from jaxasr.parameters import STACK
from jaxasr.shapes import Lengths
from jaxasr.tree import check_numbers

Positions = Literal["none", "rotary", "relative"]
Layers = Literal["unroll", "scan"]
Remat = Literal["none", "blocks", "dots"]
Activation = Literal["relu", "swish", "gelu"]

ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "swish": jax.nn.swish,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),  # x Phi(x), Hendrycks and Gimpel 2016 (1606.08415)
}
NORM_EPSILON = 1e-6  # added to the variance in a layer normalisation

_KEPT: dict[Remat, Any] = {
    "blocks": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


@dataclass(frozen=True)
class Chunks:
    """A chunked attention context: a position sees its whole chunk and earlier chunks, no later one. `Chunks(1)`: causal."""

    size: int  # encoder positions
    before: int | None = None  # earlier chunks that are seen; None: all

    def __post_init__(self):
        check_numbers(self)
        if self.size < 1 or (self.before is not None and self.before < 0):
            raise ValueError(f"{self}: a chunk has at least 1 position, and sees at least 0 chunks before it")

    def visible(self, positions: int) -> Bool[Array, "q q"]:
        """Returns a mask that is True where position q sees position k."""
        return self.sees(jnp.arange(positions), jnp.arange(positions))

    def sees(self, at_q: Int[Array, " q"], at_k: Int[Array, " k"]) -> Bool[Array, "q k"]:
        """Returns True where the position `at_q` sees the position `at_k`."""
        back_qk = at_q[:, None] // self.size - at_k[None, :] // self.size
        return back_qk >= 0 if self.before is None else (back_qk >= 0) & (back_qk <= self.before)


def visible(lengths_b: Lengths, positions: int, context: Chunks | None) -> Bool[Array, "b #q {positions}"]:
    """Returns a mask of the keys that each query may see: the real ones within its context."""
    valid_bqk = valid_from_lengths(lengths_b, positions)[:, None]
    return valid_bqk if context is None else valid_bqk & context.visible(positions)[None]


class FeedForward(nn.Module):
    """A feed-forward branch: layer normalisation, a wide layer, the activation, dropout, and a layer to the old width."""

    hidden: int
    activation: Activation
    dropout: float
    branch: int  # as in `residual`
    norm_epsilon: float = NORM_EPSILON

    @nn.compact
    def __call__(self, x_bsd: Float[Array, "b s d"], rng: LayerRng | None) -> Float[Array, "b s d"]:
        normed_bsd = nn.LayerNorm(self.norm_epsilon, name="norm")(x_bsd)
        wide_bsm = ACTIVATIONS[self.activation](Dense(self.hidden, name="widen")(normed_bsd))
        if rng is not None:
            wide_bsm = rng.dropout(wide_bsm, self.dropout, rng_id(self.branch, "inner dropout"))
        return Dense(x_bsd.shape[-1], name="narrow")(wide_bsm)


class SelfAttention(nn.Module):
    """A self-attention branch: layer normalisation, then scaled dot-product attention in several heads.

    With a `score_block` both passes compute the scores of so many queries at a time, and none are stored
    (ops/attention/blockwise.py). The results are those of stored scores to rounding.

    Sources: Vaswani et al. 2017, section 3.2; relative positions as in Dai et al. 2019 (1901.02860), section 3.3: a query
    is multiplied with the keys under one learned bias, and with the distances, projected sinusoids, under another.
    """

    width: int
    heads: int
    positions: Positions
    norm_epsilon: float = NORM_EPSILON
    score_block: int = 0  # queries; 0: all, and the backward pass keeps their weights
    context: Chunks | None = None  # with a score_block, whose mask has one row for all queries

    def setup(self):
        self.norm = nn.LayerNorm(self.norm_epsilon)
        self.query_key_value = Dense(3 * self.width)
        self.output = Dense(self.width)
        if self.positions == "relative":
            self.distance = Dense(self.width, use_bias=False)
            self.key_bias = self.param("key_bias", nn.initializers.zeros, (self.width,))
            self.distance_bias = self.param("distance_bias", nn.initializers.zeros, (self.width,))

    def __call__(self, x_bsd: Float[Array, "b s d"], visible_bqk: Bool[Array, "#b #q k"]) -> Float[Array, "b s d"]:
        q_bqhe, k_bkhe, v_bkhe = (self._by_head(x) for x in self._projected(x_bsd))
        if self.positions == "rotary":
            q_bqhe, k_bkhe = (rotary(x, jnp.arange(x.shape[1])) for x in (q_bqhe, k_bkhe))
        by_distance = None
        if self.positions == "relative":
            q_bqhe, by_distance = self._relative(q_bqhe)
        if self.score_block:
            sees = None if self.context is None else self.context.sees
            read_bqhe = blockwise_attention(
                q_bqhe, k_bkhe, v_bkhe, visible_bqk[:, 0], by_distance=by_distance, sees=sees, block=self.score_block
            )
            return self.output(read_bqhe.reshape(x_bsd.shape))
        scores_bhqk = wide_einsum("bqhe,bkhe->bhqk", q_bqhe, k_bkhe)
        if by_distance is not None:
            scores_bhqk += shift_relative(wide_einsum("bqhe,rhe->bhqr", *by_distance))
        return self.output(read_all(attention_weights(scores_bhqk, visible_bqk, v_bkhe.dtype), v_bkhe))

    def step(
        self,
        x_bd: Float[Array, "b d"],
        keys_bud: Float[Array, "b u d"],
        values_bud: Float[Array, "b u d"],
        at_b: Lengths,
    ) -> tuple[Float[Array, "b d"], Float[Array, "b u d"], Float[Array, "b u d"]]:
        """Returns the output at position `at_b`, which reads itself and all earlier positions, and the updated caches."""
        q_bqd, *new = self._projected(x_bd[:, None])
        here_bu = jnp.arange(keys_bud.shape[1])[None] == at_b[:, None]
        keys_bud, values_bud = (
            jnp.where(here_bu[..., None], new_b1d, cache_bud)
            for new_b1d, cache_bud in zip(new, (keys_bud, values_bud), strict=True)
        )
        scores_bhqk = wide_einsum("bqhe,bkhe->bhqk", self._by_head(q_bqd), self._by_head(keys_bud))
        weights_bhqk = attention_weights(scores_bhqk, valid_from_lengths(at_b + 1, keys_bud.shape[1])[:, None])
        return self.output(read_all(weights_bhqk, self._by_head(values_bud))[:, 0]), keys_bud, values_bud

    def _projected(self, x_bsd: Array) -> tuple[Array, Array, Array]:
        """Returns scaled queries, keys and values."""
        q_bsd, k_bsd, v_bsd = jnp.split(self.query_key_value(self.norm(x_bsd)), 3, axis=-1)
        return times(q_bsd, (self.width // self.heads) ** -0.5), k_bsd, v_bsd

    def _by_head(self, x: Array) -> Float[Array, "... h e"]:
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def _relative(self, q_bqhe: Array) -> tuple[Array, ByDistance]:
        """Returns the queries of the keys, and those of the distances with the projected distances."""
        scale = q_bqhe.shape[-1] ** -0.5
        by_key, by_distance = (
            self._by_head(times(bias_d, scale).astype(q_bqhe.dtype))[None, None]
            for bias_d in (self.key_bias, self.distance_bias)
        )
        table_rd = sinusoid(distances(q_bqhe.shape[1]), self.width).astype(q_bqhe.dtype)
        rows_rhe = self._by_head(self.distance(table_rd))
        return plus(q_bqhe, by_key), ByDistance(plus(q_bqhe, by_distance), rows_rhe)


def run_layers(
    block: type[nn.Module],
    fields: dict[str, Any],
    x_bsd: Float[Array, "b s d"],
    constants: tuple[Any, ...],
    rng: LayerRng | None,
    *,
    depth: int,
    layers: Layers,
    remat: Remat,
) -> Float[Array, "b s d"]:
    """Returns the output of `depth` blocks, `block(**fields)(x, constants, rng) -> (x, None)`, inside a compact module.

    Args:
        rng: with a leading axis of layers.
        layers: "unroll" builds `block_0`, `block_1` ...; "scan" builds one `blocks` whose parameters have a leading axis of
            layers, and compiles one layer instead of all.
        remat: the part that the backward pass recomputes. "none": nothing. "blocks": everything but the inputs of the
            blocks, for a third more arithmetic. "dots": everything but products with weights, that is the [b, h, q, k] of
            attention and all elementwise operations, for hardly more arithmetic.

    Source: Chen et al. 2016, 1604.06174; Korthikanti et al. 2022, 2205.05198, call "dots" selective.
    """
    made = block if remat == "none" else nn.remat(block, prevent_cse=layers == "unroll", policy=_KEPT[remat])
    if layers == "scan":
        in_axes: Any = (nn.broadcast, 0)
        scanned = nn.scan(made, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=in_axes, length=depth)
        return scanned(**fields, name=STACK)(x_bsd, constants, rng)[0]
    for layer in range(depth):
        layer_rng = jax.tree.map(lambda leaf, layer=layer: leaf[layer], rng)
        x_bsd = made(**fields, name=f"block_{layer}")(x_bsd, constants, layer_rng)[0]
    return x_bsd
