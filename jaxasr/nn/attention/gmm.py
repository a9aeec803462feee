"""Gaussian mixture attention: its centres advance along the positions from token to token, and it has no energies."""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import Attention, AttentionOutput, Memory
from jaxasr.nn.layers import Dense
from jaxasr.ops.attention.local_attention import gaussians
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.records import Training
from jaxasr.shapes import PRNGKey

_LARGEST = 20.0  # argument of an exponential


class GmmAttention(Attention):
    """A mixture of Gaussians, sum_k w_k / Z_k exp(-(s - mu_k)^2 / (2 sigma_k^2)), whose centres mu_k advance by delta_k.

    The centres advance at every token. A hidden layer of the query computes the three numbers of each component. "v0"
    (Graves): w, delta = exp(.), sigma^2 = exp(-.) / 2, Z = 1. "v1": w = softmax(.), delta = exp(.), sigma^2 = exp(.),
    Z = sqrt(2 pi sigma^2). "v2": as v1, but delta and sigma = softplus(.). The biases are initialised so that delta is about
    `pace` and sigma about `spread`. Unlike in the papers, a row that would sum to more than 1 is scaled down to 1, and sigma
    is at least 0.1. Training form and decode form are the same.

    Source: Graves 2013 (1308.0850), section 5.1; Battenberg et al. 2020 (1910.10288), section 2.2 and table 1.
    """

    width: int  # of the hidden layer
    components: int = 5
    form: Literal["v0", "v1", "v2"] = "v2"
    pace: float = 1.0  # positions a token, at the beginning of training
    spread: float = 10.0  # positions, at the beginning of training

    def __post_init__(self):
        if min(self.width, self.components) < 1 or not (self.pace > 0 and self.spread > 0):
            raise ValueError(
                f"GmmAttention has width={self.width}, components={self.components}, pace={self.pace} and "
                f"spread={self.spread}; each must be more than 0"
            )
        super().__post_init__()

    def setup(self):
        self.hidden = Dense(self.width)
        bias = functools.partial(_first_bias, form=self.form, pace=self.pace, spread=self.spread)
        self.numbers = Dense(3 * self.components, bias_init=bias, result="float32")

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        return Memory((), hidden_bsd, valid_from_lengths(lengths_b, hidden_bsd.shape[1]))

    def initial_state(self, memory: Memory) -> Float[Array, "b k"]:
        return jnp.zeros((memory.valid_bs.shape[0], self.components), jnp.float32)

    def step(self, query_bd: Float[Array, "b d"], memory: Memory, state: Float[Array, "b k"]) -> AttentionOutput:
        numbers = self.numbers(jnp.tanh(self.hidden(query_bd)))
        share_bk, move_bk, spread_bk = jnp.split(numbers, 3, axis=-1)
        centres_bk = state + (jax.nn.softplus(move_bk) if self.form == "v2" else _exp(move_bk))
        if self.form == "v0":
            shares_bk = _exp(share_bk)
            spreads_bk = jnp.sqrt(_exp(-spread_bk) / 2)
        else:
            shares_bk = jax.nn.softmax(share_bk)
            spreads_bk = jax.nn.softplus(spread_bk) if self.form == "v2" else jnp.sqrt(_exp(spread_bk))
        spreads_bk = jnp.maximum(spreads_bk, 0.1)
        if self.form != "v0":
            shares_bk = shares_bk / (math.sqrt(2 * math.pi) * spreads_bk)
        weights_bs = gaussians(shares_bk, centres_bk, spreads_bk, memory.valid_bs)
        return AttentionOutput(weights_bs[:, None], centres_bk)


def _first_bias(key: PRNGKey, shape: tuple[int, ...], dtype: Any, *, form: str, pace: float, spread: float) -> Array:
    """Returns the initial bias, with which delta and sigma are about `pace` and `spread` for any query."""
    components = shape[0] // 3
    if form == "v2":
        first = (0.0, math.log(math.expm1(pace)), spread + math.log(-math.expm1(-spread)))
    elif form == "v1":
        first = (0.0, math.log(pace), 2 * math.log(spread))
    else:  # with rows that sum to about 1
        height = 1 / (math.sqrt(2 * math.pi) * spread * components)
        first = (math.log(height), math.log(pace), -2 * math.log(spread) - math.log(2))
    return jnp.repeat(jnp.array(first, dtype), components)


def _exp(x: Array) -> Array:
    """Returns the exponential, clipped so that its square is in the range of float32."""
    return jnp.exp(jnp.clip(x, -_LARGEST, _LARGEST))
