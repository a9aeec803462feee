"""Mixtures against sums written out in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.attention.mixture import masked_log_softmax, mixed_log_probs


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def test_log_softmax_stands_on_valid_positions_only(rng):
    energy_bs = (rng.normal(size=(3, 4)) * 30).astype(np.float32)
    lengths = np.array([4, 2, 0])
    valid_bs = jnp.asarray(np.arange(4) < lengths[:, None])

    def value(energy_bs):
        found_bs = masked_log_softmax(energy_bs, valid_bs)
        return jnp.sum(jnp.sin(found_bs)), found_bs

    (_, found_bs), gradient_bs = jax.value_and_grad(value, has_aux=True)(jnp.asarray(energy_bs))
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(
            found_bs[row, :length], np.log(softmax(energy_bs[row, :length].astype(float))), rtol=1e-5, atol=1e-5
        )
        assert not np.any(found_bs[row, length:])
        assert not np.any(gradient_bs[row, length:])
    assert np.all(np.isfinite(gradient_bs))


@pytest.mark.parametrize("mixing", ["sum", "max"])
def test_a_mixture_is_the_sum_or_the_largest_term(rng, mixing):
    logits = rng.normal(size=(4, 3, 5)).astype(np.float32) * 2
    weights = softmax(rng.normal(size=(4, 3)))
    valid = np.array([[True] * 3, [True, True, False], [True, False, False], [False] * 3])
    log_probs = jnp.asarray(np.where(valid, np.log(weights), 0.0), jnp.float32)
    found = mixed_log_probs(jnp.asarray(logits), log_probs, jnp.asarray(valid), mixing=mixing)
    for row in range(4):
        used = valid[row] if valid[row].any() else np.array([True, False, False])
        share = weights[row] if valid[row].any() else np.ones(3)
        terms = [a * softmax(x.astype(float)) for a, x in zip(share[used], logits[row][used], strict=True)]
        mixed = sum(terms) if mixing == "sum" else np.max(terms, axis=0) / np.max(terms, axis=0).sum()
        np.testing.assert_allclose(np.exp(found[row]), mixed, rtol=1e-5)
