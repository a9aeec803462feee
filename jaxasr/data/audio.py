"""Decoding of compressed audio to 16-bit samples, for the formats, rates and numbers of channels that libsndfile reads."""

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Int16

from jaxasr.data.audio_files import open_audio
from jaxasr.data.av_audio import HEAD_BYTES, av_format, av_header, without_av
from jaxasr.data.containers import check
from jaxasr.data.containers.claim import Claim, DamagedError, file_bytes
from jaxasr.data.conversion import MEAN, Survey
from jaxasr.data.decoder import AudioDecoder
from jaxasr.files import kind_of_file

MOST_SAMPLES = 1 << 29  # of an utterance, 9 hours at 16 kHz: a small file of silence can decode to any number
_BLOCK_FRAMES = 1 << 20  # decoded at once, so that an hour of stereo needs little more memory than its result
_STREAM_FRAMES = 1 << 16  # decoded at once by `stream_audio`, which keeps no result
_UNBOUNDED = ("FLOAT", "DOUBLE")  # subtypes whose samples may lie beyond full scale


class NoSamplesError(ValueError):
    """An error for an audio file of zero samples."""


def decode_audio(data: bytes, *, id: str, rate_hz: int = 16_000) -> Int16[np.ndarray, " n"]:
    """Decodes an audio file to samples at `rate_hz`. Mixes the channels and resamples other rates (see `Conversion`).

    `n` is `samples_at_speed(samples, file_rate, factor=1, rate_hz=rate_hz)`, so lengths can be planned without decoding.

    Args:
      data: the content of the whole file.
      id: the example or path that error messages name.

    Raises:
      ValueError: the errors of `decode_whole`.
    """
    wave_n, native_hz = decode_whole(data, id=id)
    return wave_n if native_hz == rate_hz else soxr.resample(wave_n, native_hz, rate_hz)


def decode_whole(data: bytes, *, id: str, channel: int | None = None) -> tuple[Int16[np.ndarray, " n"], int]:
    """Decodes an audio file at its own rate, and compares the lengths and checksums of its container (data/containers).

    Args:
      data: the content of the whole file.
      id: the example or path that error messages name.
      channel: the channel to take, from 0 on; None: all are mixed.

    Returns:
      The samples of one channel (see `Conversion`) and the rate in Hz.

    Raises:
      ValueError: `data` is not audio, is truncated or damaged, has no samples or more than MOST_SAMPLES, has samples that
        are not finite, or a sample rate outside 1 to 768 kHz.
    """
    data = without_av(data, id=id)
    file = io.BytesIO(data)
    with _named_errors(id, len(data)):
        return _decode(file, check.check(file), id, channel)


def decode_native(data: bytes, *, id: str) -> tuple[Int16[np.ndarray, " n"], int]:
    """Decodes a file that `decode_whole` has accepted before, without comparing its checksums again."""
    file = io.BytesIO(data)
    with _named_errors(id, len(data)):
        return _decode(file, Claim(parts=check.parts(file)), id)


def _decode(file: io.BytesIO, claim: Claim, id: str, channel: int | None = None) -> tuple[Int16[np.ndarray, " n"], int]:
    decoder = AudioDecoder(file, claim)
    survey = None
    waves = []
    samples = 0
    for block_nc in decoder.blocks(_BLOCK_FRAMES):
        survey = survey or Survey(decoder.channels, scalable=decoder.subtype in _UNBOUNDED, channel=channel)
        survey.add(block_nc)
        waves.append(MEAN.apply(block_nc, id))
        samples += len(block_nc)
        if samples > MOST_SAMPLES:
            raise ValueError(f"{id}: more than {MOST_SAMPLES:,} samples, which is no utterance: cut it")
    if survey is None:
        raise NoSamplesError(f"{id}: an audio file of zero samples")
    conversion = survey.conversion
    if conversion != MEAN:  # known at the end only, and rare: decoded again
        waves = [conversion.apply(block_nc, id) for block_nc in decoder.blocks(_BLOCK_FRAMES)]
    return (waves[0] if len(waves) == 1 else np.concatenate(waves)), decoder.native_hz


