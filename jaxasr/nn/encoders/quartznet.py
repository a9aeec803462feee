"""The QuartzNet encoder: convolutions of each channel over time, and products across channels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.encoders.interface import Encoder
from jaxasr.nn.layers import Dense, Dropout, check_rates
from jaxasr.ops.depthwise import depthwise
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.records import Training


class QuartzNet(Encoder):
    """A purely convolutional encoder of time-channel separable convolutions.

    The defaults are QuartzNet-15x5: a strided convolution, five groups of `repeats` blocks of `depth` convolutions with one
    residual connection a block, a dilated convolution and a dense layer. The paper has batch normalisation. Statistics of a
    batch would break the invariance to padding and to the number of devices, so here it is layer normalisation over the
    channels of a position, with as many parameters. `causal` convolutions see the past only.

    Source: Kriman et al. 2020, arXiv:1910.10261, section 3.
    """

    widths: tuple[int, ...] = (256, 256, 512, 512, 512)  # one a group
    kernel_sizes: tuple[int, ...] = (33, 39, 51, 63, 75)  # one a group
    repeats: int = 3  # blocks of each group: 1 is QuartzNet-5x5, 2 is 10x5
    depth: int = 5  # convolutions of each block
    first: tuple[int, int, int] = (256, 33, 2)  # width, kernel size and stride of the convolution before the groups
    last: tuple[int, int, int] = (512, 87, 2)  # width, kernel size and dilation of the convolution after them
    output: int = 1024  # width of the dense layer at the end
    dropout: float = 0.0  # after every rectifier
    causal: bool = False

    def __post_init__(self):
        sizes = (*self.widths, *self.kernel_sizes, *self.first, *self.last, self.repeats, self.depth, self.output)
        if len(self.widths) != len(self.kernel_sizes) or min(sizes) < 1:
            raise ValueError(
                f"QuartzNet has widths {self.widths}, kernel_sizes {self.kernel_sizes}, first {self.first}, last "
                f"{self.last}, repeats {self.repeats}, depth {self.depth} and output {self.output}; all must be at least 1, "
                "and each group needs a width and a kernel size"
            )
        check_rates(self, "dropout")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output."""
        return self.first[2]

    @nn.compact
    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Returns hidden states, zero at padding, and their lengths. Dropout is active only if `training` is given."""
        width, kernel_size, stride = self.first
        x = _Separable(width, kernel_size, self.causal, stride=stride, name="first")(frames_btf, lengths_b)
        x = self._rectified(x, training)
        lengths_b = -(-lengths_b // stride)
        for group, (width, kernel_size) in enumerate(zip(self.widths, self.kernel_sizes, strict=True)):
            for repeat in range(self.repeats):
                x = self._block(x, lengths_b, width, kernel_size, f"block_{group}_{repeat}", training)
        width, kernel_size, dilation = self.last
        x = _Separable(width, kernel_size, self.causal, dilation=dilation, name="last")(x, lengths_b)
        x = Dense(self.output, use_bias=False, name="output")(self._rectified(x, training))
        x = self._rectified(nn.LayerNorm(name="output_norm")(x), training)
        return zero_padding(x, valid_from_lengths(lengths_b, x.shape[1])), lengths_b

    def _block(
        self, x: Array, lengths_b: Array, width: int, kernel_size: int, name: str, training: Training | None
    ) -> Array:
        around = Dense(width, use_bias=False, name=f"{name}_around")(x)
        around = nn.LayerNorm(name=f"{name}_around_norm")(around)
        for layer in range(self.depth):
            x = _Separable(width, kernel_size, self.causal, name=f"{name}_{layer}")(x, lengths_b)
            x = x + around if layer == self.depth - 1 else x
            x = self._rectified(x, training)
        return x

    def _rectified(self, x: Array, training: Training | None) -> Array:
        return Dropout(self.dropout)(jax.nn.relu(x), training)


class _Separable(nn.Module):
    """A convolution of each channel over time, a product across channels, and a norm; no biases but the norm's."""

    width: int
    kernel_size: int
    causal: bool
    stride: int = 1
    dilation: int = 1

    @nn.compact
    def __call__(self, x_btc: Float[Array, "b t c"], lengths_b: Int[Array, " b"]) -> Float[Array, "b s d"]:
        filters_kc = self.param("filters", nn.initializers.lecun_normal(), (self.kernel_size, x_btc.shape[-1]))
        x_btc = zero_padding(x_btc, valid_from_lengths(lengths_b, x_btc.shape[1]))
        x_btc = _dilated(x_btc, filters_kc.astype(x_btc.dtype), self.dilation, self.causal)[:, :: self.stride]
        return nn.LayerNorm(name="norm")(Dense(self.width, use_bias=False, name="across")(x_btc))


def _dilated(x_btc: Array, filters_kc: Array, by: int, causal: bool) -> Array:
    """Returns a convolution with taps `by` frames apart: every `by`-th frame belongs to a sequence of its own."""
    if by == 1:
        return depthwise(x_btc, filters_kc, causal=causal)
    b, t, c = x_btc.shape
    length = -(-t // by)
    split = jnp.pad(x_btc, ((0, 0), (0, length * by - t), (0, 0))).reshape(b, length, by, c)
    rows = depthwise(jnp.swapaxes(split, 1, 2).reshape(b * by, length, c), filters_kc, causal=causal)
    return jnp.swapaxes(rows.reshape(b, by, length, c), 1, 2).reshape(b, length * by, c)[:, :t]
