"""The recurrence: equal to its slow twin in float64 and to Linen's cells, gradients and all; padding is nothing to it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.cost.jaxprs import shape_of, trace
from jaxasr.ops.recurrent.lstm import Carry, lstm, lstm_cell, lstm_directions, lstm_from
from tests.reference import lstm as reference
from tests.reference.gradient import gradients

BOTH = (False, True)


def drawn(rng, lengths, frames, width):
    """Gates and recurrent weights of two directions, and weights that make one number of all hidden states."""
    gates = tuple(rng.normal(size=(len(lengths), frames, 4 * width)) for _ in BOTH)
    recurrents = tuple(rng.normal(size=(width, 4 * width)) for _ in BOTH)
    mix = rng.normal(size=(2, len(lengths), frames, width))
    return gates, recurrents, mix


def total(gates, recurrents, lengths_b, mix):
    """One number that sees every hidden state of both directions."""
    hidden = lstm_directions(gates, recurrents, lengths_b, reverse=BOTH)
    return sum(jnp.sum(h * m) for h, m in zip(hidden, mix, strict=True)), hidden


total_and_gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))


@pytest.mark.parametrize(
    ("lengths", "frames", "width"),
    [([5, 3, 1, 0], 5, 3), ([1], 1, 2), ([0, 0], 2, 1), ([4, 4], 4, 2)],
    ids=["unequal", "one frame", "nothing real", "equal"],
)
def test_values_and_gradients_are_the_twins_in_float64(rng, lengths, frames, width):
    gates, recurrents, mix = drawn(rng, lengths, frames, width)
    with jax.enable_x64(True):
        on_device = jax.tree.map(jnp.asarray, (gates, recurrents, np.array(lengths), mix))
        (_, hidden), (d_gates, d_recurrents) = total_and_gradients(*on_device)
    for way, reverse in enumerate(BOTH):
        d_recurrent = np.zeros_like(recurrents[way])
        for row, length in enumerate(lengths):

            def sum_of(gates_tm, recurrent_dm, way=way, row=row, length=length, reverse=reverse):
                return np.sum(reference.lstm(gates_tm, recurrent_dm, reverse=reverse) * mix[way, row, :length])

            real = gates[way][row, :length]
            expected = reference.lstm(real, recurrents[way], reverse=reverse)
            np.testing.assert_allclose(hidden[way][row, :length], expected, rtol=1e-12, atol=1e-14)
            assert not np.any(hidden[way][row, length:])
            d_real, d_weights = gradients(sum_of, real, recurrents[way])
            d_recurrent += d_weights
            np.testing.assert_allclose(d_gates[way][row, :length], d_real, rtol=1e-11, atol=1e-13)
            assert not np.any(d_gates[way][row, length:])
        np.testing.assert_allclose(d_recurrents[way], d_recurrent, rtol=1e-11, atol=1e-13)


def linen_parameters(kernel_em, recurrent_dm, bias_m):
    """Ours as Linen's cells name them: one matrix a gate, the bias beside the recurrent one."""
    params = {}
    for k, gate in enumerate("ifgo"):
        part = np.s_[..., k * len(recurrent_dm) : (k + 1) * len(recurrent_dm)]
        params[f"i{gate}"] = {"kernel": kernel_em[part]}
        params[f"h{gate}"] = {"kernel": recurrent_dm[part], "bias": bias_m[part]}
    return params


def ours(weights, x_bte, lengths_b):
    gates = tuple(x_bte @ kernel + bias[None, None] for kernel, _, bias in weights)
    return jnp.concatenate(lstm_directions(gates, tuple(w for _, w, _ in weights), lengths_b, reverse=BOTH), -1)


def linens(weights, x_bte, lengths_b):
    width = weights[0][1].shape[0]
    module = nn.Bidirectional(nn.RNN(nn.OptimizedLSTMCell(width)), nn.RNN(nn.OptimizedLSTMCell(width)))
    names = ("forward_rnn", "backward_rnn")
    params = {name: {"cell": linen_parameters(*ws)} for name, ws in zip(names, weights, strict=True)}
    return module.apply({"params": params}, x_bte, seq_lengths=lengths_b)