def stream_audio(path: Path, *, rate_hz: int = 16_000, channel: int | None = None) -> Iterator[Int16[np.ndarray, " n"]]:
    """Yields the samples of `decode_audio` in blocks and holds at most a few seconds of the file in memory.

    The file is resampled in one pass, so block borders cause no artefacts. The total number of samples equals that of
    `decode_audio`. The path may be a pipe, such as /dev/stdin. `channel` is that of `decode_whole`.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: the errors of `decode_whole` and `open_audio`. A truncated file raises at once, damaged samples raise
        when they are decoded, and a wrong checksum of all samples raises at the end.
    """
    with open_audio(path) as file, _named_errors(str(path), file_bytes(file)):
        decoder = AudioDecoder(file, check.check(file))
        blocks = decoder.blocks(_STREAM_FRAMES)
        first_nc = next(blocks, None)
        if first_nc is None:
            raise NoSamplesError(f"{path}: an audio file of zero samples")
        survey = Survey(decoder.channels, scalable=decoder.subtype in _UNBOUNDED, channel=channel)
        if survey.needed:
            for block_nc in itertools.chain([first_nc], blocks):
                survey.add(block_nc)
            blocks = AudioDecoder(file, Claim(parts=decoder.claim.parts)).blocks(_STREAM_FRAMES)
        else:
            blocks = itertools.chain([first_nc], blocks)
        conversion = survey.conversion
        waves = (conversion.apply(block_nc, str(path)) for block_nc in blocks)
        yield from waves if decoder.native_hz == rate_hz else _resampled(waves, decoder.native_hz, rate_hz)


def native_rate_hz(path: Path) -> int:
    """Returns the sample rate of an audio file by its header.

    Raises:
      OSError: the file cannot be opened.
      ValueError: it is not audio.
    """
    try:
        with path.open("rb", buffering=0) as raw:
            container = av_format(raw.read(HEAD_BYTES))
            raw.seek(0)
            if container:
                return av_header(raw, id=str(path), container=container)[0]
            with soundfile.SoundFile(raw.fileno(), closefd=False) as file:  # without a guess from the name
                return file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} cannot be decoded by libsndfile ({error.error_string})") from error


def channel_count(file: Path | bytes) -> int:
    """Returns the number of channels of an audio file by its header, or 1 if it cannot be read.

    Whoever decodes the file raises the error.
    """
    try:
        with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb", buffering=0) as raw:
            container = av_format(raw.read(HEAD_BYTES))
            raw.seek(0)
            if container:
                return av_header(raw, id="", container=container)[1]
            with soundfile.SoundFile(raw if isinstance(raw, io.BytesIO) else raw.fileno(), closefd=False) as sound:
                return sound.channels
    except (OSError, ValueError, soundfile.LibsndfileError):
        return 1


def header_duration_s(path: Path) -> float:
    """Returns the duration in seconds by the file's header, or 0 if it is not known before the file is decoded.

    That is so for pipes, which can be read once, and for files that cannot be read.
    """
    try:
        if kind_of_file(path):
            return 0.0
        with path.open("rb") as file:
            return AudioDecoder(file, Claim(parts=check.parts(file))).duration_s()
    except (OSError, ValueError, soundfile.LibsndfileError, TypeError):  # whoever decodes the file raises the error
        return 0.0


@contextlib.contextmanager
def _named_errors(id: str, size_bytes: int) -> Iterator[None]:
    """Converts the errors of containers and of libsndfile to ValueErrors that name the file."""
    if not size_bytes:
        raise NoSamplesError(f"{id}: an empty file")
    try:
        yield
    except DamagedError as error:
        raise ValueError(f"{id}: {error}") from error
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{id}: {size_bytes} bytes that libsndfile cannot decode ({error.error_string})") from error


def _resampled(
    blocks: Iterator[Int16[np.ndarray, " n"]], native_hz: int, rate_hz: int
) -> Iterator[Int16[np.ndarray, " n"]]:
    resampler = soxr.ResampleStream(native_hz, rate_hz, 1, dtype="int16")
    for block_n in blocks:
        yield resampler.resample_chunk(block_n)
    yield resampler.resample_chunk(np.zeros(0, np.int16), last=True)
