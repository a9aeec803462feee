"""The listener: LSTM layers, plain or pyramidal."""

import math

from flax.linen import compact
from jaxtyping import Array, Float, Int

from jaxasr.nn.convolution import ConvFront
from jaxasr.nn.encoders.interface import Encoder
from jaxasr.nn.layers import Dropout, masked, stack_frames
from jaxasr.nn.recurrent import Lstm
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.records import Training


class Listener(Encoder):
    """Bidirectional LSTM layers, plain or pyramidal, after an optional convolutional front.

    `pools` gives the neighbours that are put side by side *before* each layer: (1, 2, 2, 2) is the pyramid of LAS 2015 (one
    plain layer, then three that each halve time), (1, 1, 1, 1) a plain stack. The total stride is the front's times their
    product.

    Source: Chan et al. 2015, section 3.1.
    """

    width: int  # of one direction
    pools: tuple[int, ...]  # one a layer
    front: ConvFront | None = None
    dropout: float = 0.0  # after every layer
    bidirectional: bool = True

    def __post_init__(self):
        if not self.pools or min(self.pools) < 1 or self.width < 1:
            raise ValueError(
                f"Listener has width {self.width} and pools {self.pools}; it needs a positive width and one "
                "number of at least 1 for each layer, such as pools=(1, 2, 2)"
            )
        super().__post_init__()

    @property
    def stride(self) -> int:
        """Feature frames for one position of the output."""
        return (self.front.stride if self.front else 1) * math.prod(self.pools)

    @compact
    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Hidden states, zero at padding, and their lengths. Dropout is on where `training` says whose it is."""
        x = masked(frames_btf, valid_from_lengths(lengths_b, frames_btf.shape[1]))
        if self.front is not None:
            x, lengths_b = self.front(x, lengths_b)
        for layer, pool in enumerate(self.pools):
            x, lengths_b = stack_frames(x, pool), -(-lengths_b // pool)
            x = Lstm(self.width, self.bidirectional, name=f"lstm_{layer}")(x, lengths_b)
            x = Dropout(self.dropout, name=f"dropout_{layer}")(x, training)
        return x, lengths_b
