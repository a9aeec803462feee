"""The counter against counts by hand, and the laws that any count keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.experimental import pallas
from jax.extend import core
from jax.sharding import AxisType, PartitionSpec

from jaxasr.cost.flops import Flops, count
from jaxasr.ops import losses
from jaxasr.ops.recurrent.lstm import lstm

SIZES = st.integers(1, 7)


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


@given(b=SIZES, m=SIZES, n=SIZES, k=SIZES)
@settings(max_examples=5)
def test_a_matrix_product_is_two_operations_a_multiply_add(b, m, n, k):
    found = count(lambda x, y: jnp.einsum("bmk,bkn->bmn", x, y), array(b, m, k), array(b, k, n))
    assert (found.matmul, found.total) == (2 * b * m * n * k, 2 * b * m * n * k)
    assert found.product_bytes == found.bytes == 4 * b * (m * k + k * n + m * n)
    assert found.products[0].intensity == found.total / found.bytes


@pytest.mark.parametrize("transposed", [False, True])
def test_both_orders_of_a_contraction_count_the_same(transposed):
    numbers = (((0,), (1,)), ((), ())) if transposed else (((1,), (0,)), ((), ()))
    shapes = (array(5, 3), array(7, 5)) if transposed else (array(3, 5), array(5, 7))
    assert count(lambda x, y: lax.dot_general(x, y, numbers), *shapes).matmul == 2 * 3 * 5 * 7


def taps_by_hand(size, kernel, *, stride, before, after, spread, reach):
    """Multiply-adds of one channel, one at a time: what is at a place where an element of the input stands."""
    real = [at % spread == 0 for at in range((size - 1) * spread + 1)]
    room = [False] * before + real + [False] * after
    width = (kernel - 1) * reach + 1
    return sum(room[at + tap * reach] for at in range(0, len(room) - width + 1, stride) for tap in range(kernel))


@given(stride=st.integers(1, 3), before=st.integers(0, 3), spread=st.integers(1, 3), reach=st.integers(1, 2))
@settings(max_examples=12)
def test_a_convolution_counts_the_multiply_adds_of_real_elements(stride, before, spread, reach):
    b, size, into, kernel, out, groups = 2, 9, 6, 3, 4, 2

    def convolve(x, w):
        return lax.conv_general_dilated(
            x,
            w,
            (stride,),
            [(before, 1)],
            lhs_dilation=(spread,),
            rhs_dilation=(reach,),
            feature_group_count=groups,
            dimension_numbers=("NWC", "WIO", "NWC"),
        )

    taps = taps_by_hand(size, kernel, stride=stride, before=before, after=1, spread=spread, reach=reach)
    found = count(convolve, array(b, size, into), array(kernel, into // groups, out))
    assert found.convolution == found.total == 2 * b * out * (into // groups) * taps


def test_a_convolution_over_two_axes_and_its_gradients():
    x, w = array(2, 10, 8, 3), array(3, 3, 3, 5)

    def convolve(x, w):
        return lax.conv_general_dilated(x, w, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    forward = 2 * (2 * 4 * 3 * 5) * 3 * 9
    assert count(convolve, x, w).convolution == forward
    both = count(jax.grad(lambda x, w: jnp.sum(convolve(x, w)), (0, 1)), x, w)
    assert both.convolution == 2 * forward  # each gradient meets the same elements


@pytest.mark.parametrize("backward", [False, True])
def test_the_lstm_by_hand(backward):
    b, t, d = 3, 11, 8
    m = 4 * d

    def forward(gates_btm, recurrent_dm):
        return lstm(gates_btm, recurrent_dm, jnp.full(b, t))

    function = jax.grad(lambda *x: jnp.sum(forward(*x)), (0, 1)) if backward else forward
    found = count(function, array(b, t, m), array(d, m))
    step = 2 * b * d * m
    # Backward: d_gates @ recurrent.T in every step, and the gradient of the weights in one product of t - 1 steps.
    assert found.matmul == t * step + (t * step + (t - 1) * step) * backward
    # Forward, in units of b d: 4 additions to the gates, 3 sigmoids, 2 tanhs, 2 products and 1 sum of the cell, 1 product of
    # the output, 3 selections. Backward: 22 for the gates' gradients, 8 selections and sums. The rest is counting steps.
    elementwise = b * d * t * (16 + (22 + 8) * backward)
    assert found.elementwise == pytest.approx(elementwise, rel=0.05)
    assert not found.notes


def test_attention_by_hand():
    b, q, k, h, e = 2, 5, 7, 3, 4

    def attend(query, key, value):
        weights = jax.nn.softmax(jnp.einsum("bqhe,bkhe->bhqk", query, key))
        return jnp.einsum("bhqk,bkhe->bqhe", weights, value)

    shapes = array(b, q, h, e), array(b, k, h, e), array(b, k, h, e)
    products = 2 * (2 * b * h * q * k * e)
    scores = b * h * q * k
    forward = count(attend, *shapes)
    assert forward.matmul == products
    assert forward.reduction == 2 * scores  # the largest, and the sum
    assert forward.elementwise == pytest.approx(3 * scores, rel=0.15)  # minus the largest, exp, over the sum
    both = count(jax.grad(lambda *x: jnp.sum(attend(*x)), (0, 1, 2)), *shapes)
    assert both.matmul == 3 * products - products // 2  # the sum of the output needs no product for its gradient


def test_ctc_by_hand():
    b, s, u, v = 2, 60, 20, 6
    shapes = array(b, s, v), array(b, dtype=jnp.int32), array(b, u, dtype=jnp.int32), array(b, dtype=jnp.int32)
    found = count(lambda *x: losses.ctc_loss(*x).loss_b, *shapes)
    # The log probabilities of the labels are taken out by a product with their one-hot vectors, so is the end.
    assert found.matmul == 2 * b * s * u * v + 2 * b * (u + 1)
    # The recursion, for each frame and token: 3 sums of two probabilities by their logarithms (10 each), 9 products of
    # probabilities and of what forbids a transition, 6 to keep what is at padding. Before it, for each logit: masked,
    # shifted, exp, minus the log sum.
    by_hand = b * s * u * (3 * 10 + 9 + 6) + 4 * b * s * v
    assert found.elementwise == pytest.approx(by_hand, rel=0.03)


def test_sums_transforms_and_sorting():
    x = array(4, 256)
    assert count(jnp.sum, x) == Flops(reduction=1024, bytes=4096 + 4)
    assert count(lambda x: jnp.cumsum(x, axis=1), x).reduction == 1024
    assert count(jnp.fft.rfft, x).other == 2.5 * 1024 * 8
    assert count(jnp.fft.fft, array(4, 256, dtype=jnp.complex64)).other == 5 * 1024 * 8
    assert count(jnp.sort, x).other == 1024 * 8
    assert count(lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 4), (1, 4), "VALID"), x).reduction == 1024
    assert count(lambda x: jnp.zeros(8).at[jnp.zeros(1024, int)].add(x.reshape(-1)), x).reduction == 1024
    assert count(lambda x: x.T.reshape(2, -1)[:, ::2].astype(jnp.bfloat16), x) == Flops()


@given(length=st.integers(0, 30))
@settings(max_examples=5)
def test_a_scan_is_its_body_by_its_length(length):
    def roll(x):
        return lax.scan(lambda c, _: (jnp.tanh(c @ c), None), x, None, length=length)[0]

    body = count(lambda c: jnp.tanh(c @ c), array(6, 6))
    found = count(roll, array(6, 6))
    assert (found.matmul, found.elementwise) == (length * body.matmul, length * body.elementwise)


def test_counts_add_up():
    x = array(6, 6)
    first, second = (lambda x: jnp.sin(x @ x)), (lambda x: jnp.sum(x, axis=0)[None] * x)
    both = count(lambda x: (first(x), second(x)), x)
    parts = count(first, x), count(second, x)
    assert both.total == sum(each.total for each in parts)
    assert both.bytes == sum(each.bytes for each in parts)
    assert count(jax.jit(first), x) == count(first, x)


LOOPS = {
    "up to a number": (lambda x, n: lax.while_loop(lambda c: c[0] < 7, lambda c: (c[0] + 1, c[1] @ x), (0, x)), 7, ""),
    "in threes, downwards": (
        lambda x, n: lax.while_loop(lambda c: c[0] >= 2, lambda c: (c[0] - 3, c[1] @ x), (jnp.int32(10), x)),
        3,
        "",
    ),
    "until it is met": (
        lambda x, n: lax.while_loop(lambda c: c[0] != 8, lambda c: (c[0] + 2, c[1] @ x), (0, x)),
        4,
        "",
    ),
    "with a limit that is carried": (
        lambda x, n: lax.while_loop(lambda c: c[2] > c[0], lambda c: (1 + c[0], c[1] @ x, c[2]), (0, x, 5)),
        5,
        "",
    ),
    "under jit": (lambda x, n: jax.jit(lambda x, k: lax.fori_loop(0, k, lambda i, c: c @ x, x))(x, 6), 6, ""),
    "not at all": (lambda x, n: lax.while_loop(lambda c: c[0] < 0, lambda c: (c[0] + 1, c[1] @ x), (0, x)), 0, ""),
    "until enough": (
        lambda x, n: lax.while_loop(lambda c: (jnp.sum(c[1]) < 9) & (c[0] < 7), lambda c: (c[0] + 1, c[1] @ x), (0, x)),
        7,
        "at_most",
    ),
    "as often as is given": (lambda x, n: lax.fori_loop(0, n, lambda i, c: c @ x, x), 1, "unbounded"),
    "as long as it is small": (
        lambda x, n: lax.while_loop(lambda c: jnp.sum(c) < 9, lambda c: c @ x, x),
        1,
        "unbounded",
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_while_loop_is_counted_by_its_trips_or_named(name):
    loop, trips, note = LOOPS[name]
    found = count(loop, array(4, 4), array(dtype=jnp.int32))
    assert found.matmul == trips * 2 * 4**3
    assert bool(found.at_most) == (note == "at_most")
    assert bool(found.unbounded) == (note == "unbounded")


def test_constants_are_looked_at_and_keys_are_left_alone():
    key, trips = jax.random.key(0), jnp.int32(5)

    def draw(x):
        return lax.fori_loop(0, trips, lambda i, c: c @ x, x) + jax.random.normal(key, (4, 4))

    for function in (draw, jax.jit(draw)):
        found = count(function, array(4, 4))
        assert (found.matmul, found.unbounded) == (5 * 2 * 4**3, ())


def test_a_branch_costs_as_much_as_the_dearest():
    def choose(i, x):
        return lax.switch(i, (lambda x: x, lambda x: x @ x @ x, jnp.sin), x)

    found = count(choose, array(dtype=jnp.int32), array(5, 5))
    assert (found.matmul, found.elementwise) == (2 * 2 * 5**3, 1)  # the index is brought between its ends


def test_what_is_computed_again_is_counted_again():
    def twice(x):
        return jnp.sum(jnp.sin(jnp.sin(x @ x) @ x))

    plain, again = (count(jax.value_and_grad(f), array(5, 5)) for f in (twice, jax.checkpoint(twice)))
    assert (plain.matmul, again.matmul) == (6 * 2 * 5**3, 8 * 2 * 5**3)
    assert not again.notes


def test_what_nobody_needs_is_not_counted():
    def wasteful(x):
        unused = x @ x
        (kept, _), (sums, _) = lax.scan(
            lambda c, _: ((c[0] + 1, c[1]), (jnp.sum(c[0]), x @ c[1] @ x)), (x, x), length=3
        )
        return jax.jit(lambda x: (x @ x, jnp.sin(unused)))(kept)[0], sums

    found = count(wasteful, array(2, 2))
    assert (found.matmul, found.elementwise, found.reduction) == (2 * 8, 3 * 4, 3 * 4)


def test_rules_of_differentiation_of_ones_own_are_looked_into():
    @jax.custom_vjp
    def cube(x):
        return x @ x @ x

    cube.defvjp(lambda x: (cube(x), x), lambda x, d: (d @ x,))
    assert count(cube, array(3, 3)).matmul == 2 * 2 * 27
    assert count(jax.value_and_grad(lambda x: jnp.sum(cube(x))), array(3, 3)).matmul == 3 * 2 * 27
    assert count(jax.nn.relu, array(3, 3)).elementwise == 9


def test_over_devices_the_work_of_each_is_counted():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("data")
    split = jax.shard_map(lambda x: lax.psum(x.T @ x, "data"), mesh=mesh, in_specs=spec, out_specs=PartitionSpec())
    assert count(split, array(8, 3)).matmul == count(lambda x: x.T @ x, array(8, 3)).matmul
    mapped = jax.pmap(lambda x: lax.psum(x.T @ x, "data"), "data")
    assert count(mapped, array(4, 2, 3)).matmul == 2 * 8 * 3 * 3


def test_nothing_is_left_out_in_silence():
    strange = core.Primitive("strange")
    strange.def_abstract_eval(lambda x: x.update(shape=(2, *x.shape)))
    found = count(lambda x: jnp.sum(strange.bind(x)), array(3, 4))
    assert found.uncounted == ("strange",)
    assert (found.total, found.reduction) == (24, 24)
    assert found.notes == ["not counted: strange"]
    assert str(found).endswith("; not counted: strange")


def test_foreign_code_is_named_with_its_function():
    """cuDNN's attention and recurrences come as primitives of their own, everything else as `ffi_call`."""

    def function(x):
        x = jax.ffi.ffi_call("cudnn_rnn", jax.ShapeDtypeStruct((4, 4), jnp.float32))(x) @ x
        return jax.pure_callback(np.sin, x, x)

    found = count(function, array(4, 4))
    assert found.uncounted == ("ffi_call cudnn_rnn", "pure_callback")
    assert found.total == found.matmul == 2 * 4**3
    attention = core.Primitive("dot_product_attention_fwd")
    attention.def_abstract_eval(lambda q, k, v: q)
    assert count(attention.bind, *[array(1, 4, 2, 8)] * 3) == Flops(uncounted=("dot_product_attention_fwd",))


