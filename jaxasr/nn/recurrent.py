"""Recurrent layers: parameters for ops/lstm.py.

Initialisation: Glorot for the input weights, orthogonal for each recurrent gate, forget bias 1 (Jozefowicz et al. 2015).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.ops.lstm import lstm_directions


def _orthogonal_gates(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """Four orthogonal matrices side by side, one a gate."""
    width, _ = shape
    gate = nn.initializers.orthogonal()
    return jnp.concatenate([gate(k, (width, width), dtype) for k in jax.random.split(key, 4)], axis=1)


def forget_one(key: jax.Array, shape: tuple[int], dtype=jnp.float32) -> Array:
    """Zeros, but ones for the forget gate."""
    del key
    width = shape[0] // 4
    return jnp.zeros(shape, dtype).at[width : 2 * width].set(1.0)


class _Gates(nn.Module):
    """The parameters of one direction: projects inputs to gates and hands out the recurrent weights."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> tuple[Float[Array, "... m"], Float[Array, "e m"]]:
        gates = gate_projection(self.width, "input")(x)
        recurrent = self.param("recurrent", _orthogonal_gates, (self.width, 4 * self.width))
        return gates, recurrent.astype(gates.dtype)


class Lstm(nn.Module):
    """One LSTM layer over a sequence.

    Bidirectional: the output has width 2 * `width`, forward first; both directions start inside the example's real part.
    """

    width: int  # of one direction
    bidirectional: bool = True

    @property
    def output_width(self) -> int:
        return self.width * (2 if self.bidirectional else 1)

    @nn.compact
    def __call__(self, x_btd: Float[Array, "b t d"], lengths_b: Int[Array, " b"]) -> Float[Array, "b t m"]:
        names = ("forward", "backward")[: 2 if self.bidirectional else 1]
        gates, recurrents = zip(*(_Gates(self.width, name=name)(x_btd) for name in names), strict=True)
        reverse = (False, True)[: len(names)]
        return jnp.concatenate(lstm_directions(gates, recurrents, lengths_b, reverse=reverse), axis=-1)


class JointKernel(nn.Module):
    """The gate weights of a decoder's layer for [input, state] side by side: one product a step. No bias."""

    width: int

    @nn.compact
    def __call__(self, inputs: int) -> Float[Array, "e m"]:
        def both(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
            first, second = jax.random.split(key)
            top = nn.initializers.lecun_normal()(first, (inputs, shape[1]), dtype)
            return jnp.concatenate([top, _orthogonal_gates(second, (self.width, shape[1]), dtype)])

        return self.param("kernel", both, (inputs + self.width, 4 * self.width))


def gate_projection(width: int, name: str | None = None) -> nn.Dense:
    """Projects an input to the four gates of an LSTM of this width, forget bias 1."""
    return nn.Dense(4 * width, bias_init=forget_one, name=name)
