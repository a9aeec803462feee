"""Attentions that the encoder alone decides: the decoder's query has no part in the position that a token reads."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import Attention, AttentionOutput, Memory, SequenceAttentionOutput
from jaxasr.nn.layers import Conv, Dense
from jaxasr.ops.attention.integrate_and_fire import fired_weights
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.records import Training


class QueryFreeAttention(Attention):
    """An attention whose weights are a function of the memory and the number of the token, which is its state."""

    def initial_state(self, memory: Memory) -> Int[Array, " b"]:
        return jnp.zeros(memory.valid_bs.shape[0], jnp.int32)

    def step(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> AttentionOutput:
        return AttentionOutput(self.weights(memory, state)[:, None], state + 1)

    def attend_sequence(self, queries_bud: Float[Array, "b u d"], memory: Memory) -> SequenceAttentionOutput:
        tokens_ub = jnp.broadcast_to(jnp.arange(queries_bud.shape[1])[:, None], queries_bud.shape[1::-1])
        weights_ubs = jax.vmap(lambda tokens_b: self.weights(memory, tokens_b))(tokens_ub)
        return SequenceAttentionOutput(weights_ubs.swapaxes(0, 1)[:, :, None])

    def weights(self, memory: Memory, tokens_b: Int[Array, " b"]) -> Float[Array, "b s"]:
        """Returns the weights for one token of each utterance, counted from 0."""
        raise TypeError(f"{type(self).__name__} is a QueryFreeAttention without weights()")


class AlignedPosition(QueryFreeAttention):
    """An attention without an alignment of its own: token u reads position u, and the encoder has to bring it there.

    The encoder needs self-attention over the whole utterance, and at least as many positions as tokens with the end; a token
    behind the last position reads zeros. Training form and decode form are the same.

    Source: Stooke et al. 2024 (2502.05232), Aligner-Encoders, section 3.
    """

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        return Memory((), hidden_bsd, valid_from_lengths(lengths_b, hidden_bsd.shape[1]))

    def weights(self, memory: Memory, tokens_b: Int[Array, " b"]) -> Float[Array, "b s"]:
        is_here_bs = jnp.arange(memory.valid_bs.shape[1])[None] == tokens_b[:, None]
        return (is_here_bs & memory.valid_bs).astype(jnp.float32)


class IntegrateAndFire(QueryFreeAttention):
    """A continuous integrate-and-fire (CIF): each position has a share of a token, and one is read when they sum to one.

    The shares are sigmoids over a convolution. In training they are scaled to the number of tokens with the end, and
    `training.QuantityLoss` teaches their sum; without it the decode form, which does not scale, reads at another pace. The
    token that ends a transcript reads what is left. So the search ends by the end of the transcript as with any attention,
    not by the last complete token.

    Source: Dong and Xu 2020 (1905.11235), sections 3.1 and 3.2.
    """

    width: int = 256  # of the convolution
    kernel_size: int = 3  # positions, odd

    def __post_init__(self):
        if self.width < 1 or self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(
                f"IntegrateAndFire has width {self.width} and kernel_size {self.kernel_size}; both must be positive and the "
                "kernel's size odd"
            )
        super().__post_init__()

    def setup(self):
        sides = self.kernel_size // 2
        self.convolution = Conv(self.width, (self.kernel_size, 1), ((sides, sides), (0, 0)))
        self.share = Dense(1, result="float32")

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        valid_bs = valid_from_lengths(lengths_b, hidden_bsd.shape[1])
        features_bsm = nn.relu(self.convolution(zero_padding(hidden_bsd, valid_bs)[:, :, None])[:, :, 0])
        shares_bs = zero_padding(nn.sigmoid(self.share(features_bsm)[..., 0]), valid_bs)
        counts_b = jnp.sum(shares_bs, axis=1)
        if training is None or training.token_lengths_b is None:
            return Memory(jnp.cumsum(shares_bs, axis=1), hidden_bsd, valid_bs)
        scale_b = (training.token_lengths_b + 1.0) / jnp.maximum(counts_b, 1e-6)
        totals_bs = jnp.cumsum(shares_bs * scale_b[:, None], axis=1)
        return Memory(totals_bs, hidden_bsd, valid_bs, counts_bh=counts_b[:, None])

    def weights(self, memory: Memory, tokens_b: Int[Array, " b"]) -> Float[Array, "b s"]:
        return zero_padding(fired_weights(memory.keys, tokens_b), memory.valid_bs)