@pytest.mark.parametrize(
    ("lengths", "frames"), [([7, 4, 1, 6], 7), ([1], 1), ([3, 3], 3)], ids=["unequal", "one frame", "equal"]
)
def test_values_and_gradients_are_those_of_linens_bidirectional_cells(rng, lengths, frames):
    width, inputs = 3, 2
    sizes = ((inputs, 4 * width), (width, 4 * width), (4 * width,))
    weights = [tuple(jnp.asarray(rng.normal(size=size), jnp.float32) for size in sizes) for _ in BOTH]
    x_bte = jnp.asarray(rng.normal(size=(len(lengths), frames, inputs)), jnp.float32)
    valid_bt = np.arange(frames) < np.array(lengths)[:, None]
    mix_btd = jnp.asarray(rng.normal(size=(*valid_bt.shape, 2 * width)) * valid_bt[..., None], jnp.float32)

    def value(layer, weights, x_bte):
        hidden_btd = layer(weights, x_bte, jnp.array(lengths))
        return jnp.sum(hidden_btd * mix_btd), hidden_btd * valid_bt[..., None]

    found, expected = (
        jax.jit(jax.grad(lambda *given, layer=layer: value(layer, *given), (0, 1), has_aux=True))(weights, x_bte)
        for layer in (ours, linens)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)


def test_one_step_is_a_sequence_of_one(rng):
    gates_bm = jnp.asarray(rng.normal(size=(3, 8)), jnp.float32)
    c_bd = jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)
    moved = lstm_cell(gates_bm, Carry(jnp.zeros_like(c_bd), c_bd))
    for row in range(3):
        h_d, c_d = reference.cell(np.asarray(gates_bm[row], float), np.asarray(c_bd[row], float))
        np.testing.assert_allclose(moved.h_bd[row], h_d, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(moved.c_bd[row], c_d, rtol=1e-6, atol=1e-7)


def test_what_stands_in_the_padding_is_nothing_to_values_and_gradients(rng):
    lengths = np.array([4, 2, 0])
    gates, recurrents, mix = jax.tree.map(np.float32, drawn(rng, lengths, 4, 3))
    found = total_and_gradients(gates, recurrents, lengths, mix)
    longer = tuple(np.pad(g, ((0, 0), (0, 3), (0, 0))) for g in gates)
    for g in longer:
        g[np.arange(7) >= lengths[:, None]] = np.nan
    padded = total_and_gradients(longer, recurrents, lengths, np.pad(mix, ((0, 0), (0, 0), (0, 3), (0, 0)), "edge"))
    for way in range(2):
        assert not np.any(padded[0][1][way][:, 4:])
        assert not np.any(padded[1][0][way][:, 4:])
        np.testing.assert_array_equal(padded[0][1][way][:, :4], found[0][1][way])
        np.testing.assert_allclose(padded[1][0][way][:, :4], found[1][0][way], rtol=0, atol=1e-7)
        np.testing.assert_allclose(padded[1][1][way], found[1][1][way], rtol=0, atol=2e-6)


def test_the_way_back_starts_at_each_examples_own_last_position(rng):
    lengths = np.array([5, 3, 1])
    gates_btm = rng.normal(size=(3, 5, 8)).astype(np.float32)
    turned_btm = gates_btm.copy()
    for row, length in enumerate(lengths):
        turned_btm[row, :length] = gates_btm[row, :length][::-1]
    recurrent_dm = rng.normal(size=(2, 8)).astype(np.float32)
    gates, turned, recurrent, real = map(jnp.asarray, (gates_btm, turned_btm, recurrent_dm, lengths))
    back_btd, forth_btd = lstm(gates, recurrent, real, reverse=True), lstm(turned, recurrent, real)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(back_btd[row, :length], forth_btd[row, :length][::-1], rtol=1e-6)


def test_examples_do_not_see_each_other_and_jit_is_eager(rng):
    lengths = jnp.array([4, 2, 3])
    gates, recurrents, mix = jax.tree.map(jnp.float32, drawn(rng, [4, 2, 3], 4, 3))
    whole = total_and_gradients(gates, recurrents, lengths, mix)
    eager = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(gates, recurrents, lengths, mix)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), whole, eager)
    alone = [
        total_and_gradients(
            tuple(g[row : row + 1] for g in gates), recurrents, lengths[row : row + 1], mix[:, row : row + 1]
        )
        for row in range(3)
    ]
    for way in range(2):
        for row in range(3):
            np.testing.assert_allclose(alone[row][0][1][way][0], whole[0][1][way][row], rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(alone[row][1][0][way][0], whole[1][0][way][row], rtol=1e-5, atol=1e-6)
        summed = sum(np.asarray(one[1][1][way]) for one in alone)
        np.testing.assert_allclose(summed, whole[1][1][way], rtol=1e-5, atol=1e-6)


def test_bfloat16_stays_what_it_is_and_near_float32(rng):
    gates, recurrents, mix = jax.tree.map(jnp.float32, drawn(rng, [6, 3], 6, 4))
    half = jax.tree.map(lambda x: (x / 4).astype(jnp.bfloat16), (gates, recurrents, mix))
    full = jax.tree.map(jnp.float32, half)
    found, expected = (total_and_gradients(g, w, np.array([6, 3]), m) for g, w, m in (half, full))
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a.astype(np.float32), b, atol=0.03), found, expected)


