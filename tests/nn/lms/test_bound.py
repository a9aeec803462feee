"""Bound language models for searches: a pytree of parameters with the methods of a language model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import BoundLm
from jaxasr.records import LanguageModel
from tests.nn.lms.test_interface import LSTM, TRANSFORMER, VOCAB, variables_of


@pytest.mark.parametrize("lm", [LSTM, TRANSFORMER], ids=["lstm", "transformer"])
def test_what_may_follow_are_log_probabilities_in_float32(lm):
    bound = BoundLm(lm, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), variables_of(lm)))
    assert isinstance(bound, LanguageModel)
    assert bound.vocab == VOCAB
    log_probs_bv = jax.jit(lambda: bound.step(bound.start(2), jnp.zeros(2, int))[0])()
    assert log_probs_bv.dtype == jnp.float32
    np.testing.assert_allclose(np.exp(log_probs_bv).sum(axis=1), 1.0, rtol=1e-6)


def test_it_passes_through_jit_with_its_parameters_as_arguments():
    """One compilation serves every model of the same form."""
    compiled = []

    @jax.jit
    def first(lm: BoundLm):
        compiled.append(lm.module)
        return lm.step(lm.start(1), jnp.zeros(1, int))[0]

    ones, twos = (BoundLm(LSTM, jax.tree.map(lambda leaf, k=k: k * leaf, variables_of(LSTM))) for k in (1.0, 2.0))
    assert np.any(np.abs(first(ones) - first(twos)) > 1e-3)
    np.testing.assert_allclose(np.exp(first(ones)).sum(), 1.0, rtol=1e-5)
    assert len(compiled) == 1
    assert len(jax.tree.leaves(ones)) == len(jax.tree.leaves(variables_of(LSTM)))
