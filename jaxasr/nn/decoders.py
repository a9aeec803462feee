"""Decoders: from the memory of an utterance to a distribution over the next token, whole sequences or step by step."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from jaxasr.nn.attention.interface import Attention, Memory
from jaxasr.nn.layers import Dropout
from jaxasr.nn.recurrent import LstmCell, gate_projection
from jaxasr.ops.lstm import Carry, zero_carry
from jaxasr.records import END, pytree


@pytree
@dataclass(frozen=True)
class SpellerState:
    """What the Speller carries from token to token."""

    carries: tuple[Carry, ...]
    context_be: Float[Array, "b e"]
    attention: Any


class Speller(nn.Module):
    """LSTM layers over the previous token and the previous context; the first one asks the attention.

    Source: Chan et al. 2015, equations 6 to 8: s_i = LSTM(s_(i-1), y_(i-1), c_(i-1)); c_i = attend(s_i, h);
    P(y_i) = softmax(W [s_i, c_i]).
    """

    depth: int
    width: int
    vocab: int  # tokens, the end included
    attention: Attention
    embedding: int = 128  # width of a token's embedding
    dropout: float = 0.0  # on embeddings and on what the readout sees

    def __post_init__(self):
        if self.depth < 1 or self.vocab < 2:
            raise ValueError(
                f"Speller has depth {self.depth} and vocab {self.vocab}; it needs a layer, and a token beside the end"
            )
        super().__post_init__()

    def setup(self):
        self.embed = nn.Embed(self.vocab, self.embedding, embedding_init=nn.initializers.normal(0.1))
        self.token_gates = gate_projection(self.width)
        self.core = _SpellerCore(self.width, self.depth, self.attention)
        self.readout = nn.Dense(self.vocab)
        self.embed_dropout = Dropout(self.dropout)
        self.readout_dropout = Dropout(self.dropout)

    def __call__(
        self,
        hidden_bsd: Float[Array, "b s d"],
        lengths_b: Int[Array, " b"],
        tokens_bu: Int[Array, "b u"],
        *,
        ids_b: UInt32[Array, " b"] | None,
    ) -> tuple[Float[Array, "b k v"], Float[Array, "b k h s"]]:
        """Teacher-forced logits and weights for k = u + 1 positions: each token of `tokens_bu`, then the end."""
        memory, state = self.start(hidden_bsd, lengths_b)
        inputs_bk = jnp.pad(tokens_bu, ((0, 0), (1, 0)), constant_values=END)
        embedded_bkd = self.embed_dropout(self.embed(inputs_bk), ids_b)
        scan = nn.scan(
            lambda core, carry, gates: core(carry, gates, memory),
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )
        _, (features_bkd, weights_bkhs) = scan(self.core, state, self.token_gates(embedded_bkd))
        return self.readout(self.readout_dropout(features_bkd, ids_b)), weights_bkhs

    def start(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> tuple[Memory, SpellerState]:
        """The memory of the utterances and the state before the first token."""
        memory, attention = self.core.prepare(hidden_bsd, lengths_b)
        b, _, e = memory.values_bse.shape
        carries = tuple(zero_carry(b, self.width, hidden_bsd.dtype) for _ in range(self.depth))
        return memory, SpellerState(carries, jnp.zeros((b, e), hidden_bsd.dtype), attention)

    def step(
        self, memory: Memory, state: SpellerState, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b v"], Float[Array, "b h s"], SpellerState]:
        """Logits of the next token after `tokens_b` (END before the first one), weights, and the new state."""
        state, (features_bd, weights_bhs) = self.core(state, self.token_gates(self.embed(tokens_b)), memory)
        return self.readout(features_bd), weights_bhs, state


class _SpellerCore(nn.Module):
    """The recurrent part: gates of a token and the last state in, the new state and what the readout sees out."""

    width: int
    depth: int
    attention: Attention

    def setup(self):
        self.context_gates = nn.Dense(4 * self.width, use_bias=False)
        self.cells = [LstmCell(self.width) for _ in range(self.depth)]
        self.gates = [gate_projection(self.width) for _ in range(self.depth - 1)]

    def prepare(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> tuple[Memory, Any]:
        memory = self.attention.prepare(hidden_bsd, lengths_b)
        return memory, self.attention.initial_state(memory)

    def __call__(self, state: SpellerState, token_gates_bm: Float[Array, "b m"], memory: Memory):
        gates_bm = token_gates_bm + self.context_gates(state.context_be)
        carries = [self.cells[0](gates_bm, state.carries[0])]
        read = self.attention(carries[0].h_bd, memory, state.attention)
        for cell, project, carry in zip(self.cells[1:], self.gates, state.carries[1:], strict=True):
            x_bd = jnp.concatenate([carries[-1].h_bd, read.context_be], axis=-1)
            carries.append(cell(project(x_bd), carry))
        features_bd = jnp.concatenate([carries[-1].h_bd, read.context_be], axis=-1)
        return SpellerState(tuple(carries), read.context_be, read.state), (features_bd, read.weights_bhs)
