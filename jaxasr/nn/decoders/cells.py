"""Recurrent cells of decoders: the weights of a layer, and the update of its state in one step.

All products of a step go through `ops.recurrent.scan.Linear`. A layer's input x is the context and, above the first layer,
the state of the layer below. `gates_bm` is added to the gates: it is the token's projection for the first layer, a bias for
the others.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.nn.layers import Dense
from jaxasr.nn.recurrent import JointKernel, forget_one, gate_projection, orthogonal_gates
from jaxasr.ops.products import wide, widened
from jaxasr.ops.recurrent.gru import gru_cell
from jaxasr.ops.recurrent.lstm import Carry, lstm_cell, zero_carry
from jaxasr.ops.recurrent.scan import Arrays, Linear
from jaxasr.shapes import Size

CellKind = Literal["lstm", "gru"]
Initializer = Callable[..., Array]


class GruCarry(NamedTuple):
    """The state of a GRU, at least in float32, because a step may change it by little."""

    h_bd: Float[Array, "b d"]


class DecoderCell(Protocol):
    """The interface of a decoder's cells. They have no parameters of their own."""

    gates: int  # width of gates_bm in widths of the state
    projection: Any  # width -> Dense: projects a token to its gates
    kernel: Any  # width -> the module that is passed to `weights`, one a layer
    bias_init: Initializer
    inner_width: int  # width of one more bias a layer, inside the recurrent part, in widths of the state; 0: none

    def weights(self, layer: int, kernel: Any, inputs: int) -> Arrays:
        """Returns the weights of this layer for `move`, by name."""
        ...

    def zero(self, examples: Size, width: int, dtype: jnp.dtype) -> Any:
        """Returns the state before the first step, zeros."""
        ...

    def from_cell(self, cell_bd: Array) -> Any:
        """Returns the state before the first step for a given memory cell."""
        ...

    def move(self, linear: Linear, layer: int, gates_bm: Array, x_bd: Array, carry: Any, inner: Array | None) -> Any:
        """Returns the state after a step; all states have `h_bd`."""
        ...


class _LstmCell:
    """An LSTM cell with one product a step, of input and state side by side."""

    gates = 4
    projection = staticmethod(lambda width: gate_projection(width))
    kernel = JointKernel
    bias_init = staticmethod(forget_one)
    inner_width = 0

    def weights(self, layer: int, kernel: JointKernel, inputs: int) -> Arrays:
        return {f"layer_{layer}": kernel(inputs)}

    def zero(self, examples: Size, width: int, dtype: jnp.dtype) -> Carry:
        return zero_carry(examples, width, dtype)

    def from_cell(self, cell_bd: Array) -> Carry:
        return Carry(jnp.tanh(cell_bd), widened(cell_bd))

    def move(
        self, linear: Linear, layer: int, gates_bm: Array, x_bd: Array, carry: Carry, inner: Array | None
    ) -> Carry:
        del inner
        return lstm_cell(gates_bm + linear(f"layer_{layer}", jnp.concatenate([x_bd, carry.h_bd], axis=-1)), carry)


class _GruKernel(nn.Module):
    """The separate weights of input and state, because the reset gate acts on the product of the state alone."""

    width: int

    @nn.compact
    def __call__(self, inputs: int) -> tuple[Float[Array, "d m"], Float[Array, "e m"]]:
        m = 3 * self.width
        read = self.param("kernel", nn.initializers.lecun_normal(), (inputs, m))
        return read, self.param("recurrent", orthogonal_gates, (self.width, m))


class _GruCell:
    """A GRU cell with two products a step."""

    gates = 3
    projection = staticmethod(lambda width: Dense(3 * width))
    kernel = _GruKernel
    bias_init = staticmethod(nn.initializers.zeros)
    inner_width = 1

    def weights(self, layer: int, kernel: _GruKernel, inputs: int) -> Arrays:
        read, recurrent = kernel(inputs)
        return {f"layer_{layer}": read, f"state_{layer}": recurrent}

    def zero(self, examples: Size, width: int, dtype: jnp.dtype) -> GruCarry:
        return GruCarry(jnp.zeros((examples, width), wide(dtype)))

    def from_cell(self, cell_bd: Array) -> GruCarry:
        return GruCarry(jnp.tanh(widened(cell_bd)))

    def move(
        self, linear: Linear, layer: int, gates_bm: Array, x_bd: Array, carry: GruCarry, inner: Array | None
    ) -> GruCarry:
        hidden_bm = linear(f"state_{layer}", carry.h_bd.astype(x_bd.dtype))
        if inner is not None:
            hidden_bm = hidden_bm + jnp.pad(inner, (2 * len(inner), 0))[None]
        return GruCarry(gru_cell(gates_bm + linear(f"layer_{layer}", x_bd), hidden_bm, carry.h_bd))


CELLS: dict[CellKind, DecoderCell] = {"lstm": _LstmCell(), "gru": _GruCell()}
