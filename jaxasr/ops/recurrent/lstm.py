"""The LSTM recurrence: masked, in any number of directions at once, with a backward pass of its own.

The input projection is one matrix product outside (the caller's), so a step of the scan holds only `h @ recurrent` and the
gates. The backward pass carries (dh, dc) through a reverse scan and makes the gradient of the recurrent weights in one
product after it, where automatic differentiation would add a [d, 4d] matrix at every step. All directions advance in one
loop: their products are independent, and the loop's own cost is paid once.

Of bfloat16 gates only the hidden states are narrow. The cell adds a little at every step: rounded to bfloat16, a cell of 1
would not notice 0.003. It is kept in float32, the gates are computed in it, and so are their gradients.

Source: Hochreiter and Schmidhuber 1997; gates in the order input, forget, cell, output, no peepholes.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.ops.masks import valid_from_lengths
from jaxasr.ops.products import wide, widened
from jaxasr.ops.recurrent.directions import (
    Reverse,
    batch_major,
    product,
    put_at,
    rows_at,
    scaled,
    time_major,
    weight_gradient,
)
from jaxasr.shapes import Size


class Carry(NamedTuple):
    """The state of one direction: hidden state and cell."""

    h_bd: Float[Array, "b d"]
    c_bd: Float[Array, "b d"]


def zero_carry(examples: Size, width: int, dtype: jnp.dtype = jnp.dtype(jnp.float32)) -> Carry:
    """Returns the state before the first step; the cell, a sum over all steps, is in float32 at least."""
    return Carry(jnp.zeros((examples, width), dtype), jnp.zeros((examples, width), wide(dtype)))


def carried(state: Carry, dtype: jnp.dtype) -> Carry:
    """Returns the state as a recurrence of gates of this dtype carries it."""
    return Carry(state.h_bd.astype(dtype), widened(state.c_bd))


def lstm_cell(gates_bm: Float[Array, "b m"], before: Carry) -> Carry:
    """Returns the state after a step from the sum of input, recurrent part and bias (m = 4 d), in the dtypes of `before`."""
    return _cell(gates_bm, before)[0]


def lstm(
    gates_btm: Float[Array, "b t m"],
    recurrent_dm: Float[Array, "d m"],
    lengths_b: Int[Array, " b"],
    *,
    reverse: bool = False,
) -> Float[Array, "b t d"]:
    """Returns the hidden states of one direction over the valid part; zero at padding, whatever the input there.

    Args:
        gates_btm: the projected inputs with their bias, m = 4 d.
        recurrent_dm: the recurrent weights.
        lengths_b: real positions of each example.
        reverse: starts at each example's own last real position.
    """
    return lstm_directions((gates_btm,), (recurrent_dm,), lengths_b, reverse=(reverse,))[0]


def lstm_from(
    start: Carry, gates_btm: Float[Array, "b t m"], recurrent_dm: Float[Array, "d m"], lengths_b: Int[Array, " b"]
) -> tuple[Float[Array, "b t d"], Carry]:
    """Returns the hidden states of a recurrence from `start` on, and the final state: after each example's last real step."""
    valid_tb = valid_from_lengths(lengths_b, gates_btm.shape[1]).T
    inputs = (time_major(gates_btm),)
    start = carried(start, gates_btm.dtype)
    out: Any = _scan((False,), inputs, (recurrent_dm,), valid_tb, (None,), (start,))
    (hidden_tbd,), (end,) = out
    return batch_major(hidden_tbd), end


def lstm_directions(
    gates: tuple[Float[Array, "b t m"], ...],
    recurrents: tuple[Float[Array, "d m"], ...],
    lengths_b: Int[Array, " b"],
    *,
    reverse: tuple[bool, ...],
    scales: tuple[Float[Array, "b d"], ...] | None = None,
) -> tuple[Float[Array, "b t d"], ...]:
    """Returns the hidden states of several independent recurrences over the same examples, in one loop (see `lstm`).

    Args:
        scales: what a direction's hidden state is multiplied with on its way into the recurrent weights, the same at every
            step: the mask of recurrent dropout. It gets no gradient.
    """
    valid_tb = valid_from_lengths(lengths_b, gates[0].shape[1]).T
    none = (None,) * len(gates)
    out: Any = _scan(reverse, tuple(map(time_major, gates)), recurrents, valid_tb, scales or none, none)
    return tuple(map(batch_major, out[0]))


class _LstmResiduals(NamedTuple):
    """The residuals of one direction for the backward pass, in the order of its steps and in the dtype of its gates."""

    gates: tuple[Array, ...]  # after their non-linearities: input, forget, cell, output
    before: Array  # the cell before the step
    after: Array  # tanh of the cell after the step


