"""The Transformer decoder: every layer reads the tokens so far, then asks an attention of its own."""

from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.fixed import NoAttention
from jaxasr.nn.attention.interface import Attention, Memory
from jaxasr.nn.blocks import Chunks, FeedForward, SelfAttention
from jaxasr.nn.decoders.interface import Decoded, Decoder
from jaxasr.nn.layer_rng import Chance, chances, residual
from jaxasr.nn.layers import Dense, Dropout, Embed, check_rates
from jaxasr.ops.attention.energies import read, read_all
from jaxasr.ops.attention.positions import sinusoid
from jaxasr.ops.products import times
from jaxasr.records import END, Draws, Training, pytree


@pytree
@dataclass(frozen=True)
class TransformerState:
    """What the decoder carries from token to token. A search says how many tokens it wants room for."""

    tokens_b: Int[Array, " b"]  # read so far
    keys: tuple[Float[Array, "b u d"], ...]  # of each layer, zero where nothing was read yet
    values: tuple[Float[Array, "b u d"], ...]
    attention: tuple[Any, ...]  # of each layer

    @property
    def room(self) -> int:
        """Tokens that can be read in all."""
        return self.keys[0].shape[1]

    def with_room(self, tokens: int) -> "TransformerState":
        """The same with room for so many tokens. No more may have been read."""

        def resized(cache_bud: Array) -> Array:
            return jnp.pad(cache_bud[:, :tokens], ((0, 0), (0, max(0, tokens - self.room)), (0, 0)))

        return replace(self, keys=tuple(map(resized, self.keys)), values=tuple(map(resized, self.values)))


