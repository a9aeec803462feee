"""Mixing and conversion to 16 bits: good audio does not become silent or clipped, and other audio is averaged as it is."""

import io

import numpy as np
import pytest
import soundfile

from jaxasr.data import decode_audio
from jaxasr.data.conversion import MEAN, Survey


@pytest.fixture
def speech_n(rng: np.random.Generator) -> np.ndarray:
    """Returns noise of -20 dBFS."""
    return rng.normal(0.0, 0.1, 30_000)


def decoded(wave: np.ndarray, subtype: str, format: str = "WAV") -> np.ndarray:
    """Returns the samples of a file with this wave, full scale at 1."""
    file = io.BytesIO()
    soundfile.write(file, wave, 16_000, format=format, subtype=subtype)
    return decode_audio(file.getvalue(), id="x") / 32_768


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("right", [-0.999, -0.99, -0.7])
def test_channels_that_cancel_each_other_give_the_loudest(speech_n: np.ndarray, subtype: str, right: float):
    wave_nc = np.stack([right * speech_n, speech_n], axis=1)
    np.testing.assert_allclose(decoded(wave_nc, subtype), speech_n, atol=1e-4)


@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_a_constant_part_hides_no_cancelling(speech_n: np.ndarray, offset: float):
    wave_nc = np.stack([speech_n + offset, -speech_n + offset], axis=1)
    assert decoded(wave_nc, "PCM_16").std() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("right", [1.0, 0.5, 0.0, -0.2])
def test_channels_that_do_not_cancel_are_averaged(speech_n: np.ndarray, right: float):
    wave_nc = np.stack([speech_n, right * speech_n], axis=1)
    np.testing.assert_allclose(decoded(wave_nc, "PCM_16"), (1 + right) / 2 * speech_n, atol=1e-4)


def test_independent_channels_are_averaged(rng: np.random.Generator):
    wave_nc = rng.normal(0.0, 0.1, (30_000, 8))
    np.testing.assert_allclose(decoded(wave_nc, "PCM_16"), wave_nc.mean(axis=1), atol=1e-4)


def test_one_quiet_channel_among_seven_silent_ones_is_not_averaged_below_minus_60_dbfs(speech_n: np.ndarray):
    wave_nc = np.zeros((len(speech_n), 8))
    wave_nc[:, 5] = 0.03 * speech_n
    np.testing.assert_allclose(decoded(wave_nc, "PCM_16"), 0.03 * speech_n, atol=1e-4)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("scale", [3.0, 32_768.0, 2.0**31])
@pytest.mark.parametrize("channels", [1, 2])
def test_floats_of_any_scale_are_not_clipped(speech_n: np.ndarray, subtype: str, scale: float, channels: int):
    wave_n = 5 * speech_n  # beyond full scale even without the scale
    found_n = decoded(scale * np.stack([wave_n] * channels, axis=1), subtype)
    np.testing.assert_allclose(found_n, wave_n / np.abs(wave_n).max(), atol=1e-4)


def test_a_single_click_in_floats_does_not_turn_the_rest_down(speech_n: np.ndarray):
    wave_n = speech_n.copy()
    wave_n[100] = 1e6
    found_n = decoded(wave_n, "FLOAT")
    np.testing.assert_allclose(np.delete(found_n, 100), np.delete(speech_n, 100), atol=1e-4)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32"])
def test_full_scale_of_more_bits_is_not_clipped(speech_n: np.ndarray, subtype: str):
    wave_n = speech_n / np.abs(speech_n).max()
    found_n = decoded(wave_n, subtype)
    np.testing.assert_allclose(found_n, wave_n, atol=1e-4)
    assert np.mean(np.abs(found_n) > 0.9999) < 0.001


def test_a_survey_in_blocks_is_that_of_the_whole(rng: np.random.Generator):
    left_n = rng.normal(0.0, 3.0, 10_000).astype(np.float32)
    wave_nc = np.stack([left_n, -left_n], axis=1)
    whole, blocks = Survey(2, scalable=True), Survey(2, scalable=True)
    whole.add(wave_nc)
    for start in range(0, 10_000, 77):
        blocks.add(wave_nc[start : start + 77])
    assert blocks.conversion == whole.conversion
    assert whole.conversion.channel == 0
    assert whole.conversion.gain == pytest.approx(1 / np.abs(left_n).max())


def test_mono_of_16_bits_needs_no_survey():
    survey = Survey(1, scalable=False)
    assert not survey.needed
    assert survey.conversion == MEAN
