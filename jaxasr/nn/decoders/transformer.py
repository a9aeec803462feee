"""The Transformer decoder: every layer has self-attention over the tokens so far, then an attention to the utterance."""

from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.fixed import FixedVector
from jaxasr.nn.attention.interface import Attention, Memory
from jaxasr.nn.blocks import Chunks, FeedForward, SelfAttention
from jaxasr.nn.decoders.interface import Decoder, TeacherForcedOutput
from jaxasr.nn.layer_rng import LayerRng, layer_rngs, residual
from jaxasr.nn.layers import Dense, Dropout, Embedding, check_rates
from jaxasr.ops.attention.energies import read, read_all
from jaxasr.ops.attention.positions import sinusoid
from jaxasr.ops.products import times
from jaxasr.records import END, Draws, Training, pytree


@pytree
@dataclass(frozen=True)
class TransformerState:
    """The state of a Transformer decoder between tokens, with capacity for a static number of tokens."""

    tokens_b: Int[Array, " b"]  # read so far
    keys: tuple[Float[Array, "b u d"], ...]  # of each layer, zero where nothing was read yet
    values: tuple[Float[Array, "b u d"], ...]
    attention: tuple[Any, ...]  # of each layer

    @property
    def capacity(self) -> int:
        """The number of tokens that can be read in all."""
        return self.keys[0].shape[1]

    def with_capacity(self, tokens: int) -> "TransformerState":
        """Returns the state with capacity for `tokens` tokens, of which no more may have been read."""

        def resized(cache_bud: Array) -> Array:
            return jnp.pad(cache_bud[:, :tokens], ((0, 0), (0, max(0, tokens - self.capacity)), (0, 0)))

        return replace(self, keys=tuple(map(resized, self.keys)), values=tuple(map(resized, self.values)))


