"""Transformer language models, which have causal self-attention alone."""

from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.blocks import Chunks, FeedForward, SelfAttention
from jaxasr.nn.decoders.transformer_layer import TransformerState
from jaxasr.nn.layer_rng import LayerRng, layer_rngs, residual
from jaxasr.nn.layers import Dropout, Embedding, check_rates
from jaxasr.nn.lms.interface import Lm, check_sizes
from jaxasr.nn.lms.readout import Readout
from jaxasr.ops.attention.positions import sinusoid
from jaxasr.ops.products import times
from jaxasr.records import Training
from jaxasr.shapes import Lengths, Size


class _LmLayer(nn.Module):
    """A layer of self-attention over the tokens so far and a feed-forward layer."""

    width: int
    heads: int
    hidden: int
    dropout: float

    def setup(self):
        self.tokens = SelfAttention(self.width, self.heads, "none")
        self.feed = FeedForward(self.hidden, "relu", self.dropout, branch=1)

    def __call__(self, x_bkd: Float[Array, "b k d"], rng: LayerRng | None) -> Float[Array, "b k d"]:
        visible_bqk = Chunks(1).visible(x_bkd.shape[1])[None]
        x_bkd = residual(x_bkd, self.tokens(x_bkd, visible_bqk), rng, branch=0, dropout=self.dropout)
        return residual(x_bkd, self.feed(x_bkd, rng), rng, branch=1, dropout=self.dropout)

    def step(
        self, x_bd: Float[Array, "b d"], keys_bud: Array, values_bud: Array, at_b: Lengths
    ) -> tuple[Float[Array, "b d"], tuple[Float[Array, "b u d"], Float[Array, "b u d"]]]:
        """Returns the output for one token, and the updated caches of keys and values."""
        read_bd, keys_bud, values_bud = self.tokens.step(x_bd, keys_bud, values_bud, at_b)
        x_bd = x_bd + read_bd
        return x_bd + self.feed(x_bd[:, None], None)[:, 0], (keys_bud, values_bud)


class TransformerLm(Lm):
    """A language model with layers of causal self-attention and feed-forward, pre-normalisation, and sinusoid positions.

    In a search the keys and values of earlier tokens are cached. The cache's capacity is static: `max_tokens`, unless a
    search sets another one by `TransformerState.with_capacity`. The logits of a token beyond the capacity are NaN.

    Sources: Vaswani et al. 2017; as a language model for speech, Irie et al. 2019 (1905.04226); pre-normalisation, Xiong et
    al. 2020 (2002.04745); tied weights, Press and Wolf 2017 (1608.05859), section 3.
    """

    depth: int
    width: int
    heads: int
    expansion: int = 4  # width of the feed-forward layers in widths
    dropout: float = 0.0  # on embeddings, on every branch, and inside the feed-forward layers
    stochastic_depth: float = 0.0  # probability that a branch of the last layer is left out; linear from the first on
    tied: bool = False  # the readout's weights are the embeddings
    max_tokens: int = 256

    def __post_init__(self):
        check_sizes(self, depth=self.depth, heads=self.heads, expansion=self.expansion, max_tokens=self.max_tokens)
        if self.width < 2 or self.width % 2 or self.width % self.heads:
            raise ValueError(
                f"TransformerLm has width {self.width} and heads {self.heads}; the width must be even, and a multiple of "
                "the heads"
            )
        check_rates(self, "dropout", "stochastic_depth")
        super().__post_init__()

    def setup(self):
        self.embed = Embedding(self.vocab, self.width, embedding_init=nn.initializers.normal(self.width**-0.5))
        self.embed_dropout = Dropout(self.dropout)
        hidden = self.expansion * self.width
        self.blocks = [_LmLayer(self.width, self.heads, hidden, self.dropout) for _ in range(self.depth)]
        self.norm = nn.LayerNorm()
        self.readout = Readout(self.vocab)

    def hidden(
        self, inputs_bk: Int[Array, "b k"], lengths_b: Lengths, training: Training | None
    ) -> Float[Array, "b k d"]:
        """Returns the input of the readout after each of the inputs, as in `Lm`."""
        del lengths_b  # causal: padding comes after all real tokens
        rng = None
        if training is not None:
            rng = layer_rngs(training, self.make_rng("dropout"), depth=self.depth, skip=self.stochastic_depth)
        at_bk = jnp.broadcast_to(jnp.arange(inputs_bk.shape[1]), inputs_bk.shape)
        x_bkd = self.embed_dropout(self._embedded(inputs_bk, at_bk), training)
        for layer, block in enumerate(self.blocks):
            x_bkd = block(x_bkd, jax.tree.map(lambda leaf, layer=layer: leaf[layer], rng))
        return self.norm(x_bkd)

    def start(self, examples: Size) -> TransformerState:
        """Returns the state before the first token, with capacity for `max_tokens` tokens."""
        empty = (jnp.zeros((examples, self.max_tokens, self.width), self.compute),) * self.depth
        return TransformerState(jnp.zeros(examples, jnp.int32), empty, empty, ())

    def advance(
        self, state: TransformerState, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b d"], TransformerState]:
        """Returns the input of the readout after `tokens_b`, and the new state, as in `Lm`."""
        at_b = state.tokens_b
        x_bd = self._embedded(tokens_b, at_b)
        caches: list[tuple[Array, Array]] = []
        for block, keys_bud, values_bud in zip(self.blocks, state.keys, state.values, strict=True):
            x_bd, cache = block.step(x_bd, keys_bud, values_bud, at_b)
            caches.append(cache)
        x_bd = jnp.where((at_b < state.capacity)[:, None], self.norm(x_bd), jnp.nan)
        keys, values = zip(*caches, strict=True)
        return x_bd, replace(state, tokens_b=at_b + 1, keys=keys, values=values)

    def _embedded(self, tokens: Int[Array, "..."], at: Int[Array, "..."]) -> Float[Array, "..."]:
        """Returns the sum of embeddings of variance 1 and the sinusoids of their positions."""
        table = sinusoid(at.reshape(-1), self.width).reshape(*at.shape, self.width)
        embedded = times(self.embed(tokens), self.width**0.5)
        return embedded + table.astype(embedded.dtype)

    def read_out(self, hidden: Float[Array, "... d"]) -> Float[Array, "... v"]:
        """Returns logits."""
        return self.readout(hidden, self.embed.embedding if self.tied else None)
