import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.attention import energies as attention
from tests.reference import attention as reference
from tests.reference.gradient import gradients


def compare(function, twin, arrays, *, rtol=1e-11):
    """One example: the value and all gradients of `function` over a batch of one against the twin, in float64."""
    mix = np.random.default_rng(1).normal(size=np.shape(twin(*arrays)))
    with jax.enable_x64(True):
        found = function(*map(jnp.asarray, arrays))
        numbers = range(len(arrays))
        derived = jax.jit(jax.grad(lambda *given: jnp.sum(function(*given) * mix), tuple(numbers)))(*arrays)
    np.testing.assert_allclose(found, twin(*arrays), rtol=rtol, atol=1e-13)
    for got, expected in zip(derived, gradients(lambda *given: np.sum(twin(*given) * mix), *arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-13)


@pytest.mark.parametrize(("positions", "width"), [(4, 3), (1, 1), (0, 2)])
def test_additive_energy_is_the_twins(rng, positions, width):
    arrays = (rng.normal(size=width), rng.normal(size=(positions, width)), rng.normal(size=width))
    compare(lambda q, k, v: attention.additive_energy(q[None], k[None], v)[0], reference.additive_energy, arrays)


@pytest.mark.parametrize(
    ("positions", "taps"), [(6, 3), (6, 1), (1, 5), (4, 9), (0, 3)], ids=["inside", "one", "single", "wider", "none"]
)
def test_location_features_are_centred(rng, positions, taps):
    arrays = (rng.normal(size=positions), rng.normal(size=(taps, 2)))
    compare(lambda w, f: attention.location_features(w[None], f)[0], reference.location_features, arrays)


def test_an_impulse_comes_back_as_the_filter_turned_round():
    filters_kc = jnp.arange(1.0, 6.0)[:, None]
    features = attention.location_features(jax.nn.one_hot(jnp.array([3]), 7), filters_kc)
    np.testing.assert_array_equal(features[0, :, 0], [0, 5, 4, 3, 2, 1, 0])


LENGTHS = np.array([5, 1, 0, 3])
VALID = jnp.asarray(np.arange(5) < LENGTHS[:, None])


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_masked_softmax_is_that_of_the_valid_alone(rng, scale):
    energy_bs = rng.normal(size=(4, 5)) * scale
    mix_bs = rng.normal(size=(4, 5))
    with jax.enable_x64(True):
        weights_bs = attention.masked_softmax(jnp.asarray(energy_bs), VALID)
    gradient_bs = jax.grad(lambda e: jnp.sum(attention.masked_softmax(e, VALID) * mix_bs.astype(np.float32)))(
        jnp.asarray(energy_bs, jnp.float32)
    )
    assert weights_bs.dtype == jnp.float32
    for row, length in enumerate(LENGTHS):
        real, mix = energy_bs[row, :length], mix_bs[row, :length]
        np.testing.assert_allclose(weights_bs[row, :length], reference.softmax(real), rtol=3e-6 * scale**0.5, atol=1e-7)
        assert not np.any(weights_bs[row, length:])
        (expected,) = gradients(lambda e, mix=mix: np.sum(reference.softmax(e) * mix), real.astype(np.float32))
        np.testing.assert_allclose(gradient_bs[row, :length], expected, rtol=1e-4, atol=1e-6)
        assert not np.any(gradient_bs[row, length:])


@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e30, -1e30])
def test_masked_softmax_does_not_look_at_padding(rng, padding):
    energy_bs = jnp.asarray(rng.normal(size=(4, 5)), jnp.float32)
    spoilt_bs = jnp.where(VALID, energy_bs, padding)

    def value(energy_bs):
        return jnp.sum(jnp.sin(attention.masked_softmax(energy_bs, VALID)))

    np.testing.assert_array_equal(
        attention.masked_softmax(spoilt_bs, VALID), attention.masked_softmax(energy_bs, VALID)
    )
    np.testing.assert_array_equal(jax.grad(value)(spoilt_bs), jax.grad(value)(energy_bs))


