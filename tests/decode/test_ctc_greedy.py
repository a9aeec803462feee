"""The best path of the CTC head."""

import itertools

import numpy as np
import pytest

from jaxasr.decode import CtcGreedy
from tests.decode.toy_model import Silent, batch_of, row, search, toy


def test_the_best_path_is_collapsed_and_scored_within_its_length(rng):
    model = toy(4, seed=1)
    batch = batch_of(rng, 7, 3, padding_rows=1)
    found = search(CtcGreedy(), model, batch)
    for i, positions in enumerate((7, 3)):
        log_probs_sv = np.asarray(model.start(row(batch, i)).ctc_log_probs_bsv[0])
        expected = [int(token) for token, _ in itertools.groupby(log_probs_sv.argmax(axis=1)) if token]
        length = found.token_lengths_bw[i, 0]
        assert found.tokens_bwu[i, 0, :length].tolist() == expected
        assert not found.tokens_bwu[i, 0, length:].any()
        assert log_probs_sv.shape[0] == positions
        np.testing.assert_allclose(found.scores_bw[i, 0], log_probs_sv.max(axis=1).sum(), rtol=1e-5)
    assert found.token_lengths_bw[2, 0] == 0
    assert found.scores_bw[2, 0] == 0
    assert found.finished_bw.all()
    assert found.weights_buhs.size == 0


def test_a_model_without_a_ctc_head_is_refused(rng):
    model = toy(3)
    with pytest.raises(ValueError, match="the model has none"):
        CtcGreedy()(Silent(model.weights, model.readout_bias_v), batch_of(rng, 3))