def test_a_kernel_is_its_body_by_its_grid():
    def product(x, y, z):
        z[...] = x[...] @ y[...]

    def function(x, y):
        blocks = [pallas.BlockSpec((4, 6), lambda i, j: (i, 0)), pallas.BlockSpec((6, 5), lambda i, j: (0, j))]
        out = pallas.BlockSpec((4, 5), lambda i, j: (i, j))
        shape = jax.ShapeDtypeStruct((8, 15), jnp.float32)
        return pallas.pallas_call(product, shape, grid=(2, 3), in_specs=blocks, out_specs=out)(x, y)

    found = count(function, array(8, 6), array(6, 15))
    assert (found.matmul, found.total, found.notes) == (2 * 8 * 15 * 6, 2 * 8 * 15 * 6, [])


def test_a_search_in_a_sorted_array_is_looked_into():
    """A loop in jax 0.10; in 0.12 a primitive that is expanded when it is compiled."""
    found = count(jnp.searchsorted, array(1024), array(7))
    assert not found.notes
    assert 7 * 10 <= found.elementwise <= 7 * 11 * 25


def test_the_product_names_its_operands():
    found = count(
        lambda x, y: (x @ y).astype(jnp.float32) @ jnp.ones((2, 5)),
        array(4, 3, dtype=jnp.bfloat16),
        array(3, 2, dtype=jnp.bfloat16),
    )
    assert {(each.dtype, each.flops, each.times) for each in found.products} == {
        ("bfloat16", 48, 1),
        ("float32", 80, 1),
    }
    assert str(found).startswith("0.000 GFLOP (matmul 100.0%)")
    assert np.isclose(found.total, 128)
