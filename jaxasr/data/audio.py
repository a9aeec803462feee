"""Compressed audio bytes to 16-bit samples: every format, rate and number of channels that libsndfile reads."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from jaxtyping import Int16

_BLOCK_FRAMES = 1 << 20  # what is decoded at once, so that an hour of stereo needs little more than its own result
_STREAM_FRAMES = 1 << 16  # the same where a file is only passed through
_INTEGER = ("PCM_", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")  # subtypes that decode to integers without clipping

_SAMPLE_BYTES = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)  # libsndfile's log
_UNKNOWN_BYTES = 0x7FFFF000  # and more: what is written as the length where it was not known (sox, ffmpeg, into a pipe)
_HEADER_BYTES = 1024  # that a writer may have counted among the samples


class NoSamplesError(ValueError):
    """An audio file of zero samples."""


def decode_audio(data: bytes, *, id: str, rate_hz: int = 16_000) -> Int16[np.ndarray, " n"]:
    """The samples of an audio file at `rate_hz`: channels are averaged, other rates resampled.

    `n` is `samples_at_speed(samples, its rate, factor=1, rate_hz=rate_hz)`, so lengths can be planned without decoding.

    Args:
      data: the whole file, as it lies on the disk.
      id: what the error names: an example or a path.

    Raises:
      ValueError: not audio, no samples, or samples that are not finite.
    """
    wave_n, native_hz = decode_native(data, id=id)
    return wave_n if native_hz == rate_hz else soxr.resample(wave_n, native_hz, rate_hz)


def decode_native(data: bytes, *, id: str) -> tuple[Int16[np.ndarray, " n"], int]:
    """The samples at the file's own rate, and that rate in Hz; errors as in `decode_audio`."""
    if not data:
        raise NoSamplesError(f"{id}: an empty file")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            blocks = list(_blocks(file, id, _BLOCK_FRAMES))
            native_hz = file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{id}: {len(data)} bytes that libsndfile cannot decode ({error})") from error
    if not blocks:
        raise NoSamplesError(f"{id}: an audio file of zero samples")
    return (blocks[0] if len(blocks) == 1 else np.concatenate(blocks)), native_hz


def check_not_truncated(data: bytes, *, id: str) -> None:
    """Refuses a WAV, AIFF or AU file with fewer samples than its header says; libsndfile decodes what is there.

    FLAC that is cut off does not decode, and of Ogg and MP3 nobody can say. `data` and `id` are those of `decode_audio`.

    Raises:
      ValueError: it was cut off.
    """
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        told = _SAMPLE_BYTES.search(file.extra_info)
    if told and int(told[2]) + _HEADER_BYTES < int(told[1]) < _UNKNOWN_BYTES:
        raise ValueError(f"{id}: cut off, its header says {told[1]} bytes of samples, {told[2]} are there")


def stream_audio(path: Path, *, rate_hz: int = 16_000) -> Iterator[Int16[np.ndarray, " n"]]:
    """The samples of `decode_audio`, block after block: never more than a few seconds of the file are held.

    Resampled in one pass, so that blocks have no seams; the number of all samples is that of `decode_audio`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: as in `decode_audio`; what is damaged further on is found when it is reached.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no audio file {path}")
    if not path.stat().st_size:
        raise NoSamplesError(f"{path}: an empty file")
    empty = True
    try:
        # by its descriptor, so that what the file is called says nothing of what it is
        with path.open("rb") as raw, soundfile.SoundFile(raw.fileno(), closefd=False) as file:
            blocks = _blocks(file, str(path), _STREAM_FRAMES)
            for block_n in blocks if file.samplerate == rate_hz else _resampled(blocks, file.samplerate, rate_hz):
                empty = False
                yield block_n
    except soundfile.LibsndfileError as error:
        size = path.stat().st_size
        raise ValueError(f"{path}: {size} bytes that libsndfile cannot decode ({error.error_string})") from error
    if empty:
        raise NoSamplesError(f"{path}: an audio file of zero samples")


def header_duration_s(path: Path) -> float:
    """What the header says of a file's length; 0 where it says nothing, or there is nothing to read."""
    try:
        return float(soundfile.info(str(path)).duration)
    except (OSError, soundfile.LibsndfileError, TypeError):  # who reads the file will say what is wrong with it
        return 0.0


def _blocks(file: soundfile.SoundFile, id: str, frames: int) -> Iterator[Int16[np.ndarray, " n"]]:
    # libsndfile reads floats below 1 as 0 when asked for integers, and lets overshooting Opus and Vorbis wrap around:
    # both are decoded as floats and clipped here.
    dtype: Literal["int16", "float32"] = "int16" if file.subtype.startswith(_INTEGER) else "float32"
    while True:
        block_nc = file.read(frames, dtype=dtype, always_2d=True)
        if not len(block_nc):
            return
        yield _mono(block_nc, id)


def _resampled(
    blocks: Iterator[Int16[np.ndarray, " n"]], native_hz: int, rate_hz: int
) -> Iterator[Int16[np.ndarray, " n"]]:
    resampler = soxr.ResampleStream(native_hz, rate_hz, 1, dtype="int16")
    for block_n in blocks:
        yield resampler.resample_chunk(block_n)
    yield resampler.resample_chunk(np.zeros(0, np.int16), last=True)


def _mono(block_nc: np.ndarray, id: str) -> Int16[np.ndarray, " n"]:
    if block_nc.dtype == np.int16 and block_nc.shape[1] == 1:
        return block_nc[:, 0]
    scale = 1.0 if block_nc.dtype == np.int16 else 32_768.0
    wave_n = block_nc.mean(axis=1, dtype=np.float32) * scale
    if not np.isfinite(wave_n).all():
        raise ValueError(f"{id}: {np.count_nonzero(~np.isfinite(wave_n))} samples are NaN or infinite")
    return np.clip(np.round(wave_n), -32_768, 32_767).astype(np.int16)
