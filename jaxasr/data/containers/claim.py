"""The claims of a container about its contents, and the error of a container that contradicts itself."""

import io
from dataclasses import dataclass

ID3V1_BYTES = 128  # of a tag behind the audio
_BLOCK_BYTES = 1 << 16


class DamagedError(ValueError):
    """An error for a file that is truncated or contradicts itself. The message does not name the file."""


@dataclass(frozen=True)
class Part:
    """A range of a file that is a whole audio file together with a prefix."""

    begin: int
    end: int
    prefix: bytes = b""


@dataclass(frozen=True)
class Claim:
    """The contents of a file by its header. The decoder compares them with what it decodes."""

    frames: int | None = None  # samples of one channel; None: the container does not state them
    md5: bytes = b""  # of the samples, as FLAC defines it; empty: none
    parts: tuple[Part, ...] = ()  # to decode one after another; empty: the whole file is one


def file_bytes(file: io.BufferedIOBase) -> int:
    """Returns the size of an open file in bytes."""
    return file.seek(0, 2)


def read_at(file: io.BufferedIOBase, place: int, size: int) -> bytes:
    """Returns up to `size` bytes from byte `place` on."""
    file.seek(place)
    return file.read(size)


def check_rest(file: io.BufferedIOBase, place: int, what: str) -> None:
    """Checks the end of a file behind its last part.

    Raises:
        DamagedError: there is more than zeros or an ID3v1 tag, so the file may hold audio that is not decoded.
    """
    end = file_bytes(file)
    if end - place >= ID3V1_BYTES and read_at(file, end - ID3V1_BYTES, 3) == b"TAG":
        end -= ID3V1_BYTES
    for begin in range(place, end, _BLOCK_BYTES):
        if read_at(file, begin, min(_BLOCK_BYTES, end - begin)).strip(b"\0"):
            raise DamagedError(
                f"{end - place:,} bytes follow {what}, from byte {place:,} on, and belong to no part of the file"
            )
