"""Recording conditions do what they say, measured on the changed waves, and depend on the utterance alone."""

from dataclasses import replace

import numpy as np
import pytest
import soxr

from jaxasr import data
from jaxasr.data.audio import decode_audio
from jaxasr.data.recording_conditions import STANDARD_CONDITIONS, RecordingCondition, parse_conditions
from tests import tiny_experiments as tiny

RATE_HZ = 16_000
GENERATOR = np.random.default_rng(3)
WAVE_N = np.round(3_000 * GENERATOR.standard_normal(2 * RATE_HZ)).astype(np.int16)


def changed(condition, wave_n=WAVE_N, key=7):
    return condition(wave_n, rate_hz=RATE_HZ, key=key)


def power(wave_n):
    return float(np.mean(np.square(wave_n.astype(np.float64))))


@pytest.mark.parametrize("sound", ["pink noise", "song", "engine", "50 Hz hum"])
@pytest.mark.parametrize("snr_db", [20.0, 0.0, -5.0])
def test_the_ratio_of_speech_to_sound_is_as_asked(sound, snr_db):
    wave_n = WAVE_N // 8  # without clipping
    sound_n = changed(RecordingCondition(sound, snr_db=snr_db), wave_n).astype(np.float64) - wave_n
    assert 10 * np.log10(power(wave_n) / power(sound_n)) == pytest.approx(snr_db, abs=0.05)


@pytest.mark.parametrize("seconds", [0.3, 0.8])
def test_reverberation_decays_by_60_db_in_its_time(seconds):
    """By Schroeder's backward integration of the response to a click (1965): the slope between -5 and -25 dB."""
    click_n = np.zeros(2 * RATE_HZ, np.int16)
    click_n[0] = 30_000
    response_n = changed(RecordingCondition(reverberation_s=seconds), click_n).astype(np.float64)
    tail_n = response_n[1:]
    decay_n = 10 * np.log10(np.cumsum(np.square(tail_n)[::-1])[::-1] / np.sum(np.square(tail_n)) + 1e-12)
    first, last = (int(np.argmax(decay_n < level)) for level in (-5.0, -25.0))
    assert (last - first) / RATE_HZ * 3 == pytest.approx(seconds, rel=0.1)
    assert power(response_n) == pytest.approx(power(click_n), rel=1e-3)
    assert np.square(response_n[0]) == pytest.approx(np.sum(np.square(tail_n)), rel=0.2)  # direct and diffuse sound


def test_speech_in_a_room_stays_as_loud_and_as_long():
    wet_n = changed(RecordingCondition(reverberation_s=0.5))
    assert len(wet_n) == len(WAVE_N)
    assert power(wet_n) == pytest.approx(power(WAVE_N), rel=1e-3)
    assert abs(np.corrcoef(wet_n, WAVE_N)[0, 1]) < 0.9


def test_a_level_is_a_factor_and_clips():
    assert np.array_equal(changed(RecordingCondition(gain_db=-20.0)), np.round(WAVE_N * 0.1).astype(np.int16))
    assert np.abs(changed(RecordingCondition(gain_db=40.0))).max() == 32_767


@pytest.mark.parametrize("condition", [c for c in STANDARD_CONDITIONS if c.snr_db is not None or c.reverberation_s])
def test_an_utterance_sounds_the_same_every_time_and_another_one_differently(condition):
    assert np.array_equal(changed(condition), changed(condition))
    assert not np.array_equal(changed(condition), changed(condition, key=8))


def test_the_standard_conditions_have_names_and_files_of_their_own():
    assert len({condition.slug for condition in STANDARD_CONDITIONS}) == len(STANDARD_CONDITIONS) == 11
    assert STANDARD_CONDITIONS[0].name == "pink noise at 20 dB"
    assert STANDARD_CONDITIONS[0].slug == "pink-noise-at-20-dB"
    both = RecordingCondition("song", snr_db=5.0, speed=0.9, gain_db=-6.0, reverberation_s=0.4)
    assert both.name == "speed 0.9, reverberation of 0.4 s, song at 5 dB, level -6 dB"


def test_batches_hold_the_changed_utterances(trained_run):
    """In the shape of the plan, at the speed of the condition, whatever stands beside them."""
    condition = RecordingCondition(snr_db=10.0, speed=0.8)
    pipeline = replace(tiny.experiment().evals["test"].data, shapes=data.ChooseBuckets(2, 4.0))
    bound = replace(pipeline.open(trained_run.data_dir), condition=condition)
    keys = {id: data.example_key(source.name, id) for source in bound.sources for id in source.ids}
    seen = 0
    with bound.eval_batches() as batches:
        for found in batches:
            for id, wave_n, samples in zip(found.ids, found.batch.wave_bn, found.batch.sample_lengths_b, strict=False):
                clean_n = decode_audio(bound.read(bound.ids.index(id)), id=id, rate_hz=RATE_HZ)
                slow_n = soxr.resample(clean_n, 8 * RATE_HZ, 10 * RATE_HZ)
                expected_n = condition(slow_n, rate_hz=RATE_HZ, key=keys[id])
                assert np.array_equal(wave_n[: int(samples)], expected_n)
                assert not wave_n[int(samples) :].any()
                seen += 1
    assert seen == len(bound.ids)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loud", "'loud' is no field of a condition"),
        ("snr_db=", "is no field"),
        ("sound=whale,snr_db=3", "there are white noise, pink noise"),
        ("sound=song", "changes nothing"),
        ("speed=1", "changes nothing"),
        ("speed=3", "between 0.5 and 2"),
        ("snr_db=nan", "finite"),
        ("snr_db=1000", "between -100 and 100"),
        ("gain_db=-101", "between -100 and 100"),
        ("reverberation_s=-1", "0 or more"),
        ("reverberation_s=11", "at most 10"),
        ("gain_db=x", "could not convert"),
    ],
)
def test_what_is_no_condition_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_conditions(text)


def test_conditions_are_read_from_the_command_line():
    assert parse_conditions("standard") == STANDARD_CONDITIONS
    assert parse_conditions("sound=engine,snr_db=5,speed=1.1") == (RecordingCondition("engine", snr_db=5.0, speed=1.1),)
