"""The chunks of RIFF, IFF, CAF and Wave64 files: a walk over them to the end of the file."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from jaxasr.data.containers.claim import DamagedError, check_rest, file_bytes, read_at

UNKNOWN = 0x7F000000  # sox and ffmpeg write this size or a larger one into pipes, where they do not know it
UNKNOWN_64 = 1 << 62  # the same for sizes of 64 bits, which are all ones


_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff")  # at the beginning of a file


@dataclass(frozen=True)
class Layout:
    """The form of a chunk's header."""

    head: str  # of struct: the id and the size
    align: int = 1  # chunks begin at multiples of it
    counts_head: bool = False  # True: the size includes the header


@dataclass(frozen=True)
class Chunk:
    """A chunk: its id, the place of its content, the size in its header and the size that is there."""

    id: bytes
    place: int
    stated: int
    there: int


def walk(
    file: io.BufferedIOBase, start: int, layout: Layout, *, samples_id: bytes, sizes: dict[bytes, int]
) -> Iterator[Chunk]:
    """Yields the chunks from byte `start` to the end of the file.

    A chunk of samples of unknown size extends to the end of the file.

    Args:
        samples_id: the chunk of samples. Only its size may be unknown.
        sizes: sizes of chunks that are stated elsewhere (ds64 of RF64); the caller may add to it during the walk.

    Raises:
        DamagedError: a chunk is truncated, or something that is no chunk follows the last one.
    """
    end = file_bytes(file)
    head_bytes = struct.calcsize(layout.head)
    place = start
    last = "its header"
    while place < end:
        head = read_at(file, place, head_bytes)
        if len(head) < head_bytes or not _is_id(head[:4]):
            check_rest(file, place, last)
            return
        id, size = struct.unpack(layout.head, head)
        if id[:4] in _MAGIC:
            raise DamagedError(f"a second file begins behind {last}, at byte {place:,}")
        if id in sizes:
            size = sizes[id]
        if layout.counts_head:
            size -= head_bytes
        content = place + head_bytes
        last = f"its chunk {_shown(id)}"
        unknown = size < 0 or size >= (UNKNOWN if struct.calcsize(layout.head) == 8 and id not in sizes else UNKNOWN_64)
        if id == samples_id and unknown and content + size != end:
            yield Chunk(id, content, -1, end - content)
            return
        if size < 0 or (content + size > end and id != samples_id):
            raise DamagedError(f"cut off, {last} has {size:,} bytes by its header, {end - content:,} are there")
        yield Chunk(id, content, size, min(size, end - content))
        place = content + size + (-(content + size - start)) % layout.align


def check_samples(chunk: Chunk, *, frame_bytes: int) -> None:
    """Checks the size of the chunk of samples.

    Args:
        frame_bytes: of one sample of all channels, or of one block of a compressed format; 0: unknown.

    Raises:
        DamagedError: the chunk has fewer bytes than its header says, or, if that does not say, ends within a sample.
    """
    if chunk.there < chunk.stated:
        raise DamagedError(f"cut off, its header says {chunk.stated} bytes of samples, {chunk.there} are there")
    if chunk.stated < 0 and frame_bytes > 1 and chunk.there % frame_bytes:
        raise DamagedError(f"cut off within a sample: {chunk.there} bytes of samples, of {frame_bytes} bytes each")


def _is_id(id: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in id)


def _shown(id: bytes) -> str:
    return repr(id[:4].decode("latin-1"))
