"""Gated recurrent units: masked, in any number of directions at once, with a backward pass of its own (as lstm.py).

The reset gate is applied to the recurrent product, as in cuDNN, PyTorch and Linen, so that a step holds one product:

    r = sigmoid(x_r + h U_r)   z = sigmoid(x_z + h U_z)   n = tanh(x_n + r (h U_n + b))   h' = (1 - z) n + z h

with x the projected input. Of bfloat16 gates only the hidden states that come out are narrow: h, which adds up a little at
every step, is carried in float32. The backward pass makes the gradient of U in one product after the reverse scan.

Source: Cho et al. 2014, arXiv:1406.1078 (which resets the state before the product); Chung et al. 2014, arXiv:1412.3555.
"""

import functools
from typing import NamedTuple

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


def gru_cell(
    gates_bm: Float[Array, "b m"], hidden_bm: Float[Array, "b m"], h_bd: Float[Array, "b d"]
) -> Float[Array, "b d"]:
    """Returns the state after a step; m = 3 d: reset, update, candidate.

    Args:
        gates_bm: the projected input with its bias.
        hidden_bm: the recurrent part: the state times U, plus b on the candidate.
        h_bd: the state before the step.
    """
    return _cell(gates_bm, hidden_bm, h_bd)[0]


def gru(
    gates_btm: Float[Array, "b t m"],
    recurrent_dm: Float[Array, "d m"],
    bias_d: Float[Array, " d"],
    lengths_b: Int[Array, " b"],
    *,
    reverse: bool = False,
) -> Float[Array, "b t d"]:
    """Returns the hidden states of one direction over the valid part; zero at padding, whatever the input there.

    Args:
        gates_btm: the projected inputs with their bias, m = 3 d.
        recurrent_dm: the recurrent weights.
        bias_d: of the candidate's recurrent part, inside the reset.
        lengths_b: real positions of each example.
        reverse: starts at each example's own last real position.
    """
    return gru_directions((gates_btm,), (recurrent_dm,), (bias_d,), lengths_b, reverse=(reverse,))[0]


def gru_directions(
    gates: tuple[Float[Array, "b t m"], ...],
    recurrents: tuple[Float[Array, "d m"], ...],
    biases: tuple[Float[Array, " d"], ...],
    lengths_b: Int[Array, " b"],
    *,
    reverse: tuple[bool, ...],
    scales: tuple[Float[Array, "b d"], ...] | None = None,
) -> tuple[Float[Array, "b t d"], ...]:
    """Returns the hidden states of several independent recurrences over the same examples, in one loop (see `gru`).

    Args:
        scales: what a direction's hidden state is multiplied with on its way into the recurrent weights, the same at every
            step: the mask of recurrent dropout. It gets no gradient.
    """
    valid_tb = valid_from_lengths(lengths_b, gates[0].shape[1]).T
    inputs = tuple(map(time_major, gates))
    return tuple(map(batch_major, _scan(reverse, inputs, recurrents, biases, valid_tb, scales or (None,) * len(gates))))


def gru_from(
    start_bd: Float[Array, "b d"],
    gates_btm: Float[Array, "b t m"],
    recurrent_dm: Float[Array, "d m"],
    bias_d: Float[Array, " d"],
    lengths_b: Int[Array, " b"],
) -> tuple[Float[Array, "b t d"], Float[Array, "b d"]]:
    """Returns the hidden states of a recurrence from `start_bd` on, and the final state: after each example's last real step.

    For streams: its gradient is that of a plain scan.
    """
    on_candidate = jnp.pad(bias_d, (2 * len(bias_d), 0))[None]

    def step(h_bd, now):
        gates_bm, valid_b = now
        moved = gru_cell(gates_bm, product(h_bd.astype(gates_bm.dtype), recurrent_dm) + on_candidate, h_bd)
        keep = valid_b[:, None]
        return jnp.where(keep, moved, h_bd), jnp.where(keep, moved, 0).astype(gates_bm.dtype)

    valid_tb = valid_from_lengths(lengths_b, gates_btm.shape[1]).T
    end_bd, hidden_tbd = jax.lax.scan(step, widened(start_bd), (time_major(gates_btm), valid_tb))
    return batch_major(hidden_tbd), end_bd


class _GruResiduals(NamedTuple):
    """The residuals of one direction for the backward pass, in the order of its steps and in the dtype of its gates."""

    reset: Array
    update: Array
    candidate: Array
    inner: Array  # the candidate's recurrent part, before the reset
    before: Array  # the state before the step


def _cell(gates_bm: Array, hidden_bm: Array, h_bd: Array) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    x_r, x_z, x_n = jnp.split(widened(gates_bm), 3, axis=-1)
    h_r, h_z, inner = jnp.split(widened(hidden_bm), 3, axis=-1)
    r = jax.nn.sigmoid(x_r + h_r)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * inner)
    return (1 - z) * n + z * h_bd, (r, z, n, inner)


