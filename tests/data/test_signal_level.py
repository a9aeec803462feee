"""Silence, low level and clipping of 16-bit audio, measured in blocks."""

import math

import numpy as np
import pytest

from jaxasr.data.signal_level import LevelSummary, SignalLevel, SignalLimits, UtteranceLevel, silent_share


def measured(wave: np.ndarray, block: int = 1 << 20) -> SignalLevel:
    """Returns the level of a wave with full scale at 1, rounded and clipped to 16 bits."""
    wave_n = np.clip(np.round(wave * 32_768), -32_768, 32_767).astype(np.int16)
    level = SignalLevel()
    for start in range(0, len(wave_n), block):
        level.add(wave_n[start : start + block])
    return level


def kind(wave: np.ndarray, limits: SignalLimits | None = None) -> str:
    """Returns the kind of a wave's fault, "" if it has none."""
    fault = (limits or SignalLimits()).fault(measured(wave))
    return fault.kind if fault else ""


@pytest.fixture
def noise_n(rng: np.random.Generator) -> np.ndarray:
    """Returns noise of 0 dBFS: to be scaled."""
    return rng.normal(0.0, 1.0, 20_000)


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
def test_constant_audio_is_silent(value: float):
    assert kind(np.full(1000, value)) == "silent audio"


@pytest.mark.parametrize(("dbfs", "expected"), [(-20, ""), (-59, ""), (-61, "quiet audio"), (-80, "quiet audio")])
@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_a_level_below_minus_60_dbfs_is_quiet_with_any_constant_part(
    noise_n: np.ndarray, dbfs: float, expected: str, offset: float
):
    wave_n = 10 ** (dbfs / 20) * noise_n + offset
    assert kind(wave_n) == expected
    assert measured(wave_n).dbfs == pytest.approx(dbfs, abs=0.5)


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.1, 0.03])
@pytest.mark.parametrize(("limit", "expected"), [(0.15, "clipped audio"), (0.5, "")])
def test_flat_tops_are_found_at_full_scale_and_after_a_change_of_level(gain: float, limit: float, expected: str):
    """A sine of 200 Hz that is clipped at a quarter of its height, and one with a flat top of no sample."""
    sine_n = np.sin(2 * np.pi * 200.3 * np.arange(16_000) / 16_000)
    clipped_n = gain * np.clip(sine_n, -limit, limit) / limit
    assert kind(clipped_n if expected else gain * sine_n * 0.99) == expected


def test_noise_beyond_full_scale_is_clipped_and_its_share_exact(noise_n: np.ndarray):
    wave_n = 0.5 * noise_n
    share = np.mean(np.abs(wave_n) >= 32_767 / 32_768)
    assert measured(wave_n).clipped_share == pytest.approx(share, abs=2e-4)
    assert share > 0.01
    assert kind(wave_n) == "clipped audio"
    assert kind(wave_n, SignalLimits(max_clipped_share=0.1)) == ""


@pytest.mark.parametrize("hz", [50.0, 100.0, 440.0, 1000.0, 4000.0])
@pytest.mark.parametrize("peak", [0.004, 0.1, 0.999])
def test_tones_are_not_clipped(hz: float, peak: float):
    wave_n = peak * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000 + 0.1)
    assert kind(wave_n) == ""


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_give_the_level_of_the_whole(noise_n: np.ndarray, block: int):
    whole, blocks = measured(0.6 * noise_n), measured(0.6 * noise_n, block)
    assert blocks.dbfs == pytest.approx(whole.dbfs, abs=1e-9)
    assert blocks.clipped_share == whole.clipped_share
    assert (blocks.highest, blocks.lowest) == (whole.highest, whole.lowest)


def test_no_samples_have_no_fault():
    assert SignalLimits().fault(SignalLevel()) is None
    assert SignalLevel().dbfs == -math.inf


@pytest.mark.parametrize("level", [1.0, math.nan, -math.inf])
def test_a_limit_of_the_level_is_a_finite_number(level: float):
    with pytest.raises(ValueError, match="dBFS; a finite number up to 0"):
        SignalLimits(min_level_dbfs=level)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_limit_of_clipping_is_a_share(share: float):
    with pytest.raises(ValueError, match="from 0 to 1"):
        SignalLimits(max_clipped_share=share)


def test_the_share_of_silence_is_that_of_quiet_hops(noise_n: np.ndarray):
    loud_n = (0.05 * 32_768 * noise_n[:8_000]).astype(np.int16)
    quiet_n = np.resize(np.array([3, -3], np.int16), 2_000)  # -81 dBFS
    assert silent_share(loud_n, 8_000) == 0.0
    assert silent_share(np.concatenate([loud_n, quiet_n]), 8_000) == 0.2
    assert silent_share(quiet_n[:10], 8_000) == 0.0  # shorter than a hop


def test_a_summary_weighs_silence_by_seconds_and_counts_utterances():
    levels = [UtteranceLevel(1.0, -30.0, 0.0, 0.8), UtteranceLevel(3.0, -20.0, 0.004, 0.0)]
    summary = LevelSummary.of(levels)
    assert summary == LevelSummary(-29.5, -25.0, -20.5, 1, 0.004, 0.2, 1)
    assert summary.line() == (
        "level -25.0 dBFS (5 %: -29.5, 95 %: -20.5); clipping in 1 utterances, at most 0.40% of the samples; silence (below "
        "-60 dBFS) 20.0%, more than half of 1 utterances"
    )
    assert LevelSummary.of([]) is None