def test_no_loop_carries_the_gradient_of_the_weights(rng):
    """What the op is for: automatic differentiation would add a [d, 4 d] matrix at every step."""
    gates, recurrents, mix = jax.tree.map(jnp.float32, drawn(rng, [6, 3], 6, 5))
    gradient = jax.grad(lambda *given: total(*given)[0], argnums=(0, 1))
    graph = trace(gradient, gates, recurrents, jnp.array([6, 3]), mix)
    loops = [equation for equation in graph.equations if equation.name == "scan"]
    assert len(loops) == 2
    assert not any(shape_of(out) == (5, 20) for loop in loops for out in loop.results)


def test_going_on_from_where_a_part_ended_is_the_whole(rng):
    """Values and gradients, the second part's gradient through the state it began with."""
    lengths = np.array([5, 3, 2, 0])
    (gates, _), (recurrent, _), (mix, _) = jax.tree.map(jnp.float32, drawn(rng, lengths, 5, 3))

    def whole(gates, recurrent):
        return jnp.sum(lstm(gates, recurrent, jnp.asarray(lengths)) * mix)

    def halves(gates, recurrent):
        zero = Carry(jnp.zeros((4, 3)), jnp.zeros((4, 3)))
        first, end = lstm_from(zero, gates[:, :2], recurrent, jnp.minimum(lengths, 2))
        second, _ = lstm_from(end, gates[:, 2:], recurrent, jnp.maximum(lengths - 2, 0))
        return jnp.sum(jnp.concatenate([first, second], axis=1) * mix)

    found, expected = (jax.jit(jax.value_and_grad(run, argnums=(0, 1)))(gates, recurrent) for run in (halves, whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


def test_a_scaled_state_is_automatic_differentiations_in_float64(rng):
    """The mask of recurrent dropout, against the same recurrence unrolled with no rule of our own in it."""
    (gates, _), (recurrent, _), (mix, _) = drawn(rng, [4, 4], 4, 3)
    scale = rng.uniform(0, 2, (2, 3))

    def ours(gates, recurrent):
        (hidden,) = lstm_directions((gates,), (recurrent,), jnp.array([4, 4]), reverse=(False,), scales=(scale,))
        return jnp.sum(hidden * mix)

    def unrolled(gates, recurrent):
        carry, found = Carry(jnp.zeros((2, 3)), jnp.zeros((2, 3))), 0.0
        for t in range(4):
            carry = lstm_cell(gates[:, t] + (carry.h_bd * scale) @ recurrent, carry)
            found += jnp.sum(carry.h_bd * mix[:, t])
        return found

    with jax.enable_x64(True):
        gates, recurrent, mix, scale = map(jnp.asarray, (gates, recurrent, mix, scale))
        found, expected = (
            jax.jit(jax.value_and_grad(run, argnums=(0, 1)))(gates, recurrent) for run in (ours, unrolled)
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), found, expected)