def test_where_nothing_is_valid_weights_and_gradient_are_zero():
    energy_bs, valid_bs = jnp.full((2, 3), 7.0), jnp.zeros((2, 3), bool)
    np.testing.assert_array_equal(attention.masked_softmax(energy_bs, valid_bs), 0)
    np.testing.assert_array_equal(jax.grad(lambda e: jnp.sum(attention.masked_softmax(e, valid_bs)))(energy_bs), 0)
    assert attention.masked_softmax(jnp.zeros((2, 0)), jnp.zeros((2, 0), bool)).shape == (2, 0)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_each_head_reads_its_own_columns(rng, heads):
    weights_bhs, values_bse = rng.normal(size=(2, heads, 4)), rng.normal(size=(2, 4, 6))
    found_be = attention.read(jnp.asarray(weights_bhs, jnp.float32), jnp.asarray(values_bse, jnp.float32))
    split_xsd = attention.by_head(jnp.asarray(values_bse, jnp.float32), heads)
    columns = 6 // heads
    for row in range(2):
        np.testing.assert_allclose(found_be[row], reference.read(weights_bhs[row], values_bse[row]), rtol=1e-5)
        for head in range(heads):
            expected_sd = values_bse[row][:, head * columns : (head + 1) * columns]
            np.testing.assert_allclose(split_xsd[row * heads + head], expected_sd, rtol=1e-6)


def seen(*shape):
    """A mask over queries and keys in which a query of the second example sees nothing."""
    visible_bqk = np.random.default_rng(3).random(shape) < 0.6
    visible_bqk[1, 0] = False
    visible_bqk[0, :, 0] = True
    return visible_bqk


def test_weights_of_whole_sequences_are_the_softmax_of_what_each_query_sees(rng):
    """Values and gradients in float64-made float32 against the twin; NaN behind the mask is nothing to both."""
    visible_bqk = seen(2, 3, 4)
    scores, mix = (rng.normal(size=(2, 2, 3, 4)).astype(np.float32) for _ in range(2))
    spoilt = jnp.where(visible_bqk[:, None], scores, jnp.nan)

    def value(scores):
        weights = attention.attention_weights(scores, jnp.asarray(visible_bqk))
        return jnp.sum(weights * mix), weights

    d_scores, weights = jax.jit(jax.grad(value, has_aux=True))(spoilt)
    for b, h, q in np.ndindex(2, 2, 3):
        real = visible_bqk[b, q]
        expected = reference.softmax(scores[b, h, q, real].astype(float))
        np.testing.assert_allclose(weights[b, h, q, real], expected, rtol=1e-5)
        (d_expected,) = gradients(
            lambda e, mix=mix[b, h, q, real]: np.sum(reference.softmax(e) * mix), scores[b, h, q, real].astype(float)
        )
        np.testing.assert_allclose(d_scores[b, h, q, real], d_expected, rtol=1e-4, atol=1e-6)
        assert not np.any(weights[b, h, q, ~real])
        assert not np.any(d_scores[b, h, q, ~real])


def test_weights_of_bfloat16_scores_are_float32_and_their_gradient_is_bfloat16():
    scores, visible_bqk = jnp.zeros((1, 1, 1, 3), jnp.bfloat16), jnp.ones((1, 1, 3), bool)
    weights, backward = jax.vjp(lambda e: attention.attention_weights(e, visible_bqk), scores)
    assert weights.dtype == jnp.float32
    assert backward(weights)[0].dtype == jnp.bfloat16
    assert attention.attention_weights(jnp.zeros((1, 2, 3, 0)), jnp.ones((1, 1, 0), bool)).shape == (1, 2, 3, 0)


def test_whole_sequences_read_as_single_queries_do(rng):
    weights_bhqk, values_bkhe = (jnp.asarray(rng.normal(size=n), jnp.float32) for n in ((2, 3, 4, 5), (2, 5, 3, 2)))
    together_bqm = attention.read_all(weights_bhqk, values_bkhe)
    for q in range(4):
        alone_bm = attention.read(weights_bhqk[:, :, q], values_bkhe.reshape(2, 5, 6))
        np.testing.assert_allclose(together_bqm[:, q], alone_bm, rtol=1e-5, atol=1e-6)


def test_the_top_are_the_highest_of_the_valid_and_their_equals():
    energy_bs = jnp.array([[1.0, 3.0, 2.0, 3.0, 9.0], [5.0, 1.0, 1.0, 0.0, 9.0], [4.0, 9.0, 9.0, 9.0, 9.0]])
    valid_bs = jnp.arange(5)[None] < jnp.array([4, 4, 1])[:, None]
    found = attention.among_top(energy_bs, valid_bs, top=2)
    np.testing.assert_array_equal(found, np.array([[0, 1, 0, 1, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], bool))
    np.testing.assert_array_equal(attention.among_top(energy_bs, valid_bs, top=5), valid_bs)
