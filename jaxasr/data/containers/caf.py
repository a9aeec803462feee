"""Core Audio files (Apple 2006): chunks with sizes of 64 bits."""

import io
import struct

from jaxasr.data.containers.chunks import Chunk, Layout, check_samples, walk
from jaxasr.data.containers.claim import Claim, DamagedError, read_at

_EDIT_COUNT_BYTES = 4  # before the samples
_PLAIN = {b"lpcm", b"ulaw", b"alaw"}


def check(file: io.BufferedIOBase, start: int) -> Claim:
    """Compares the header of a Core Audio file with its bytes.

    Raises:
        DamagedError: the file is truncated, or its header contradicts itself.
    """
    description = packets = b""
    samples: list[Chunk] = []
    for chunk in walk(file, start + 8, Layout(">4sq"), samples_id=b"data", sizes={}):
        if chunk.id == b"desc":
            description = read_at(file, chunk.place, 32)
        elif chunk.id == b"pakt":
            packets = read_at(file, chunk.place, 24)
        elif chunk.id == b"data":
            samples.append(chunk)
    if len(description) < 32 or len(samples) != 1:
        raise DamagedError(f"cut off or damaged: {len(samples)} chunks of samples, {len(description)} bytes of format")
    kind, packet_bytes, packet_frames, channels, bits = struct.unpack(">8x4s4xIIII", description)
    if kind in _PLAIN and (packet_bytes != channels * bits // 8 or packet_frames != 1 or not packet_bytes):
        raise DamagedError(
            f"its header contradicts itself: {channels} channels of {bits} bits in packets of {packet_bytes} bytes"
        )
    check_samples(samples[0], frame_bytes=0)
    sample_bytes = samples[0].there - _EDIT_COUNT_BYTES
    if kind in _PLAIN:
        if sample_bytes % packet_bytes:
            raise DamagedError(
                f"cut off within a sample: {sample_bytes} bytes of samples, of {packet_bytes} bytes each"
            )
        return Claim(frames=sample_bytes // packet_bytes)
    if len(packets) < 24:
        raise DamagedError("cut off or damaged: the table of its packets is missing")
    return Claim(frames=struct.unpack(">8xq8x", packets)[0])