def _cell(gates_bm: Array, before: Carry) -> tuple[Carry, tuple[Array, ...], Array]:
    z_i, z_f, z_g, z_o = jnp.split(widened(gates_bm), 4, axis=-1)
    i = jax.nn.sigmoid(z_i)
    f = jax.nn.sigmoid(z_f)
    g = jnp.tanh(z_g)
    o = jax.nn.sigmoid(z_o)
    c = f * before.c_bd + i * g
    tanh_c = jnp.tanh(c)
    return Carry((o * tanh_c).astype(before.h_bd.dtype), c), (i, f, g, o), tanh_c


def _forward(reverse: Reverse, inputs, recurrents, valid_tb, scales, starts):
    def step(state, i):
        carries, hiddens = state
        xs = rows_at(i, inputs, reverse)
        valids = rows_at(i, (valid_tb,) * len(inputs), reverse)
        new = []
        shown = []
        traces = []
        for carry, x, v, w, scale in zip(carries, xs, valids, recurrents, scales, strict=True):
            moved, gates, tanh_c = _cell(x + product(scaled(carry.h_bd, scale), w), carry)
            keep = v[:, None]
            new.append(Carry(jnp.where(keep, moved.h_bd, carry.h_bd), jnp.where(keep, moved.c_bd, carry.c_bd)))
            shown.append(jnp.where(keep, moved.h_bd, 0))
            traces.append(
                jax.tree.map(lambda leaf, x=x: leaf.astype(x.dtype), _LstmResiduals(gates, carry.c_bd, tanh_c))
            )
        return (tuple(new), put_at(i, hiddens, shown, reverse)), tuple(traces)

    t, b, width = *valid_tb.shape, len(recurrents[0])
    begin = tuple(start or zero_carry(b, width, x.dtype) for start, x in zip(starts, inputs, strict=True))
    blank = tuple(jnp.zeros((t, b, width), x.dtype) for x in inputs)
    (ends, hiddens), traces = jax.lax.scan(step, (begin, blank), jnp.arange(t))
    return (hiddens, ends), traces


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(reverse: Reverse, inputs, recurrents, valid_tb, scales, starts):
    return _forward(reverse, inputs, recurrents, valid_tb, scales, starts)[0]


def _scan_fwd(reverse: Reverse, inputs, recurrents, valid_tb, scales, starts):
    out, traces = _forward(reverse, inputs, recurrents, valid_tb, scales, starts)
    return out, (traces, out[0], recurrents, valid_tb, scales, starts)


def _scan_bwd(reverse: Reverse, saved, d_out):
    traces, hiddens, recurrents, valid_tb, scales, starts = saved
    d_hiddens, d_ends = d_out
    transposed = tuple(w.T for w in recurrents)

    def step(state, now):
        carries, d_inputs = state
        i, steps = now
        dys = rows_at(i, d_hiddens, reverse)
        valids = rows_at(i, (valid_tb,) * len(d_hiddens), reverse)
        new = []
        d_gates = []
        for (dh, dc), dy, trace, v, w, scale in zip(carries, dys, steps, valids, transposed, scales, strict=True):
            keep = v[:, None]
            dh = dh + jnp.where(keep, dy, 0)
            d_z, d_c = _gate_gradients(dh, dc, trace)
            d_z = jnp.where(keep, d_z, 0).astype(w.dtype)
            new.append(Carry(jnp.where(keep, scaled(product(d_z, w), scale), dh), jnp.where(keep, d_c, dc)))
            d_gates.append(d_z)
        return (tuple(new), put_at(i, d_inputs, d_gates, reverse)), None

    t, b, width = hiddens[0].shape
    blank = tuple(jnp.zeros((t, b, 4 * width), h.dtype) for h in hiddens)
    d_ends = jax.tree.map(widened, d_ends)
    (d_begins, d_inputs), _ = jax.lax.scan(step, (d_ends, blank), (jnp.arange(t), traces), reverse=True)
    d_recurrents = tuple(
        weight_gradient(start and start.h_bd, h, d, scale, back=back).astype(w.dtype)
        for start, h, d, scale, w, back in zip(starts, hiddens, d_inputs, scales, recurrents, reverse, strict=True)
    )
    d_starts = tuple(
        start and Carry(d_begin.h_bd.astype(start.h_bd.dtype), d_begin.c_bd)
        for start, d_begin in zip(starts, d_begins, strict=True)
    )
    return d_inputs, d_recurrents, None, None, d_starts


def _gate_gradients(dh: Array, dc: Array, trace: _LstmResiduals) -> tuple[Array, Array]:
    """Gradients of the four gates before their non-linearities, and of the cell before the step."""
    i, f, g, o = map(widened, trace.gates)
    dc = dc + dh * o * (1 - trace.after**2)
    d_i = dc * g
    d_f = dc * trace.before
    d_g = dc * i
    d_o = dh * trace.after
    d_z = (d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o))
    return jnp.concatenate(d_z, axis=-1), dc * f


_scan.defvjp(_scan_fwd, _scan_bwd)
