import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops import convolution
from jaxasr.ops.convolution import convolve
from tests.reference import convolution as reference
from tests.reference.gradient import gradients

AROUND = ((1, 1), (1, 1))


@functools.partial(jax.jit, static_argnames=("padding", "strides"))
def with_gradients(x_btfc, filters, mix, *, padding, strides=(1, 1)):
    def value(x_btfc, filters):
        y = convolve(x_btfc, filters, padding, strides)
        return jnp.sum(y * mix), y

    return jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(x_btfc, filters)


@pytest.mark.parametrize(
    ("size", "taps", "padding", "strides", "stretch"),
    [
        ((5, 4), (3, 3), AROUND, (1, 1), 2**18),
        ((5, 4), (3, 3), AROUND, (1, 1), 60),  # stretches of 2, 2 and 1 frames: 4 bins x 3 taps x 2 channels each
        ((3, 4), (3, 3), AROUND, (1, 1), 1),  # of one frame
        ((6, 2), (4, 1), ((3, 0), (0, 0)), (1, 1), 20),  # causal
        ((2, 3), (2, 2), ((0, 0), (0, 1)), (1, 1), 2**18),
        ((5, 4), (3, 3), AROUND, (2, 2), 2**18),
    ],
)
def test_values_and_gradients_are_the_twins(rng, monkeypatch, size, taps, padding, strides, stretch):
    monkeypatch.setattr(convolution, "_STRETCH", stretch)
    with_gradients.clear_cache()
    x_btfc, filters = rng.normal(size=(2, *size, 2)), rng.normal(size=(*taps, 2, 3))
    mix = rng.normal(size=(2, *reference.convolve(x_btfc[0], filters, padding, strides).shape))
    with jax.enable_x64(True):
        (_, y), (dx, d_filters) = with_gradients(x_btfc, filters, mix, padding=padding, strides=strides)
    total = np.zeros_like(filters)
    for row in range(2):
        np.testing.assert_allclose(y[row], reference.convolve(x_btfc[row], filters, padding, strides), rtol=1e-12)

        def value(x_tfc, filters, row=row):
            return np.sum(reference.convolve(x_tfc, filters, padding, strides) * mix[row])

        dx_of, d_filters_of = gradients(value, x_btfc[row], filters)
        np.testing.assert_allclose(dx[row], dx_of, rtol=1e-11, atol=1e-13)
        total += d_filters_of
    np.testing.assert_allclose(d_filters, total, rtol=1e-11, atol=1e-13)


def test_no_frames_give_no_frames_and_no_gradient():
    none = jnp.ones((2, 0, 4, 2))
    (_, y), (_, d_filters) = with_gradients(none, jnp.ones((3, 3, 2, 3)), jnp.ones((2, 0, 4, 3)), padding=AROUND)
    assert y.shape == (2, 0, 4, 3)
    np.testing.assert_array_equal(d_filters, np.zeros((3, 3, 2, 3)))


def test_the_filters_gradient_of_narrow_numbers_is_summed_in_float32(rng):
    """256 times 1 + 1/128 is 258; in bfloat16, a term at a time, it would stop at 256."""
    x = jnp.full((1, 256, 1, 1), 1 + 1 / 128, jnp.bfloat16)
    one = jnp.ones((1, 1, 1, 1), jnp.bfloat16)
    _, backward = jax.vjp(lambda filters: convolve(x, filters, ((0, 0), (0, 0))), one)
    (d_filters,) = backward(jnp.ones((1, 256, 1, 1), jnp.bfloat16))
    assert d_filters.dtype == jnp.bfloat16
    assert float(d_filters[0, 0, 0, 0]) == 258.0
