"""Segments of long recordings, cut to the sample.

A recording is decoded once, as a stream, into a temporary file of samples, from which its segments are read. So a segment
has exactly the samples that the decoded recording has there, in every format, and an hour needs little memory.
"""

import io
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from jaxtyping import Int16

from jaxasr.data.audio import NoSamplesError, channel_count, decode_whole, native_rate_hz, stream_audio
from jaxasr.data.corpora.source import MOST_AUDIO_BYTES
from jaxasr.data.corpora.times import RecordingSegment
from jaxasr.files import kind_of_file, read_regular

_MOST_FLAC_HZ = 655_350
_MOST_BYTES = 4 << 30  # of temporary files: 37 h at 16 kHz


class Recordings:
    """A reader of segments. It keeps the samples of the recordings read last. Threads can share it."""

    def __init__(self, most_bytes: int = _MOST_BYTES):
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._decoded: OrderedDict[tuple[Path, int | None], Future[_Samples]] = OrderedDict()

    def cut(self, path: Path, segment: RecordingSegment, channel: int | None = None) -> bytes:
        """Returns a segment as a lossless file, or the bytes of the recording if the segment is all of it.

        Args:
          path: the recording.
          segment: the part of it.
          channel: the channel of it, from 0 on; None: all are mixed.

        Raises:
          OutsideError: the segment is not in the recording.
          OSError: the recording cannot be read.
          ValueError: the recording cannot be decoded.
          RuntimeError: the temporary file cannot be written.
        """
        samples = self._samples(path, channel)
        where = segment.samples(len(samples.wave_n), samples.rate_hz)
        if where == slice(0, len(samples.wave_n)) and (channel is None or channel_count(path) == 1):
            return read_regular(path, most_bytes=MOST_AUDIO_BYTES)
        return encode_lossless(samples.wave_n[where], samples.rate_hz)

    def _samples(self, path: Path, channel: int | None) -> "_Samples":
        key = path, channel
        with self._lock:
            future = self._decoded.get(key)
            mine = future is None
            if future is None:
                future = self._decoded[key] = Future()
            self._decoded.move_to_end(key)
        if mine:
            try:
                future.set_result(_Samples(path, channel))
            except Exception as error:
                future.set_exception(error)  # for every segment of this recording
            self._forget_oldest()
        return future.result()

    def _forget_oldest(self) -> None:
        with self._lock:
            done = [key for key, future in self._decoded.items() if future.done()]
            sizes = {
                key: 0 if (future := self._decoded[key]).exception() else future.result().wave_n.nbytes for key in done
            }
            for key in done[:-1]:
                if sum(sizes.values()) <= self._most_bytes:
                    return
                del self._decoded[key], sizes[key]


def take_channel(data: bytes, channel: int, *, id: str) -> bytes:
    """Returns a channel of an audio file, from 0 on, as a lossless file, or the file itself if it has only one.

    Raises:
      ValueError: the file cannot be decoded, or has fewer channels.
    """
    wave_n, rate_hz = decode_whole(data, id=id, channel=channel)  # raises if there is no such channel
    return data if channel_count(data) == 1 else encode_lossless(wave_n, rate_hz)


def encode_lossless(wave_n: Int16[np.ndarray, " n"], rate_hz: int) -> bytes:
    """Returns samples as a FLAC file, or as a WAV file if FLAC does not have their rate."""
    file = io.BytesIO()
    format = "FLAC" if rate_hz <= _MOST_FLAC_HZ else "WAV"
    soundfile.write(file, wave_n, rate_hz, format=format, subtype="PCM_16")
    return file.getvalue()


class _Samples:
    """The decoded samples of a recording in a temporary file, which the system removes when nothing refers to it."""

    def __init__(self, path: Path, channel: int | None):
        if kind := kind_of_file(path):
            raise ValueError(f"{path} is {kind}; a regular file is needed")
        self.rate_hz = native_rate_hz(path)
        with tempfile.TemporaryFile() as file:
            for block_n in stream_audio(path, rate_hz=self.rate_hz, channel=channel):
                _write(file, block_n, path)
            if not file.tell():
                raise NoSamplesError(f"{path}: an audio file of zero samples")
            file.flush()
            self.wave_n: Int16[np.ndarray, " n"] = np.memmap(file, np.int16, "r")


def _write(file: IO[bytes], block_n: Int16[np.ndarray, " n"], path: Path) -> None:
    """Writes a block. Raises RuntimeError, because an OSError would count as a fault of the recording."""
    try:
        file.write(block_n.tobytes())
    except OSError as error:
        raise RuntimeError(
            f"the samples of {path} cannot be written to {tempfile.gettempdir()} ({error}): set TMPDIR to another folder"
        ) from error
