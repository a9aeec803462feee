"""Recurrent layers, which hold the parameters of ops/recurrent/lstm.py and ops/recurrent/gru.py.

Initialisation: Glorot for the input weights, orthogonal for each recurrent gate, forget bias 1 (Jozefowicz et al. 2015).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.layers import Dense, Dropout
from jaxasr.ops.recurrent.directions import batch_major, time_major
from jaxasr.ops.recurrent.gru import gru_directions, gru_from
from jaxasr.ops.recurrent.lstm import Carry, lstm_directions, lstm_from, zero_carry
from jaxasr.records import Training
from jaxasr.shapes import Size


def orthogonal_gates(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """Returns orthogonal matrices side by side, one a gate."""
    width = shape[0]
    gates = shape[1] // width
    gate = nn.initializers.orthogonal()
    return jnp.concatenate([gate(k, (width, width), dtype) for k in jax.random.split(key, gates)], axis=1)


def forget_one(key: jax.Array, shape: tuple[int], dtype=jnp.float32) -> Array:
    """Returns zeros, with ones for the forget gate."""
    del key
    width = shape[0] // 4
    return jnp.zeros(shape, dtype).at[width : 2 * width].set(1.0)


class LstmGates(nn.Module):
    """The parameters of one direction of an LSTM: it projects inputs to gates and returns the recurrent weights too."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> tuple[Float[Array, "... m"], Float[Array, "e m"]]:
        gates = gate_projection(self.width, "input")(x)
        recurrent = self.param("recurrent", orthogonal_gates, (self.width, 4 * self.width))
        return gates, recurrent.astype(gates.dtype)


class GruGates(nn.Module):
    """The parameters of one direction of a GRU: gates, recurrent weights, and the bias of the candidate's recurrent part."""

    width: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "... d"]
    ) -> tuple[Float[Array, "... m"], Float[Array, "e m"], Float[Array, " e"]]:
        gates = Dense(3 * self.width, name="input")(x)
        recurrent = self.param("recurrent", orthogonal_gates, (self.width, 3 * self.width))
        bias = self.param("candidate_bias", nn.initializers.zeros, (self.width,))
        return gates, recurrent.astype(gates.dtype), bias.astype(gates.dtype)


class RecurrentLayer(nn.Module):
    """A recurrent layer over a sequence, the base of LSTM and GRU layers.

    Bidirectional: the output has width 2 * `width`, forward first. Both directions start inside the example's real part.
    Inputs are projected with time first, so that the loop's inputs need no copy (the two transpositions of the gates cancel).
    Recurrent dropout is variational: one mask an utterance and direction, on the input of the recurrent weights.

    Source: Gal and Ghahramani 2016, arXiv:1512.05287, section 4, for the dropout.
    """

    width: int  # of one direction
    bidirectional: bool = True
    recurrent_dropout: float = 0.0

    @property
    def _directions(self) -> tuple[str, ...]:
        return ("forward", "backward") if self.bidirectional else ("forward",)

    @property
    def _reverse(self) -> tuple[bool, ...]:
        return (False, True)[: len(self._directions)]

    def _scales(self, examples: Size, training: Training | None, dtype: jnp.dtype) -> tuple[Array, ...] | None:
        """Returns a mask of recurrent dropout for each direction; None without recurrent dropout."""
        if training is None or self.recurrent_dropout == 0.0:
            return None
        ones_bd = jnp.ones((examples, self.width), dtype)
        return tuple(
            Dropout(self.recurrent_dropout, name=f"{way}_dropout")(ones_bd, training) for way in self._directions
        )


