"""AU files (Sun, NeXT): a header of six numbers, then the samples."""

import io
import struct

from jaxasr.data.containers.claim import Claim, DamagedError, check_rest, file_bytes, read_at

_UNKNOWN = 0xFFFFFFFF
_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # of one sample by encoding: mu-law, PCM, float, A-law


def check(file: io.BufferedIOBase, start: int) -> Claim:
    """Compares the header of an AU file with its bytes.

    Raises:
        DamagedError: the file is truncated or continues behind its samples.
    """
    head = read_at(file, start, 24)
    if len(head) < 24:
        raise DamagedError(f"cut off, {len(head)} bytes of a header of 24")
    order = "<" if head[:4] == b"dns." else ">"
    offset, stated, encoding, _, channels = struct.unpack(f"{order}5I", head[4:])
    there = file_bytes(file) - start - offset
    frame_bytes = _BYTES.get(encoding, 0) * channels
    if stated == _UNKNOWN:
        if frame_bytes and there % frame_bytes:
            raise DamagedError(f"cut off within a sample: {there} bytes of samples, of {frame_bytes} bytes each")
        return Claim(frames=there // frame_bytes if frame_bytes else None)
    if there < stated:
        raise DamagedError(f"cut off, its header says {stated} bytes of samples, {there} are there")
    check_rest(file, start + offset + stated, "its samples")
    return Claim(frames=stated // frame_bytes if frame_bytes else None)
