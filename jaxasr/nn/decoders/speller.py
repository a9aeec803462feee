"""The speller: a recurrent decoder with an attention (Chan et al. 2015)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import Attention, AttentionOutput, Memory, Mixture, along_time, randomness_of
from jaxasr.nn.decoders.cells import CELLS, CellKind
from jaxasr.nn.decoders.fusion import Fusion
from jaxasr.nn.decoders.interface import Decoder, TeacherForcedOutput
from jaxasr.nn.layers import Dense, Dropout, Embedding, check_rates
from jaxasr.nn.schedule import ScalarOrSchedule, is_constant, value_at
from jaxasr.ops.attention.energies import by_head
from jaxasr.ops.attention.mixture import mixed_log_probs
from jaxasr.ops.products import widened
from jaxasr.ops.random import gumbel
from jaxasr.ops.recurrent.scan import Linear, scan
from jaxasr.records import END, Draws, Training, pytree


@pytree
@dataclass(frozen=True)
class SpellerState:
    """The state of a `Speller` between tokens."""

    carries: tuple[Any, ...]  # of the cells
    context_be: Float[Array, "b e"]
    attention: Any
    lm: Any = None  # of the fused language model; None: there is none, or all tokens are read at once

    def with_capacity(self, tokens: int) -> "SpellerState":
        """Returns the state with capacity for `tokens` tokens, if the language model's state stores something of each."""
        return replace(self, lm=self.lm.with_capacity(tokens)) if hasattr(self.lm, "with_capacity") else self


class _DecoderStep(NamedTuple):
    """The result of one step before the readout."""

    features_bd: Array  # state of the last layer and context
    weights_bhs: Array
    draw: Draws | None
    mixture: Mixture | None


