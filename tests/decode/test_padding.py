"""The law of padding, for every search: a batch of N is N batches of one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxasr.decode import Beam, CtcGreedy, Greedy, MaxTokens, Search
from tests.decode.toy_model import batch_of, row, search, toy

LIMIT = MaxTokens(1.0, 2)
SEARCHES = {
    "greedy": Greedy(LIMIT),
    "beam": Beam(3, nbest=3, length_norm=0.5, ctc_weight=0.3, end_threshold=1.5, max_tokens=LIMIT),
    "ctc": CtcGreedy(),
}


@pytest.mark.parametrize("how", SEARCHES.values(), ids=SEARCHES)
def test_an_example_is_found_the_same_alone_and_among_others(how: Search):
    """Rows of any length from nothing to all, among others and noise, at 9 positions and alone at 7."""
    lengths_seen = set()

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 7), min_size=3, max_size=3))
    def check(seed: int, positions: list[int]) -> None:
        batch = batch_of(np.random.default_rng(seed), *positions, pad_to=9, padding_rows=1)
        model = toy(5, seed=seed, sharpness=2.0)
        together = search(how, model, batch)
        for i in range(3):
            alone = search(how, model, row(batch, i, pad_to=7))
            lengths_seen.add(int(alone.token_lengths_bw[0, 0]))
            assert_same(together, i, alone)
        assert together.finished_bw[3, 0]
        assert not together.tokens_bwu[3].any()

    check()
    assert len(lengths_seen) > 3


def assert_same(together, i: int, alone) -> None:
    """Row i of a batch is the only row of another, and zero behind its end."""
    for name in ("token_lengths_bw", "finished_bw"):
        np.testing.assert_array_equal(getattr(together, name)[i], getattr(alone, name)[0])
    for name in ("scores_bw", "log_probs_bw"):
        np.testing.assert_allclose(getattr(together, name)[i], getattr(alone, name)[0], rtol=1e-4, atol=1e-6)
    size = alone.tokens_bwu.shape[-1]
    np.testing.assert_array_equal(together.tokens_bwu[i, :, :size], alone.tokens_bwu[0])
    assert not together.tokens_bwu[i, :, size:].any()
    _, _, positions = alone.weights_buhs.shape[1:]
    length = int(alone.token_lengths_bw[0, 0])
    padded_uhs, alone_uhs = together.weights_buhs[i], alone.weights_buhs[0]
    np.testing.assert_allclose(padded_uhs[:length, :, :positions], alone_uhs[:length], rtol=1e-4, atol=1e-6)
    assert not padded_uhs[length:].any()
    assert not padded_uhs[:, :, positions:].any()
