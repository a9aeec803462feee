"""Coverage against its formula, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import CoverageAttention
from tests.reference.attention import additive_energy, softmax


@pytest.mark.parametrize("fertility", ["one", "learned"])
def test_energies_see_all_that_was_read(rng, fertility):
    module = CoverageAttention(5, fertility=fertility)
    hidden_bsd, queries_bud = (rng.normal(size=size).astype(np.float32) for size in ((1, 4, 3), (1, 4, 6)))

    def run(module):
        return module.attend_sequence(
            jnp.asarray(queries_bud), module.prepare(jnp.asarray(hidden_bsd), jnp.array([4]), None)
        )

    made = jax.jit(lambda key: module.init_with_output(key, method=run))
    output, variables = made(jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"])
    assert ("inverse_fertility" in params) == (fertility == "learned")
    hidden_sd = hidden_bsd[0].astype(float)
    read_s = np.zeros(4)
    counts_s = np.ones(4)
    if fertility == "learned":
        counts_s = 0.5 / (1 + np.exp(-hidden_sd @ params["inverse_fertility"]["kernel"][:, 0]))
    for found_s, query_d in zip(output.weights_buhs[0, :, 0], queries_bud[0].astype(float), strict=True):
        keys_sm = hidden_sd @ params["key"]["kernel"] + params["key"]["bias"]
        keys_sm = keys_sm + (read_s * counts_s)[:, None] * params["coverage"]["kernel"]
        expected_s = softmax(additive_energy(query_d @ params["query"]["kernel"], keys_sm, params["energy"][:, 0]))
        np.testing.assert_allclose(found_s, expected_s, rtol=1e-5)
        read_s = read_s + expected_s
