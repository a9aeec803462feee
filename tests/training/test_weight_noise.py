"""Weight noise: where, when, how much, and the gradient through it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.training import WeightNoise

PARAMS = {"a": {"kernel": jnp.ones((200, 100))}, "b": {"kernel": jnp.ones((200, 100)), "bias": jnp.ones(100)}}


def test_noise_is_on_matrices_from_its_step_on_and_new_at_each():
    noise = jax.jit(WeightNoise(0.075, from_step=5).__call__)
    key = jax.random.key(0)
    jax.tree.map(np.testing.assert_array_equal, noise(PARAMS, jnp.int32(4), key), PARAMS)
    noisy = noise(PARAMS, jnp.int32(5), key)
    np.testing.assert_array_equal(noisy["b"]["bias"], 1)
    drawn = [np.asarray(noisy[name]["kernel"]) - 1 for name in ("a", "b")]
    for each in drawn:
        assert abs(each.mean()) < 4 * 0.075 / 20_000**0.5
        assert each.std() == pytest.approx(0.075, rel=0.03)
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 0.03
    other = noise(PARAMS, jnp.int32(5), jax.random.key(1))
    assert np.all(other["a"]["kernel"] != noisy["a"]["kernel"])


def test_biases_and_norms_of_stacked_layers_and_of_heads_have_no_noise():
    layer = {"kernel": jnp.ones((3, 4, 5)), "bias": jnp.ones((3, 5)), "scale": jnp.ones((3, 5))}
    params = {"blocks": layer, "attention": {"inner": layer, "values": {"kernel": jnp.ones((4, 4))}}}
    params["norm"] = {"scale": jnp.ones((4, 5)), "bias": jnp.ones((4, 5))}
    noisy = WeightNoise(0.5)(params, jnp.int32(0), jax.random.key(0))
    changed = jax.tree.map(lambda before, after: bool(np.any(before != after)), params, noisy)
    expected = {"kernel": True, "bias": False, "scale": False}
    assert changed["blocks"] == changed["attention"]["inner"] == expected
    assert changed["norm"] == {"scale": False, "bias": False}


def test_the_gradient_is_taken_at_the_noisy_parameters():
    noise, key = WeightNoise(0.5), jax.random.key(3)

    def loss(params):
        return jnp.sum(noise(params, jnp.int32(0), key)["kernel"] ** 2)

    params = {"kernel": jnp.ones((2, 3))}
    found = jax.jit(jax.grad(loss))(params)["kernel"]
    np.testing.assert_allclose(found, 2 * noise(params, jnp.int32(0), key)["kernel"], rtol=1e-6)


@pytest.mark.parametrize("arguments", [(0.0, 0), (0.1, -1)])
def test_noise_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(ValueError, match="it needs deviation > 0"):
        WeightNoise(*arguments)
