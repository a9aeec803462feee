"""A scan whose weights get their gradient at the end is lax.scan with ordinary differentiation, to the last rounding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from jaxasr.cost.jaxprs import shape_of, trace
from jaxasr.ops.recurrent.scan import Linear, scan


def step(linear, constants, carry, x):
    """A recurrence with a matrix for all examples, one matrix an example, and one that is never used."""
    h_bd, count = carry
    drive_bd, keep_b = x
    moved_bd = jnp.tanh(linear("recurrent", h_bd) + drive_bd + constants["bias"][None] * constants["times"])
    read_be = linear("memory", jax.nn.softmax(moved_bd))
    moved_bd = jnp.where((keep_b & constants["open_b"])[:, None], moved_bd, h_bd)
    return (moved_bd + linear("back", read_be), count + 1), (read_be, count)


def drawn(rng, steps=5, examples=3, width=4, columns=2, dtype=np.float32):
    def normal(*shape):
        return rng.normal(size=shape).astype(dtype)

    weights = {
        "recurrent": normal(width, width),
        "memory": normal(examples, width, columns),
        "back": normal(columns, width),
        "unused": normal(2, 3),
    }
    constants = {"bias": normal(width), "times": np.int32(2), "open_b": np.array([True, True, False])[:examples]}
    carry = (normal(examples, width), np.int32(0))
    xs = (normal(steps, examples, width), rng.integers(0, 2, (steps, examples)).astype(bool))
    return jax.tree.map(jnp.asarray, (weights, constants, carry, xs))


def plain(weights, constants, carry, xs):
    """The same recurrence through lax.scan, differentiated by JAX."""
    return jax.lax.scan(lambda carry, x: step(Linear(weights), constants, carry, x), carry, xs)


def ours(weights, constants, carry, xs):
    return scan(step, weights, constants, carry, xs)


@functools.cache
def value_and_gradients(loop):
    """Of one number that sees the last carry and every output, by all that is real."""

    def value(weights, bias, h_bd, drive_ubd, rest):
        times, open_b, count, keep_ub = rest
        constants = {"bias": bias, "times": times, "open_b": open_b}
        out = loop(weights, constants, (h_bd, count), (drive_ubd, keep_ub))
        (last_bd, _), (read_ube, _) = out
        return jnp.sum(jnp.sin(last_bd)) + jnp.sum(jnp.cos(3 * read_ube)), out

    return jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2, 3), has_aux=True))


def called(loop, weights, constants, carry, xs):
    rest = (constants["times"], constants["open_b"], carry[1], xs[1])
    return value_and_gradients(loop)(weights, constants["bias"], carry[0], xs[0], rest)


@pytest.mark.parametrize("steps", [1, 5])
def test_values_and_all_gradients_are_those_of_lax_scan_in_float64(rng, steps):
    with jax.enable_x64(True):
        given = drawn(rng, steps, dtype=np.float64)
        found, expected = called(ours, *given), called(plain, *given)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), found, expected)
    d_weights = found[1][0]
    assert not np.any(d_weights["unused"])
    assert all(np.any(d_weights[name]) for name in ("recurrent", "memory", "back"))


def test_eager_is_jit(rng):
    given = drawn(rng)
    eager, compiled = scan(step, *given), jax.jit(ours)(*given)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), eager, compiled)


def test_a_product_taken_twice_is_refused():
    def twice(linear, constants, carry, x):
        return linear("w", linear("w", carry)) + x, None

    with pytest.raises(ValueError, match="'w' is taken twice in one step; give each its own name"):
        scan(twice, {"w": jnp.eye(2)}, None, jnp.ones((1, 2)), jnp.ones((3, 1, 2)))


def test_bfloat16_weights_get_bfloat16_gradients(rng):
    weights = {"w": jnp.asarray(rng.normal(size=(3, 3)), jnp.bfloat16)}
    xs = jnp.asarray(rng.normal(size=(4, 2, 3)), jnp.bfloat16)

    def last(weights):
        def one(linear, constants, carry, x):
            return jnp.tanh(linear("w", carry) + x).astype(x.dtype), None

        return jnp.sum(scan(one, weights, None, jnp.zeros((2, 3), jnp.bfloat16), xs)[0])

    assert jax.grad(last)(weights)["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize("way", ["pmap", "shard_map"])
def test_gradients_add_up_over_devices(rng, way):
    """Examples shared out, sums added by psum: the gradient of the whole batch."""
    devices, examples, width = 2, 4, 3
    weights = {"w": jnp.asarray(rng.normal(size=(width, width)), jnp.float32)}
    xs_ubd = jnp.asarray(rng.normal(size=(5, examples, width)), jnp.float32)

    def gradient(weights, xs_ubd):
        def one(linear, constants, carry, x):
            return jnp.tanh(linear("w", carry) + x), carry

        def value(weights):
            last_bd, ys = scan(one, weights, None, jnp.zeros_like(xs_ubd[0]), xs_ubd)
            return jnp.sum(last_bd**2) + jnp.sum(ys)

        return jax.grad(value)(weights)

    def summed(weights, xs_ubd):
        return jax.lax.psum(gradient(weights, xs_ubd), "data")

    if way == "pmap":
        shares = xs_ubd.reshape(5, devices, -1, width).swapaxes(0, 1)
        many = jax.pmap(summed, "data", in_axes=(None, 0), out_axes=None, devices=jax.devices()[:devices])
        found = many(weights, shares)
    else:
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
        specs = (PartitionSpec(), PartitionSpec(None, "data"))
        many = jax.shard_map(summed, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=False)
        found = jax.jit(many)(weights, xs_ubd)
    np.testing.assert_allclose(found["w"], jax.jit(gradient)(weights, xs_ubd)["w"], rtol=1e-5, atol=1e-6)


def test_no_loop_carries_the_gradient_of_a_weight(rng):
    weights, constants, carry, xs = drawn(rng)

    def value(weights):
        (last_bd, _), (read_ube, _) = ours(weights, constants, carry, xs)
        return jnp.sum(last_bd) + jnp.sum(read_ube)

    loops = [equation for equation in trace(jax.grad(value), weights).equations if equation.name == "scan"]
    assert len(loops) == 2
    carried = {shape_of(out) for loop in loops for out in loop.results[: loop.carried]}
    assert carried == {(3, 4), (4,), ()}  # the state, what the bias has so far, the count
