"""Audio in containers that libsndfile does not read, decoded by PyAV (the extra `av`): .m4a .mp4 .aac .webm .mka .amr

The container is recognised by its first bytes, and only its own demultiplexer of FFmpeg is used. `jaxasr prepare` stores the
samples as FLAC, so training never needs PyAV.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import soundfile
from jaxtyping import Int16

HEAD_BYTES = 16  # that tell the container
_MOST_SAMPLES = 1 << 33  # of one file, 37 h of stereo at 32 kHz
_TOLERANCE_S = 0.02  # of the duration that the container states, besides a frame of the coder
_EXACT = ("mov", "matroska")  # containers that state a duration instead of an estimate
_TITLES = {
    "mov": "an MPEG-4 file (.m4a, .mp4)",
    "matroska": "a WebM or Matroska file",
    "aac": "an AAC file",
    "amr": "an AMR file",
}


def av_format(head: bytes) -> str:
    """Returns FFmpeg's name of a container that PyAV has to decode, by its first bytes, or ""."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0:  # ADTS: layer 0, which MP3 does not have
        return "aac"
    marks = {b"\x1aE\xdf\xa3": "matroska", b"#!AMR": "amr", b"ADIF": "aac"}
    return next((name for mark, name in marks.items() if head.startswith(mark)), "")


def transcode(source: io.BufferedIOBase, target: io.BufferedIOBase, *, name: str, id: str, container: str) -> None:
    """Decodes the audio of a file and writes it as 16 bits, with its rate and channels.

    Args:
      source: the open file.
      target: an open file that can seek.
      name: the format of the target for libsndfile, such as "W64" or "FLAC".
      id: the path or the example that errors name.
      container: what `av_format` returned.

    Raises:
      ValueError: PyAV is not installed, the file has no audio, is truncated, or cannot be decoded.
    """
    with _opened(source, id, container) as (file, stream):
        samples = 0
        with contextlib.ExitStack() as stack:
            sound: soundfile.SoundFile | None = None
            for wave_nc in _blocks(file, stream):
                sound = sound or stack.enter_context(_target(target, name, stream.rate, wave_nc.shape[1]))
                sound.write(wave_nc)
                samples += len(wave_nc)
                if samples > _MOST_SAMPLES:
                    raise ValueError(f"{id}: more than {_MOST_SAMPLES:,} samples: cut it")
        if not samples:
            raise ValueError(f"{id}: an audio file of zero samples")
        if container in _EXACT:
            _check_length(id, file, stream, samples / stream.rate)


def av_header(source: io.BufferedIOBase | io.RawIOBase, *, id: str, container: str) -> tuple[int, int]:
    """Returns sample rate and number of channels. Errors are those of `transcode`."""
    with _opened(source, id, container) as (_, stream):
        return stream.rate, stream.channels


def without_av(data: bytes, *, id: str) -> bytes:
    """Returns an audio file as it is, or as FLAC if PyAV has to decode it. Errors are those of `transcode`."""
    container = av_format(data[:HEAD_BYTES])
    if not container:
        return data
    target = io.BytesIO()
    transcode(io.BytesIO(data), target, name="FLAC", id=id, container=container)
    return target.getvalue()


@contextlib.contextmanager
def _opened(source: io.BufferedIOBase | io.RawIOBase, id: str, container: str) -> Iterator[tuple[Any, Any]]:
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise ValueError(
            f"{id} is {_TITLES[container]}, which needs PyAV: pip install 'jaxasr[av]', or convert it: "
            "ffmpeg -i FILE -vn FILE.flac"
        ) from error
    try:
        with av.open(cast(BinaryIO, source), format=container) as file:
            stream = file.streams.best("audio")
            if stream is None:
                raise ValueError(f"{id} is {_TITLES[container]} without audio")
            yield file, stream
    except FFmpegError as error:
        raise ValueError(f"{id} is {_TITLES[container]} that is cut off or damaged ({error.strerror})") from error


def _blocks(file: Any, stream: Any) -> Iterator[Int16[np.ndarray, "n c"]]:
    """Yields the samples of all channels, without those that the coder added at the beginning and end."""
    import av

    resampler = av.AudioResampler(format="s16", layout=stream.layout, rate=stream.rate)
    for frame in file.decode(stream):
        for converted in resampler.resample(frame):
            yield converted.to_ndarray().reshape(-1, len(stream.layout.channels))
    for converted in resampler.resample(None):
        yield converted.to_ndarray().reshape(-1, len(stream.layout.channels))


def _target(target: io.BufferedIOBase, name: str, rate_hz: int, channels: int) -> soundfile.SoundFile:
    return soundfile.SoundFile(cast(BinaryIO, target), "w", rate_hz, channels, "PCM_16", format=name)


def _check_length(id: str, file: Any, stream: Any, decoded_s: float) -> None:
    """Raises ValueError if fewer samples were decoded than the container states."""
    stated_s = 0.0
    if stream.duration is not None:
        stated_s = float(stream.duration * stream.time_base)
    elif file.duration is not None:
        stated_s = file.duration / 1_000_000  # in microseconds
    if decoded_s < stated_s - _TOLERANCE_S - (stream.codec_context.frame_size or 0) / stream.rate:
        raise ValueError(f"{id}: cut off or damaged: {stated_s:.2f} s by its header, {decoded_s:.2f} s can be decoded")
