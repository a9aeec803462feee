"""Tests of made sounds: their level, length and repeatability, and of speech with noise or at another level."""

import numpy as np
import pytest

from jaxasr.data.non_speech import FOR_CALIBRATION, SOUNDS, changed_speech, made_sound

PEAKED = {"clicks": 6.0}  # dB that may be lost to clipping; the other kinds have lower peaks


def level_db(wave_n: np.ndarray) -> float:
    """Returns the mean square in dB of full scale."""
    return float(10 * np.log10(np.mean(np.square(wave_n / 32_767))))


@pytest.mark.parametrize("kind", SOUNDS)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_sounds_have_their_level_and_length(kind, rate_hz):
    """Checks a loud and a quiet level at two sample rates, and lengths down to one sample."""
    for level in (-40.0, -20.0):
        wave_n = made_sound(kind, seconds=1.5, level_db=level, rate_hz=rate_hz, generator=np.random.default_rng(3))
        assert (len(wave_n), wave_n.dtype) == (round(1.5 * rate_hz), np.int16)
        assert level - PEAKED.get(kind, 0.1) < level_db(wave_n) < level + 0.1
        again = made_sound(kind, seconds=1.5, level_db=level, rate_hz=rate_hz, generator=np.random.default_rng(3))
        np.testing.assert_array_equal(wave_n, again)
    short = made_sound(kind, seconds=0.0, level_db=-20.0, rate_hz=rate_hz, generator=np.random.default_rng(3))
    assert len(short) == 1


def test_noises_differ_in_their_slopes():
    """Measures power per octave: level, 3 and 6 dB less for each higher one, per hertz."""
    slopes = []
    for kind in ("white noise", "pink noise", "brown noise"):
        wave_n = made_sound(kind, seconds=20.0, level_db=-20.0, rate_hz=16_000, generator=np.random.default_rng(0))
        power_f = np.square(np.abs(np.fft.rfft(wave_n / 32_767)))
        hz_f = np.fft.rfftfreq(len(wave_n), 1 / 16_000)
        bands = [10 * np.log10(power_f[(hz_f >= low) & (hz_f < 2 * low)].mean()) for low in (250, 500, 1_000, 2_000)]
        slopes.append(np.polyfit(range(4), bands, 1)[0])
    np.testing.assert_allclose(slopes, [0.0, -3.0, -6.0], atol=0.3)


def test_a_kind_that_is_unknown():
    """Checks that the error lists the kinds."""
    with pytest.raises(KeyError, match="no made sound 'whale'; there are white noise, pink noise"):
        made_sound("whale", seconds=1.0, level_db=-20.0, rate_hz=8_000, generator=np.random.default_rng(0))
    assert set(FOR_CALIBRATION) < set(SOUNDS)


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 0.0])
def test_noise_has_the_stated_ratio(snr_db):
    """Subtracts the speech, and compares mean squares."""
    speech_n = np.round(3_000 * np.sin(np.arange(16_000))).astype(np.int16)
    generator = np.random.default_rng(0)
    noisy_n = changed_speech(speech_n, gain_db=0.0, snr_db=snr_db, rate_hz=16_000, generator=generator)
    assert level_db(speech_n) - level_db(noisy_n - speech_n.astype(float)) == pytest.approx(snr_db, abs=0.1)


def test_a_gain_changes_the_level_alone():
    """Checks -30 dB, no change at all, and a gain that would overflow."""
    speech_n = np.round(3_000 * np.sin(np.arange(16_000))).astype(np.int16)
    quiet_n, same_n, loud_n = (
        changed_speech(speech_n, gain_db=gain, snr_db=None, rate_hz=16_000, generator=np.random.default_rng(0))
        for gain in (-30.0, 0.0, 60.0)
    )
    assert level_db(speech_n) - level_db(quiet_n) == pytest.approx(30.0, abs=0.1)
    np.testing.assert_array_equal(same_n, speech_n)
    assert (loud_n.min(), loud_n.max()) == (-32_767, 32_767)
