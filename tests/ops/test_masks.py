import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.ops import masks


def test_valid_from_lengths_counts_from_the_left():
    valid_bt = masks.valid_from_lengths(jnp.array([2, 0, 3, 7]), 3)
    np.testing.assert_array_equal(valid_bt, [[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1]])


def test_zero_padding_stops_values_and_gradients():
    valid_bt = jnp.array([[True, False], [True, True]])
    x_btf = jnp.array([[[1.0, 2.0], [jnp.nan, jnp.inf]], [[3.0, 4.0], [5.0, 6.0]]])
    np.testing.assert_array_equal(masks.zero_padding(x_btf, valid_bt)[0], [[1, 2], [0, 0]])
    gradient_btf = jax.grad(lambda x: masks.zero_padding(x, valid_bt).sum())(x_btf)
    np.testing.assert_array_equal(gradient_btf, np.asarray(valid_bt)[..., None] * np.ones(2))
    np.testing.assert_array_equal(masks.zero_padding(jnp.ones((2, 2)), valid_bt), valid_bt)
