"""Dot-product attention, in one or several heads."""

from dataclasses import field
from typing import Any

from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import Attention, AttentionOutput, Memory, SequenceAttentionOutput
from jaxasr.nn.layers import Dense
from jaxasr.ops.attention.energies import attention_weights
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.ops.products import times, wide_einsum
from jaxasr.records import Training


class DotAttention(Attention):
    """A dot-product attention: energy (W query) . (V key) of each head, over the root of its width if `scaled`.

    Values are projected. Training and decode form are the same. There is no state, so a whole transcript is one product. The
    keys have no bias, because it would add the same number to all energies.

    Sources: Luong et al. 2015 (1508.04025), equation 8, "general", with one head and scaled=False; Vaswani et al. 2017
    (1706.03762), sections 3.2.1 and 3.2.2.
    """

    width: int  # of queries, keys and values, all heads together
    heads: int = field()
    scaled: bool = True

    def __post_init__(self):
        if self.heads < 1 or self.width < 1 or self.width % self.heads:
            raise ValueError(
                f"DotAttention has width {self.width} and heads {self.heads}; both must be positive, and the width a "
                "multiple of the heads"
            )
        super().__post_init__()

    def setup(self):
        self.query = Dense(self.width)
        self.key = Dense(self.width, use_bias=False)
        self.value = Dense(self.width)

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        valid_bs = valid_from_lengths(lengths_b, hidden_bsd.shape[1])
        return Memory(self.key(hidden_bsd), self.value(hidden_bsd), valid_bs)

    def initial_state(self, memory: Memory) -> Any:
        return ()

    def step(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> AttentionOutput:
        return AttentionOutput(self._weights(query_bd[:, None], memory)[:, :, 0], state)

    def attend_sequence(self, queries_bud: Float[Array, "b u d"], memory: Memory) -> SequenceAttentionOutput:
        return SequenceAttentionOutput(self._weights(queries_bud, memory).swapaxes(1, 2))

    def _weights(self, queries_bud: Array, memory: Memory) -> Float[Array, "b h u s"]:
        queries_buhe, keys_bshe = (
            x.reshape(*x.shape[:2], self.heads, -1) for x in (self.query(queries_bud), memory.keys)
        )
        if self.scaled:
            queries_buhe = times(queries_buhe, (self.width // self.heads) ** -0.5)
        energies_bhus = wide_einsum("buhe,bshe->bhus", queries_buhe, keys_bshe)
        return attention_weights(energies_bhus, memory.valid_bs[:, None])
