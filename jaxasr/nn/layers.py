"""Small modules that the encoders and decoders share."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxasr.ops import random
from jaxasr.records import Training

Floats = Float[Array, "..."]


class Dropout(nn.Module):
    """Inverted dropout whose mask is keyed by the example, so it does not depend on row, padding or device.

    Without `training` (evaluation) it is the identity. The key is the random stream "dropout".
    """

    rate: float = 0.0
    over_time: bool = False  # one mask for a whole sequence (variational dropout, Gal and Ghahramani 2016)

    def __post_init__(self):
        if not 0.0 <= self.rate < 1.0:
            raise ValueError(f"Dropout.rate is {self.rate}; it must be at least 0 and below 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Floats, training: Training | None) -> Floats:
        if training is None or self.rate == 0.0:
            return x
        shared = (1,) if self.over_time and x.ndim > 2 else ()
        key = self.make_rng("dropout")
        return random.dropout(x, rate=self.rate, ids_b=jnp.asarray(training.ids_b), key=key, shared_axes=shared)


def masked(x_btd: Float[Array, "b t d"], valid_bt: Bool[Array, "b t"]) -> Float[Array, "b t d"]:
    """`x` where valid, zero elsewhere: what every layer that looks sideways does first."""
    return jnp.where(valid_bt[..., None], x_btd, 0)


def stack_frames(x_btd: Float[Array, "b t d"], by: int) -> Float[Array, "b k m"]:
    """Neighbours side by side: k = ceil(t / by) positions of width m = by * d, the last one filled with zeros.

    Source: the pyramid of Chan et al. 2015 (Listen, Attend and Spell), equation 5.
    """
    b, t, d = x_btd.shape
    full = -(-t // by)
    padded = jnp.pad(x_btd, ((0, 0), (0, full * by - t), (0, 0)))
    return padded.reshape(b, full, by * d)