class _Layer(nn.Module):
    """Self-attention over the tokens so far, the attention to the utterance, a feed-forward layer."""

    width: int
    heads: int
    hidden: int
    dropout: float
    attention: Attention

    def setup(self):
        self.tokens = SelfAttention(self.width, self.heads, "none")
        self.norm = nn.LayerNorm()
        self.context = Dense(self.width)
        self.feed = FeedForward(self.hidden, "relu", self.dropout, use=2)

    def __call__(
        self, x_bud: Float[Array, "b u d"], memory: Memory, chance: Chance | None
    ) -> tuple[Float[Array, "b u d"], Float[Array, "b u h s"], Draws | None]:
        visible_bqk = Chunks(1).visible(x_bud.shape[1])[None]
        x_bud = residual(x_bud, self.tokens(x_bud, visible_bqk), chance, use=0, dropout=self.dropout)
        weighed = self.attention.weigh_all(self.norm(x_bud), memory)
        values_bshe = memory.values_bse.reshape(*memory.values_bse.shape[:2], self.attention.heads, -1)
        context_bud = self.context(read_all(weighed.weights_buhs.swapaxes(1, 2), values_bshe))
        x_bud = residual(x_bud, context_bud, chance, use=1, dropout=self.dropout)
        x_bud = residual(x_bud, self.feed(x_bud, chance), chance, use=2, dropout=self.dropout)
        return x_bud, weighed.weights_buhs, weighed.draws

    def step(
        self, x_bd: Float[Array, "b d"], memory: Memory, state: tuple[Array, Array, Any], at_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b d"], Float[Array, "b h s"], tuple[Array, Array, Any]]:
        """One token; the state is keys, values and that of the attention."""
        keys_bud, values_bud, attending = state
        read_bd, keys_bud, values_bud = self.tokens.step(x_bd, keys_bud, values_bud, at_b)
        x_bd = x_bd + read_bd
        weighed = self.attention.weigh(self.norm(x_bd), memory, attending)
        x_bd = x_bd + self.context(read(weighed.weights_bhs, memory.values_bse))
        x_bd = x_bd + self.feed(x_bd[:, None], None)[:, 0]
        return x_bd, weighed.weights_bhs, (keys_bud, values_bud, weighed.state)


class TransformerDecoder(Decoder):
    """Layers of causal self-attention, attention to the utterance, and a feed-forward layer, with pre-normalisation.

    Each layer has an attention of its own, a copy of `attention`, with its own parameters and state; its query is the
    normalised layer's input, and what it reads is projected to the width. The weights that come back are the rows of the
    first layer's heads, then the second's. What several layers drew counts as one draw: log probabilities and entropies are
    added, the baseline is the mean of theirs.

    In a search the keys and values of tokens read before are kept. Their room is static: a search asks for what it may
    need (`TransformerState.with_room`), and whoever steps by hand has room for `max_tokens`. A token for which there is no
    room has logits of NaN, not wrong ones.

    Sources: Vaswani et al. 2017; Dong et al. 2018, Speech-Transformer; pre-normalisation, Xiong et al. 2020 (2002.04745).
    """

    depth: int
    width: int
    heads: int  # of the self-attention
    attention: Attention
    expansion: int = 4  # width of the feed-forward layers in widths
    dropout: float = 0.0  # on embeddings, on every branch, and inside the feed-forward layers
    stochastic_depth: float = (
        0.0  # probability that a branch of the last layer is left out; linear from the first layer on
    )
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
        if isinstance(self.attention, NoAttention) and self.attention.read == "never":
            raise ValueError(
                "TransformerDecoder has NoAttention(read='never') and no state that could begin with the utterance: it would "
                "hear nothing; set read='always', or take a Speller"
            )
        if self.attention.mixing is not None:
            raise ValueError(
                f"TransformerDecoder.attention has mixing={self.attention.mixing!r}, positions that only a Speller can mix; "
                "give it to one, or take another focus than Latent"
            )
        check_rates(self, "dropout", "stochastic_depth")
        super().__post_init__()

    def setup(self):
        self.embed = Embed(self.vocab, self.width, embedding_init=nn.initializers.normal(self.width**-0.5))
        self.embed_dropout = Dropout(self.dropout)
        self.blocks = [
            _Layer(
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
    ) -> Decoded:
        """Logits and weights, teacher-forced: each token of `tokens_bu`, then the end."""
        chance = None
        if training is not None:
            if self.attention.samples > 1:
                m = self.attention.samples
                hidden_bsd, lengths_b, tokens_bu = (jnp.repeat(x, m, 0) for x in (hidden_bsd, lengths_b, tokens_bu))
                training = training.repeated(m)
            chance = chances(training, self.make_rng("dropout"), depth=self.depth, skip=self.stochastic_depth)
        inputs_bk = jnp.pad(tokens_bu, ((0, 0), (1, 0)), constant_values=END)
        at_bk = jnp.broadcast_to(jnp.arange(inputs_bk.shape[1]), inputs_bk.shape)
        x_bkd = self.embed_dropout(self._embedded(inputs_bk, at_bk), training)
        weights, draws = [], []
        for layer, block in enumerate(self.blocks):
            memory = block.attention.prepare(hidden_bsd, lengths_b, training)
            own = jax.tree.map(lambda leaf, layer=layer: leaf[layer], chance)
            x_bkd, weights_bkhs, drawn = block(x_bkd, memory, own)
            weights.append(weights_bkhs)
            draws.append(drawn)
        return Decoded(self.readout(self.norm(x_bkd)), jnp.concatenate(weights, axis=2), _together(draws))

    def start(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]
    ) -> tuple[tuple[Memory, ...], TransformerState]:
        """The memory of the utterances for each layer, and the state before the first token."""
        memory = tuple(block.attention.prepare(hidden_bsd, lengths_b, None) for block in self.blocks)
        attending = tuple(block.attention.initial_state(own) for block, own in zip(self.blocks, memory, strict=True))
        nothing = (jnp.zeros((lengths_b.shape[0], self.max_tokens, self.width), hidden_bsd.dtype),) * self.depth
        return memory, TransformerState(jnp.zeros_like(lengths_b), nothing, nothing, attending)

    def step(
        self, memory: tuple[Memory, ...], state: TransformerState, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b v"], Float[Array, "b h s"], TransformerState]:
        """Logits of the next token after `tokens_b` (END before the first one), weights, and the new state."""
        at_b = state.tokens_b
        x_bd = self._embedded(tokens_b, at_b)
        weights, states = [], []
        before = zip(state.keys, state.values, state.attention, strict=True)
        for block, own, layer in zip(self.blocks, memory, before, strict=True):
            x_bd, weights_bhs, layer = block.step(x_bd, own, layer, at_b)
            weights.append(weights_bhs)
            states.append(layer)
        logits_bv = jnp.where((at_b < state.room)[:, None], self.readout(self.norm(x_bd)), jnp.nan)
        return logits_bv, jnp.concatenate(weights, axis=1), TransformerState(at_b + 1, *zip(*states, strict=True))

    def _embedded(self, tokens: Array, at: Array) -> Float[Array, "..."]:
        """Embeddings of variance 1 and the sinusoids of their positions."""
        table = sinusoid(at.reshape(-1), self.width).reshape(*at.shape, self.width)
        embedded = times(self.embed(tokens), self.width**0.5)
        return embedded + table.astype(embedded.dtype)


def _together(draws: list[Draws | None]) -> Draws | None:
    """What the layers drew as one draw."""
    drawn = [each for each in draws if each is not None]
    if not drawn:
        return None
    total: Draws = jax.tree.map(lambda *leaves: sum(leaves), *drawn)
    return replace(total, baselines_bu=total.baselines_bu / len(drawn))
