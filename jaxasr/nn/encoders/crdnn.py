"""The CRDNN encoder: convolutions, recurrent layers, dense layers."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Int

from jaxasr.nn.encoders.interface import Encoder
from jaxasr.nn.encoders.listener import Listener
from jaxasr.nn.layers import Dense, Dropout, check_rates
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.records import Training


class Crdnn(Encoder):
    """An encoder of a listener with convolutional subsampling, and dense layers with layer normalisation and leaky ReLU.

    SpeechBrain's LibriSpeech recipe is `Listener(1024, (1, 1, 1, 1), subsampling=VggSubsampling((128, 256), (1, 4), (2, 2),
    norm="layer", leak=0.01))` and dense=(512, 512). Its dense layers have batch normalisation. Statistics of a batch would
    break the invariance to padding and to the number of devices, so here each position is normalised alone, with as many
    parameters.

    Source: Sainath et al. 2015 (CLDNN), ICASSP; Ravanelli et al. 2021, arXiv:2106.04624.
    """

    recurrent: Listener
    dense: tuple[int, ...] = (512, 512)  # widths
    leak: float = 0.01  # slope of the rectifier below zero
    dropout: float = 0.0  # after every dense layer

    def __post_init__(self):
        if self.recurrent.subsampling is None or not self.dense or min(self.dense) < 1:
            raise ValueError(
                f"Crdnn has dense {self.dense} and a listener with subsampling {self.recurrent.subsampling}; it needs widths "
                "of at least 1 and a subsampling, such as subsampling=VggSubsampling()"
            )
        check_rates(self, "dropout")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output."""
        return self.recurrent.stride

    @nn.compact
    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Returns hidden states, zero at padding, and their lengths. Dropout is active only if `training` is given."""
        x, lengths_b = self.recurrent(frames_btf, lengths_b, training=training)
        for layer, width in enumerate(self.dense):
            x = nn.LayerNorm(name=f"norm_{layer}")(Dense(width, name=f"dense_{layer}")(x))
            x = Dropout(self.dropout, name=f"dropout_{layer}")(jax.nn.leaky_relu(x, self.leak), training)
        return zero_padding(x, valid_from_lengths(lengths_b, x.shape[1])), lengths_b
