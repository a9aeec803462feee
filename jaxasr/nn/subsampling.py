"""Convolutional subsampling, which shortens time before an encoder's layers; padding has no influence."""

import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.blocks import ACTIVATIONS, Activation
from jaxasr.nn.layers import Conv, Dropout, check_rates
from jaxasr.nn.module import Module, check_choices
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.ops.pooling import max_over_bins, max_over_time
from jaxasr.records import Training

Hidden = tuple[Float[Array, "b s d"], Int[Array, " b"]]


class Subsampling(Module):
    """The interface of an encoder's subsampling. A subsampling overrides `stride` and `__call__`.

    If no position depends on frames after its own stride, it can process a stream. Then it sets `streamable` and overrides
    `initial_state` and `advance` too.
    """

    # without an annotation, because Flax would make a field of it
    streamable = False

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output: t frames become ceil(t / stride) positions."""
        raise TypeError(f"{type(self).__name__} is a Subsampling without stride")

    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], training: Training | None = None
    ) -> Hidden:
        """Returns hidden states, zero at padding, and their lengths."""
        raise TypeError(f"{type(self).__name__} is a Subsampling without __call__()")

    def initial_state(self, examples: int, bins: int) -> Any:
        """Returns the state of `examples` streams of frames with `bins` bins before their first frame."""
        raise TypeError(f"{type(self).__name__} is a Subsampling without initial_state()")

    def advance(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], prev_state: Any, next_start: int
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"], Any]:
        """Returns hidden states of whole strides of frames, their lengths, and the next window's state.

        Args:
            next_start: frame at which the next window begins.
        """
        raise TypeError(f"{type(self).__name__} is a Subsampling without advance()")


class ConvSubsampling(Subsampling):
    """A subsampling by 3 x 3 convolutions of stride 2 in time and frequency, each with ReLU, as in LAS of Park et al. 2019.

    A position of the output is real if its centre is: each layer maps a length to ceil(length / 2). Padding is set to zero
    before every layer, so an utterance has the same output alone and in any batch.
    """

    channels: tuple[int, ...] = (32, 32)
    streamable = True

    def __post_init__(self):
        if min((1, *self.channels)) < 1:
            raise ValueError(
                f"ConvSubsampling.channels is {self.channels}; it needs a number of at least 1 for each layer"
            )
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output."""
        return 2 ** len(self.channels)

    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], training: Training | None = None
    ) -> Hidden:
        return self._convolve(frames_btf, lengths_b, None, 0)[:2]

    def initial_state(self, examples: int, bins: int) -> tuple[Float[Array, "b 1 _ _"], ...]:
        """Returns the row of each layer before its first one: zeros."""
        rows = []
        for channels in (1, *self.channels[:-1]):
            rows.append(jnp.zeros((examples, 1, bins, channels)))
            bins = -(-bins // 2)
        return tuple(rows)

    def advance(
        self,
        frames_btf: Float[Array, "b t f"],
        lengths_b: Int[Array, " b"],
        prev_state: tuple[Float[Array, "b 1 _ _"], ...],
        next_start: int,
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"], tuple[Float[Array, "b 1 _ _"], ...]]:
        return self._convolve(frames_btf, lengths_b, prev_state, next_start)

    @nn.compact
    def _convolve(
        self, frames_btf: Array, lengths_b: Array, prev_state: tuple[Array, ...] | None, next_start: int
    ) -> tuple[Array, Array, tuple[Array, ...]]:
        """Returns hidden states, lengths, and each layer's last row before frame `next_start`."""
        x_btfc = frames_btf[..., None]
        new_state: list[Array] = []
        for layer, channels in enumerate(self.channels):
            x_btfc = zero_padding(x_btfc, valid_from_lengths(lengths_b, x_btfc.shape[1]))
            left = 1
            if prev_state is not None:
                new_state.append(x_btfc[:, next_start - 1 : next_start])
                x_btfc = jnp.concatenate([prev_state[layer].astype(x_btfc.dtype), x_btfc], axis=1)
                left = 0
                next_start = next_start // 2
            x_btfc = Conv(channels, (3, 3), ((left, 1), (1, 1)), (2, 2), name=f"conv_{layer}")(x_btfc)
            x_btfc = jax.nn.relu(x_btfc)
            lengths_b = -(-lengths_b // 2)
        return *_flattened(x_btfc, lengths_b), tuple(new_state)


class TimeConvSubsampling(Subsampling):
    """A subsampling by convolutions over time alone, with all bins as input channels, as in Whisper.

    A position of the output is real if its centre is: a layer of stride k maps a length to ceil(length / k). Padding is set
    to zero before every layer.

    Source: Radford et al. 2022 (2212.04356), section 2.2: two layers of width 3 with GELU, the second with stride 2.
    """

    channels: tuple[int, ...]  # one a layer
    strides: tuple[int, ...] = (1, 2)
    kernel_size: int = 3  # frames, odd
    activation: Activation = "gelu"

    def __post_init__(self):
        check_choices(self, activation=Activation)
        if len(self.channels) != len(self.strides) or min((1, *self.channels, *self.strides)) < 1:
            raise ValueError(
                f"TimeConvSubsampling has channels {self.channels} and strides {self.strides}; it needs one number of at "
                "least 1 for each layer in both"
            )
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"TimeConvSubsampling.kernel_size is {self.kernel_size}; an odd number is needed")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output."""
        return math.prod(self.strides)

    @nn.compact
    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], training: Training | None = None
    ) -> Hidden:
        x_bt1f = frames_btf[:, :, None]
        sides = self.kernel_size // 2
        for layer, (channels, by) in enumerate(zip(self.channels, self.strides, strict=True)):
            x_bt1f = zero_padding(x_bt1f, valid_from_lengths(lengths_b, x_bt1f.shape[1]))
            convolution = Conv(channels, (self.kernel_size, 1), ((sides, sides), (0, 0)), (by, 1), name=f"conv_{layer}")
            x_bt1f = ACTIVATIONS[self.activation](convolution(x_bt1f))
            lengths_b = -(-lengths_b // by)
        return _flattened(x_bt1f, lengths_b)


class VggSubsampling(Subsampling):
    """A subsampling by blocks of two 3 x 3 convolutions and max pooling, over time and frequency.

    The defaults are ESPnet's VGG subsampling: 64 and 128 channels, ReLU. Each block halves time and frequency, rounded
    up. SpeechBrain's CRDNN has channels=(128, 256), time_pools=(1, 4), norm="layer", leak=0.01.

    Source: Simonyan and Zisserman 2015, arXiv:1409.1556; Hori et al. 2017, arXiv:1706.02737, section 2.2, for speech.
    """

    channels: tuple[int, ...] = (64, 128)  # one a block
    time_pools: tuple[int, ...] = (2, 2)
    bin_pools: tuple[int, ...] = (2, 2)
    norm: Literal["none", "layer"] = "none"  # over frequency and channels of one frame, after each convolution
    leak: float = 0.0  # slope of the rectifier below zero
    dropout: float = 0.0  # after each block; one mask an utterance drops whole channels of a bin

    def __post_init__(self):
        sizes = (self.channels, self.time_pools, self.bin_pools)
        if (
            len({len(values) for values in sizes}) > 1
            or min((1, *self.channels, *self.time_pools, *self.bin_pools)) < 1
        ):
            raise ValueError(
                f"VggSubsampling has channels {self.channels}, time_pools {self.time_pools} and bin_pools {self.bin_pools}; "
                "it needs one number of at least 1 for each block in all three"
            )
        check_rates(self, "dropout")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output."""
        return math.prod(self.time_pools)

    @nn.compact
    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], training: Training | None = None
    ) -> Hidden:
        x_btfc = frames_btf[..., None]
        for block, (channels, by, bins_by) in enumerate(
            zip(self.channels, self.time_pools, self.bin_pools, strict=True)
        ):
            for half in "ab":
                x_btfc = self._convolve(x_btfc, lengths_b, channels, f"{block}{half}")
            x_btfc = max_over_bins(x_btfc, bins_by)
            x_btfc = max_over_time(x_btfc, valid_from_lengths(lengths_b, x_btfc.shape[1]), by)
            x_btfc = Dropout(self.dropout, over_time=True, name=f"dropout_{block}")(x_btfc, training)
            lengths_b = -(-lengths_b // by)
        return _flattened(x_btfc, lengths_b)

    def _convolve(self, x_btfc: Array, lengths_b: Array, channels: int, name: str) -> Array:
        x_btfc = zero_padding(x_btfc, valid_from_lengths(lengths_b, x_btfc.shape[1]))
        x_btfc = Conv(channels, (3, 3), ((1, 1), (1, 1)), name=f"conv_{name}")(x_btfc)
        if self.norm == "layer":
            x_btfc = nn.LayerNorm(reduction_axes=(-2, -1), feature_axes=(-2, -1), name=f"norm_{name}")(x_btfc)
        return jax.nn.leaky_relu(x_btfc, self.leak) if self.leak else jax.nn.relu(x_btfc)


def _flattened(x_btfc: Array, lengths_b: Array) -> Hidden:
    """Returns hidden states with bins and channels as one axis, zero at padding, and the lengths."""
    hidden_bsd = x_btfc.reshape(*x_btfc.shape[:2], -1)
    return zero_padding(hidden_bsd, valid_from_lengths(lengths_b, hidden_bsd.shape[1])), lengths_b