def _forward(reverse: Reverse, inputs, recurrents, biases, valid_tb, scales):
    on_candidate = tuple(jnp.pad(b, (2 * len(b), 0))[None] for b in biases)

    def step(state, i):
        states, hiddens = state
        xs = rows_at(i, inputs, reverse)
        valids = rows_at(i, (valid_tb,) * len(inputs), reverse)
        new = []
        shown = []
        traces = []
        for h, x, v, w, bias, scale in zip(states, xs, valids, recurrents, on_candidate, scales, strict=True):
            moved, inside = _cell(x, product(scaled(h.astype(x.dtype), scale), w) + bias, h)
            new.append(jnp.where(v[:, None], moved, h))
            shown.append(jnp.where(v[:, None], moved, 0).astype(x.dtype))
            traces.append(jax.tree.map(lambda leaf, x=x: leaf.astype(x.dtype), _GruResiduals(*inside, h)))
        return (tuple(new), put_at(i, hiddens, shown, reverse)), tuple(traces)

    t, b = valid_tb.shape
    start = tuple(jnp.zeros((b, len(w)), wide(x.dtype)) for x, w in zip(inputs, recurrents, strict=True))
    blank = tuple(jnp.zeros((t, b, len(w)), x.dtype) for x, w in zip(inputs, recurrents, strict=True))
    (_, hiddens), traces = jax.lax.scan(step, (start, blank), jnp.arange(t))
    return hiddens, traces


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(reverse: Reverse, inputs, recurrents, biases, valid_tb, scales):
    return _forward(reverse, inputs, recurrents, biases, valid_tb, scales)[0]


def _scan_fwd(reverse: Reverse, inputs, recurrents, biases, valid_tb, scales):
    hiddens, traces = _forward(reverse, inputs, recurrents, biases, valid_tb, scales)
    return hiddens, (traces, hiddens, recurrents, biases, valid_tb, scales)


def _scan_bwd(reverse: Reverse, saved, d_hiddens):
    traces, hiddens, recurrents, biases, valid_tb, scales = saved
    transposed = tuple(w.T for w in recurrents)

    def step(state, now):
        d_states, d_inputs = state
        i, steps = now
        dys = rows_at(i, d_hiddens, reverse)
        valids = rows_at(i, (valid_tb,) * len(d_hiddens), reverse)
        new = []
        d_gates = []
        d_parts = []
        for dh, dy, trace, v, w, scale in zip(d_states, dys, steps, valids, transposed, scales, strict=True):
            keep = v[:, None]
            dh = dh + jnp.where(keep, dy, 0)
            d_x, d_inner = _gate_gradients(dh, trace)
            d_x, d_inner = (jnp.where(keep, d, 0).astype(w.dtype) for d in (d_x, d_inner))
            d_recurrent = jnp.concatenate([d_x[:, : 2 * dh.shape[1]], d_inner], axis=-1)
            new.append(jnp.where(keep, dh * trace.update + scaled(product(d_recurrent, w), scale), dh))
            d_gates.append(d_x)
            d_parts.append(d_recurrent)
        gates, parts = d_inputs
        return (tuple(new), (put_at(i, gates, d_gates, reverse), put_at(i, parts, d_parts, reverse))), None

    start = tuple(widened(jnp.zeros_like(h[0])) for h in hiddens)
    blank = tuple(jnp.zeros((*h.shape[:2], 3 * h.shape[2]), h.dtype) for h in hiddens)
    t = len(valid_tb)
    (_, (d_inputs, d_parts)), _ = jax.lax.scan(step, (start, (blank, blank)), (jnp.arange(t), traces), reverse=True)
    d_recurrents = tuple(
        weight_gradient(None, h, d, scale, back=back).astype(w.dtype)
        for h, d, scale, w, back in zip(hiddens, d_parts, scales, recurrents, reverse, strict=True)
    )
    d_biases = tuple(
        jnp.sum(widened(d[..., -len(b) :]), (0, 1)).astype(b.dtype) for d, b in zip(d_parts, biases, strict=True)
    )
    return d_inputs, d_recurrents, d_biases, None, None


def _gate_gradients(dh: Array, trace: _GruResiduals) -> tuple[Array, Array]:
    """Gradients of the three gates before their non-linearities, and of the candidate's recurrent part."""
    r, z, n = (widened(gate) for gate in (trace.reset, trace.update, trace.candidate))
    d_n = dh * (1 - z) * (1 - n**2)
    d_z = dh * (trace.before - n) * z * (1 - z)
    d_r = d_n * trace.inner * r * (1 - r)
    return jnp.concatenate([d_r, d_z, d_n], axis=-1), d_n * r


_scan.defvjp(_scan_fwd, _scan_bwd)
