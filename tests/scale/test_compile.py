"""Tests that jit, pmap and mesh compute equal steps, also for unequal token counts on the devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.scale.cache import CompileCounter
from jaxasr.scale.compile import compile_step

PARALLELISMS = ("jit", "pmap", "mesh")
LENGTHS = np.array([9, 8, 1, 0, 1, 2, 9, 1], np.int32)  # 17, 1, 3, 10 tokens on four devices


def loss_sum(params, batch):
    """Returns the cross-entropy of a linear classifier, summed over the real tokens, and their count."""
    logits = batch["x"] @ params["kernel"] + params["bias"][None, None]
    log_probs = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probs, batch["targets"][..., None], -1)[..., 0]
    valid = jnp.arange(picked.shape[1])[None] < batch["lengths"][:, None]
    return -jnp.sum(picked * valid), jnp.sum(valid).astype(jnp.float32)


def step(state, batch, reduction):
    """Runs a step of gradient descent with momentum. It divides once, after the sums over all devices' examples."""

    def sums(variables, batch):
        (loss, weight), gradient = jax.value_and_grad(loss_sum, has_aux=True)(variables["params"], batch)
        return gradient, (loss, weight)

    gradient, (loss, weight) = reduction.summed(sums, {"params": state["params"]}, batch)
    velocity = jax.tree.map(lambda v, g: 0.9 * v + g / weight, state["velocity"], gradient)
    params = jax.tree.map(lambda p, v: p - 0.3 * v, state["params"], velocity)
    return {"params": params, "velocity": velocity, "step": state["step"] + 1}, {"loss": loss, "weight": weight}


def new_state():
    params = {"kernel": jnp.zeros((4, 5)), "bias": jnp.zeros(5)}
    return {"params": params, "velocity": jax.tree.map(jnp.zeros_like, params), "step": jnp.int32(0)}


def batch_of(rng, examples=8, tokens=9):
    return {
        "x": rng.normal(size=(examples, tokens, 4)).astype(np.float32),
        "targets": rng.integers(0, 5, (examples, tokens)),
        "lengths": rng.permutation(LENGTHS)[:examples],
    }


@functools.cache
def compiled_step(parallelism, microbatches=1):
    """Returns the compiled step, one for all tests of the file."""
    return compile_step(step, parallelism, microbatches=microbatches)


def run(compiled, batches):
    state = compiled.place_state(new_state())
    losses = []
    for batch in batches:
        state, metrics = compiled(state, compiled.place(batch))
        losses.append(float(metrics["loss"] / metrics["weight"]))
    return jax.device_get(state), losses


@pytest.fixture
def batches(rng):
    return [batch_of(rng) for _ in range(3)]


@pytest.mark.parametrize("parallelism", ["pmap", "mesh"])
def test_every_way_makes_the_same_steps(batches, parallelism):
    one, losses = run(compiled_step("jit"), batches)
    many, losses_of_many = run(compiled_step(parallelism), batches)
    assert one["step"] == many["step"] == 3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), one, many)
    np.testing.assert_allclose(losses, losses_of_many, rtol=1e-6)


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_microbatches_make_the_same_steps(batches, parallelism):
    """The parts have 17, 1, 3 and 10 tokens on one device; on four, a part is one example."""
    one, losses = run(compiled_step("jit"), batches)
    parts, losses_of_parts = run(compiled_step(parallelism, 2 if parallelism != "jit" else 4), batches)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), one, parts)
    np.testing.assert_allclose(losses, losses_of_parts, rtol=1e-6)


