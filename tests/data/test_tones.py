"""Strings of tones: their waves agree with their tokens and lengths."""

import numpy as np
import pytest

from jaxasr.data import Tones

TONES = Tones(shortest=2, longest=5)


def test_a_batch_is_a_pure_function_of_number_and_seed():
    one, same, other, elsewhere = (TONES.batch(n, examples=3, seed=s) for n, s in ((4, 0), (4, 0), (5, 0), (4, 1)))
    np.testing.assert_array_equal(one.wave_bn, same.wave_bn)
    np.testing.assert_array_equal(one.tokens_bu, same.tokens_bu)
    for different in (other, elsewhere):
        assert np.any(one.tokens_bu != different.tokens_bu)
        assert not np.any(one.ids_b == different.ids_b)


def test_lengths_fill_their_range_and_what_is_behind_them_is_zero():
    batch = TONES.batch(0, examples=40, seed=0)
    assert set(batch.token_lengths_b.tolist()) == {2, 3, 4, 5}
    assert set(np.unique(batch.tokens_bu)) == set(range(9))
    for row in range(40):
        u = batch.token_lengths_b[row]
        n = batch.sample_lengths_b[row]
        assert np.all(batch.tokens_bu[row, :u] > 0)
        assert not np.any(batch.tokens_bu[row, u:])
        assert np.any(batch.wave_bn[row, n - 50 : n])
        assert not np.any(batch.wave_bn[row, n:])
        low = u * 80 + (u + 1) * 30
        high = u * 160 + (u + 1) * 90
        assert low - u <= n / 4 <= high


def test_a_symbol_is_its_pair_of_tones():
    """Token 1 is 400 Hz and then 700 Hz, as the spectra of its halves show."""
    wave_n = Tones(noise_db=-60.0, gap_ms=(50.0, 50.0), symbol_ms=(100.0, 100.0)).wave(
        np.array([1]), np.random.default_rng(0)
    )
    assert len(wave_n) == 800
    for half, hz in ((wave_n[200:400], 400), (wave_n[400:600], 700)):
        assert np.argmax(np.abs(np.fft.rfft(half))) * 20 == hz


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbols": 13}, "4 tones make 1 to 12 symbols"),
        ({"shortest": 0}, "1 <= shortest <= longest"),
        ({"rate_hz": 3_000}, "a tone of 1600 Hz needs a rate_hz above 3200"),
    ],
)
def test_what_cannot_be_made_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Tones(**changes)
