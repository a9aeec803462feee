"""Compressed audio bytes to 16-bit samples: every format, rate and number of channels that libsndfile reads."""

import io
from collections.abc import Iterator
from typing import Literal

import numpy as np
import soundfile
import soxr
from jaxtyping import Int, Int16

_BLOCK_FRAMES = 1 << 20  # what is decoded at once, so that an hour of stereo needs little more than its own result
_INTEGER = ("PCM_", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")  # subtypes that decode to integers without clipping


class NoSamples(ValueError):  # noqa: N818 - what it says, as StopIteration
    """An audio file of zero samples."""


def decode_audio(data: bytes, *, id: str, rate_hz: int = 16_000) -> Int16[np.ndarray, " n"]:
    """The samples of an audio file at `rate_hz`: channels are averaged, other rates resampled.

    `n` is `samples_at(samples, its rate, rate_hz)`, so lengths can be planned without decoding.

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
        raise NoSamples(f"{id}: an empty file")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            # libsndfile reads floats below 1 as 0 when asked for integers, and lets overshooting Opus and Vorbis
            # wrap around: both are decoded as floats and clipped here.
            dtype = "int16" if file.subtype.startswith(_INTEGER) else "float32"
            blocks = [_mono(block_nc, id) for block_nc in _blocks(file, dtype)]
            native_hz = file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{id}: {len(data)} bytes that libsndfile cannot decode ({error})") from error
    if not blocks:
        raise NoSamples(f"{id}: an audio file of zero samples")
    return (blocks[0] if len(blocks) == 1 else np.concatenate(blocks)), native_hz


def samples_at(samples: Int[np.ndarray, " b"], rates_hz: Int[np.ndarray, " b"], rate_hz: int) -> Int[np.ndarray, " b"]:
    """Samples that each utterance has once it is resampled to `rate_hz`: rounded to the nearest, halves up (soxr)."""
    samples, rates_hz = samples.astype(np.int64), rates_hz.astype(np.int64)
    return (2 * samples * rate_hz + rates_hz) // (2 * rates_hz)


def _blocks(file: soundfile.SoundFile, dtype: Literal["int16", "float32"]) -> Iterator[np.ndarray]:
    while True:
        block_nc = file.read(_BLOCK_FRAMES, dtype=dtype, always_2d=True)
        if not len(block_nc):
            return
        yield block_nc


def _mono(block_nc: np.ndarray, id: str) -> Int16[np.ndarray, " n"]:
    if block_nc.dtype == np.int16 and block_nc.shape[1] == 1:
        return block_nc[:, 0]
    scale = 1.0 if block_nc.dtype == np.int16 else 32_768.0
    wave_n = block_nc.mean(axis=1, dtype=np.float32) * scale
    if not np.isfinite(wave_n).all():
        raise ValueError(f"{id}: {np.count_nonzero(~np.isfinite(wave_n))} samples are NaN or infinite")
    return np.clip(np.round(wave_n), -32_768, 32_767).astype(np.int16)