class Speller(Decoder):
    """A recurrent decoder over the previous token and the previous context (input feeding).

    The state of the first layer is the query of the attention. If the attention has `marginalisation`, the readout computes
    token probabilities at each position of the mixture and mixes them. The layers read the one context of the weights.

    With `sampling` more than 0 a training step first runs the decoder without dropout and without gradient. Each input token
    is, with this probability, drawn from the model's own prediction instead of the transcript. Then the step trains on these
    inputs. This costs a second forward pass of the decoder, and nothing while the schedule is 0.

    With `fusion` the readout also reads a frozen language model (fusion.py).

    Source: Chan et al. 2015, equations 6 to 8: s_i = LSTM(s_(i-1), y_(i-1), c_(i-1)); c_i = attend(s_i, h);
    P(y_i) = softmax(W [s_i, c_i]). The maxout readout is that of Bahdanau et al. 2015, appendix A.2.2; scheduled sampling
    that of Bengio et al. 2015 (1506.03099), section 2.4.
    """

    depth: int
    width: int
    attention: Attention
    embedding: int = 128  # width of a token's embedding
    dropout: float = 0.0  # on embeddings and on the input of the readout
    cell: CellKind = "lstm"
    maxout: int = 0  # linear units, in pairs, before the softmax; they read the previous token too; 0: none
    sampling: ScalarOrSchedule = (
        0.0  # probability of feeding the model's own token; a schedule counts steps of training
    )
    fusion: Fusion | None = None  # with a frozen language model that the readout reads

    def __post_init__(self):
        if self.maxout < 0 or self.maxout % 2:
            raise ValueError(f"Speller.maxout is {self.maxout}; it must be an even number of units, or 0 for none")
        if not callable(self.sampling) and not 0.0 <= self.sampling <= 1.0:
            raise ValueError(f"Speller.sampling is {self.sampling}; it must be in [0, 1], or a schedule")
        if min(self.depth, self.width, self.embedding) < 1 or self.vocab < 2:
            raise ValueError(
                f"Speller has depth {self.depth}, width {self.width}, embedding {self.embedding} and vocab {self.vocab}; all "
                "must be positive, with a token beside the end"
            )
        if self.fusion is not None and (
            self.fusion.lm.vocab != self.vocab or self.attention.marginalisation is not None
        ):
            raise ValueError(
                f"Speller.fusion has a language model of {self.fusion.lm.vocab} tokens, the Speller has {self.vocab} and the "
                f"marginalisation {self.attention.marginalisation!r}; fusion needs the same vocabulary and an attention that "
                "mixes nothing"
            )
        check_rates(self, "dropout")
        super().__post_init__()

    def setup(self):
        self.embed = Embedding(self.vocab, self.embedding, embedding_init=nn.initializers.normal(0.1))
        cell = CELLS[self.cell]
        self.token_gates = cell.projection(self.width)
        self.kernels = [cell.kernel(self.width) for _ in range(self.depth)]
        shape = (cell.gates * self.width,)
        self.biases = [self.param(f"bias_{k}", cell.bias_init, shape) for k in range(1, self.depth)]
        zeros = nn.initializers.zeros
        inner = cell.inner_width * self.width
        self.inner = [self.param(f"inner_bias_{k}", zeros, (inner,)) if inner else None for k in range(self.depth)]
        self.first_cells = [Dense(self.width) for _ in range(self.depth)]  # from the attention's `decoder_init`
        self.readout = Dense(self.vocab, result="float32")
        self.pieces = Dense(self.maxout)
        self.embed_dropout = Dropout(self.dropout)
        self.readout_dropout = Dropout(self.dropout)

    def __call__(
        self,
        hidden_bsd: Float[Array, "b s d"],
        lengths_b: Int[Array, " b"],
        tokens_bu: Int[Array, "b u"],
        *,
        training: Training | None,
    ) -> TeacherForcedOutput:
        """Returns teacher-forced logits and weights: each token of `tokens_bu`, then the end."""
        if training is not None and self.attention.samples > 1:
            m = self.attention.samples
            hidden_bsd, lengths_b, tokens_bu = (jnp.repeat(x, m, axis=0) for x in (hidden_bsd, lengths_b, tokens_bu))
            training = training.repeated(m)
        memory, state = self._start(hidden_bsd, lengths_b, training)
        inputs_bk = jnp.pad(tokens_bu, ((0, 0), (1, 0)), constant_values=END)
        if training is not None and not is_constant(self.sampling, 0.0):
            inputs_bk = self._sampled_inputs(memory, state, inputs_bk, training)
        state = replace(state, lm=None)  # the language model reads all inputs at once below
        embedded_bke = self.embed_dropout(self.embed(inputs_bk), training)
        gates_bkm = self.token_gates(embedded_bke)
        if self.is_initializing():
            self._advance(
                Linear(self._weights(memory)),
                self.attention.step,
                (memory, self.biases, self.inner),
                state,
                gates_bkm[:, 0],
            )
        attention, variables = self.attention.unbind()

        def step(linear: Linear, constants: Any, state: SpellerState, gates_bm: Array):
            variables, *rest = constants

            def attend(query_bd: Array, memory: Memory, state: Any) -> AttentionOutput:
                return attention.apply(variables, query_bd, memory, state, method="step")  # pyright: ignore

            return self._advance(linear, attend, rest, state, gates_bm)

        constants = (variables, memory, self.biases, self.inner)
        _, result = scan(step, self._weights(memory), constants, state, gates_bkm.swapaxes(0, 1))
        features_bkd, weights_bkhs, mixture = jax.tree.map(
            lambda leaf: leaf.swapaxes(0, 1), (result.features_bd, result.weights_bhs, result.mixture)
        )
        if self.fusion is not None:
            features_bkd = self.fusion(features_bkd, self.fusion.read(inputs_bk))
        logits_bkv = self._read_out(features_bkd, embedded_bke, mixture, memory, training)
        return TeacherForcedOutput(logits_bkv, weights_bkhs, along_time(result.draw), memory.counts_bh)

    def start(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> tuple[Memory, SpellerState]:
        """Returns the memory of the utterances and the state before the first token."""
        return self._start(hidden_bsd, lengths_b, None)

    def _start(self, hidden_bsd: Array, lengths_b: Array, training: Training | None) -> tuple[Memory, SpellerState]:
        memory = self.attention.prepare(hidden_bsd, lengths_b, training)
        b, _, e = memory.values_bse.shape
        cell = CELLS[self.cell]
        init_be = self.attention.decoder_init(memory)
        if init_be is None:
            carries = tuple(cell.zero(b, self.width, hidden_bsd.dtype) for _ in range(self.depth))
        else:
            carries = tuple(cell.from_cell(dense(init_be)) for dense in self.first_cells)
        context_be = jnp.zeros((b, e), hidden_bsd.dtype)
        lm = None if self.fusion is None else self.fusion.start(b)
        return memory, SpellerState(carries, context_be, self.attention.initial_state(memory), lm)

    def step(
        self, memory: Memory, state: SpellerState, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b v"], Float[Array, "b h s"], SpellerState]:
        """Returns logits of the next token after `tokens_b` (END before the first one), weights, and the new state."""
        embedded_be = self.embed(tokens_b)
        linear = Linear(self._weights(memory))
        constants = (memory, self.biases, self.inner)
        new_state, result = self._advance(linear, self.attention.step, constants, state, self.token_gates(embedded_be))
        if self.fusion is not None:
            lm_output_be, lm = self.fusion.step(state.lm, tokens_b)
            new_state = replace(new_state, lm=lm)
            result = result._replace(features_bd=self.fusion(result.features_bd, lm_output_be))
        features_bkd, embedded_bke, mixture = jax.tree.map(
            lambda leaf: leaf[:, None], (result.features_bd, embedded_be, result.mixture)
        )
        logits_bkv = self._read_out(features_bkd, embedded_bke, mixture, memory, None)
        return logits_bkv[:, 0], result.weights_bhs, new_state

    def _weights(self, memory: Memory) -> dict[str, Array]:
        """Returns the weights of every step: the layers' kernels, and the values of each utterance by head."""
        e = memory.values_bse.shape[-1]
        inputs = [e] + [self.width + e] * (self.depth - 1)
        kernels: dict[str, Array] = {}
        for k, (kernel, n) in enumerate(zip(self.kernels, inputs, strict=True)):
            kernels |= CELLS[self.cell].weights(k, kernel, n)
        return kernels | {"values": by_head(memory.values_bse, self.attention.heads)}

    def _advance(
        self,
        linear: Linear,
        attend: Callable[..., AttentionOutput],
        constants: Sequence[Any],
        state: SpellerState,
        gates_bm: Array,
    ) -> tuple[SpellerState, _DecoderStep]:
        """Returns the new state after a token with these gates, and the step's result before the readout."""
        memory, biases, inner = constants
        cell = CELLS[self.cell]
        dtype = state.context_be.dtype
        carries = [cell.move(linear, 0, gates_bm, state.context_be, state.carries[0], inner[0])]
        output = attend(carries[0].h_bd.astype(dtype), memory, state.attention)
        weights_xs = output.weights_bhs.reshape(-1, output.weights_bhs.shape[-1]).astype(dtype)
        context_be = linear("values", weights_xs).reshape(state.context_be.shape).astype(dtype)
        for k, (carry, bias) in enumerate(zip(state.carries[1:], biases, strict=True), start=1):
            x_bd = jnp.concatenate([carries[-1].h_bd.astype(dtype), context_be], axis=-1)
            carries.append(cell.move(linear, k, bias[None, :], x_bd, carry, inner[k]))
        features_bd = jnp.concatenate([carries[-1].h_bd.astype(dtype), context_be], axis=-1)
        result = _DecoderStep(features_bd, output.weights_bhs, output.draw, output.mixture)
        return SpellerState(tuple(carries), context_be, output.state), result

    def _read_out(
        self,
        features_bkd: Array,
        embedded_bke: Array,
        mixture: Mixture | None,  # each leaf [b, k, w]
        memory: Memory,
        training: Training | None,
    ) -> Float[Array, "b k v"]:
        """Returns logits at k positions of the transcript, after the embedded tokens."""
        if mixture is None or self.attention.marginalisation is None:
            return self._logits(features_bkd, embedded_bke, training)
        b, k, w = mixture.positions_bw.shape
        index_bx1 = mixture.positions_bw.reshape(b, k * w, 1)
        contexts_bxe = jnp.take_along_axis(widened(memory.values_bse), index_bx1, axis=1)  # wide: the gradient is a sum
        contexts_bkwe = contexts_bxe.astype(memory.values_bse.dtype).reshape(b, k, w, -1)
        contexts_bkwe = jnp.where(mixture.valid_bw[..., None], contexts_bkwe, 0)
        own_bkwd, embedded_bkwe = (
            jnp.broadcast_to(x[:, :, None], (b, k, w, x.shape[-1]))
            for x in (features_bkd[..., : self.width], embedded_bke)
        )
        logits_bkwv = self._logits(jnp.concatenate([own_bkwd, contexts_bkwe], axis=-1), embedded_bkwe, training)
        return mixed_log_probs(
            logits_bkwv, mixture.log_probs_bw, mixture.valid_bw, mixing=self.attention.marginalisation
        )

    def _logits(self, features: Array, embedded: Array, training: Training | None) -> Float[Array, "..."]:
        if self.maxout:
            pieces = self.pieces(jnp.concatenate([features, embedded], axis=-1))
            features = jnp.max(pieces.reshape(*pieces.shape[:-1], -1, 2), axis=-1)
        return self.readout(self.readout_dropout(features, training))

    def _sampled_inputs(
        self, memory: Memory, state: SpellerState, inputs_bk: Array, training: Training
    ) -> Int[Array, "b k"]:
        """Returns the input tokens of scheduled sampling.

        Each is that of the transcript or, with the probability of this step, a draw from the model's prediction.
        """
        share = value_at(self.sampling, training.step)
        randomness = randomness_of(self.make_rng("draw"), training)
        module, variables = self.unbind()
        variables, memory, state = jax.lax.stop_gradient((variables, memory, state.with_capacity(inputs_bk.shape[1])))

        def step(carry: tuple[SpellerState, Array], now: tuple[Array, Array]):
            state, drawn_b = carry
            transcript_b, position = now
            uniform_bv = randomness.uniform(jnp.broadcast_to(position, transcript_b.shape), (1 + self.vocab,))
            input_b = jnp.where(uniform_bv[:, 0] < share, drawn_b, transcript_b)
            logits_bv, _, state = module.apply(variables, memory, state, input_b, method="step")  # pyright: ignore
            drawn_b = jnp.argmax(logits_bv + gumbel(uniform_bv[:, 1:]), axis=-1).astype(transcript_b.dtype)
            return (state, drawn_b), input_b

        def sampled(inputs_bk: Array) -> Array:
            positions_k = jnp.arange(inputs_bk.shape[1])
            _, inputs_kb = jax.lax.scan(step, (state, inputs_bk[:, 0]), (inputs_bk.swapaxes(0, 1), positions_k))
            return inputs_kb.swapaxes(0, 1)

        return jax.lax.cond(share > 0.0, sampled, lambda inputs_bk: inputs_bk, inputs_bk)
