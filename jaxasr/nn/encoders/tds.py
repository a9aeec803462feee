"""The TDS encoder: convolutions over time within each bin, and dense layers over bins and channels."""

import math

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Int

from jaxasr.nn.encoders.interface import Encoder
from jaxasr.nn.layers import Conv, Dense, Dropout, check_rates
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.records import Training


class Tds(Encoder):
    """A purely convolutional encoder of time-depth separable convolutions.

    Each group begins with a strided convolution to its channels, which its blocks keep. The defaults are the paper's encoder:
    with 80 bins the groups are 800, 1120 and 1440 wide. The paper's layer normalisation also averages over time. Here it is
    that of its streaming successor (Pratap et al. 2020, arXiv:2001.09727), over the channels and bins of one position. So it
    depends on no padding and, in the causal form, on no future frame. `causal` convolutions see the past only.

    Source: Hannun et al. 2019, arXiv:1904.02619, sections 2.1 and 4.
    """

    channels: tuple[int, ...] = (10, 14, 18)  # one a group
    depths: tuple[int, ...] = (2, 3, 6)  # blocks of each group
    strides: tuple[int, ...] = (2, 2, 2)  # in time, at the beginning of each group
    kernel_size: int = 21  # of every convolution
    output: int | None = 1024  # width of the dense layer at the end; None: none
    dropout: float = 0.0  # after every convolution and dense layer of the groups
    causal: bool = False

    def __post_init__(self):
        sizes = (self.channels, self.depths, self.strides)
        least = min(
            (len(sizes[0]), *self.channels, *self.strides, self.kernel_size, 1 if self.output is None else self.output)
        )
        if len({len(values) for values in sizes}) > 1 or least < 1 or min(self.depths) < 0:
            raise ValueError(
                f"Tds has channels {self.channels}, depths {self.depths}, strides {self.strides}, kernel_size "
                f"{self.kernel_size} and output {self.output}; it needs one number of at least 1 for each group in all three "
                "(a depth may be 0), at least one tap, and an output of at least 1, or None for none"
            )
        check_rates(self, "dropout")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output."""
        return math.prod(self.strides)

    @nn.compact
    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Returns hidden states, zero at padding, and their lengths. Dropout is active only if `training` is given."""
        x_btfc = frames_btf[..., None]
        for group, (channels, depth, stride) in enumerate(zip(self.channels, self.depths, self.strides, strict=True)):
            over_time = _OverTime(
                channels, self.kernel_size, stride, self.causal, self.dropout, name=f"subsample_{group}"
            )
            x_btfc = _normalized(over_time(x_btfc, lengths_b, training), f"norm_{group}")
            lengths_b = -(-lengths_b // stride)
            for block in range(depth):
                name = f"block_{group}_{block}"
                x_btfc = _TdsBlock(self.kernel_size, self.causal, self.dropout, name=name)(x_btfc, lengths_b, training)
        x_bsd = x_btfc.reshape(*x_btfc.shape[:2], -1)
        if self.output is not None:
            x_bsd = Dense(self.output, name="output")(x_bsd)
        return zero_padding(x_bsd, valid_from_lengths(lengths_b, x_bsd.shape[1])), lengths_b


class _OverTime(nn.Module):
    """A convolution over time, shared by all bins, with ReLU and dropout; t frames become ceil(t / stride)."""

    channels: int
    kernel_size: int
    stride: int
    causal: bool
    dropout: float

    @nn.compact
    def __call__(self, x_btfc: Array, lengths_b: Array, training: Training | None) -> Float[Array, "b s f c"]:
        x_btfc = zero_padding(x_btfc, valid_from_lengths(lengths_b, x_btfc.shape[1]))
        before = self.kernel_size - 1 if self.causal else (self.kernel_size - 1) // 2
        padding = ((before, self.kernel_size - 1 - before), (0, 0))
        x_btfc = Conv(self.channels, (self.kernel_size, 1), padding, (self.stride, 1), name="conv")(x_btfc)
        return Dropout(self.dropout)(jax.nn.relu(x_btfc), training)


class _TdsBlock(nn.Module):
    """A convolution over time, then two dense layers over bins and channels, each with a residual connection and a norm."""

    kernel_size: int
    causal: bool
    dropout: float

    @nn.compact
    def __call__(self, x_btfc: Array, lengths_b: Array, training: Training | None) -> Float[Array, "b t f c"]:
        over_time = _OverTime(x_btfc.shape[-1], self.kernel_size, 1, self.causal, self.dropout, name="over_time")
        x_btfc = _normalized(x_btfc + over_time(x_btfc, lengths_b, training), "norm_time")
        x_btm = x_btfc.reshape(*x_btfc.shape[:2], -1)
        y_btm = Dropout(self.dropout)(jax.nn.relu(Dense(x_btm.shape[-1], name="dense_in")(x_btm)), training)
        y_btm = Dropout(self.dropout)(Dense(x_btm.shape[-1], name="dense_out")(y_btm), training)
        return _normalized((x_btm + y_btm).reshape(x_btfc.shape), "norm_dense")


def _normalized(x_btfc: Array, name: str) -> Array:
    """Returns each position normalised over its bins and channels."""
    return nn.LayerNorm(reduction_axes=(-2, -1), feature_axes=(-2, -1), name=name)(x_btfc)
