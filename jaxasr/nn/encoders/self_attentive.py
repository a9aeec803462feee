"""The base of encoders with self-attention: subsampling, a projection, and a stack of layers."""

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
    """The base of encoders with self-attention. A subclass sets its `block`, and may override `fields` and `finished`.

    The bias of the projection is initialised at random, not to zero. A time mask leaves rows of zeros, which would have no
    variance, and a normalisation would multiply their gradient by a thousand in every branch.
    """

    depth: int
    width: int
    heads: int
    subsampling: Subsampling | None = None
    expansion: int | float = 4  # width of the feed-forward layers in widths
    dropout: float = 0.0  # on the input of the stack, on every branch, and inside the feed-forward layers
    stochastic_depth: float = 0.0  # probability that a branch of the last layer is left out; linear from the first on
    context: Chunks | None = None  # positions that a position may see; None: all
    layers: Layers = "unroll"
    remat: Remat = "none"  # the part of a block that the backward pass recomputes (blocks.run_layers)

    positions: PositionEncoding = (
        "sinusoid"  # added to the input; rotated queries and keys, or relative distances, in every layer
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
        """The feature frames for one position of the output."""
        return self.subsampling.stride if self.subsampling else 1

    @nn.compact
    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Returns hidden states, zero at padding, and their lengths. Random operations need `training`."""
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
        """Returns the fields of the blocks."""
        return {
            "heads": self.heads,
            "hidden": round(self.expansion * self.width),
            "dropout": self.dropout,
            "positions": "none" if self.positions == "sinusoid" else self.positions,
        }

    def finished(self, x_bsd: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        """Returns the output of the encoder from the output of the stack."""
        return x_bsd

    def _placed(self, x_bsd: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        """Returns the input of the stack: `x_bsd`, plus sinusoids if positions are absolute."""
        if self.positions != "sinusoid":
            return x_bsd
        table_sd = sinusoid(jnp.arange(x_bsd.shape[1]), self.width).astype(x_bsd.dtype)
        return x_bsd + table_sd[None]


def check_choices(module: object, **choices: Any) -> None:
    """Checks that every named field has one of the values of its Literal.

    Raises:
        ValueError: a field has another value.
    """
    for name, allowed in choices.items():
        value = getattr(module, name)
        if value not in get_args(allowed):
            one_of = ", ".join(map(repr, get_args(allowed)))
            raise ValueError(f"{type(module).__name__}.{name} is {value!r}; it must be one of {one_of}")
