"""Additive and location-aware weights against reference implementations; test_interface.py tests the interface."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import AdditiveAttention, LocationAttention, ProductAttention
from jaxasr.nn.attention.scored import ScoredState
from tests.reference.attention import softmax
from tests.reference.speller import weigh


def weights_of(module, hidden_bsd, query_bd, before_bs):
    memory = module.prepare(hidden_bsd, jnp.array([4, 2]), None)
    return module.step(query_bd, memory, before_bs)


@pytest.mark.parametrize("kernel_size", [None, 1, 3, 9])
def test_weights_are_those_of_the_reference(rng, kernel_size):
    module = AdditiveAttention(5) if kernel_size is None else LocationAttention(5, filters=2, kernel_size=kernel_size)
    hidden_bsd, query_bd = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((2, 4, 3), (2, 6)))
    before_bs = jnp.array([[0.1, 0.6, 0.3, 0.0], [0.9, 0.1, 0.0, 0.0]])
    state = ScoredState(() if kernel_size is None else before_bs, ())
    init = jax.jit(lambda key, *given: module.init_with_output(key, *given, method=weights_of))
    output, variables = init(jax.random.key(0), hidden_bsd, query_bd, state)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"])
    for row, length in enumerate((4, 2)):
        arrays = (np.asarray(x[row], float) for x in (query_bd, hidden_bsd[:, :length], before_bs[:, :length]))
        np.testing.assert_allclose(output.weights_bhs[row, 0, :length], weigh(params, *arrays), rtol=1e-5)
    if kernel_size is None:
        assert output.state == ScoredState((), ())
    else:
        np.testing.assert_array_equal(output.state.energy, output.weights_bhs[:, 0])


def test_it_looked_nowhere_before_the_first_step():
    def first(module):
        return module.initial_state(module.prepare(jnp.ones((2, 4, 3)), jnp.array([4, 2]), None))

    state, _ = LocationAttention(5, kernel_size=3).init_with_output(jax.random.key(0), method=first)
    np.testing.assert_array_equal(state.energy, np.zeros((2, 4)))
    assert AdditiveAttention(5).init_with_output(jax.random.key(0), method=first)[0] == ScoredState((), ())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocationAttention(5, kernel_size=100), "kernel_size=100; both must be positive, and kernel_size odd"),
        (lambda: LocationAttention(5, kernel_size=-3), "kernel_size=-3; both must be positive"),
        (lambda: LocationAttention(5, filters=0), "filters=0 and kernel_size=101; both must be positive"),
        (lambda: LocationAttention(0), r"LocationAttention\.width is 0"),
        (lambda: AdditiveAttention(0), r"AdditiveAttention\.width is 0"),
        (lambda: ProductAttention(0), r"ProductAttention\.width is 0"),
    ],
)
def test_energies_of_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_normed_vector_has_the_length_of_its_gain(rng):
    free = AdditiveAttention(5)
    normed = AdditiveAttention(5, vector="normed")
    given = (*(jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((2, 4, 3), (2, 6))), ScoredState((), ()))
    variables = jax.jit(lambda key: normed.init(key, *given, method=weights_of))(jax.random.key(0))
    params = dict(variables["params"])
    np.testing.assert_allclose(params["gain"], 5**-0.5, rtol=1e-6)
    found = normed.apply({"params": params | {"energy": params["energy"] * 7}}, *given, method=weights_of)
    del params["gain"]
    params["energy"] = params["energy"] / np.linalg.norm(params["energy"]) * 5**-0.5
    expected = free.apply({"params": params}, *given, method=weights_of)
    np.testing.assert_allclose(found.weights_bhs, expected.weights_bhs, rtol=1e-5)


def test_a_product_is_scaled_by_its_width(rng):
    hidden_bsd, query_bd = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((1, 4, 3), (1, 6)))
    module = ProductAttention(5)
    output, variables = module.init_with_output(
        jax.random.key(0), hidden_bsd, query_bd, ScoredState((), ()), method=weights_of_one
    )
    params = variables["params"]
    query_m = query_bd[0] @ params["query"]["kernel"]
    keys_sm = hidden_bsd[0] @ params["key"]["kernel"]
    np.testing.assert_allclose(output.weights_bhs[0, 0], softmax(np.asarray(keys_sm @ query_m) / 5**0.5), rtol=1e-5)


def weights_of_one(module, hidden_bsd, query_bd, state):
    return module.step(query_bd, module.prepare(hidden_bsd, jnp.array([4]), None), state)
