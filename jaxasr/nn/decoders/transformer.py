"""The Transformer decoder: every layer has self-attention over the tokens so far, then an attention to the utterance."""

from dataclasses import replace
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.fixed import FixedVector
from jaxasr.nn.attention.interface import Attention, Memory
from jaxasr.nn.attention.query_free import QueryFreeAttention
from jaxasr.nn.blocks import NORM_EPSILON, Activation
from jaxasr.nn.decoders.interface import Decoder, TeacherForcedOutput
from jaxasr.nn.decoders.transformer_layer import DecoderLayer, TransformerState
from jaxasr.nn.layer_rng import layer_rngs
from jaxasr.nn.layers import Dense, Dropout, Embedding, check_rates
from jaxasr.nn.module import check_choices
from jaxasr.ops.attention.positions import sinusoid
from jaxasr.ops.products import times, wide_einsum, widened
from jaxasr.records import END, Draws, Training
from jaxasr.tree import check_numbers

TokenPositions = Literal["sinusoid", "learned"]
EmbeddingScale = Literal["root_width", "none"]


class TransformerDecoder(Decoder):
    """A decoder with layers of causal self-attention, attention to the utterance, and feed-forward, with pre-normalisation.

    Each layer has a copy of `attention` with its own parameters and state. The copy's query is the layer's normalised input,
    and its context is projected to the width. The returned weights are the rows of the first layer's heads, then the
    second's. The draws of several layers count as one draw: log probabilities and entropies are added, and the baseline is
    the mean of the layers' baselines.

    In a search the keys and values of earlier tokens are cached. The cache's capacity is static: `max_tokens`, unless a
    search sets another one by `TransformerState.with_capacity`. The logits of a token beyond the capacity are NaN.

    A decoder with a `prompt` reads it in place of END before the first token, in training and in search. Its tokens say what
    is to be written, such as language and task (Radford et al. 2022, 2212.04356, section 2.3).

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
    activation: Activation = "relu"  # of the feed-forward layers
    norm_epsilon: float = NORM_EPSILON  # added to the variance in every layer normalisation
    positions: TokenPositions = "sinusoid"  # added to the embeddings; "learned": a table of `max_positions` rows
    max_positions: int = 0  # of the table; the prompt counts
    embedding_scale: EmbeddingScale = "root_width"  # the embeddings are multiplied by the root of the width
    tied: bool = False  # the readout's weights are the embeddings, and it has no bias
    prompt: tuple[int, ...] = ()
    alignment_heads: tuple[tuple[int, int], ...] | None = None  # (layer, head) whose weights are returned; None: all

    def __post_init__(self):
        check_choices(self, activation=Activation, positions=TokenPositions, embedding_scale=EmbeddingScale)
        check_numbers(self, positive=("norm_epsilon",), not_negative=("max_positions",))
        self._check_tables()
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
        if isinstance(self.attention, QueryFreeAttention) and self.prompt:
            raise ValueError(
                f"TransformerDecoder has a prompt and {type(self.attention).__name__}, which reads for each token of a "
                "transcript: leave the prompt out, or take another attention"
            )
        if self.attention.marginalisation is not None:
            raise ValueError(
                f"TransformerDecoder.attention has marginalisation={self.attention.marginalisation!r}, positions that only a "
                "Speller can mix; give it to one, or take another focus than LatentAttention"
            )
        check_rates(self, "dropout", "stochastic_depth")
        super().__post_init__()

    def _check_tables(self) -> None:
        """Checks the prompt, the positions and the alignment heads."""
        if wrong := [token for token in self.prompt if not 0 <= token < self.vocab]:
            raise ValueError(
                f"TransformerDecoder.prompt has the tokens {wrong}; the vocabulary has 0 to {self.vocab - 1}"
            )
        if (self.positions == "learned") != (self.max_positions > 0):
            raise ValueError(
                f"TransformerDecoder has positions={self.positions!r} and max_positions={self.max_positions}; a learned "
                "table needs a number of rows, and nothing else has one"
            )
        if self.max_positions and self.max_tokens + len(self.prompt) > self.max_positions:
            raise ValueError(
                f"TransformerDecoder has max_tokens={self.max_tokens} and a prompt of {len(self.prompt)}, more than "
                f"max_positions={self.max_positions}; lower max_tokens"
            )
        pairs = self.alignment_heads
        if pairs is not None and not (
            pairs and all(0 <= a < self.depth and 0 <= b < self.attention.heads for a, b in pairs)
        ):
            raise ValueError(
                f"TransformerDecoder.alignment_heads is {pairs}; it needs pairs of a layer below {self.depth} and a head "
                f"below {self.attention.heads}, or None for all"
            )

    def setup(self):
        self.embed = Embedding(self.vocab, self.width, embedding_init=nn.initializers.normal(self.width**-0.5))
        self.embed_dropout = Dropout(self.dropout)
        self.blocks = [
            DecoderLayer(
                self.width,
                self.heads,
                self.expansion * self.width,
                self.dropout,
                self.attention.clone(parent=None, _deep_clone=True),
                self.activation,
                self.norm_epsilon,
            )
            for _ in range(self.depth)
        ]
        self.norm = nn.LayerNorm(self.norm_epsilon)
        if self.positions == "learned":
            self.embed_positions = self.param(
                "embed_positions", nn.initializers.normal(0.02), (self.max_positions, self.width), jnp.float32
            )
        if not self.tied:
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
        first = self.prompt or (END,)
        prompt_bk = jnp.broadcast_to(jnp.array(first, tokens_bu.dtype), (tokens_bu.shape[0], len(first)))
        inputs_bk = jnp.concatenate([prompt_bk, tokens_bu], axis=1)
        at_bk = jnp.broadcast_to(jnp.arange(inputs_bk.shape[1]), inputs_bk.shape)
        x_bkd = self.embed_dropout(self._embedded(inputs_bk, at_bk), training)
        weights: list[Array] = []
        draws: list[Draws | None] = []
        counts: list[Array] = []
        for layer, block in enumerate(self.blocks):
            memory = block.attention.prepare(hidden_bsd, lengths_b, training)
            layer_rng = jax.tree.map(lambda leaf, layer=layer: leaf[layer], rng)
            x_bkd, weights_bkhs, draw = block(x_bkd, memory, layer_rng)
            weights.append(weights_bkhs)
            draws.append(draw)
            counts += [] if memory.counts_bh is None else [memory.counts_bh]
        x_bkd, weights_bkhs, draw = jax.tree.map(
            lambda leaf: leaf[:, len(first) - 1 :],
            (x_bkd, self._aligned(jnp.concatenate(weights, axis=2), axis=2), _combined_draw(draws)),
        )
        counts_bh = jnp.concatenate(counts, axis=1) if counts else None
        return TeacherForcedOutput(self._logits(x_bkd), weights_bkhs, draw, counts_bh)

    def start(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]
    ) -> tuple[tuple[Memory, ...], TransformerState]:
        """Returns the memory of the utterances for each layer, and the state before the first token."""
        memory = tuple(block.attention.prepare(hidden_bsd, lengths_b, None) for block in self.blocks)
        attention = tuple(
            block.attention.initial_state(layer_memory) for block, layer_memory in zip(self.blocks, memory, strict=True)
        )
        before = max(0, len(self.prompt) - 1)  # the last token of the prompt is read in place of END
        empty = (jnp.zeros((lengths_b.shape[0], before + self.max_tokens, self.width), hidden_bsd.dtype),) * self.depth
        state = TransformerState(jnp.zeros_like(lengths_b), empty, empty, attention, before)
        for token in self.prompt[:before]:
            _, _, state = self.step(memory, state, jnp.full_like(lengths_b, token))
        return memory, state

    def step(
        self, memory: tuple[Memory, ...], state: TransformerState, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b v"], Float[Array, "b h s"], TransformerState]:
        """Returns logits of the next token after `tokens_b` (END before the first one), weights, and the new state."""
        at_b = state.tokens_b
        self._check_positions(state.prompt + state.capacity, "a search may write")
        if self.prompt:
            tokens_b = jnp.where(at_b == state.prompt, self.prompt[-1], tokens_b)
        x_bd = self._embedded(tokens_b, at_b)
        weights: list[Array] = []
        states: list[tuple[Array, Array, Any]] = []
        prev_states = zip(state.keys, state.values, state.attention, strict=True)
        for block, layer_memory, prev_state in zip(self.blocks, memory, prev_states, strict=True):
            x_bd, weights_bhs, layer_state = block.step(x_bd, layer_memory, prev_state, at_b)
            weights.append(weights_bhs)
            states.append(layer_state)
        logits_bv = jnp.where((at_b < state.prompt + state.capacity)[:, None], self._logits(x_bd), jnp.nan)
        keys, values, attention = zip(*states, strict=True)
        state = replace(state, tokens_b=at_b + 1, keys=keys, values=values, attention=attention)
        return logits_bv, self._aligned(jnp.concatenate(weights, axis=1), axis=1), state

    def _embedded(self, tokens: Array, at: Array) -> Float[Array, "..."]:
        """Returns the sum of the embeddings, of variance 1 if they are scaled, and of their positions."""
        if self.positions == "learned":
            self._check_positions(at.shape[-1] if at.ndim > 1 else 1, "a batch has")
            table = widened(self.embed_positions)[at]
        else:
            table = sinusoid(at.reshape(-1), self.width).reshape(*at.shape, self.width)
        embedded = self.embed(tokens)
        if self.embedding_scale == "root_width":
            embedded = times(embedded, self.width**0.5)
        return embedded + table.astype(embedded.dtype)

    def _check_positions(self, needed: int, what: str) -> None:
        """Raises ValueError if the table of positions has fewer rows than are needed."""
        if self.positions == "learned" and needed > self.max_positions:
            raise ValueError(
                f"TransformerDecoder.max_positions is {self.max_positions}, and {what} {needed} tokens, the prompt included: "
                "leave longer transcripts out (data.KeepTokens), or lower the max_tokens of the search"
            )

    def _logits(self, x: Float[Array, "*rest d"]) -> Float[Array, "*rest v"]:
        normed = self.norm(x)
        if not self.tied:
            return self.readout(normed)
        return wide_einsum("...d,vd->...v", normed, self.embed.embedding.astype(normed.dtype))

    def _aligned(self, weights: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
        """Returns the rows of the alignment heads among those of all layers."""
        if self.alignment_heads is None:
            return weights
        rows = np.array([layer * self.attention.heads + head for layer, head in self.alignment_heads])
        return jnp.take(weights, rows, axis=axis)


def _combined_draw(draws: list[Draws | None]) -> Draws | None:
    """Returns the draws of the layers as one draw; None if no layer draws."""
    drawn = [draw for draw in draws if draw is not None]
    if not drawn:
        return None
    total: Draws = jax.tree.map(lambda *leaves: sum(leaves), *drawn)
    return replace(total, baselines_bu=total.baselines_bu / len(drawn))