class Lstm(RecurrentLayer):
    """A layer of LSTM (ops/recurrent/lstm.py)."""

    def __call__(
        self, x_btd: Float[Array, "b t d"], lengths_b: Int[Array, " b"], training: Training | None = None
    ) -> Float[Array, "b t m"]:
        gates, recurrents, scales = self._parameters(x_btd, training)
        hidden = lstm_directions(gates, recurrents, lengths_b, reverse=self._reverse, scales=scales)
        return jnp.concatenate(hidden, axis=-1)

    @staticmethod
    def initial_state(examples: int, width: int) -> Carry:
        """Returns the state of a stream before its first frame."""
        return zero_carry(examples, width)

    def advance(
        self, x_btd: Float[Array, "b t d"], lengths_b: Int[Array, " b"], prev_state: Carry
    ) -> tuple[Float[Array, "b t m"], Carry]:
        """Returns hidden states after `prev_state`, and the state after them; for one direction only."""
        (gates,), (recurrent,), _ = self._parameters(x_btd, None)
        return lstm_from(prev_state, gates, recurrent, lengths_b)

    @nn.compact
    def _parameters(self, x_btd: Array, training: Training | None) -> tuple[Any, Any, Any]:
        """Returns gates and recurrent weights of each direction, and the masks of recurrent dropout."""
        x_tbd = time_major(x_btd)
        gates, recurrents = zip(*(LstmGates(self.width, name=way)(x_tbd) for way in self._directions), strict=True)
        scales = self._scales(x_btd.shape[0], training, x_btd.dtype)
        return tuple(map(batch_major, gates)), recurrents, scales


class Gru(RecurrentLayer):
    """A layer of gated recurrent units (ops/recurrent/gru.py)."""

    def __call__(
        self, x_btd: Float[Array, "b t d"], lengths_b: Int[Array, " b"], training: Training | None = None
    ) -> Float[Array, "b t m"]:
        gates, recurrents, biases, scales = self._parameters(x_btd, training)
        hidden = gru_directions(gates, recurrents, biases, lengths_b, reverse=self._reverse, scales=scales)
        return jnp.concatenate(hidden, axis=-1)

    @staticmethod
    def initial_state(examples: int, width: int) -> Float[Array, "b d"]:
        """Returns the state of a stream before its first frame."""
        return jnp.zeros((examples, width))

    def advance(
        self, x_btd: Float[Array, "b t d"], lengths_b: Int[Array, " b"], prev_state: Float[Array, "b e"]
    ) -> tuple[Float[Array, "b t m"], Float[Array, "b e"]]:
        """Returns hidden states after `prev_state`, and the state after them; for one direction only."""
        (gates,), (recurrent,), (bias,), _ = self._parameters(x_btd, None)
        return gru_from(prev_state, gates, recurrent, bias, lengths_b)

    @nn.compact
    def _parameters(self, x_btd: Array, training: Training | None) -> tuple[Any, Any, Any, Any]:
        """Returns gates, recurrent weights and inner biases of each direction, and the masks of recurrent dropout."""
        x_tbd = time_major(x_btd)
        parameters = (GruGates(self.width, name=way)(x_tbd) for way in self._directions)
        gates, recurrents, biases = zip(*parameters, strict=True)
        scales = self._scales(x_btd.shape[0], training, x_btd.dtype)
        return tuple(map(batch_major, gates)), recurrents, biases, scales


class JointKernel(nn.Module):
    """The gate weights of a decoder's layer for [input, state] side by side, without a bias: one product a step."""

    width: int

    @nn.compact
    def __call__(self, inputs: int) -> Float[Array, "e m"]:
        def both(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
            first, second = jax.random.split(key)
            top = nn.initializers.lecun_normal()(first, (inputs, shape[1]), dtype)
            return jnp.concatenate([top, orthogonal_gates(second, (self.width, shape[1]), dtype)])

        return self.param("kernel", both, (inputs + self.width, 4 * self.width))


def gate_projection(width: int, name: str | None = None) -> Dense:
    """Returns a layer that projects an input to the four gates of an LSTM of this width, with forget bias 1."""
    return Dense(4 * width, bias_init=forget_one, name=name)
