import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.cost.jaxprs import trace
from jaxasr.ops import losses
from tests.reference import ctc as ctc_reference
from tests.reference import losses as reference

ctc_loss = jax.jit(losses.ctc_loss)
ctc_gradient = jax.jit(jax.grad(lambda logits, *rest: losses.ctc_loss(logits, *rest).loss_b.sum()))


PRIOR = (0.5, 0.2, 0.0, 0.2, 0.1)


@pytest.mark.parametrize(("smoothing", "prior"), [(0.0, None), (0.1, None), (1.0, None), (0.3, PRIOR)])
def test_cross_entropy_against_the_formula(rng, smoothing, prior):
    logits_buv = (rng.normal(size=(3, 4, 5)) * 3).astype(np.float32)
    targets_bu = rng.integers(0, 5, size=(3, 4))
    targets_bu[0] = logits_buv[0].argmax(axis=-1)
    lengths = [4, 1, 0]
    valid_bu = jnp.asarray(np.arange(4) < np.array(lengths)[:, None])
    prior_v = None if prior is None else jnp.array(prior)
    found = losses.label_smoothed_cross_entropy(
        jnp.asarray(logits_buv), jnp.asarray(targets_bu), valid_bu, smoothing=smoothing, prior_v=prior_v
    )
    for row, length in enumerate(lengths):
        expected = reference.label_smoothed_cross_entropy(
            logits_buv[row, :length], targets_bu[row, :length], smoothing, prior
        )
        np.testing.assert_allclose(found.loss_bu[row].sum(), expected, rtol=2e-6, atol=1e-6)
        assert not np.any(found.loss_bu[row, length:])
        correct = (logits_buv[row, :length].argmax(axis=-1) == targets_bu[row, :length]).sum()
        assert found.correct_bu[row].sum() == correct
    assert found.correct_bu[0].sum() == 4


def test_a_prior_is_weighed_in_float32_wherever_the_default_of_products_is_narrower(rng):
    logits_buv, targets_bu = jnp.asarray(rng.normal(size=(1, 2, 5)), jnp.float32), jnp.zeros((1, 2), jnp.int32)

    def loss(logits_buv):
        valid_bu, prior_v = jnp.ones((1, 2), bool), jnp.array(PRIOR)
        return losses.label_smoothed_cross_entropy(
            logits_buv, targets_bu, valid_bu, smoothing=0.1, prior_v=prior_v
        ).loss_bu.sum()

    graph = trace(jax.value_and_grad(loss), logits_buv)
    products = [equation for equation in graph.everything() if equation.name == "dot_general"]
    assert products
    assert all(equation.precision == (jax.lax.Precision.HIGHEST,) * 2 for equation in products)


def test_cross_entropy_gives_padding_no_gradient_whatever_stands_there(rng):
    logits_buv = jnp.asarray(rng.normal(size=(1, 3, 4)), jnp.float32).at[0, 2].set(jnp.nan)
    targets_bu, valid_bu = jnp.array([[1, 2, 0]]), jnp.array([[True, True, False]])

    def loss(logits_buv):
        return losses.label_smoothed_cross_entropy(logits_buv, targets_bu, valid_bu, smoothing=0.1).loss_bu.sum()

    gradient_buv = jax.grad(loss)(logits_buv)
    assert np.isfinite(loss(logits_buv))
    assert np.isfinite(gradient_buv).all()
    assert not np.any(gradient_buv[0, 2])
    assert np.all(np.asarray(gradient_buv[0, :2]) != 0)


def test_cross_entropy_of_bfloat16_is_summed_in_float32(rng):
    logits_buv = jnp.asarray(rng.normal(size=(1, 300, 7)), jnp.bfloat16)
    targets_bu = jnp.asarray(rng.integers(0, 7, size=(1, 300)))
    found = losses.label_smoothed_cross_entropy(logits_buv, targets_bu, jnp.ones((1, 300), bool), smoothing=0.0)
    expected = reference.label_smoothed_cross_entropy(np.asarray(logits_buv[0], np.float64), targets_bu[0], 0.0)
    np.testing.assert_allclose(found.loss_bu.sum(), expected, rtol=1e-6)


