"""The Conformer: self-attention for the whole utterance, convolution for the neighbourhood.

Source: Gulati et al. 2020, arXiv:2005.08100.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxasr.nn.blocks import FeedForward, SelfAttention
from jaxasr.nn.chance import Chance, residual
from jaxasr.nn.encoders.self_attentive import SelfAttentive
from jaxasr.nn.layers import Dense, masked
from jaxasr.ops.depthwise import depthwise


class ConvolutionModule(nn.Module):
    """Normalise, gate, convolve each channel over time, normalise, bend, mix the channels (section 2.2)."""

    taps: int
    causal: bool

    @nn.compact
    def __call__(self, x_bsd: Float[Array, "b s d"], valid_bs: Bool[Array, "b s"]) -> Float[Array, "b s d"]:
        d = x_bsd.shape[-1]
        x_bsd = nn.glu(Dense(2 * d, name="gate")(nn.LayerNorm(name="norm")(x_bsd)))
        filters_kd = self.param(
            "filters", nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=0, out_axis=()), (self.taps, d)
        )
        x_bsd = depthwise(masked(x_bsd, valid_bs), jnp.asarray(filters_kd, x_bsd.dtype), causal=self.causal)
        return Dense(d, name="mix")(jax.nn.swish(nn.LayerNorm(name="after")(x_bsd)))


class ConformerBlock(nn.Module):
    """Half a feed-forward step, self-attention, convolution, half a feed-forward step, normalise (section 2.4)."""

    heads: int
    hidden: int
    dropout: float
    taps: int
    causal: bool

    @nn.compact
    def __call__(
        self, x_bsd: Float[Array, "b s d"], constants: tuple[Array, Array], chance: Chance | None
    ) -> tuple[Float[Array, "b s d"], None]:
        visible_bqk, valid_bs = constants
        fed_bsd = FeedForward(self.hidden, "swish", self.dropout, use=0, name="feed_before")(x_bsd, chance)
        x_bsd = residual(x_bsd, fed_bsd, chance, use=0, dropout=self.dropout, scale=0.5)
        attended_bsd = SelfAttention(x_bsd.shape[-1], self.heads, "relative", name="attention")(x_bsd, visible_bqk)
        x_bsd = residual(x_bsd, attended_bsd, chance, use=1, dropout=self.dropout)
        convolved_bsd = ConvolutionModule(self.taps, self.causal, name="convolution")(x_bsd, valid_bs)
        x_bsd = residual(x_bsd, convolved_bsd, chance, use=2, dropout=self.dropout)
        fed_bsd = FeedForward(self.hidden, "swish", self.dropout, use=3, name="feed_after")(x_bsd, chance)
        x_bsd = residual(x_bsd, fed_bsd, chance, use=3, dropout=self.dropout, scale=0.5)
        return nn.LayerNorm(name="norm")(x_bsd), None


class Conformer(SelfAttentive):
    """Conformer layers over a front, relative positions in every one.

    Where the paper normalises the convolution by statistics of the batch, here each position is normalised over its
    channels (layer normalisation), with as many parameters. Statistics of a batch, masked and summed over devices or
    not, make an utterance depend on what it is batched with; this one is the same alone, in any batch, and in training
    and search. What the exchange costs in errors the paper's ablations (its table 3 to 7) do not say. It is slower in
    search than a folded batch normalisation by one pass over the channels.

    With `context` the convolution is causal, and a position depends on nothing behind its chunk but the frames that the
    front looks ahead. An even number of taps, such as the paper's 32, sees one position more ahead than back.
    """

    taps: int = 32  # of the convolution, in encoder positions

    block: ClassVar[type[nn.Module]] = ConformerBlock

    def __post_init__(self):
        if self.taps < 1:
            raise ValueError(f"Conformer.taps is {self.taps}; it must be at least 1")
        super().__post_init__()

    def fields(self) -> dict[str, Any]:
        return super().fields() | {"taps": self.taps, "causal": self.context is not None}
