"""The mixture of Gaussians in its three forms against the formulas of the papers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import GmmAttention
from tests.reference.local_attention import mixture

STEPS = 3
POSITIONS = 12
K = 2


def attend_sequence(module, queries_bud, change=lambda variables: variables):
    """Returns weights [b, u, s] and parameters in float64."""

    def run(module, queries_bud):
        memory = module.prepare(jnp.zeros((queries_bud.shape[0], POSITIONS, 1)), jnp.array([POSITIONS]), None)
        return module.attend_sequence(queries_bud, memory).weights_buhs[:, :, 0]

    variables = change(jax.jit(functools.partial(module.init, method=run))(jax.random.key(0), queries_bud))
    weights = jax.jit(functools.partial(module.apply, method=run))(variables, queries_bud)
    return weights, jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"])


def reference(form, numbers_uk):
    """Returns the weights by Graves 2013, section 5.1, and Battenberg et al. 2020, equation 8 and table 1."""
    centres_k = np.zeros(K)
    rows = []
    for numbers in numbers_uk:
        share, move, spread = np.split(numbers, 3)
        softplus = np.log1p(np.exp([move, spread]))
        if form == "v0":
            shares = np.exp(share)
            moves = np.exp(move)
            spreads = np.sqrt(np.exp(-spread) / 2)
        else:
            softmax = np.exp(share) / np.sum(np.exp(share))
            moves, spreads = softplus if form == "v2" else (np.exp(move), np.sqrt(np.exp(spread)))
            shares = softmax / np.sqrt(2 * np.pi * spreads**2)
        centres_k = centres_k + moves
        rows.append(mixture(shares, centres_k, spreads, POSITIONS))
    return np.array(rows)


@pytest.mark.parametrize("form", ["v0", "v1", "v2"])
def test_the_weights_are_those_of_the_paper(rng, form):
    queries_bud = rng.normal(size=(1, STEPS, 4)).astype(np.float32)
    module = GmmAttention(5, K, form, pace=1.5, spread=1.25)
    found, params = attend_sequence(module, queries_bud)
    hidden_um = np.tanh(queries_bud[0] @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    numbers_uk = hidden_um @ params["numbers"]["kernel"] + params["numbers"]["bias"]
    np.testing.assert_allclose(found[0], reference(form, numbers_uk), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("form", ["v0", "v1", "v2"])
def test_it_begins_with_the_pace_and_the_spread_that_are_said(form):
    """With a query of zero only the biases count: one Gaussian of weight one that advances."""
    found, _ = attend_sequence(GmmAttention(5, K, form, pace=2.5, spread=1.5), jnp.zeros((1, STEPS, 4)))
    for u, weights_s in enumerate(found[0]):
        height = 1 / (1.5 * np.sqrt(2 * np.pi))
        np.testing.assert_allclose(
            weights_s, mixture([height], [2.5 * (u + 1)], [1.5], POSITIONS), rtol=1e-4, atol=1e-7
        )


@pytest.mark.parametrize("form", ["v0", "v1", "v2"])
def test_numbers_out_of_range_stay_finite_with_their_gradients(form):
    module = GmmAttention(2, K, form)
    queries_bud = jnp.array([[[1.0], [-1.0], [1.0]]]) * 1e4
    _, params = attend_sequence(module, queries_bud)
    large = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32) * 1e3, params)

    number, gradients = jax.jit(jax.value_and_grad(functools.partial(_value, module, queries_bud)))(large)
    assert np.isfinite(number)
    assert np.all([np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients)])


def _value(module, queries_bud, params):
    memory = module.prepare(jnp.zeros((1, POSITIONS, 1)), jnp.array([POSITIONS]), None)
    output = module.apply({"params": params}, queries_bud, memory, method="attend_sequence")
    return jnp.sum(jnp.sin(output.weights_buhs))


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"width=3, components=0, pace=1\.0"):
        GmmAttention(3, 0)