class _DecoderLayer(nn.Module):
    """A layer of self-attention over the tokens so far, an attention to the utterance, and a feed-forward layer."""

    width: int
    heads: int
    hidden: int
    dropout: float
    attention: Attention

    def setup(self):
        self.tokens = SelfAttention(self.width, self.heads, "none")
        self.norm = nn.LayerNorm()
        self.context = Dense(self.width)
        self.feed = FeedForward(self.hidden, "relu", self.dropout, branch=2)

    def __call__(
        self, x_bud: Float[Array, "b u d"], memory: Memory, rng: LayerRng | None
    ) -> tuple[Float[Array, "b u d"], Float[Array, "b u h s"], Draws | None]:
        visible_bqk = Chunks(1).visible(x_bud.shape[1])[None]
        x_bud = residual(x_bud, self.tokens(x_bud, visible_bqk), rng, branch=0, dropout=self.dropout)
        output = self.attention.attend_sequence(self.norm(x_bud), memory)
        values_bshe = memory.values_bse.reshape(*memory.values_bse.shape[:2], self.attention.heads, -1)
        context_bud = self.context(read_all(output.weights_buhs.swapaxes(1, 2), values_bshe))
        x_bud = residual(x_bud, context_bud, rng, branch=1, dropout=self.dropout)
        x_bud = residual(x_bud, self.feed(x_bud, rng), rng, branch=2, dropout=self.dropout)
        return x_bud, output.weights_buhs, output.draws

    def step(
        self, x_bd: Float[Array, "b d"], memory: Memory, state: tuple[Array, Array, Any], at_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b d"], Float[Array, "b h s"], tuple[Array, Array, Any]]:
        """Returns the output for one token, its weights, and the state: keys, values and that of the attention."""
        keys_bud, values_bud, attention_state = state
        read_bd, keys_bud, values_bud = self.tokens.step(x_bd, keys_bud, values_bud, at_b)
        x_bd = x_bd + read_bd
        output = self.attention.step(self.norm(x_bd), memory, attention_state)
        x_bd = x_bd + self.context(read(output.weights_bhs, memory.values_bse))
        x_bd = x_bd + self.feed(x_bd[:, None], None)[:, 0]
        return x_bd, output.weights_bhs, (keys_bud, values_bud, output.state)


class TransformerDecoder(Decoder):
    """A decoder with layers of causal self-attention, attention to the utterance, and feed-forward, with pre-normalisation.

    Each layer has a copy of `attention` with its own parameters and state. The copy's query is the layer's normalised input,
    and its context is projected to the width. The returned weights are the rows of the first layer's heads, then the
    second's. The draws of several layers count as one draw: log probabilities and entropies are added, and the baseline is
    the mean of the layers' baselines.

    In a search the keys and values of earlier tokens are cached. The cache's capacity is static: `max_tokens`, unless a
    search sets another one by `TransformerState.with_capacity`. The logits of a token beyond the capacity are NaN.

    Sources: Vaswani et al. 2017; Dong et al. 2018, Speech-Transformer; pre-normalisation, Xiong et al. 2020 (2002.04745).
    """

    depth: int
    width: int
    heads: int  # of the self-attention
    attention: Attention
    expansion: int = 4  # width of the feed-forward layers in widths
    dropout: float = 0.0  # on embeddings, on every branch, and inside the feed-forward layers
    stochastic_depth: float = 0.0  # probability that a branch of the last layer is left out; linear from the first on
    max_tokens: int = 256

    def __post_init__(self):
        if self.vocab < 2 or min(self.depth, self.heads, self.expansion, self.max_tokens) < 1:
            raise ValueError(
                f"TransformerDecoder has depth {self.depth}, heads {self.heads}, expansion {self.expansion}, max_tokens "
                f"{self.max_tokens} and vocab {self.vocab}; all must be positive, with a token beside the end"
            )
        if self.width < 2 or self.width % 2 or self.width % self.heads:
            raise ValueError(
                f"TransformerDecoder has width {self.width} and heads {self.heads}; the width must be even, and a multiple "
                "of the heads"
            )
        if isinstance(self.attention, FixedVector) and self.attention.read == "never":
            raise ValueError(
                "TransformerDecoder has FixedVector(read='never') and no state that could begin with the utterance: it would "
                "read nothing; set read='always', or take a Speller"
            )
        if self.attention.marginalisation is not None:
            raise ValueError(
                f"TransformerDecoder.attention has marginalisation={self.attention.marginalisation!r}, positions that only a "
                "Speller can mix; give it to one, or take another focus than LatentAttention"
            )
        check_rates(self, "dropout", "stochastic_depth")
        super().__post_init__()

    def setup(self):
        self.embed = Embedding(self.vocab, self.width, embedding_init=nn.initializers.normal(self.width**-0.5))
        self.embed_dropout = Dropout(self.dropout)
        self.blocks = [
            _DecoderLayer(
                self.width,
                self.heads,
                self.expansion * self.width,
                self.dropout,
                self.attention.clone(parent=None, _deep_clone=True),
            )
            for _ in range(self.depth)
        ]
        self.norm = nn.LayerNorm()
        self.readout = Dense(self.vocab, result="float32")

    def __call__(
        self,
        hidden_bsd: Float[Array, "b s d"],
        lengths_b: Int[Array, " b"],
        tokens_bu: Int[Array, "b u"],
        *,
        training: Training | None,
    ) -> TeacherForcedOutput:
        """Returns teacher-forced logits and weights: each token of `tokens_bu`, then the end."""
        rng = None
        if training is not None:
            if self.attention.samples > 1:
                m = self.attention.samples
                hidden_bsd, lengths_b, tokens_bu = (jnp.repeat(x, m, 0) for x in (hidden_bsd, lengths_b, tokens_bu))
                training = training.repeated(m)
            rng = layer_rngs(training, self.make_rng("dropout"), depth=self.depth, skip=self.stochastic_depth)
        inputs_bk = jnp.pad(tokens_bu, ((0, 0), (1, 0)), constant_values=END)
        at_bk = jnp.broadcast_to(jnp.arange(inputs_bk.shape[1]), inputs_bk.shape)
        x_bkd = self.embed_dropout(self._embedded(inputs_bk, at_bk), training)
        weights: list[Array] = []
        draws: list[Draws | None] = []
        for layer, block in enumerate(self.blocks):
            memory = block.attention.prepare(hidden_bsd, lengths_b, training)
            layer_rng = jax.tree.map(lambda leaf, layer=layer: leaf[layer], rng)
            x_bkd, weights_bkhs, draw = block(x_bkd, memory, layer_rng)
            weights.append(weights_bkhs)
            draws.append(draw)
        return TeacherForcedOutput(
            self.readout(self.norm(x_bkd)), jnp.concatenate(weights, axis=2), _combined_draw(draws)
        )

    def start(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]
    ) -> tuple[tuple[Memory, ...], TransformerState]:
        """Returns the memory of the utterances for each layer, and the state before the first token."""
        memory = tuple(block.attention.prepare(hidden_bsd, lengths_b, None) for block in self.blocks)
        attention = tuple(
            block.attention.initial_state(layer_memory) for block, layer_memory in zip(self.blocks, memory, strict=True)
        )
        empty = (jnp.zeros((lengths_b.shape[0], self.max_tokens, self.width), hidden_bsd.dtype),) * self.depth
        return memory, TransformerState(jnp.zeros_like(lengths_b), empty, empty, attention)

    def step(
        self, memory: tuple[Memory, ...], state: TransformerState, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b v"], Float[Array, "b h s"], TransformerState]:
        """Returns logits of the next token after `tokens_b` (END before the first one), weights, and the new state."""
        at_b = state.tokens_b
        x_bd = self._embedded(tokens_b, at_b)
        weights: list[Array] = []
        states: list[tuple[Array, Array, Any]] = []
        prev_states = zip(state.keys, state.values, state.attention, strict=True)
        for block, layer_memory, prev_state in zip(self.blocks, memory, prev_states, strict=True):
            x_bd, weights_bhs, layer_state = block.step(x_bd, layer_memory, prev_state, at_b)
            weights.append(weights_bhs)
            states.append(layer_state)
        logits_bv = jnp.where((at_b < state.capacity)[:, None], self.readout(self.norm(x_bd)), jnp.nan)
        return logits_bv, jnp.concatenate(weights, axis=1), TransformerState(at_b + 1, *zip(*states, strict=True))

    def _embedded(self, tokens: Array, at: Array) -> Float[Array, "..."]:
        """Returns the sum of embeddings of variance 1 and the sinusoids of their positions."""
        table = sinusoid(at.reshape(-1), self.width).reshape(*at.shape, self.width)
        embedded = times(self.embed(tokens), self.width**0.5)
        return embedded + table.astype(embedded.dtype)


def _combined_draw(draws: list[Draws | None]) -> Draws | None:
    """Returns the draws of the layers as one draw; None if no layer draws."""
    drawn = [draw for draw in draws if draw is not None]
    if not drawn:
        return None
    total: Draws = jax.tree.map(lambda *leaves: sum(leaves), *drawn)
    return replace(total, baselines_bu=total.baselines_bu / len(drawn))
