"""WAV files: RIFF, the big-endian RIFX, and RF64 (EBU Tech 3306) with sizes of 64 bits."""

import io
import struct

from jaxasr.data.containers.chunks import Chunk, Layout, check_samples, walk
from jaxasr.data.containers.claim import Claim, DamagedError, file_bytes, read_at

_PLAIN = {1: 1, 3: 1, 6: 1, 7: 1}  # formats of equal bytes a sample: PCM, float, A-law, mu-law
_EXTENSIBLE = 0xFFFE


def check(file: io.BufferedIOBase, start: int) -> Claim:
    """Compares the header of a WAV file with its bytes.

    Raises:
        DamagedError: the file is truncated, or its header contradicts itself.
    """
    magic, riff_bytes, form = struct.unpack("<4sI4s", read_at(file, start, 12).ljust(12, b"\0"))
    order = ">" if magic == b"RIFX" else "<"
    if form != b"WAVE":
        raise DamagedError(f"a RIFF file of {form!r}, not of 'WAVE'")
    sizes: dict[bytes, int] = {}
    format = b""
    samples: list[Chunk] = []
    for chunk in walk(file, start + 12, Layout(f"{order}4sI", align=2), samples_id=b"data", sizes=sizes):
        if chunk.id == b"ds64" and chunk.stated >= 24:
            sizes[b"data"] = struct.unpack("<8xQ", read_at(file, chunk.place, 16))[0]
        elif chunk.id == b"fmt ":
            format = read_at(file, chunk.place, min(chunk.there, 40))
        elif chunk.id == b"data":
            samples.append(chunk)
    if len(format) < 16 or len(samples) != 1:
        raise DamagedError(f"cut off or damaged: {len(samples)} chunks of samples and {len(format)} bytes of format")
    frame_bytes, plain = frame_of_format(format, order)
    chunk = samples[0]
    if _counts_its_header(chunk, start, riff_bytes, file_bytes(file)):
        chunk = Chunk(chunk.id, chunk.place, chunk.there, chunk.there)
    check_samples(chunk, frame_bytes=frame_bytes)
    return Claim(frames=chunk.there // frame_bytes if plain and frame_bytes else None)


def frame_of_format(format: bytes, order: str) -> tuple[int, bool]:
    """Returns the bytes of one sample of all channels, or of one block, and whether the format is uncompressed.

    Args:
        format: the content of the fmt chunk, of 16 bytes or more.

    Raises:
        DamagedError: the fields of the format contradict each other.
    """
    tag, channels, rate_hz, byte_rate, frame_bytes, bits = struct.unpack(f"{order}HHIIHH", format[:16])
    if tag == _EXTENSIBLE and len(format) >= 26:
        tag = struct.unpack(f"{order}H", format[24:26])[0]
    plain = tag in _PLAIN
    if plain and (frame_bytes != channels * ((bits + 7) // 8) or byte_rate not in (0, rate_hz * frame_bytes)):
        raise DamagedError(
            f"its header contradicts itself: {rate_hz} Hz, {channels} channels of {bits} bits, {frame_bytes} bytes a frame, "
            f"{byte_rate} bytes a second"
        )
    return frame_bytes, plain


def _counts_its_header(chunk: Chunk, start: int, riff_bytes: int, end: int) -> bool:
    """Returns whether the writer counted header bytes as samples. The size of the whole file then shows that none lack."""
    return riff_bytes + 8 + start == end and 0 < chunk.stated - chunk.there <= chunk.place - start
