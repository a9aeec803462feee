"""Decoding of compressed audio to 16-bit samples, for every format, rate and number of channels that libsndfile reads."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from jaxtyping import Int16

from jaxasr.data.conversion import MEAN, Survey

_BLOCK_FRAMES = 1 << 20  # decoded at once, so that an hour of stereo needs little more memory than its result
_STREAM_FRAMES = 1 << 16  # decoded at once by `stream_audio`, which keeps no result
_UNBOUNDED = ("FLOAT", "DOUBLE")  # subtypes whose samples may lie beyond full scale
_INTEGER = ("PCM_", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")  # subtypes that decode to integers without clipping

# libsndfile logs the number of bytes in the header and the number that it found.
_SAMPLE_BYTES = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
# sox and ffmpeg write this length or a larger one where they do not know it, for instance into a pipe.
_UNKNOWN_BYTES = 0x7FFFF000
_HEADER_BYTES = 1024  # a writer may have counted so many header bytes among the samples


class NoSamplesError(ValueError):
    """An error for an audio file of zero samples."""


def decode_audio(data: bytes, *, id: str, rate_hz: int = 16_000) -> Int16[np.ndarray, " n"]:
    """Decodes an audio file to samples at `rate_hz`. Mixes the channels and resamples other rates (see `Conversion`).

    `n` is `samples_at_speed(samples, file_rate, factor=1, rate_hz=rate_hz)`, so lengths can be planned without decoding.

    Args:
      data: the content of the whole file.
      id: the example or path that error messages name.

    Raises:
      ValueError: `data` is not audio, has no samples, or has samples that are not finite.
    """
    wave_n, native_hz = decode_native(data, id=id)
    return wave_n if native_hz == rate_hz else soxr.resample(wave_n, native_hz, rate_hz)


def decode_native(data: bytes, *, id: str) -> tuple[Int16[np.ndarray, " n"], int]:
    """Decodes an audio file at its own rate. Raises the errors of `decode_audio`.

    Returns:
      The samples of one channel (see `Conversion`) and the rate in Hz.
    """
    if not data:
        raise NoSamplesError(f"{id}: an empty file")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            blocks = _whole(file, id)
            native_hz = file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{id}: {len(data)} bytes that libsndfile cannot decode ({error})") from error
    if not blocks:
        raise NoSamplesError(f"{id}: an audio file of zero samples")
    return (blocks[0] if len(blocks) == 1 else np.concatenate(blocks)), native_hz


def check_not_truncated(data: bytes, *, id: str) -> None:
    """Raises if a WAV, AIFF or AU file has fewer samples than its header says. libsndfile decodes such files silently.

    A truncated FLAC file does not decode. Ogg and MP3 files do not state their length, so they pass this check. `data`
    and `id` are as in `decode_audio`.

    Raises:
      ValueError: the file is truncated.
    """
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        logged = _SAMPLE_BYTES.search(file.extra_info)
    if logged and int(logged[2]) + _HEADER_BYTES < int(logged[1]) < _UNKNOWN_BYTES:
        raise ValueError(f"{id}: cut off, its header says {logged[1]} bytes of samples, {logged[2]} are there")


def stream_audio(path: Path, *, rate_hz: int = 16_000) -> Iterator[Int16[np.ndarray, " n"]]:
    """Yields the samples of `decode_audio` in blocks and holds at most a few seconds of the file in memory.

    The file is resampled in one pass, so block borders cause no artefacts. The total number of samples equals that of
    `decode_audio`.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: as in `decode_audio`. A damaged part of the file raises when it is reached.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no audio file {path}")
    if not path.stat().st_size:
        raise NoSamplesError(f"{path}: an empty file")
    empty = True
    try:
        # Opened by its descriptor, so that libsndfile does not guess the format from the file's name.
        with path.open("rb") as raw, soundfile.SoundFile(raw.fileno(), closefd=False) as file:
            blocks = _streamed(file, str(path))
            for block_n in blocks if file.samplerate == rate_hz else _resampled(blocks, file.samplerate, rate_hz):
                empty = False
                yield block_n
    except soundfile.LibsndfileError as error:
        size = path.stat().st_size
        raise ValueError(f"{path}: {size} bytes that libsndfile cannot decode ({error.error_string})") from error
    if empty:
        raise NoSamplesError(f"{path}: an audio file of zero samples")


def native_rate_hz(path: Path) -> int:
    """Returns the sample rate of an audio file by its header.

    Raises:
      OSError: the file cannot be opened.
      ValueError: it is not audio.
    """
    try:
        with path.open("rb") as raw, soundfile.SoundFile(raw.fileno(), closefd=False) as file:
            return file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} cannot be decoded by libsndfile ({error.error_string})") from error


def header_duration_s(path: Path) -> float:
    """Returns the duration in seconds by the file's header, or 0 if the file or the header cannot be read."""
    try:
        return float(soundfile.info(str(path)).duration)
    except (OSError, soundfile.LibsndfileError, TypeError):  # whoever decodes the file raises the error
        return 0.0


def _whole(file: soundfile.SoundFile, id: str) -> list[Int16[np.ndarray, " n"]]:
    survey = Survey(file.channels, scalable=file.subtype in _UNBOUNDED)
    blocks = []
    for block_nc in _native_blocks(file, _BLOCK_FRAMES):
        survey.add(block_nc)
        blocks.append(MEAN.apply(block_nc, id))
    if blocks and survey.conversion != MEAN:  # known at the end only, and rare: decoded again
        file.seek(0)
        blocks = [survey.conversion.apply(block_nc, id) for block_nc in _native_blocks(file, _BLOCK_FRAMES)]
    return blocks


def _streamed(file: soundfile.SoundFile, id: str) -> Iterator[Int16[np.ndarray, " n"]]:
    survey = Survey(file.channels, scalable=file.subtype in _UNBOUNDED)
    if survey.needed and file.seekable():
        for block_nc in _native_blocks(file, _STREAM_FRAMES):
            survey.add(block_nc)
        file.seek(0)
    for block_nc in _native_blocks(file, _STREAM_FRAMES):
        yield survey.conversion.apply(block_nc, id)


def _native_blocks(file: soundfile.SoundFile, frames: int) -> Iterator[np.ndarray]:
    # If integers are requested, libsndfile reads floats below 1 as 0 and lets overshooting Opus and Vorbis samples wrap
    # around. Both are therefore decoded as floats and clipped by the conversion.
    dtype: Literal["int16", "float32"] = "int16" if file.subtype.startswith(_INTEGER) else "float32"
    while True:
        block_nc = file.read(frames, dtype=dtype, always_2d=True)
        if not len(block_nc):
            return
        yield block_nc


def _resampled(
    blocks: Iterator[Int16[np.ndarray, " n"]], native_hz: int, rate_hz: int
) -> Iterator[Int16[np.ndarray, " n"]]:
    resampler = soxr.ResampleStream(native_hz, rate_hz, 1, dtype="int16")
    for block_n in blocks:
        yield resampler.resample_chunk(block_n)
    yield resampler.resample_chunk(np.zeros(0, np.int16), last=True)
