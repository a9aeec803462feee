"""Continuous integrate-and-fire: the closed form against the loop of the paper, and its gradient."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.attention.integrate_and_fire import count_loss, fired_weights
from tests.reference.gradient import gradients
from tests.reference.integrate_and_fire import read

TOKENS = 6


@jax.jit
def fired(shares_bs):
    totals_bs = jnp.cumsum(shares_bs, axis=1)
    rows = [fired_weights(totals_bs, jnp.full(len(shares_bs), token)) for token in range(TOKENS)]
    return jnp.stack(rows, axis=1)


@pytest.mark.parametrize("most", [0.3, 0.9, 2.7], ids=["many positions a token", "few", "several tokens at once"])
def test_the_weights_are_those_of_the_loop(rng, most):
    shares_bs = rng.uniform(0, most, size=(3, 12))
    found_bus = fired(jnp.asarray(shares_bs, jnp.float32))
    for shares_s, found_us in zip(shares_bs, found_bus, strict=True):
        np.testing.assert_allclose(found_us, read(shares_s, TOKENS), atol=2e-6)


def test_a_complete_token_has_the_weight_1_and_each_share_is_used_once(rng):
    shares_bs = rng.uniform(0, 1, size=(4, 9)) * [[0.2], [0.5], [0.9], [0.0]]
    found_bus = np.asarray(fired(jnp.asarray(shares_bs, jnp.float32)), float)
    for shares_s, found_us in zip(shares_bs, found_bus, strict=True):
        whole = int(np.sum(shares_s))
        assert whole < TOKENS
        np.testing.assert_allclose(
            found_us.sum(1), [*[1.0] * whole, np.sum(shares_s) % 1, *[0.0] * (TOKENS - whole - 1)], atol=1e-5
        )
        np.testing.assert_allclose(found_us.sum(0), shares_s, atol=1e-5)


def test_a_token_reads_in_the_order_of_the_others(rng):
    found_bus = np.asarray(fired(jnp.asarray(rng.uniform(0, 0.6, size=(2, 12)), jnp.float32)))
    for found_us in found_bus:
        read_at = [np.flatnonzero(weights_s) for weights_s in found_us if np.any(weights_s)]
        assert all(before[-1] <= after[0] for before, after in itertools.pairwise(read_at))


def test_the_gradient_is_the_derivative_of_the_loop(rng):
    shares_s, values_us = rng.uniform(0, 0.8, size=8), rng.normal(size=(TOKENS, 8))
    found_s = jax.grad(lambda shares: jnp.sum(jnp.asarray(values_us, jnp.float32) * fired(shares[None])[0]))(
        jnp.asarray(shares_s, jnp.float32)
    )
    [expected_s] = gradients(lambda shares: np.sum(values_us * read(shares, TOKENS)), shares_s)
    np.testing.assert_allclose(found_s, expected_s, rtol=1e-4, atol=1e-5)


def test_the_difference_of_counts_by_hand():
    counts_bh = jnp.array([[2.5, 4.0], [1.0, 1.0]])
    np.testing.assert_allclose(count_loss(counts_bh, jnp.array([2, 0])), [(0.5 + 1.0) / 2, 0.0])