def test_the_mean_of_means_would_differ(batches):
    """Checks that the batches distinguish the two: the mean over devices of each device's mean gives other parameters."""

    def mean_of_means(state, batch, reduction):
        def mean(params, batch):
            loss, weight = loss_sum(params, batch)
            return loss / jnp.maximum(weight, 1.0)

        def means(variables, batch):
            return jax.grad(mean)(variables["params"], batch), jnp.ones(())

        gradient, devices = reduction.summed(means, {"params": state["params"]}, batch)
        return {**state, "params": jax.tree.map(lambda p, g: p - 0.3 * g / devices, state["params"], gradient)}, {}

    kernels = []
    for parallelism in ("jit", "mesh"):
        compiled = compile_step(mean_of_means, parallelism)
        state, _ = compiled(compiled.place_state(new_state()), compiled.place(batches[0]))
        kernels.append(np.asarray(state["params"]["kernel"]))
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_nothing_moves_behind_our_back_and_nothing_compiles_twice(batches, parallelism):
    compiled = compiled_step(parallelism)
    state = compiled.place_state(new_state())
    state, _ = compiled(state, compiled.place(batches[0]))
    placed = [compiled.place(batch) for batch in batches]  # ahead of time
    with jax.transfer_guard("disallow"), CompileCounter() as compiles:
        for batch in placed:
            state, metrics = compiled(state, batch)
    assert compiles.names == []
    assert metrics["loss"].shape == ()


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_the_state_is_donated_and_the_one_placed_is_not(batches, parallelism):
    given = new_state()
    given["average"] = given["params"]  # the same buffers twice, as in an average that starts as the parameters
    given["key"] = jax.random.key(3)

    def averaging_step(state, batch, reduction):
        new, metrics = step(state, batch, reduction)
        return {**new, "average": state["average"], "key": state["key"]}, metrics

    compiled = compile_step(averaging_step, parallelism)
    state = compiled.place_state(given)
    after, _ = compiled(state, compiled.place(batches[0]))
    assert state["params"]["kernel"].is_deleted()
    np.testing.assert_array_equal(given["params"]["kernel"], 0.0)
    np.testing.assert_array_equal(after["average"]["kernel"], 0.0)
    assert after["key"] == jax.random.key(3)


@pytest.mark.parametrize(("parallelism", "devices"), [("jit", 1), ("pmap", 4), ("mesh", 4)])
def test_every_device_works_on_its_share(batches, parallelism, devices):
    compiled = compiled_step(parallelism)
    placed = compiled.place(batches[0])
    shards = placed["x"].addressable_shards
    assert len({shard.device for shard in shards}) == devices
    assert {shard.data.size for shard in shards} == {batches[0]["x"].size // devices}
    state = compiled.place_state(new_state())
    assert state["params"]["kernel"].sharding.is_fully_replicated
    assert len(state["params"]["kernel"].devices()) == devices


@pytest.mark.parametrize("parallelism", ["pmap", "mesh"])
def test_two_of_four_devices_make_the_same_step(batches, parallelism):
    one, _ = run(compiled_step("jit"), batches[:1])
    two, _ = run(compile_step(step, parallelism, devices=jax.devices()[2:]), batches[:1])
    np.testing.assert_allclose(two["params"]["kernel"], one["params"]["kernel"], rtol=0, atol=1e-6)


def test_examples_that_cannot_be_shared_out_are_refused(rng):
    compiled = compiled_step("mesh")
    with pytest.raises(ValueError, match=r"6 examples can't be shared out evenly over 4 devices"):
        compiled.place(batch_of(rng, examples=6))


def test_microbatches_that_do_not_divide_a_share_are_refused(rng):
    compiled = compiled_step("mesh", 2)
    message = r"12 examples can't be divided evenly over 4 devices in 2 microbatches; make .* a multiple of 8 "
    with pytest.raises(ValueError, match=message):
        compiled.check_divisible(12)
    compiled.check_divisible(16)


def test_microbatches_hold_the_activations_of_one_part():
    """The memory of temporary arrays, as the compiler plans it, with long examples."""
    state, batch = jax.eval_shape(new_state), batch_of(np.random.default_rng(0), tokens=4_000)
    shapes = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, batch))
    whole, parts = (
        compile_step(step, "jit", microbatches=count).lower(state, shapes).compile().memory_analysis()
        for count in (1, 8)
    )
    assert parts.temp_size_in_bytes < 0.5 * whole.temp_size_in_bytes
