"""Small modules for encoders and decoders.

Modules with parameters compute in the dtype of their input. A bias is added, and its gradient summed, in float32.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.ops import random
from jaxasr.ops.convolution import convolve
from jaxasr.ops.products import plus, wide_dot_general, widened
from jaxasr.records import Training

Floats = Float[Array, "..."]
Initializer = Any  # of nn.initializers: key, shape, dtype -> array


class Dense(nn.Module):
    """A linear layer, x W + b."""

    features: int
    use_bias: bool = True
    bias_init: Initializer = nn.initializers.zeros
    result: Literal["narrow", "float32"] = "narrow"  # float32: for float32 computations such as logits

    @nn.compact
    def __call__(self, x: Float[Array, "*rest d"]) -> Float[Array, "*rest m"]:
        kernel_dm = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features), jnp.float32)
        bias_m = self.param("bias", self.bias_init, (self.features,), jnp.float32) if self.use_bias else None
        product = wide_dot_general if self.result == "float32" else jax.lax.dot_general
        y = product(x, kernel_dm.astype(x.dtype), (((x.ndim - 1,), (0,)), ((), ())))
        return with_bias(y, bias_m)


class Conv(nn.Module):
    """A convolution over two axes, the channels last."""

    features: int
    kernel_size: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    strides: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x_btfc: Float[Array, "b t f c"]) -> Float[Array, "b s k d"]:
        shape = (*self.kernel_size, x_btfc.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        bias_d = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return with_bias(convolve(x_btfc, kernel.astype(x_btfc.dtype), self.padding, self.strides), bias_d)


class Embedding(nn.Module):
    """An embedding table with one row a token. The gradients of a row from all positions are summed in float32."""

    vocab: int
    features: int
    embedding_init: Initializer

    def setup(self):
        self.embedding = self.param("embedding", self.embedding_init, (self.vocab, self.features), jnp.float32)

    def __call__(self, tokens: Int[Array, "..."]) -> Floats:
        return jnp.take(widened(self.embedding), tokens, axis=0).astype(self.embedding.dtype)


def with_bias(y: Float[Array, "*rest m"], bias_m: Float[Array, " m"] | None) -> Float[Array, "*rest m"]:
    """Returns y + b in the dtype of `y`."""
    return y if bias_m is None else plus(y, bias_m.reshape(*[1] * (y.ndim - 1), -1))


class Dropout(nn.Module):
    """An inverted dropout whose mask is keyed by the example, so that it does not depend on row, padding or device.

    Without `training` (evaluation) it is the identity. The key is from the random stream "dropout".
    """

    rate: float = 0.0
    over_time: bool = False  # one mask for a whole sequence (variational dropout, Gal and Ghahramani 2016)

    def __post_init__(self):
        check_rates(self, "rate")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Floats, training: Training | None) -> Floats:
        if training is None or self.rate == 0.0:
            return x
        shared = (1,) if self.over_time and x.ndim > 2 else ()
        key = self.make_rng("dropout")
        return random.dropout(x, rate=self.rate, ids_b=jnp.asarray(training.ids_b), key=key, shared_axes=shared)


def check_rates(module: nn.Module, *names: str) -> None:
    """Checks that fields are rates.

    Raises:
        ValueError: a field is not at least 0 and below 1.
    """
    for name in names:
        rate = getattr(module, name)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{type(module).__name__}.{name} is {rate}; it must be at least 0 and below 1")


def stack_frames(x_btd: Float[Array, "b t d"], by: int) -> Float[Array, "b k m"]:
    """Returns `by` neighbours side by side: k = ceil(t / by) positions of width m = by * d, the last one padded with zeros.

    Source: the pyramid of Chan et al. 2015 (Listen, Attend and Spell), equation 5.
    """
    b, t, d = x_btd.shape
    full = -(-t // by)
    padded = jnp.pad(x_btd, ((0, 0), (0, full * by - t), (0, 0)))
    return padded.reshape(b, full, by * d)
