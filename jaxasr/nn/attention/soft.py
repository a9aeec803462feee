"""Soft attention: a distribution over all positions, the same in training and in search.

`AdditiveAttention` is content only (Bahdanau et al. 2015, 1409.0473). `LocationAttention` also sees where it looked before,
through a convolution of the previous weights (Chorowski et al. 2015, 1506.07503, equations 8 and 9).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import Attention, Memory, Weighed
from jaxasr.ops.attention import additive_energy, location_features, masked_softmax
from jaxasr.ops.masks import valid_from_lengths


class AdditiveAttention(Attention):
    """Energy v . tanh(W query + V key + b). The values are the encoder's output itself; there is no state."""

    width: int  # of the energy's hidden layer

    def setup(self):
        self.query = nn.Dense(self.width, use_bias=False)
        self.key = nn.Dense(self.width)
        self.energy = self.param("energy", nn.initializers.lecun_normal(), (self.width, 1))

    def prepare(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> Memory:
        return Memory(self.key(hidden_bsd), hidden_bsd, valid_from_lengths(lengths_b, hidden_bsd.shape[1]))

    def initial_state(self, memory: Memory) -> Any:
        return ()

    def weigh(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> Weighed:
        return Weighed(self._weights(query_bd, memory.keys_bsd, memory)[:, None], state)

    def _weights(self, query_bd: Array, keys_bsd: Array, memory: Memory) -> Float[Array, "b s"]:
        energy_bs = additive_energy(self.query(query_bd), keys_bsd, self.energy[:, 0].astype(keys_bsd.dtype))
        return masked_softmax(energy_bs, memory.valid_bs)


class LocationAttention(AdditiveAttention):
    """Energy v . tanh(W query + V key + U f + b), where f is a convolution of the previous weights.

    The state is the previous weights; before the first step they are zero.
    """

    filters: int = 10
    taps: int = 101  # encoder positions that a filter spans, odd

    def __post_init__(self):
        if self.taps % 2 == 0:
            raise ValueError(f"LocationAttention.taps is {self.taps}; it must be odd, so that a filter has a centre")
        super().__post_init__()

    def setup(self):
        super().setup()
        self.location = nn.Dense(self.width, use_bias=False)
        self.filter_bank = self.param("filters", nn.initializers.lecun_normal(), (self.taps, self.filters))

    def initial_state(self, memory: Memory) -> Any:
        return jnp.zeros(memory.valid_bs.shape, jnp.float32)

    def weigh(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> Weighed:
        located_bsd = self.location(location_features(state, self.filter_bank))
        keys_bsd = memory.keys_bsd + located_bsd.astype(memory.keys_bsd.dtype)
        weights_bs = self._weights(query_bd, keys_bsd, memory)
        return Weighed(weights_bs[:, None], weights_bs)
