"""The Transformer encoder with pre-normalisation."""

from typing import Any, ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from jaxasr.nn.blocks import Activation, Chunks, FeedForward, Positions, SelfAttention
from jaxasr.nn.encoders.self_attentive import SelfAttentionEncoder
from jaxasr.nn.layer_rng import LayerRng, residual
from jaxasr.nn.module import check_choices


class TransformerBlock(nn.Module):
    """A block of self-attention, then a feed-forward layer, each a normalised residual branch."""

    heads: int
    hidden: int
    dropout: float
    positions: Positions
    activation: Activation
    norm_epsilon: float
    score_block: int = 0
    context: Chunks | None = None

    @nn.compact
    def __call__(
        self, x_bsd: Float[Array, "b s d"], constants: tuple[Array, Array], rng: LayerRng | None
    ) -> tuple[Float[Array, "b s d"], None]:
        visible_bqk, _ = constants
        attention = SelfAttention(
            x_bsd.shape[-1],
            self.heads,
            self.positions,
            self.norm_epsilon,
            self.score_block,
            self.context,
            name="attention",
        )
        attended_bsd = attention(x_bsd, visible_bqk)
        x_bsd = residual(x_bsd, attended_bsd, rng, branch=0, dropout=self.dropout)
        feed = FeedForward(self.hidden, self.activation, self.dropout, 1, self.norm_epsilon, name="feed")
        fed_bsd = feed(x_bsd, rng)
        return residual(x_bsd, fed_bsd, rng, branch=1, dropout=self.dropout), None


class TransformerEncoder(SelfAttentionEncoder):
    """An encoder of Transformer layers after a subsampling, with absolute, rotary or relative positions.

    Every layer sees the whole utterance, or chunks of it with `context`. With `context` a position depends on no frame after
    its chunk, except on the look-ahead of the subsampling.

    Sources: Vaswani et al. 2017; Dong et al. 2018, Speech-Transformer; pre-normalisation, Xiong et al. 2020 (2002.04745);
    rotation, Su et al. 2021 (2104.09864); relative positions, Dai et al. 2019 (1901.02860).
    """

    activation: Activation = "relu"  # of the feed-forward layers

    block: ClassVar[type[nn.Module]] = TransformerBlock

    def __post_init__(self):
        check_choices(self, activation=Activation)
        super().__post_init__()

    def fields(self) -> dict[str, Any]:
        return super().fields() | {"activation": self.activation}

    def finished(self, x_bsd: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        return nn.LayerNorm(self.norm_epsilon, name="norm")(x_bsd)
