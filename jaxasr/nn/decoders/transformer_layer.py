"""A layer of the Transformer decoder, and the state of the stack between tokens."""

from dataclasses import dataclass, field, replace
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import Attention, Memory
from jaxasr.nn.blocks import Activation, Chunks, FeedForward, SelfAttention
from jaxasr.nn.layer_rng import LayerRng, residual
from jaxasr.nn.layers import Dense
from jaxasr.ops.attention.energies import read, read_all
from jaxasr.records import STATIC, Draws, pytree


@pytree
@dataclass(frozen=True)
class TransformerState:
    """The state of a Transformer decoder between tokens, with capacity for a static number of tokens after the prompt."""

    tokens_b: Int[Array, " b"]  # read so far, the prompt included
    keys: tuple[Float[Array, "b u d"], ...]  # of each layer, zero where nothing was read yet
    values: tuple[Float[Array, "b u d"], ...]
    attention: tuple[Any, ...]  # of each layer
    prompt: int = field(default=0, metadata=STATIC)  # tokens that are read before a search begins

    @property
    def capacity(self) -> int:
        """The number of tokens that can be read in all after the prompt."""
        return self.keys[0].shape[1] - self.prompt

    def with_capacity(self, tokens: int) -> "TransformerState":
        """Returns the state with capacity for `tokens` tokens, of which no more may have been read."""

        def resized(cache_bud: Array) -> Array:
            kept_bud = cache_bud[:, : self.prompt + tokens]
            return jnp.pad(kept_bud, ((0, 0), (0, max(0, tokens - self.capacity)), (0, 0)))

        return replace(self, keys=tuple(map(resized, self.keys)), values=tuple(map(resized, self.values)))


class DecoderLayer(nn.Module):
    """A layer of self-attention over the tokens so far, an attention to the utterance, and a feed-forward layer."""

    width: int
    heads: int
    hidden: int
    dropout: float
    attention: Attention
    activation: Activation
    norm_epsilon: float

    def setup(self):
        self.tokens = SelfAttention(self.width, self.heads, "none", self.norm_epsilon)
        self.norm = nn.LayerNorm(self.norm_epsilon)
        self.context = Dense(self.width)
        self.feed = FeedForward(self.hidden, self.activation, self.dropout, 2, self.norm_epsilon)

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
