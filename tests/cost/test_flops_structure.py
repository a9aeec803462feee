"""Tests of the FLOP counter for loops, branches, calls, devices and primitives without a rule."""

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


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


@given(length=st.integers(0, 30))
@settings(max_examples=5)
def test_a_scan_is_its_body_by_its_length(length):
    def roll(x):
        return lax.scan(lambda c, _: (jnp.tanh(c @ c), None), x, None, length=length)[0]

    body = count(lambda c: jnp.tanh(c @ c), array(6, 6))
    found = count(roll, array(6, 6))
    assert (found.matmul, found.elementwise) == (length * body.matmul, length * body.elementwise)


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
    key = jax.random.key(0)
    trips = jnp.int32(5)

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
    """cuDNN's attention and recurrences are separate primitives; all other foreign code is `ffi_call`."""

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
    """jax 0.10 has a loop for it, jax 0.12 a primitive that is expanded during compilation."""
    found = count(jnp.searchsorted, array(1024), array(7))
    assert not found.notes
    assert 7 * 10 <= found.elementwise <= 7 * 11 * 25
