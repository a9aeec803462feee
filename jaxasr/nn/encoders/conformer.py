"""The Conformer encoder: self-attention over the whole utterance, convolution over the neighbourhood.

Source: Gulati et al. 2020, arXiv:2005.08100.
"""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxasr.nn.blocks import ACTIVATIONS, Activation, Chunks, FeedForward, Positions, SelfAttention
from jaxasr.nn.encoders.self_attentive import PositionEncoding, SelfAttentionEncoder
from jaxasr.nn.layer_rng import LayerRng, residual
from jaxasr.nn.layers import Dense
from jaxasr.nn.module import check_choices
from jaxasr.ops.depthwise import depthwise
from jaxasr.ops.masks import zero_padding
from jaxasr.ops.products import widened
from jaxasr.tree import check_numbers

Convolution = Literal["after", "before", "beside", "none"]
Filters = Literal["depthwise", "lightweight"]
Ffn = Literal["halves", "full", "one"]


class ConvolutionModule(nn.Module):
    """A convolution module: norm, gate, convolution of each channel, norm, activation, product across channels (section 2.2).

    Lightweight filters sum to 1 over the kernel, and the channels of a head share one filter: Wu et al. 2019, section 3.
    """

    kernel_size: int
    causal: bool
    filters: Filters
    heads: int
    activation: Activation
    norm_epsilon: float

    @nn.compact
    def __call__(self, x_bsd: Float[Array, "b s d"], valid_bs: Bool[Array, "b s"]) -> Float[Array, "b s d"]:
        d = x_bsd.shape[-1]
        x_bsd = nn.glu(Dense(2 * d, name="gate")(nn.LayerNorm(self.norm_epsilon, name="norm")(x_bsd)))
        initial = nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=0, out_axis=())
        filters_kd = self.param(
            "filters", initial, (self.kernel_size, d if self.filters == "depthwise" else self.heads)
        )
        if self.filters == "lightweight":
            filters_kd = jnp.repeat(jax.nn.softmax(widened(filters_kd), axis=0), d // self.heads, axis=1)
        x_bsd = depthwise(zero_padding(x_bsd, valid_bs), jnp.asarray(filters_kd, x_bsd.dtype), causal=self.causal)
        normed_bsd = nn.LayerNorm(self.norm_epsilon, name="after")(x_bsd)
        return Dense(d, name="mix")(ACTIVATIONS[self.activation](normed_bsd))


class ConformerBlock(nn.Module):
    """A block of half a feed-forward step, self-attention, convolution, half a feed-forward step, a norm (section 2.4)."""

    heads: int
    hidden: int
    dropout: float
    positions: Positions
    kernel_size: int
    causal: bool
    convolution: Convolution
    filters: Filters
    ffn: Ffn
    activation: Activation
    norm_epsilon: float
    score_block: int = 0
    context: Chunks | None = None

    @nn.compact
    def __call__(
        self, x_bsd: Float[Array, "b s d"], constants: tuple[Array, Array], rng: LayerRng | None
    ) -> tuple[Float[Array, "b s d"], None]:
        visible_bqk, valid_bs = constants

        def fed(x_bsd: Array, name: str, branch: int) -> Array:
            feed = FeedForward(self.hidden, self.activation, self.dropout, branch, self.norm_epsilon, name=name)
            fed_bsd = feed(x_bsd, rng)
            scale = 0.5 if self.ffn == "halves" else 1.0
            return residual(x_bsd, fed_bsd, rng, branch=branch, dropout=self.dropout, scale=scale)

        def attended(x_bsd: Array) -> Array:
            attention = SelfAttention(
                x_bsd.shape[-1],
                self.heads,
                self.positions,
                self.norm_epsilon,
                self.score_block,
                self.context,
                name="attention",
            )
            read_bsd = attention(x_bsd, visible_bqk)
            return residual(x_bsd, read_bsd, rng, branch=1, dropout=self.dropout)

        def convolved(x_bsd: Array) -> Array:
            convolution = ConvolutionModule(
                self.kernel_size,
                self.causal,
                self.filters,
                self.heads,
                self.activation,
                self.norm_epsilon,
                name="convolution",
            )
            return residual(x_bsd, convolution(x_bsd, valid_bs), rng, branch=2, dropout=self.dropout)

        if self.ffn != "one":
            x_bsd = fed(x_bsd, "feed_before", 0)
        if self.convolution == "beside":
            left, right = jnp.split(x_bsd, 2, axis=-1)
            x_bsd = jnp.concatenate([attended(left), convolved(right)], axis=-1)
        else:
            order = {"after": (attended, convolved), "before": (convolved, attended), "none": (attended,)}
            for branch in order[self.convolution]:
                x_bsd = branch(x_bsd)
        return nn.LayerNorm(self.norm_epsilon, name="norm")(fed(x_bsd, "feed_after", 3)), None


class Conformer(SelfAttentionEncoder):
    """An encoder of Conformer layers after a subsampling, with the variants of the paper's ablations.

    The paper normalises the convolution by statistics of the batch. Here each position is normalised over its channels (layer
    normalisation), with as many parameters. Statistics of a batch, masked and summed over devices or not, would make an
    utterance depend on its batch. This encoder has the same output alone, in any batch, in training and in search. The
    paper's ablations (tables 3 to 7) do not measure the effect on error rates. In search a layer normalisation costs one
    pass over the channels more than a folded batch normalisation.

    With `context` the convolution is causal, and a position depends on no frame after its chunk, except on the look-ahead of
    the subsampling. An even kernel size, such as the paper's 32, sees one position more ahead than back.
    """

    positions: PositionEncoding = "relative"
    kernel_size: int = 32  # encoder positions
    convolution: Convolution = "after"  # or before the attention, beside it on half the channels, or none (tables 3, 4)
    filters: Filters = "depthwise"  # or lightweight: one for each head of the attention (table 4)
    ffn: Ffn = "halves"  # before and after, in half steps or in full ones; or one, after (table 3 and 5)
    activation: Activation = "swish"  # of the feed-forward layers and the convolution (table 3)

    block: ClassVar[type[nn.Module]] = ConformerBlock

    def __post_init__(self):
        check_numbers(self, positive=("heads",))
        if self.kernel_size < 1:
            raise ValueError(f"Conformer.kernel_size is {self.kernel_size}; it must be at least 1")
        check_choices(self, convolution=Convolution, filters=Filters, ffn=Ffn, activation=Activation)
        if self.convolution == "beside" and self.width % (4 * self.heads):
            raise ValueError(
                f"Conformer has width {self.width} and {self.heads} heads; with convolution='beside' the attention "
                f"has half the channels, and the width must be a multiple of {4 * self.heads}"
            )
        if self.convolution == "none" and self.filters != "depthwise":
            raise ValueError(f"Conformer.filters is {self.filters!r}, but with convolution='none' there are none")
        super().__post_init__()

    def fields(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("kernel_size", "convolution", "filters", "ffn", "activation")}
        return super().fields() | own | {"causal": self.context is not None}
