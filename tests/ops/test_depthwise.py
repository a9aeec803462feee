import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.depthwise import depthwise
from tests.reference import depthwise as reference
from tests.reference.gradient import gradients


@functools.partial(jax.jit, static_argnames="causal")
def with_gradients(x_btc, filters_kc, mix_btc, *, causal):
    def value(x_btc, filters_kc):
        y_btc = depthwise(x_btc, filters_kc, causal=causal)
        return jnp.sum(y_btc * mix_btc), y_btc

    return jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(x_btc, filters_kc)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("frames", "taps"), [(5, 3), (5, 4), (1, 3), (3, 7), (4, 1), (81, 2)])
def test_values_and_gradients_are_the_twins(rng, frames, taps, causal):
    """81 frames are three pieces of the filter's gradient."""
    x_btc, filters_kc = rng.normal(size=(2, frames, 2)), rng.normal(size=(taps, 2))
    mix_btc = rng.normal(size=x_btc.shape)
    before = taps - 1 if causal else (taps - 1) // 2
    with jax.enable_x64(True):
        (_, y_btc), (dx_btc, d_filters) = with_gradients(x_btc, filters_kc, mix_btc, causal=causal)
    total = np.zeros_like(filters_kc)
    for row in range(2):
        expected = reference.depthwise(x_btc[row], filters_kc, before=before)
        np.testing.assert_allclose(y_btc[row], expected, rtol=1e-12, atol=1e-13)

        def value(x_tc, filters_kc, row=row):
            return np.sum(reference.depthwise(x_tc, filters_kc, before=before) * mix_btc[row])

        dx_tc, d_filters_of = gradients(value, x_btc[row], filters_kc)
        np.testing.assert_allclose(dx_btc[row], dx_tc, rtol=1e-11, atol=1e-13)
        total += d_filters_of
    np.testing.assert_allclose(d_filters, total, rtol=1e-11, atol=1e-13)


def test_no_frames_give_no_frames_and_no_gradient():
    (_, y_btc), (_, d_filters) = with_gradients(
        jnp.ones((2, 0, 3)), jnp.ones((4, 3)), jnp.ones((2, 0, 3)), causal=False
    )
    assert y_btc.shape == (2, 0, 3)
    np.testing.assert_array_equal(d_filters, np.zeros((4, 3)))


def test_an_impulse_tells_what_a_filter_sees():
    """An even filter sees one position more ahead; a causal one sees nothing ahead."""
    impulse_btc = jax.nn.one_hot(jnp.array([3]), 7)[..., None]
    filters_kc = jnp.arange(1.0, 5.0)[:, None]
    np.testing.assert_array_equal(depthwise(impulse_btc, filters_kc)[0, :, 0], [0, 4, 3, 2, 1, 0, 0])
    np.testing.assert_array_equal(depthwise(impulse_btc, filters_kc, causal=True)[0, :, 0], [0, 0, 0, 4, 3, 2, 1])


def test_sums_over_time_of_bfloat16_are_made_in_float32(rng):
    """In bfloat16 a sum of 400 ones stays at 256."""
    ones_btc = jnp.ones((1, 400, 1), jnp.bfloat16)
    (_, y_btc), (dx_btc, d_filters) = with_gradients(ones_btc, jnp.ones((1, 1), jnp.bfloat16), ones_btc, causal=True)
    assert {leaf.dtype for leaf in (y_btc, dx_btc, d_filters)} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(d_filters, 400)
