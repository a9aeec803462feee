"""No attention: one vector of fixed length for the whole utterance, as in the first sequence-to-sequence models."""

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import Attention, AttentionOutput, Memory
from jaxasr.ops.attention.energies import read
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.records import Training


class FixedVector(Attention):
    """A fixed vector, the encoder's last state, in place of attention; the decoder's state begins with it.

    In a bidirectional encoder's output the first half of the columns is the forward direction, which ends at the last real
    position. The second half is the backward direction, which ends at the first position. Each direction has one head.
    Training form and decode form are the same.

    Source: Sutskever et al. 2014 (1409.3215), section 2: the vector begins the decoder's state; Cho et al. 2014 (1406.1078),
    section 2.2: every step reads it too.
    """

    read: Literal["always", "never"] = "always"  # by the steps after the initial state; never: their weights are zero
    directions: Literal[1, 2] = 2  # of the encoder

    @property
    def heads(self) -> int:
        return self.directions

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        if hidden_bsd.shape[-1] % self.directions:
            raise ValueError(
                f"FixedVector.directions is 2 and the encoder's width {hidden_bsd.shape[-1]}, which has no half; "
                "set directions=1 for an encoder of one direction"
            )
        positions = hidden_bsd.shape[1]
        valid_bs = valid_from_lengths(lengths_b, positions)
        ends = (lengths_b - 1, jnp.zeros_like(lengths_b))[: self.directions]
        one_hot_bhs = jnp.arange(positions)[None, None] == jnp.stack(ends, axis=1)[..., None]
        return Memory((one_hot_bhs & valid_bs[:, None]).astype(jnp.float32), hidden_bsd, valid_bs)

    def initial_state(self, memory: Memory) -> Any:
        return ()

    def step(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> AttentionOutput:
        return AttentionOutput(memory.keys if self.read == "always" else jnp.zeros_like(memory.keys), state)

    def decoder_init(self, memory: Memory) -> Float[Array, "b e"]:
        return read(memory.keys, memory.values_bse)
