"""The speller: LSTM layers that ask an attention."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import Attention, Memory, Weighed, along_time
from jaxasr.nn.decoders.interface import Decoded, Decoder
from jaxasr.nn.layers import Dropout
from jaxasr.nn.recurrent import JointKernel, forget_one, gate_projection
from jaxasr.ops.attention import by_head
from jaxasr.ops.lstm import Carry, lstm_cell, zero_carry
from jaxasr.ops.scan import Linear, scan
from jaxasr.records import END, Draws, Training, pytree


@pytree
@dataclass(frozen=True)
class SpellerState:
    """What the Speller carries from token to token."""

    carries: tuple[Carry, ...]
    context_be: Float[Array, "b e"]
    attention: Any


class Speller(Decoder):
    """LSTM layers over the previous token and the previous context; the first one asks the attention.

    Source: Chan et al. 2015, equations 6 to 8: s_i = LSTM(s_(i-1), y_(i-1), c_(i-1)); c_i = attend(s_i, h);
    P(y_i) = softmax(W [s_i, c_i]).
    """

    depth: int
    width: int
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
        self.kernels = [JointKernel(self.width) for _ in range(self.depth)]
        self.biases = [self.param(f"bias_{k}", forget_one, (4 * self.width,)) for k in range(1, self.depth)]
        self.readout = nn.Dense(self.vocab)
        self.embed_dropout = Dropout(self.dropout)
        self.readout_dropout = Dropout(self.dropout)

    def __call__(
        self,
        hidden_bsd: Float[Array, "b s d"],
        lengths_b: Int[Array, " b"],
        tokens_bu: Int[Array, "b u"],
        *,
        training: Training | None,
    ) -> Decoded:
        """Logits and weights, teacher-forced: each token of `tokens_bu`, then the end."""
        if training is not None and self.attention.samples > 1:
            m = self.attention.samples
            hidden_bsd, lengths_b, tokens_bu = (jnp.repeat(x, m, axis=0) for x in (hidden_bsd, lengths_b, tokens_bu))
            training = training.repeated(m)
        memory, state = self._start(hidden_bsd, lengths_b, training)
        inputs_bk = jnp.pad(tokens_bu, ((0, 0), (1, 0)), constant_values=END)
        gates_bkm = self.token_gates(self.embed_dropout(self.embed(inputs_bk), training))
        if self.is_initializing():
            self._advance(
                Linear(self._weights(memory)), self.attention.weigh, (memory, self.biases), state, gates_bkm[:, 0]
            )
        attention, variables = self.attention.unbind()

        def step(linear: Linear, constants: Any, state: SpellerState, gates_bm: Array):
            variables, *rest = constants

            def weigh(query_bd: Array, memory: Memory, state: Any) -> Weighed:
                return attention.apply(variables, query_bd, memory, state, method="weigh")  # pyright: ignore

            return self._advance(linear, weigh, rest, state, gates_bm)

        constants = (variables, memory, self.biases)
        _, (features_kbd, weights_kbhs, draws) = scan(
            step, self._weights(memory), constants, state, gates_bkm.swapaxes(0, 1)
        )
        logits_bkv = self.readout(self.readout_dropout(features_kbd.swapaxes(0, 1), training))
        return Decoded(logits_bkv, weights_kbhs.swapaxes(0, 1), along_time(draws))

    def start(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> tuple[Memory, SpellerState]:
        """The memory of the utterances and the state before the first token."""
        return self._start(hidden_bsd, lengths_b, None)

    def _start(self, hidden_bsd: Array, lengths_b: Array, training: Training | None) -> tuple[Memory, SpellerState]:
        memory = self.attention.prepare(hidden_bsd, lengths_b, training)
        b, _, e = memory.values_bse.shape
        carries = tuple(zero_carry(b, self.width, hidden_bsd.dtype) for _ in range(self.depth))
        context_be = jnp.zeros((b, e), hidden_bsd.dtype)
        return memory, SpellerState(carries, context_be, self.attention.initial_state(memory))

    def step(
        self, memory: Memory, state: SpellerState, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b v"], Float[Array, "b h s"], SpellerState]:
        """Logits of the next token after `tokens_b` (END before the first one), weights, and the new state."""
        gates_bm = self.token_gates(self.embed(tokens_b))
        linear = Linear(self._weights(memory))
        state, (features_bd, weights_bhs, _) = self._advance(
            linear, self.attention.weigh, (memory, self.biases), state, gates_bm
        )
        return self.readout(features_bd), weights_bhs, state

    def _weights(self, memory: Memory) -> dict[str, Array]:
        """What every step multiplies with: the layers' kernels, and the values of each utterance by head."""
        e = memory.values_bse.shape[-1]
        inputs = [e] + [self.width + e] * (self.depth - 1)
        kernels = {f"layer_{k}": kernel(n) for k, (kernel, n) in enumerate(zip(self.kernels, inputs, strict=True))}
        return kernels | {"values": by_head(memory.values_bse, self.attention.heads)}

    def _advance(
        self,
        linear: Linear,
        weigh: Callable[..., Weighed],
        constants: Sequence[Any],
        state: SpellerState,
        gates_bm: Array,
    ) -> tuple[SpellerState, tuple[Array, Array, Draws | None]]:
        """From the gates of a token to the new state and (what the readout sees, the weights, what was drawn)."""
        memory, biases = constants
        first = state.carries[0]
        gates_bm = gates_bm + linear("layer_0", jnp.concatenate([state.context_be, first.h_bd], axis=-1))
        carries = [lstm_cell(gates_bm, first.c_bd)]
        weighed = weigh(carries[0].h_bd, memory, state.attention)
        weights_xs = weighed.weights_bhs.reshape(-1, weighed.weights_bhs.shape[-1])
        context_be = linear("values", weights_xs.astype(gates_bm.dtype)).reshape(state.context_be.shape)
        for k, (carry, bias) in enumerate(zip(state.carries[1:], biases, strict=True), start=1):
            x_bd = jnp.concatenate([carries[-1].h_bd, context_be, carry.h_bd], axis=-1)
            carries.append(lstm_cell(linear(f"layer_{k}", x_bd) + bias[None, :], carry.c_bd))
        features_bd = jnp.concatenate([carries[-1].h_bd, context_be], axis=-1)
        return SpellerState(tuple(carries), context_be, weighed.state), (features_bd, weighed.weights_bhs, weighed.draw)