TOKENS = np.array([[1, 2, 0], [2, 2, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0], [1, 2, 1], [0, 0, 0]])
TOKEN_LENGTHS = np.array([2, 2, 3, 0, 1, 3, 0])
LENGTHS = np.array([5, 3, 4, 4, 1, 5, 0])
ALIGNED = np.array([True, True, False, True, True, True, True])


def test_ctc_against_all_paths_and_the_recursion(rng):
    logits_bsv = rng.normal(size=(7, 5, 3)).astype(np.float32)
    found = ctc_loss(*map(jnp.asarray, (logits_bsv, LENGTHS, TOKENS, TOKEN_LENGTHS)))
    np.testing.assert_array_equal(found.aligned_b, ALIGNED)
    for row in range(len(TOKENS)):
        log_probs_sv = ctc_reference.log_softmax(logits_bsv[row, : LENGTHS[row]].astype(float))
        tokens = TOKENS[row, : TOKEN_LENGTHS[row]]
        by_paths = ctc_reference.loss_by_enumeration(log_probs_sv, tokens)
        np.testing.assert_allclose(ctc_reference.loss_by_recursion(log_probs_sv, tokens), by_paths, rtol=1e-9)
        np.testing.assert_allclose(found.loss_b[row], by_paths if ALIGNED[row] else 0.0, rtol=1e-5, atol=1e-6)


def test_ctc_of_a_long_utterance_against_the_recursion(rng):
    logits_bsv = (rng.normal(size=(2, 60, 6)) * 4).astype(np.float32)
    tokens_bu = rng.integers(1, 6, size=(2, 20))
    found = ctc_loss(*map(jnp.asarray, (logits_bsv, np.array([60, 45]), tokens_bu, np.array([20, 11]))))
    for row, (frames, length) in enumerate([(60, 20), (45, 11)]):
        log_probs_sv = ctc_reference.log_softmax(logits_bsv[row, :frames].astype(float))
        expected = ctc_reference.loss_by_recursion(log_probs_sv, tokens_bu[row, :length])
        np.testing.assert_allclose(found.loss_b[row], expected, rtol=1e-5)


def test_ctc_is_finite_and_without_gradient_where_nothing_aligns(rng):
    logits_bsv = jnp.asarray(rng.normal(size=(7, 5, 3)), jnp.float32).at[2].set(jnp.inf)
    arguments = tuple(map(jnp.asarray, (LENGTHS, TOKENS, TOKEN_LENGTHS)))
    assert np.isfinite(ctc_loss(logits_bsv, *arguments).loss_b).all()
    gradient_bsv = np.asarray(ctc_gradient(logits_bsv, *arguments))
    assert np.isfinite(gradient_bsv).all()
    valid_bs = (np.arange(5) < LENGTHS[:, None]) & ALIGNED[:, None]
    np.testing.assert_array_equal(np.any(gradient_bsv != 0, axis=-1), valid_bs)


def test_ctc_ignores_padding_of_frames_and_tokens_and_the_row(rng):
    logits_bsv = rng.normal(size=(7, 5, 3)).astype(np.float32)
    arguments = (LENGTHS, TOKENS, TOKEN_LENGTHS)
    short = tuple(map(jnp.asarray, (logits_bsv, *arguments)))
    noise_bsv = rng.normal(size=(7, 3, 3)).astype(np.float32)
    padded = (np.concatenate([logits_bsv, noise_bsv], 1), LENGTHS, np.pad(TOKENS, ((0, 0), (0, 2))), TOKEN_LENGTHS)
    long = tuple(jnp.asarray(x[::-1].copy()) for x in padded)
    np.testing.assert_allclose(ctc_loss(*long).loss_b[::-1], ctc_loss(*short).loss_b, rtol=1e-6)
    gradient_bsv = ctc_gradient(*long)[::-1]
    np.testing.assert_allclose(gradient_bsv[:, :5], ctc_gradient(*short), atol=1e-6)
    assert not np.any(gradient_bsv[:, 5:])
