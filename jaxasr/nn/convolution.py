"""Convolutional fronts that shorten time before a recurrence, under the mask."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.layers import masked
from jaxasr.ops.masks import valid_from_lengths


class ConvFront(nn.Module):
    """3 x 3 convolutions of stride 2 in time and frequency, ReLU after each: the front of LAS in Park et al. 2019.

    A position of the output is real if its centre is: each layer maps a length to ceil(length / 2). What lies beyond an
    utterance is zero before every layer, so an utterance is the same alone and in any batch.
    """

    channels: tuple[int, ...] = (32, 32)

    @property
    def stride(self) -> int:
        """Feature frames for one position of the output."""
        return 2 ** len(self.channels)

    @nn.compact
    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        x_btfc = frames_btf[..., None]
        for layer, channels in enumerate(self.channels):
            valid_bt = valid_from_lengths(lengths_b, x_btfc.shape[1])
            x_btfc = jnp.where(valid_bt[..., None, None], x_btfc, 0)
            x_btfc = nn.Conv(channels, (3, 3), (2, 2), padding=((1, 1), (1, 1)), name=f"conv_{layer}")(x_btfc)
            x_btfc = jax.nn.relu(x_btfc)
            lengths_b = -(-lengths_b // 2)
        hidden_bsd = x_btfc.reshape(*x_btfc.shape[:2], -1)
        return masked(hidden_bsd, valid_from_lengths(lengths_b, hidden_bsd.shape[1])), lengths_b
