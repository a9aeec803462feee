"""The LSTM recurrence: masked, in any number of directions at once, with a backward pass of its own.

The input projection is one matrix product outside (the caller's), so a step of the scan holds only `h @ recurrent` and the
gates. The backward pass carries (dh, dc) through a reverse scan and makes the gradient of the recurrent weights in one
product after it, where automatic differentiation would add a [d, 4d] matrix at every step. All directions advance in one
loop: their products are independent, and the loop's own cost is paid once.

Source: Hochreiter and Schmidhuber 1997; gates in the order input, forget, cell, output, no peepholes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.ops.directions import batch_major, scaled, time_major, time_major_valids, weight_gradient


class Carry(NamedTuple):
    """What one direction hands on: the hidden state and the cell."""

    h_bd: Float[Array, "b d"]
    c_bd: Float[Array, "b d"]


def zero_carry(examples: int, width: int, dtype: jnp.dtype = jnp.dtype(jnp.float32)) -> Carry:
    """The state before the first step."""
    return Carry(jnp.zeros((examples, width), dtype), jnp.zeros((examples, width), dtype))


def lstm_cell(gates_bm: Float[Array, "b m"], c_bd: Float[Array, "b d"]) -> Carry:
    """The state after a step, from all that goes into the gates (input, recurrent part and bias; m = 4 d)."""
    return _cell(gates_bm, c_bd)[0]


def lstm(
    gates_btm: Float[Array, "b t m"],
    recurrent_dm: Float[Array, "d m"],
    lengths_b: Int[Array, " b"],
    *,
    reverse: bool = False,
) -> Float[Array, "b t d"]:
    """Hidden states of one direction over the valid part; zero at padding, whatever stood there.

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
    """Hidden states of a recurrence that goes on from `start`, and where it ends: after each example's last real step."""
    valids = time_major_valids(lengths_b, gates_btm.shape[1], (False,))
    inputs = (time_major(gates_btm, False),)
    (hidden_tbd,), (end,) = _scan(inputs, (recurrent_dm,), valids, (None,), (start,))
    return batch_major(hidden_tbd, False), end


def lstm_directions(
    gates: tuple[Float[Array, "b t m"], ...],
    recurrents: tuple[Float[Array, "d m"], ...],
    lengths_b: Int[Array, " b"],
    *,
    reverse: tuple[bool, ...],
    scales: tuple[Float[Array, "b d"], ...] | None = None,
) -> tuple[Float[Array, "b t d"], ...]:
    """Hidden states of several independent recurrences over the same examples, in one loop (see `lstm`).

    Args:
        scales: what a direction's hidden state is multiplied with on its way into the recurrent weights, the same at every
            step: the mask of recurrent dropout. It gets no gradient.
    """
    valids = time_major_valids(lengths_b, gates[0].shape[1], reverse)
    inputs = tuple(time_major(x, back) for x, back in zip(gates, reverse, strict=True))
    none = (None,) * len(gates)
    hiddens, _ = _scan(inputs, recurrents, valids, scales or none, none)
    return tuple(batch_major(h, back) for h, back in zip(hiddens, reverse, strict=True))


class _Trace(NamedTuple):
    """What the backward pass needs of one direction, time first."""

    gates: tuple[Array, ...]  # after their non-linearities: input, forget, cell, output
    before: Array  # the cell before the step
    after: Array  # tanh of the cell after the step
    h: Array  # the state after the step, carried over padding


def _cell(gates_bm: Array, c_bd: Array) -> tuple[Carry, tuple[Array, ...], Array]:
    z_i, z_f, z_g, z_o = jnp.split(gates_bm, 4, axis=-1)
    i, f, g, o = jax.nn.sigmoid(z_i), jax.nn.sigmoid(z_f), jnp.tanh(z_g), jax.nn.sigmoid(z_o)
    c = f * c_bd + i * g
    tanh_c = jnp.tanh(c)
    return Carry(o * tanh_c, c), (i, f, g, o), tanh_c


def _forward(inputs: tuple[Array, ...], recurrents: tuple[Array, ...], valids: tuple[Array, ...], scales, starts):
    def step(carries, now):
        xs, valid = now
        new, traces = [], []
        for carry, x, v, w, scale in zip(carries, xs, valid, recurrents, scales, strict=True):
            moved, gates, tanh_c = _cell(x + scaled(carry.h_bd, scale) @ w, carry.c_bd)
            keep = v[:, None]
            kept = Carry(jnp.where(keep, moved.h_bd, carry.h_bd), jnp.where(keep, moved.c_bd, carry.c_bd))
            new.append(kept)
            traces.append(_Trace(gates, carry.c_bd, tanh_c, kept.h_bd))
        return tuple(new), tuple(traces)

    width = recurrents[0].shape[0]
    begin = tuple(start or zero_carry(x.shape[1], width, x.dtype) for start, x in zip(starts, inputs, strict=True))
    ends, traces = jax.lax.scan(step, begin, (inputs, valids))
    hiddens = tuple(jnp.where(v[:, :, None], t.h, 0) for t, v in zip(traces, valids, strict=True))
    return (hiddens, ends), traces


@jax.custom_vjp
def _scan(inputs, recurrents, valids, scales, starts):
    return _forward(inputs, recurrents, valids, scales, starts)[0]


def _scan_fwd(inputs, recurrents, valids, scales, starts):
    out, traces = _forward(inputs, recurrents, valids, scales, starts)
    return out, (traces, recurrents, valids, scales, starts)


def _scan_bwd(saved, d_out):
    traces, recurrents, valids, scales, starts = saved
    d_hiddens, d_ends = d_out
    transposed = tuple(w.T for w in recurrents)

    def step(carries, now):
        dys, steps, valid = now
        new, d_gates = [], []
        for (dh, dc), dy, trace, v, w, scale in zip(carries, dys, steps, valid, transposed, scales, strict=True):
            keep = v[:, None]
            dh = dh + jnp.where(keep, dy, 0)
            d_z, d_c = _gate_gradients(dh, dc, trace)
            d_z = jnp.where(keep, d_z, 0)
            new.append(Carry(jnp.where(keep, scaled(d_z @ w, scale), dh), jnp.where(keep, d_c, dc)))
            d_gates.append(d_z)
        return tuple(new), tuple(d_gates)

    d_begins, d_inputs = jax.lax.scan(step, d_ends, (d_hiddens, traces, valids), reverse=True)
    d_recurrents = tuple(
        weight_gradient(start and start.h_bd, t.h, d, scale).astype(w.dtype)
        for start, t, d, scale, w in zip(starts, traces, d_inputs, scales, recurrents, strict=True)
    )
    d_starts = tuple(start and d_begin for start, d_begin in zip(starts, d_begins, strict=True))
    return d_inputs, d_recurrents, None, None, d_starts


def _gate_gradients(dh: Array, dc: Array, trace: _Trace) -> tuple[Array, Array]:
    """Gradients of the four gates before their non-linearities, and of the cell before the step."""
    i, f, g, o = trace.gates
    dc = dc + dh * o * (1 - trace.after**2)
    d_i, d_f, d_g, d_o = dc * g, dc * trace.before, dc * i, dh * trace.after
    d_z = (d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o))
    return jnp.concatenate(d_z, axis=-1), dc * f


_scan.defvjp(_scan_fwd, _scan_bwd)
