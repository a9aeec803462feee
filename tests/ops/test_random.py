import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops import random

KEY = jax.random.key(7)
IDS = jnp.array([11, 5, 4_000_000_000], jnp.uint32)


def test_keys_depend_on_the_id_and_not_on_the_row():
    keys_b = random.example_keys(KEY, IDS)
    turned_b = random.example_keys(KEY, IDS[::-1])
    np.testing.assert_array_equal(jax.random.key_data(keys_b), jax.random.key_data(turned_b)[::-1])
    assert len(np.unique(jax.random.key_data(keys_b), axis=0)) == 3
    raw_b = random.example_keys(jax.random.key_data(KEY), IDS)
    np.testing.assert_array_equal(jax.random.key_data(raw_b), jax.random.key_data(keys_b))


def test_a_generator_that_would_see_the_padding_is_refused():
    with pytest.raises(ValueError, match="needs threefry2x32"):
        random.example_keys(jax.random.key(0, impl="rbg"), IDS)


def test_bytes_are_uniform():
    keys_b = random.example_keys(KEY, IDS)
    counts = np.bincount(np.ravel(random.example_bytes(keys_b, (256, 333))), minlength=256)
    expected = 3 * 333
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert 170 < chi_squared < 360  # 255 degrees of freedom: within 5 sigma


@pytest.mark.parametrize("rest", [(), (5,), (3, 2)])
@pytest.mark.parametrize("shared_axes", [(), (1,), (-1,)])
def test_dropout_never_sees_the_padding_or_the_row(rest, shared_axes):
    short = random.dropout(jnp.ones((3, 6, *rest)), rate=0.4, ids_b=IDS, key=KEY, shared_axes=shared_axes)
    rows = jnp.array([2, 0])
    x = jnp.ones((2, 13, *rest))
    long = random.dropout(x, rate=0.4, ids_b=IDS[rows], key=KEY, shared_axes=shared_axes)
    np.testing.assert_array_equal(long[:, :6], short[rows])


def test_dropout_keeps_the_expectation_exactly_and_drops_the_rounded_share():
    x = jnp.full((3, 400, 100), 2.0)
    dropped = np.asarray(jax.jit(lambda x: random.dropout(x, rate=0.1, ids_b=IDS, key=KEY))(x))
    share = (dropped == 0).mean()
    assert abs(share - 26 / 256) < 5 * np.sqrt(0.1 * 0.9 / x.size)
    np.testing.assert_allclose(dropped[dropped != 0], 2 * 256 / 230, rtol=1e-6)
    np.testing.assert_array_equal(random.dropout(x, rate=0.1, ids_b=IDS, key=KEY), dropped)
    assert (dropped[0] != dropped[1]).any()


def test_dropout_shared_over_time_is_one_mask():
    dropped = np.asarray(random.dropout(jnp.ones((3, 9, 64)), rate=0.5, ids_b=IDS, key=KEY, shared_axes=(1,)))
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1], dropped.shape))
    assert 0.3 < (dropped == 0).mean() < 0.7


def test_dropout_edges():
    x = jnp.ones((3, 4), jnp.bfloat16)
    assert random.dropout(x, rate=0.0, ids_b=IDS, key=KEY) is x
    assert random.dropout(x, rate=0.5, ids_b=IDS, key=KEY).dtype == jnp.bfloat16
    for rate in (-0.1, 1.0, 0.999):
        with pytest.raises(ValueError, match="dropout rate"):
            random.dropout(x, rate=rate, ids_b=IDS, key=KEY)
