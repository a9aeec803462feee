"""The decoder of one audio file in blocks. It compares what it decodes with the claim of the container."""

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, cast

import numpy as np
import soundfile

from jaxasr.data.containers import flac
from jaxasr.data.containers.claim import Claim, DamagedError, Part, read_at
from jaxasr.data.containers.tags import id3_bytes

LEAST_HZ = 1_000  # sample rates outside are those of damaged headers
MOST_HZ = 768_000
_INTEGER = ("PCM_", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")  # subtypes that decode to integers without clipping
# Formats whose lengths are compared (data/containers; HTK by libsndfile). Truncated files of the others would pass.
_FORMATS = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "SVX", "CAF", "AU", "FLAC", "OGG", "MP3", "NIST", "HTK"]
_UNKNOWN_FRAMES = 1 << 62  # libsndfile has 2^63 - 1 for FLAC of unknown length


class ForwardFile(soundfile.SoundFile):
    """An audio file that is read once from its beginning to its end.

    soundfile seeks after every block of a file that can seek, and libsndfile cannot seek in FLAC of unknown length.
    """

    def seekable(self) -> bool:
        """Returns False."""
        return False

    @property
    def known_frames(self) -> int | None:
        """The number of samples of one channel by the header; None: it does not say."""
        return self.frames if self.frames < _UNKNOWN_FRAMES else None


class _PartFile:
    """A part of an open file, with the methods that soundfile needs."""

    def __init__(self, file: io.BufferedIOBase, part: Part):
        self._file = file
        self._part = part
        self._bytes = len(part.prefix) + part.end - part.begin
        self._place = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a place and returns it."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._bytes}[whence]
        return self._place

    def tell(self) -> int:
        """Returns the place."""
        return self._place

    def read(self, size_bytes: int) -> bytes:
        """Returns up to so many bytes, up to the end of the part."""
        wanted = max(0, min(size_bytes, self._bytes - self._place))
        data = self._part.prefix[self._place : self._place + wanted]
        if len(data) < wanted:
            begin = self._part.begin + max(0, self._place - len(self._part.prefix))
            data += read_at(self._file, begin, wanted - len(data))
        self._place += len(data)
        return data


@dataclass
class AudioDecoder:
    """A decoder of an open file. `blocks` raises an error if the file has less, or other samples, than the claim."""

    file: io.BufferedIOBase
    claim: Claim
    native_hz: int = field(default=0, init=False)  # known from the first block on, as are the next two
    channels: int = field(default=0, init=False)
    subtype: str = field(default="", init=False)  # as libsndfile calls it
    _digest: "hashlib._Hash | None" = field(default=None, init=False)

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Yields the samples as int16 or float32 of shape (n, channels), up to `frames` at once. Each call begins anew.

        Raises:
            soundfile.LibsndfileError: the file cannot be decoded.
            DamagedError: the file has other samples than its container claims, or an impossible sample rate.
        """
        total = 0
        if self.claim.md5:
            self._digest = hashlib.md5(usedforsecurity=False)
        for part in self._parts():
            with part:
                self._check_form(part)
                for block_nc in self._part_blocks(part, frames):
                    total += len(block_nc)
                    yield block_nc
        if self.claim.frames not in (None, total):
            raise DamagedError(f"its header says {self.claim.frames:,} samples, {total:,} were decoded")
        if self._digest is not None and self._digest.digest() != self.claim.md5:
            raise DamagedError("its samples have another MD5 checksum than its header says")

    def duration_s(self) -> float:
        """Returns the duration by the headers of the parts, without decoding them; 0: they do not say."""
        seconds = 0.0
        for part in self._parts():
            with part:
                frames = part.known_frames
                if frames is None and part.format == "FLAC":
                    frames = flac.check(self.file, id3_bytes(read_at(self.file, 0, 10))).frames
                seconds += (frames or 0) / part.samplerate
        return seconds

    def _parts(self) -> Iterator[ForwardFile]:
        if self.claim.parts:
            for part in self.claim.parts:
                yield ForwardFile(cast(BinaryIO, _PartFile(self.file, part)))
        elif isinstance(self.file, io.BytesIO):
            self.file.seek(0)
            yield ForwardFile(self.file)
        else:  # opened by its descriptor, so that libsndfile reads it itself and does not guess from a name
            os.lseek(self.file.fileno(), 0, os.SEEK_SET)
            yield ForwardFile(self.file.fileno(), closefd=False)

    def _check_form(self, part: ForwardFile) -> None:
        if part.format not in _FORMATS:
            raise DamagedError(
                f"a file of the format {part.format}, of {', '.join(_FORMATS)} one is needed: convert it"
            )
        if not LEAST_HZ <= part.samplerate <= MOST_HZ:
            raise DamagedError(f"a sample rate of {part.samplerate} Hz; from {LEAST_HZ} to {MOST_HZ} Hz are possible")
        form = part.samplerate, part.channels, part.subtype
        first = self.native_hz, self.channels, self.subtype
        if self.native_hz and form != first:
            raise DamagedError(f"its parts differ in Hz, channels or coding, {first} and {form}: make files of them")
        self.native_hz, self.channels, self.subtype = form

    def _part_blocks(self, part: ForwardFile, frames: int) -> Iterator[np.ndarray]:
        # If integers are requested, libsndfile reads floats below 1 as 0 and lets overshooting Opus and Vorbis samples
        # wrap around. Both are therefore decoded as floats and clipped by the conversion.
        dtype: Literal["int16", "int32", "float32"] = "int16" if part.subtype.startswith(_INTEGER) else "float32"
        if self._digest is not None and part.subtype == "PCM_24":
            dtype = "int32"
        known = part.known_frames
        decoded = 0
        while known is None or decoded < known:
            # One more sample than there are, so that libsndfile meets what follows the last one.
            most = frames if known is None else min(frames, known - decoded + 1)
            block_nc: np.ndarray = part.read(most, dtype=dtype, always_2d=True)
            if not len(block_nc):
                break
            decoded += len(block_nc)
            if self._digest is not None:
                self._digest.update(_md5_bytes(block_nc, part.subtype).data)
            yield (block_nc >> 16).astype(np.int16) if block_nc.dtype == np.int32 else block_nc
        if known is not None and decoded < known:
            raise DamagedError(f"cut off or damaged: {known:,} samples by its header, {decoded:,} can be decoded")


def _md5_bytes(block_nc: np.ndarray, subtype: str) -> np.ndarray:
    """Returns the samples as FLAC's MD5 has them: little-endian, as many whole bytes as they need (RFC 9639, 8.2)."""
    if subtype == "PCM_S8":
        return (block_nc >> 8).astype(np.int8)
    if subtype == "PCM_24":
        return np.ascontiguousarray((block_nc >> 8).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3])
    return block_nc.astype("<i2", copy=False)
