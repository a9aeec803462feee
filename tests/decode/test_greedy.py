"""Greedy search against its slow twin; that it is Beam(1) is shown beside the beam."""

import numpy as np

from jaxasr.decode import Greedy, MaxTokens
from tests.decode.toy_model import batch_of, next_log_probs, search, toy
from tests.reference import beam as slow


def test_greedy_is_its_slow_twin(rng):
    batch = batch_of(rng, 5)
    ended = 0
    for seed in range(8):
        model = toy(6, seed=seed, sharpness=2.0)
        expected = slow.greedy(next_log_probs(model, batch), steps=7)
        found = search(Greedy(MaxTokens(1.0, 2)), model, batch)
        length = found.token_lengths_bw[0, 0]
        assert tuple(found.tokens_bwu[0, 0, :length]) == expected.tokens
        assert found.finished_bw[0, 0] == expected.finished
        np.testing.assert_allclose(found.scores_bw[0, 0], expected.score, rtol=2e-5)
        np.testing.assert_array_equal(found.scores_bw, found.log_probs_bw)
        ended += expected.finished
    assert 0 < ended < 8


def test_jit_is_eager(rng):
    model, batch = toy(5, seed=10, sharpness=2.0), batch_of(rng, 7, 2)
    eager, jitted = Greedy()(model, batch), search(Greedy(), model, batch)
    np.testing.assert_array_equal(eager.tokens_bwu, jitted.tokens_bwu)
    np.testing.assert_allclose(eager.scores_bw, jitted.scores_bw, rtol=1e-5)
