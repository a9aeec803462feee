"""Decoding of all formats of libsndfile to 16-bit samples at one rate, without wrapped, zeroed or lost samples."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxasr.data import audio, decode_audio
from jaxasr.data.audio import channel_count, decode_native, decode_whole, native_rate_hz
from jaxasr.data.batching.lengths import samples_at_speed


def written(wave: np.ndarray, rate_hz: int, format: str, subtype: str) -> bytes:
    """Returns an audio file."""
    file = io.BytesIO()
    soundfile.write(file, wave, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("NIST", "PCM_16")])
def test_lossless_16_bits_come_back_exactly(rng: np.random.Generator, format: str, subtype: str):
    wave_n = rng.integers(-32_768, 32_768, 5000).astype(np.int16)
    np.testing.assert_array_equal(decode_audio(written(wave_n, 16_000, format, subtype), id="x"), wave_n)


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("WAV", "PCM_24"), ("FLAC", "PCM_24"), ("WAV", "ULAW"), ("OGG", "VORBIS")],
)
def test_every_subtype_has_the_same_scale(format: str, subtype: str):
    """If integers are requested, libsndfile reads floats below 1 as zeros."""
    wave_n = 0.5 * np.sin(np.arange(8000) * 0.05)
    decoded_n = decode_audio(written(wave_n, 16_000, format, subtype), id="x") / 32_768
    assert np.sqrt(np.mean((decoded_n - wave_n) ** 2)) < 0.015


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_lossy_codecs_that_overshoot_are_clipped_not_wrapped(subtype: str):
    """If integers are requested, libsndfile wraps: half of the samples of this square wave change their sign."""
    square_n = np.sign(np.sin(np.arange(16_000) * 0.02 + 0.01)) * 0.999
    decoded_n = decode_audio(written(square_n, 16_000, "OGG", subtype), id="x")
    assert np.mean(np.sign(decoded_n) == np.sign(square_n)) > 0.97
    assert decoded_n.max() == 32_767
    assert decoded_n.min() == -32_768


def test_channels_are_averaged():
    left_n = np.full(100, 0.5)
    right_n = np.full(100, -0.25)
    decoded_n = decode_audio(written(np.stack([left_n, right_n], axis=1), 16_000, "WAV", "PCM_16"), id="x")
    np.testing.assert_array_equal(decoded_n, np.full(100, 4096, np.int16))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("samples", [1, 2, 7, 441, 12_345])
def test_the_length_after_resampling_is_known_beforehand(rate_hz: int, samples: int):
    decoded_n = decode_audio(written(np.zeros(samples), rate_hz, "WAV", "PCM_16"), id="x")
    known = samples_at_speed(np.array([samples]), np.array([rate_hz]), factor=1.0, rate_hz=16_000)
    assert len(decoded_n) == known[0]


def test_a_resampled_tone_keeps_its_pitch(tone: Callable[..., bytes]):
    decoded_n = decode_audio(tone(1.0, pitch_hz=1000.0, rate_hz=44_100, format="WAV"), id="x")
    assert np.argmax(np.abs(np.fft.rfft(decoded_n))) == 1000


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch, tone: Callable[..., bytes]):
    for data in (tone(0.5), tone(0.5, format="OGG", subtype="VORBIS")):
        whole_n = decode_audio(data, id="x")
        monkeypatch.setattr(audio, "_BLOCK_FRAMES", 777)
        np.testing.assert_array_equal(decode_audio(data, id="x"), whole_n)
        monkeypatch.undo()


def file_of(folder: Path, data: bytes, name: str = "some.wav") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_a_stream_gives_what_the_whole_file_has(tmp_path, monkeypatch, rng, rate_hz):
    """At another rate the samples agree up to the lowest bit, because soxr dithers to 16 bits at random."""
    data = written(rng.normal(0.0, 0.1, (20_000, 2)), rate_hz, "FLAC", "PCM_16")
    monkeypatch.setattr(audio, "_STREAM_FRAMES", 777)
    blocks = list(audio.stream_audio(file_of(tmp_path, data)))
    whole_n = decode_audio(data, id="x")
    streamed_n = np.concatenate(blocks)
    assert len(blocks) > 20
    assert len(streamed_n) == len(whole_n)
    most = 0 if rate_hz == 16_000 else 2
    assert np.abs(streamed_n.astype(int) - whole_n.astype(int)).max() <= most


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("AIFF", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_a_stream_of_cancelling_channels_is_that_of_the_whole_file(tmp_path, rng, format: str, subtype: str):
    left_n = rng.normal(0.0, 0.1, 40_000)
    data = written(np.stack([left_n, -0.9 * left_n], axis=1), 16_000, format, subtype)
    streamed_n = np.concatenate(list(audio.stream_audio(file_of(tmp_path, data))))
    np.testing.assert_array_equal(streamed_n, decode_audio(data, id="x"))
    assert streamed_n.std() > 2000  # the average would have 164


def test_what_a_file_is_called_says_nothing_of_what_it_is(tmp_path, tone: Callable[..., bytes]):
    path = file_of(tmp_path, tone(0.5), "speech.raw")
    np.testing.assert_array_equal(np.concatenate(list(audio.stream_audio(path))), decode_audio(tone(0.5), id="x"))


def test_a_stream_is_refused_as_the_whole_file_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no audio file"):
        next(audio.stream_audio(tmp_path / "lost.wav"))
    silent = written(np.zeros(0), 16_000, "WAV", "PCM_16")
    for data, message in ((b"", "empty file"), (b"no audio", "8 bytes that libsndfile"), (silent, "zero samples")):
        with pytest.raises(ValueError, match=message) as caught:
            next(audio.stream_audio(file_of(tmp_path, data)))
        assert str(tmp_path / "some.wav") in str(caught.value)


def test_seconds_are_those_of_the_header(tmp_path, tone: Callable[..., bytes]):
    assert audio.header_duration_s(file_of(tmp_path, tone(0.5))) == pytest.approx(0.5)
    assert audio.header_duration_s(file_of(tmp_path, b"no audio")) == 0.0
    assert audio.header_duration_s(tmp_path / "lost.wav") == 0.0
    os.mkfifo(tmp_path / "pipe.wav")
    assert audio.header_duration_s(tmp_path / "pipe.wav") == 0.0


@pytest.mark.parametrize("data", [b"", b"RIFF", b"no audio at all", b"fLaC" + bytes(100)])
def test_what_is_no_audio_is_named(data: bytes):
    with pytest.raises(ValueError, match=r"this-file: .*(cannot decode|empty|RIFF file of|cut off|stream information)"):
        decode_audio(data, id="this-file")


def test_zero_samples_are_an_error_of_their_own():
    with pytest.raises(audio.NoSamplesError, match="silent: an audio file of zero samples"):
        decode_audio(written(np.zeros(0), 16_000, "WAV", "PCM_16"), id="silent")


@pytest.mark.parametrize("rate_hz", [1, 999, 768_001, 2_000_000_000])
def test_sample_rates_that_no_recording_has_are_refused(tmp_path: Path, rate_hz: int):
    data = written(np.zeros(100), rate_hz, "WAV", "PCM_16")
    with pytest.raises(ValueError, match=rf"x: a sample rate of {rate_hz} Hz; from 1000 to 768000 Hz are possible"):
        decode_audio(data, id="x")
    with pytest.raises(ValueError, match=f"some.wav: a sample rate of {rate_hz} Hz"):
        next(audio.stream_audio(file_of(tmp_path, data)))


def test_a_small_file_of_endless_silence_is_refused(monkeypatch: pytest.MonkeyPatch):
    """An hour of silence in FLAC has 20 kB."""
    monkeypatch.setattr(audio, "MOST_SAMPLES", 100_000)
    data = written(np.zeros(100_001, np.int16), 16_000, "FLAC", "PCM_16")
    assert len(data) < 1_000
    with pytest.raises(ValueError, match="x: more than 100,000 samples"):
        decode_audio(data, id="x")


@pytest.mark.parametrize(("format", "subtype"), [("AVR", "PCM_16"), ("PVF", "PCM_16"), ("VOC", "PCM_16")])
def test_formats_whose_truncation_nothing_shows_are_refused(format: str, subtype: str):
    with pytest.raises(ValueError, match=f"x: a file of the format {format}, of WAV, .* one is needed: convert it"):
        decode_audio(written(np.zeros(100), 16_000, format, subtype), id="x")


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_comparing_checksums_changes_no_sample(rng: np.random.Generator, subtype: str):
    data = written(rng.integers(-(2**31), 2**31, (3000, 2), dtype=np.int32), 16_000, "FLAC", subtype)
    np.testing.assert_array_equal(decode_whole(data, id="x")[0], decode_native(data, id="x")[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_an_error(value: float):
    wave_n = np.zeros(50, np.float32)
    wave_n[[3, 4]] = value
    with pytest.raises(ValueError, match="broken: 2 samples are NaN or infinite"):
        decode_audio(written(wave_n, 16_000, "WAV", "FLOAT"), id="broken")


def test_rate_and_channels_are_those_of_the_header_whatever_the_name(tmp_path: Path):
    wave_nc = np.random.default_rng(5).normal(0.0, 0.1, (40_000, 2))  # more than a read-ahead buffer
    for name in ("a.wav", "a.raw", "a.bin"):
        soundfile.write(tmp_path / name, wave_nc, 11_025, format="WAV")
        assert native_rate_hz(tmp_path / name) == 11_025
        assert channel_count(tmp_path / name) == channel_count((tmp_path / name).read_bytes()) == 2
