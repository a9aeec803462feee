"""The base of encoders with self-attention: subsampling, a projection, and a stack of layers."""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.blocks import NORM_EPSILON, Chunks, Layers, Remat, run_layers, visible
from jaxasr.nn.encoders.interface import Encoder
from jaxasr.nn.layer_rng import layer_rngs
from jaxasr.nn.layers import Dense, Dropout, check_rates
from jaxasr.nn.module import check_choices
from jaxasr.nn.subsampling import Subsampling
from jaxasr.ops.attention.positions import sinusoid
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.records import Training
from jaxasr.tree import check_numbers

PositionEncoding = Literal["sinusoid", "rotary", "relative", "table"]


class SelfAttentionEncoder(Encoder):
    """The base of encoders with self-attention. A subclass sets its `block`, and may override `fields` and `finished`.

    The bias of the projection is initialised at random, not to zero. A time mask leaves rows of zeros, which would have no
    variance, and a normalisation would multiply their gradient by a thousand in every branch.

    positions="table" adds a table that is never trained, in the collection "constants": sinusoids at first, or the rows of an
    imported model. An utterance has at most `max_positions` positions.
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

    # sinusoids or a stored table, added to the input; rotated queries and keys, or relative distances, in every layer
    positions: PositionEncoding = "sinusoid"
    max_positions: int = 0  # rows of the table
    projection: Literal["linear", "none"] = "linear"  # of the subsampled frames; none: they have the width already
    norm_epsilon: float = NORM_EPSILON  # added to the variance in every layer normalisation
    # queries whose scores exist at a time, computed in both passes; 0: all, and their weights are kept for the backward pass
    score_block: int = 0

    block: ClassVar[type[nn.Module]]

    def __post_init__(self):
        name = type(self).__name__
        if min(self.depth, self.width, self.heads, self.expansion) < 1 or self.width % (2 * self.heads):
            raise ValueError(
                f"{name} has depth {self.depth}, width {self.width}, heads {self.heads} and expansion {self.expansion}; all "
                "must be positive, and the width a multiple of twice the heads"
            )
        check_numbers(self, positive=("norm_epsilon",), not_negative=("max_positions", "score_block"))
        check_rates(self, "dropout", "stochastic_depth")
        check_choices(
            self,
            layers=Layers,
            remat=Remat,
            positions=PositionEncoding,
            projection=Literal["linear", "none"],
        )
        if (self.positions == "table") != (self.max_positions > 0):
            raise ValueError(
                f"{name} has positions={self.positions!r} and max_positions={self.max_positions}; a table needs a number of "
                "rows, and nothing else has one"
            )
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
        x = self._placed(self._projected(x))
        x = Dropout(self.dropout, name="dropout")(x, training)
        valid_bs = valid_from_lengths(lengths_b, x.shape[1])
        rng = None
        if training is not None:
            rng = layer_rngs(training, self.make_rng("dropout"), depth=self.depth, skip=self.stochastic_depth)
        constants = (visible(lengths_b, x.shape[1], None if self.score_block else self.context), valid_bs)
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
            "positions": self.positions if self.positions in ("rotary", "relative") else "none",
            "norm_epsilon": self.norm_epsilon,
            "score_block": self.score_block,
            "context": self.context,
        }

    def finished(self, x_bsd: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        """Returns the output of the encoder from the output of the stack."""
        return x_bsd

    def _projected(self, x_bsd: Float[Array, "b s m"]) -> Float[Array, "b s d"]:
        if self.projection == "linear":
            return Dense(self.width, bias_init=nn.initializers.normal(0.1), name="project")(x_bsd)
        if x_bsd.shape[-1] != self.width:
            raise ValueError(
                f"{type(self).__name__} has projection='none' and width {self.width}, and its input has "
                f"{x_bsd.shape[-1]} columns; give the subsampling this width, or take projection='linear'"
            )
        return x_bsd

    def _placed(self, x_bsd: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        """Returns the input of the stack: `x_bsd`, plus sinusoids or the table if positions are absolute.

        Raises:
            ValueError: the table has fewer rows than the batch has positions.
        """
        positions = x_bsd.shape[1]
        if self.positions == "sinusoid":
            return x_bsd + sinusoid(jnp.arange(positions), self.width).astype(x_bsd.dtype)[None]
        if self.positions != "table":
            return x_bsd
        rows = self.max_positions
        table_sd = self.variable("constants", "positions", lambda: sinusoid(jnp.arange(rows), self.width)).value
        if positions > rows:
            raise ValueError(
                f"{type(self).__name__}.max_positions is {rows}, and a batch has {positions} positions; take shorter "
                "utterances, or shorter windows in transcription (--window-s)"
            )
        return x_bsd + table_sd[None, :positions].astype(x_bsd.dtype)
