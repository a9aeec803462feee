"""Transformer language models: causal self-attention alone."""

from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.blocks import Chunks, FeedForward, SelfAttention
from jaxasr.nn.decoders.transformer import TransformerState
from jaxasr.nn.layer_rng import Chance, chances, residual
from jaxasr.nn.layers import Dropout, Embed, check_rates
from jaxasr.nn.lms.interface import Lm, check_sizes
from jaxasr.nn.lms.readout import Readout
from jaxasr.ops.attention.positions import sinusoid
from jaxasr.ops.products import times
from jaxasr.records import Training
from jaxasr.shapes import Lengths


class _Layer(nn.Module):
    """Self-attention over the tokens so far, a feed-forward layer."""

    width: int
    heads: int
    hidden: int
    dropout: float

    def setup(self):
        self.tokens = SelfAttention(self.width, self.heads, "none")
        self.feed = FeedForward(self.hidden, "relu", self.dropout, use=1)

    def __call__(self, x_bkd: Float[Array, "b k d"], chance: Chance | None) -> Float[Array, "b k d"]:
        visible_bqk = Chunks(1).visible(x_bkd.shape[1])[None]
        x_bkd = residual(x_bkd, self.tokens(x_bkd, visible_bqk), chance, use=0, dropout=self.dropout)
        return residual(x_bkd, self.feed(x_bkd, chance), chance, use=1, dropout=self.dropout)

    def step(
        self, x_bd: Float[Array, "b d"], keys_bud: Array, values_bud: Array, at_b: Lengths
    ) -> tuple[Float[Array, "b d"], tuple[Float[Array, "b u d"], Float[Array, "b u d"]]]:
        """One token, and the keys and values with its own among them."""
        read_bd, keys_bud, values_bud = self.tokens.step(x_bd, keys_bud, values_bud, at_b)
        x_bd = x_bd + read_bd
        return x_bd + self.feed(x_bd[:, None], None)[:, 0], (keys_bud, values_bud)


class TransformerLm(Lm):
    """Layers of causal self-attention and a feed-forward layer, with pre-normalisation and sinusoids for positions.

    In a search the keys and values of tokens read before are kept. Their room is static: a search asks for what it may
    need (`TransformerState.with_room`), and whoever steps by hand has room for `max_tokens`. A token for which there is no
    room has logits of NaN, not wrong ones.

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
        self.embed = Embed(self.vocab, self.width, embedding_init=nn.initializers.normal(self.width**-0.5))
        self.embed_dropout = Dropout(self.dropout)
        hidden = self.expansion * self.width
        self.blocks = [_Layer(self.width, self.heads, hidden, self.dropout) for _ in range(self.depth)]
        self.norm = nn.LayerNorm()
        self.readout = Readout(self.vocab)

    def hidden(
        self, inputs_bk: Int[Array, "b k"], lengths_b: Lengths, training: Training | None
    ) -> Float[Array, "b k d"]:
        """As in `Lm`. What comes after a text is not looked at, for nothing behind a position is."""
        del lengths_b
        chance = None
        if training is not None:
            chance = chances(training, self.make_rng("dropout"), depth=self.depth, skip=self.stochastic_depth)
        at_bk = jnp.broadcast_to(jnp.arange(inputs_bk.shape[1]), inputs_bk.shape)
        x_bkd = self.embed_dropout(self._embedded(inputs_bk, at_bk), training)
        for layer, block in enumerate(self.blocks):
            x_bkd = block(x_bkd, jax.tree.map(lambda leaf, layer=layer: leaf[layer], chance))
        return self.norm(x_bkd)

    def start(self, examples: int) -> TransformerState:
        """As in `Lm`: nothing read yet, room for `max_tokens`."""
        nothing = (jnp.zeros((examples, self.max_tokens, self.width), self.compute),) * self.depth
        return TransformerState(jnp.zeros(examples, jnp.int32), nothing, nothing, ())

    def advance(
        self, state: TransformerState, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b d"], TransformerState]:
        """As in `Lm`."""
        at_b = state.tokens_b
        x_bd, caches = self._embedded(tokens_b, at_b), []
        for block, keys_bud, values_bud in zip(self.blocks, state.keys, state.values, strict=True):
            x_bd, cache = block.step(x_bd, keys_bud, values_bud, at_b)
            caches.append(cache)
        x_bd = jnp.where((at_b < state.room)[:, None], self.norm(x_bd), jnp.nan)
        keys, values = zip(*caches, strict=True)
        return x_bd, replace(state, tokens_b=at_b + 1, keys=keys, values=values)

    def _embedded(self, tokens: Int[Array, "..."], at: Int[Array, "..."]) -> Float[Array, "..."]:
        """Embeddings of variance 1 and the sinusoids of their positions."""
        table = sinusoid(at.reshape(-1), self.width).reshape(*at.shape, self.width)
        embedded = times(self.embed(tokens), self.width**0.5)
        return embedded + table.astype(embedded.dtype)

    def read_out(self, hidden: Float[Array, "... d"]) -> Float[Array, "... v"]:
        """As in `Lm`."""
        return self.readout(hidden, self.embed.embedding if self.tied else None)
