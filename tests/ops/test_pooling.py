import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.pooling import max_over_bins, max_over_time


@pytest.mark.parametrize(("frames", "by"), [(7, 2), (6, 3), (3, 4), (1, 1)])
def test_the_largest_of_the_real_neighbours(rng, frames, by):
    """Negative numbers, so that a zero of the padding would win; a group without a real frame is zero."""
    lengths = [frames, frames // 2, 0]
    x_btd = -1 - rng.random((3, frames, 2)).astype(np.float32)
    valid_bt = jnp.asarray(np.arange(frames) < np.array(lengths)[:, None])
    found_bkd = max_over_time(jnp.asarray(x_btd), valid_bt, by)
    assert found_bkd.shape == (3, -(-frames // by), 2)
    for row, length in enumerate(lengths):
        for k in range(found_bkd.shape[1]):
            real = x_btd[row, k * by : min((k + 1) * by, length)]
            np.testing.assert_array_equal(found_bkd[row, k], real.max(axis=0) if len(real) else [0, 0])


def test_the_gradient_goes_to_the_largest_and_never_to_padding(rng):
    x_btd = np.array([[[3.0], [1.0], [2.0], [5.0], [9.0]]], np.float32)
    valid_bt = jnp.asarray(np.arange(5) < 3)[None]
    d_btd = jax.grad(lambda x: jnp.sum(max_over_time(x, valid_bt, 2) * jnp.array([7.0, 11.0, 13.0])[None, :, None]))(
        jnp.asarray(x_btd)
    )
    np.testing.assert_array_equal(d_btd[0, :, 0], [7, 0, 11, 0, 0])


@pytest.mark.parametrize(("bins", "by"), [(5, 2), (4, 2), (3, 1)])
def test_the_largest_of_neighbouring_bins(rng, bins, by):
    x_btfc = -1 - rng.random((2, 3, bins, 2)).astype(np.float32)
    found = max_over_bins(jnp.asarray(x_btfc), by)
    expected = [x_btfc[:, :, k : k + by].max(axis=2) for k in range(0, bins, by)]
    np.testing.assert_array_equal(found, np.stack(expected, axis=2))
