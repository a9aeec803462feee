"""Tests of the FLOP counter against counts by hand; tests/cost/test_flops_structure.py has those of loops and calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

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
    """Counts the multiply-adds of one channel one by one: the positions that hold an element of the input."""
    real = [at % spread == 0 for at in range((size - 1) * spread + 1)]
    room = [False] * before + real + [False] * after
    width = (kernel - 1) * reach + 1
    return sum(room[at + tap * reach] for at in range(0, len(room) - width + 1, stride) for tap in range(kernel))


@given(stride=st.integers(1, 3), before=st.integers(0, 3), spread=st.integers(1, 3), reach=st.integers(1, 2))
@settings(max_examples=12)
def test_a_convolution_counts_the_multiply_adds_of_real_elements(stride, before, spread, reach):
    b = 2
    size = 9
    into = 6
    kernel = 3
    out = 4
    groups = 2

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
    x = array(2, 10, 8, 3)
    w = array(3, 3, 3, 5)

    def convolve(x, w):
        return lax.conv_general_dilated(x, w, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    forward = 2 * (2 * 4 * 3 * 5) * 3 * 9
    assert count(convolve, x, w).convolution == forward
    both = count(jax.grad(lambda x, w: jnp.sum(convolve(x, w)), (0, 1)), x, w)
    assert both.convolution == 2 * forward  # each gradient meets the same elements


@pytest.mark.parametrize("backward", [False, True])
def test_the_lstm_by_hand(backward):
    b = 3
    t = 11
    d = 8
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
    b = 2
    q = 5
    k = 7
    h = 3
    e = 4

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
    b = 2
    s = 60
    u = 20
    v = 6
    shapes = array(b, s, v), array(b, dtype=jnp.int32), array(b, u, dtype=jnp.int32), array(b, dtype=jnp.int32)
    found = count(lambda *x: losses.ctc_loss(*x).loss_b, *shapes)
    # A product with one-hot vectors selects the log probabilities of the labels and of the end.
    assert found.matmul == 2 * b * s * u * v + 2 * b * (u + 1)
    # The recursion, for each frame and token: 3 sums of two probabilities by their logarithms (10 each), 9 products of
    # probabilities and masks of transitions, 6 to keep the values at padding. Before it, for each logit: mask, shift, exp,
    # minus the log sum.
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


def test_counts_add_up():
    x = array(6, 6)

    def first(x):
        return jnp.sin(x @ x)

    def second(x):
        return jnp.sum(x, axis=0)[None] * x

    both = count(lambda x: (first(x), second(x)), x)
    parts = count(first, x), count(second, x)
    assert both.total == sum(part.total for part in parts)
    assert both.bytes == sum(part.bytes for part in parts)
    assert count(jax.jit(first), x) == count(first, x)


def test_the_product_names_its_operands():
    found = count(
        lambda x, y: (x @ y).astype(jnp.float32) @ jnp.ones((2, 5)),
        array(4, 3, dtype=jnp.bfloat16),
        array(3, 2, dtype=jnp.bfloat16),
    )
    assert {(product.dtype, product.flops, product.times) for product in found.products} == {
        ("bfloat16", 48, 1),
        ("float32", 80, 1),
    }
    assert str(found).startswith("0.000 GFLOP (matmul 100.0%)")
    assert np.isclose(found.total, 128)
