import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.attention import positions
from tests.reference import positions as reference
from tests.reference.gradient import gradients


@pytest.mark.parametrize("width", [2, 6])
def test_sinusoids_are_the_twins_at_negative_positions_too(width):
    at = np.array([-7, 0, 1, 250])
    expected = [reference.sinusoid(p, width) for p in at]
    with jax.enable_x64(True):
        np.testing.assert_allclose(positions.sinusoid(jnp.asarray(at), width), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(positions.sinusoid(jnp.asarray(at, jnp.int32), width), expected, atol=3e-5)


@pytest.mark.parametrize("width", [0, 3])
def test_an_odd_width_is_refused(width):
    with pytest.raises(ValueError, match=f"width {width}; sines and cosines need an even one"):
        positions.sinusoid(jnp.arange(3), width)


def test_rotation_is_the_twins(rng):
    x_bthe = rng.normal(size=(2, 5, 3, 4))
    with jax.enable_x64(True):
        turned_bthe = positions.rotary(jnp.asarray(x_bthe), jnp.arange(5))
    for b, t, h in np.ndindex(2, 5, 3):
        np.testing.assert_allclose(turned_bthe[b, t, h], reference.rotary(x_bthe[b, t, h], t), rtol=1e-11, atol=1e-12)


def test_products_of_turned_vectors_depend_on_their_distance_alone(rng):
    q_e, k_e = (jnp.broadcast_to(jnp.asarray(rng.normal(size=8), jnp.float32), (1, 6, 1, 8)) for _ in range(2))
    turned_q, turned_k = (positions.rotary(x, jnp.arange(6))[0, :, 0] for x in (q_e, k_e))
    products_qk = np.asarray(turned_q @ turned_k.T)
    for back in range(-5, 6):
        diagonal = np.diagonal(products_qk, -back)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-4, atol=1e-5)
    assert np.ptp(products_qk) > 0.1


@pytest.mark.parametrize("t", [0, 1, 2, 5])
def test_scores_by_distance_become_scores_by_key(rng, t):
    """Against the twin, and a score that is its own distance."""
    scores_qr = rng.normal(size=(t, max(2 * t - 1, 0)))
    mix_qk = rng.normal(size=(t, t))

    def value(scores_qr):
        return jnp.sum(positions.shift_relative(scores_qr[None, None])[0, 0] * mix_qk)

    with jax.enable_x64(True):
        np.testing.assert_array_equal(
            positions.shift_relative(jnp.asarray(scores_qr)[None, None])[0, 0], reference.shift_relative(scores_qr)
        )
        d_scores_qr = jax.grad(value)(jnp.asarray(scores_qr))
    (expected,) = gradients(lambda scores_qr: np.sum(reference.shift_relative(scores_qr) * mix_qk), scores_qr)
    np.testing.assert_allclose(d_scores_qr, expected)
    back_bhqr = jnp.broadcast_to(positions.distances(t).astype(jnp.float32), (2, 3, t, max(2 * t - 1, 0)))
    at = np.arange(t)
    np.testing.assert_array_equal(positions.shift_relative(back_bhqr), np.broadcast_to(at[:, None] - at, (2, 3, t, t)))
