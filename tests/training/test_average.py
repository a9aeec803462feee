"""Averages of parameters, moving and of checkpoints, against sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.training import Checkpoints, Metadata
from jaxasr.training.average import average_checkpoints, ema_update

METADATA = Metadata("", "", "", "", {})


def test_the_moving_average_is_the_recursion(rng):
    values = rng.normal(size=(60, 3))
    average, expected = {"x": jnp.zeros(3)}, np.zeros(3)
    update = jax.jit(ema_update, static_argnames="decay")
    for step, value in enumerate(values):
        average = update(average, {"x": jnp.asarray(value, jnp.float32)}, decay=0.8, step=jnp.int32(step))
        keep = min(0.8, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * value
    np.testing.assert_allclose(average["x"], expected, rtol=1e-5, atol=1e-6)


def test_the_first_parameters_are_forgotten_quickly():
    average = {"x": jnp.full(2, 1000.0)}
    for step in range(30):
        average = ema_update(average, {"x": jnp.ones(2)}, decay=0.999, step=step)
    assert np.abs(np.asarray(average["x"]) - 1.0).max() < 1e-4  # with 0.999 from the first step on it would be 970


def test_no_decay_is_the_parameters_themselves(rng):
    params = {"x": jnp.asarray(rng.normal(size=5), jnp.float32)}
    average = ema_update({"x": jnp.full(5, 1e30)}, params, decay=0.0, step=1000)
    np.testing.assert_array_equal(average["x"], params["x"])


def test_the_average_of_bfloat16_parameters_is_kept_in_float32():
    average = ema_update({"x": jnp.ones(2)}, {"x": jnp.ones(2, jnp.bfloat16)}, decay=0.9, step=1)
    assert average["x"].dtype == jnp.float32


def test_a_decay_of_one_is_refused():
    with pytest.raises(ValueError, match=r"decay of the moving average is 1\.0"):
        ema_update({}, {}, decay=1.0, step=0)


def test_checkpoints_are_averaged_in_float64(tmp_path):
    values = [np.float32(2**24), np.float32(1.0), np.float32(1.0), np.float32(1.0)]  # in float32 the ones are lost
    with Checkpoints(tmp_path, keep_last=4) as checkpoints:
        for step, value in enumerate(values, 1):
            checkpoints.save(step, {"params": {"x": jnp.full(3, value)}, "other": jnp.int32(step)}, METADATA)
        like = {"params": {"x": jnp.zeros(3)}}
        mean = average_checkpoints(checkpoints, [1, 2, 3, 4], like)
        np.testing.assert_array_equal(mean["params"]["x"], np.float32(np.mean(np.asarray(values, np.float64))))
        assert mean["params"]["x"].dtype == np.float32
        one = average_checkpoints(checkpoints, [2], like)
        np.testing.assert_array_equal(one["params"]["x"], np.ones(3, np.float32))
        for steps in ([], [1, 1]):
            with pytest.raises(ValueError, match="each once"):
                average_checkpoints(checkpoints, steps, like)
        with pytest.raises(FileNotFoundError, match="no checkpoint 9"):
            average_checkpoints(checkpoints, [1, 9], like)
        with pytest.raises(ValueError, match="only floats have a mean"):
            average_checkpoints(checkpoints, [1], {"other": jnp.int32(0)})
