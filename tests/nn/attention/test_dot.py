"""Dot-product attention against its reference implementation; test_interface.py has the tests of the interface."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import DotAttention
from tests.nn.tiny import near
from tests.reference import self_attentive

LENGTHS = np.array([5, 2, 0])


@pytest.mark.parametrize(("heads", "scaled"), [(1, False), (2, True)])
def test_weights_and_what_is_read_are_those_of_the_reference_and_a_product_is_its_steps(rng, heads, scaled):
    module = DotAttention(6, heads, scaled)
    hidden_bsd, queries_bud = (jnp.asarray(rng.normal(size=n), jnp.float32) for n in ((3, 5, 4), (3, 2, 7)))

    def run(module):
        memory = module.prepare(hidden_bsd, jnp.asarray(LENGTHS), None)
        reads = [module(queries_bud[:, u], memory, module.initial_state(memory)) for u in range(2)]
        return module.attend_sequence(queries_bud, memory).weights_buhs, reads

    (weights_buhs, reads), variables = jax.jit(lambda key: module.init_with_output(key, method=run))(jax.random.key(0))
    near(jnp.stack([read.weights_bhs for read in reads], axis=1), weights_buhs)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"])
    for row, length in enumerate(LENGTHS):
        given = (np.asarray(x, float) for x in (queries_bud[row], hidden_bsd[row, :length]))
        read_ud, weights_uhs = self_attentive.dot(params, *given, heads=heads, scaled=scaled)
        np.testing.assert_allclose(weights_buhs[row, ..., :length], weights_uhs, rtol=1e-5)
        assert not np.any(weights_buhs[row, ..., length:])
        for u, read in enumerate(reads):
            np.testing.assert_allclose(read.context_be[row], read_ud[u], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("width", "heads"), [(6, 4), (0, 1), (4, 0)])
def test_heads_have_to_share_the_width(width, heads):
    with pytest.raises(ValueError, match=f"width {width} and heads {heads}; both must be positive"):
        DotAttention(width, heads)
