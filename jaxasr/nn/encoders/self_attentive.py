"""What the encoders made of self-attention share: a front that shortens time, a projection, and a stack of layers."""

from typing import Any, ClassVar, Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.blocks import Chunks, Layers, Remat, run_layers, visible
from jaxasr.nn.encoders.interface import Encoder
from jaxasr.nn.layer_rng import layer_rngs
from jaxasr.nn.layers import Dense, Dropout, check_rates
from jaxasr.nn.subsampling import Subsampling
from jaxasr.ops.attention.positions import sinusoid
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.records import Training

PositionEncoding = Literal["sinusoid", "rotary", "relative"]


class SelfAttentionEncoder(Encoder):
    """The half that is the same for all. A subclass says its `block`, and what stands before and after the stack.

    The bias of the projection begins at random, not at zero: a row of zeros, as a mask over time leaves it, would have
    no variance, and a normalisation would multiply its gradient by a thousand in every branch.
    """

    depth: int
    width: int
    heads: int
    subsampling: Subsampling | None = None
    expansion: int | float = 4  # width of the feed-forward layers in widths
    dropout: float = 0.0  # on what enters the stack, on every branch, and inside the feed-forward layers
    stochastic_depth: float = (
        0.0  # probability that a branch of the last layer is left out; linear from the first layer on
    )
    context: Chunks | None = None  # what a position may see; None: everything
    layers: Layers = "unroll"
    remat: Remat = "none"  # what of a block the backward pass computes a second time (blocks.run_layers)

    positions: PositionEncoding = (
        "sinusoid"  # added at the bottom; or turned queries and keys, or distances, in every layer
    )

    block: ClassVar[type[nn.Module]]

    def __post_init__(self):
        name = type(self).__name__
        if min(self.depth, self.width, self.heads, self.expansion) < 1 or self.width % (2 * self.heads):
            raise ValueError(
                f"{name} has depth {self.depth}, width {self.width}, heads {self.heads} and expansion {self.expansion}; all "
                "must be positive, and the width a multiple of twice the heads"
            )
        check_rates(self, "dropout", "stochastic_depth")
        check_choices(self, layers=Layers, remat=Remat, positions=PositionEncoding)
        super().__post_init__()

    @property
    def stride(self) -> int:
        """Feature frames for one position of the output."""
        return self.subsampling.stride if self.subsampling else 1

    @nn.compact
    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Hidden states, zero at padding, and their lengths. What is random is on where `training` says whose it is."""
        x = zero_padding(frames_btf, valid_from_lengths(lengths_b, frames_btf.shape[1]))
        if self.subsampling is not None:
            x, lengths_b = self.subsampling(x, lengths_b, training)
        x = self._placed(Dense(self.width, bias_init=nn.initializers.normal(0.1), name="project")(x))
        x = Dropout(self.dropout, name="dropout")(x, training)
        valid_bs = valid_from_lengths(lengths_b, x.shape[1])
        rng = None
        if training is not None:
            rng = layer_rngs(training, self.make_rng("dropout"), depth=self.depth, skip=self.stochastic_depth)
        constants = (visible(lengths_b, x.shape[1], self.context), valid_bs)
        x = run_layers(
            self.block, self.fields(), x, constants, rng, depth=self.depth, layers=self.layers, remat=self.remat
        )
        return zero_padding(self.finished(x), valid_bs), lengths_b

    def fields(self) -> dict[str, Any]:
        """What the blocks are made with."""
        return {
            "heads": self.heads,
            "hidden": round(self.expansion * self.width),
            "dropout": self.dropout,
            "positions": "none" if self.positions == "sinusoid" else self.positions,
        }

    def finished(self, x_bsd: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        """What leaves the stack, as the decoder sees it."""
        return x_bsd

    def _placed(self, x_bsd: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        """What enters the stack, with positions where they are absolute."""
        if self.positions != "sinusoid":
            return x_bsd
        table_sd = sinusoid(jnp.arange(x_bsd.shape[1]), self.width).astype(x_bsd.dtype)
        return x_bsd + table_sd[None]


def check_choices(module: object, **choices: Any) -> None:
    """Finds that every field named has one of the values of its Literal.

    Raises:
        ValueError: one has not.
    """
    for name, allowed in choices.items():
        value = getattr(module, name)
        if value not in get_args(allowed):
            one_of = ", ".join(map(repr, get_args(allowed)))
            raise ValueError(f"{type(module).__name__}.{name} is {value!r}; it must be one of {one_of}")
