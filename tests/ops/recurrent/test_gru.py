"""The gated recurrence: equal to its slow twin in float64 and to Linen's cells; padding is nothing to it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.cost.jaxprs import shape_of, trace
from jaxasr.ops.recurrent.gru import gru, gru_cell, gru_directions, gru_from
from tests.reference import gru as reference
from tests.reference.gradient import gradients

BOTH = (False, True)


def drawn(rng, lengths, frames, width):
    """Parameters of two directions, and weights that make one number of all hidden states."""
    gates = tuple(rng.normal(size=(len(lengths), frames, 3 * width)) for _ in BOTH)
    recurrents = tuple(rng.normal(size=(width, 3 * width)) for _ in BOTH)
    biases = tuple(rng.normal(size=width) for _ in BOTH)
    scales = tuple(rng.uniform(0, 2, (len(lengths), width)) for _ in BOTH)
    return (gates, recurrents, biases), scales, rng.normal(size=(2, len(lengths), frames, width))


def total(given, scales, lengths_b, mix):
    """One number that sees every hidden state of both directions."""
    hidden = gru_directions(*given, lengths_b, reverse=BOTH, scales=scales)
    return sum(jnp.sum(h * m) for h, m in zip(hidden, mix, strict=True)), hidden


total_and_gradients = jax.jit(jax.value_and_grad(total, has_aux=True))


@pytest.mark.parametrize(
    ("lengths", "frames", "width", "scaled"),
    [([5, 3, 1, 0], 5, 3, False), ([4, 2], 4, 2, True), ([1], 1, 2, False), ([0, 0], 2, 1, False)],
    ids=["unequal", "scaled state", "one frame", "nothing real"],
)
def test_values_and_gradients_are_the_twins_in_float64(rng, lengths, frames, width, scaled):
    given, scales, mix = drawn(rng, lengths, frames, width)
    with jax.enable_x64(True):
        on_device = jax.tree.map(jnp.asarray, (given, scales if scaled else None, np.array(lengths), mix))
        (_, hidden), (d_gates, *d_rest) = total_and_gradients(*on_device)
    for way, reverse in enumerate(BOTH):
        weights = [part[way] for part in given[1:]]
        d_expected = [np.zeros_like(weight) for weight in weights]
        for row, length in enumerate(lengths):
            scale_d = scales[way][row] if scaled else 1.0

            def run(*arguments, reverse=reverse, scale_d=scale_d):
                return reference.gru(*arguments, reverse=reverse, scale_d=scale_d)

            def sum_of(*arguments, run=run, mix_td=mix[way, row, :length]):
                return np.sum(run(*arguments) * mix_td)

            real = given[0][way][row, :length]
            np.testing.assert_allclose(hidden[way][row, :length], run(real, *weights), rtol=1e-12, atol=1e-14)
            assert not np.any(hidden[way][row, length:])
            d_real, *d_weights = gradients(sum_of, real, *weights)
            d_expected = [whole + part for whole, part in zip(d_expected, d_weights, strict=True)]
            np.testing.assert_allclose(d_gates[way][row, :length], d_real, rtol=1e-11, atol=1e-13)
            assert not np.any(d_gates[way][row, length:])
        for found, expected in zip(d_rest, d_expected, strict=True):
            np.testing.assert_allclose(found[way], expected, rtol=1e-11, atol=1e-13)


def linens(x_bte, weights, lengths_b):
    """Linen's bidirectional cells with our parameters: one matrix a gate, the biases beside the input's matrices."""
    width = weights[0][1].shape[0]
    params = {}
    for name, (kernel, recurrent, bias_m, bias_d) in zip(("forward_rnn", "backward_rnn"), weights, strict=True):
        cell = {}
        for k, gate in enumerate("rzn"):
            part = np.s_[..., k * width : (k + 1) * width]
            cell[f"i{gate}"] = {"kernel": kernel[part], "bias": bias_m[part]}
            cell[f"h{gate}"] = {"kernel": recurrent[part]} | ({"bias": bias_d} if gate == "n" else {})
        params[name] = {"cell": cell}
    module = nn.Bidirectional(nn.RNN(nn.GRUCell(width)), nn.RNN(nn.GRUCell(width)))
    return module.apply({"params": params}, x_bte, seq_lengths=lengths_b)


def ours(x_bte, weights, lengths_b):
    gates = tuple(x_bte @ kernel + bias[None, None] for kernel, _, bias, _ in weights)
    _, recurrents, _, biases = zip(*weights, strict=True)
    return jnp.concatenate(gru_directions(gates, recurrents, biases, lengths_b, reverse=BOTH), -1)


def test_values_and_gradients_are_those_of_linens_bidirectional_cells(rng):
    width, inputs, lengths, frames = 3, 2, np.array([7, 4, 1, 6]), 7
    sizes = ((inputs, 3 * width), (width, 3 * width), (3 * width,), (width,))
    weights = [tuple(jnp.asarray(rng.normal(size=size), jnp.float32) for size in sizes) for _ in BOTH]
    x_bte = jnp.asarray(rng.normal(size=(4, frames, inputs)), jnp.float32)
    valid_bt = np.arange(frames) < lengths[:, None]
    mix_btd = jnp.asarray(rng.normal(size=(4, frames, 2 * width)) * valid_bt[..., None], jnp.float32)

    def value(layer, x_bte, weights):
        hidden_btd = layer(x_bte, weights, jnp.asarray(lengths))
        return jnp.sum(hidden_btd * mix_btd), hidden_btd * valid_bt[..., None]

    found, expected = (
        jax.jit(jax.grad(lambda *given, layer=layer: value(layer, *given), (0, 1), has_aux=True))(x_bte, weights)
        for layer in (ours, linens)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_what_stands_in_the_padding_is_nothing_to_values_and_gradients(rng):
    lengths = np.array([4, 2, 0])
    ((*ways,), *weights), _, mix = jax.tree.map(np.float32, drawn(rng, lengths, 4, 3))
    found = total_and_gradients((tuple(ways), *weights), None, lengths, mix)
    longer = tuple(np.pad(g, ((0, 0), (0, 3), (0, 0))) for g in ways)
    for g in longer:
        g[np.arange(7) >= lengths[:, None]] = np.nan
    mixed = np.pad(mix, ((0, 0), (0, 0), (0, 3), (0, 0)), "edge")
    padded = total_and_gradients((longer, *weights), None, lengths, mixed)
    for way in range(2):
        assert not np.any(padded[0][1][way][:, 4:])
        assert not np.any(padded[1][0][way][:, 4:])
        np.testing.assert_array_equal(padded[0][1][way][:, :4], found[0][1][way])
        np.testing.assert_allclose(padded[1][0][way][:, :4], found[1][0][way], rtol=0, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), padded[1][1:], found[1][1:])


def test_one_step_and_one_direction_are_the_twins(rng):
    gates_bm, hidden_bm = jnp.asarray(rng.normal(size=(2, 3, 6)), jnp.float32)
    h_bd = jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)
    moved_bd = gru_cell(gates_bm, hidden_bm, h_bd)
    for row in range(3):
        expected = reference.cell(*(np.asarray(x[row], float) for x in (gates_bm, hidden_bm, h_bd)))
        np.testing.assert_allclose(moved_bd[row], expected, rtol=1e-6, atol=1e-7)
    ((gates, _), (recurrent, _), (bias, _)), _, _ = jax.tree.map(jnp.float32, drawn(rng, [4, 2], 4, 2))
    back_btd = gru(gates, recurrent, bias, jnp.array([4, 2]), reverse=True)
    for row, length in enumerate([4, 2]):
        given = (np.asarray(x, float) for x in (gates[row, :length], recurrent, bias))
        np.testing.assert_allclose(back_btd[row, :length], reference.gru(*given, reverse=True), rtol=1e-5, atol=1e-6)


def test_no_loop_carries_the_gradient_of_the_weights(rng):
    given, _, mix = jax.tree.map(jnp.float32, drawn(rng, [6, 3], 6, 5))
    graph = trace(jax.grad(lambda *all_: total(*all_)[0]), given, None, jnp.array([6, 3]), mix)
    loops = [equation for equation in graph.equations if equation.name == "scan"]
    assert len(loops) == 2
    assert not any(shape_of(out) == (5, 15) for loop in loops for out in loop.results)


def test_bfloat16_stays_what_it_is(rng):
    given, _, mix = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), drawn(rng, [3, 2], 3, 2))
    shapes = jax.eval_shape(jax.value_and_grad(total, has_aux=True), given, None, jnp.array([3, 2]), mix)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.bfloat16)}


def test_a_recurrence_goes_on_from_where_it_was(rng):
    """Two halves of each example are the whole, whether it ends in the first or in the second."""
    lengths = jnp.array([5, 2, 0])
    gates, recurrent, bias = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((3, 5, 6), (2, 6), (2,)))
    first, end = gru_from(jnp.zeros((3, 2)), gates[:, :3], recurrent, bias, jnp.minimum(lengths, 3))
    second, _ = gru_from(end, gates[:, 3:], recurrent, bias, jnp.maximum(lengths - 3, 0))
    whole = gru(gates, recurrent, bias, lengths)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-5, atol=1e-6)
