"""IFF files with samples: AIFF and AIFC (Apple 1991), and 8SVX and 16SV of the Amiga."""

import io
import struct

from jaxasr.data.containers.chunks import Chunk, Layout, check_samples, walk
from jaxasr.data.containers.claim import Claim, DamagedError, read_at

_SAMPLES = {b"AIFF": b"SSND", b"AIFC": b"SSND", b"8SVX": b"BODY", b"16SV": b"BODY"}
_PLAIN_AIFC = {b"NONE", b"twos", b"sowt", b"raw ", b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32"}
_SSND_BYTES = 8  # offset and block size before the samples


def check(file: io.BufferedIOBase, start: int) -> Claim:
    """Compares the header of an IFF file with its bytes.

    Raises:
        DamagedError: the file is truncated, or its header contradicts itself.
    """
    form = read_at(file, start + 8, 4)
    if form not in _SAMPLES:
        raise DamagedError(f"an IFF file of {form!r}; {', '.join(name.decode() for name in _SAMPLES)} can be read")
    common = b""
    samples: list[Chunk] = []
    for chunk in walk(file, start + 12, Layout(">4sI", align=2), samples_id=_SAMPLES[form], sizes={}):
        if chunk.id == b"COMM":
            common = read_at(file, chunk.place, min(chunk.there, 22))
        elif chunk.id == _SAMPLES[form]:
            samples.append(chunk)
    if len(samples) != 1:
        raise DamagedError(f"cut off or damaged: {len(samples)} chunks of samples")
    check_samples(samples[0], frame_bytes=0)
    if _SAMPLES[form] == b"BODY":
        return Claim(frames=samples[0].there // (2 if form == b"16SV" else 1))
    return Claim(frames=_frames(common, form, samples[0]))


def _frames(common: bytes, form: bytes, chunk: Chunk) -> int | None:
    if len(common) < 18 or (form == b"AIFC" and len(common) < 22):
        raise DamagedError(f"cut off or damaged: {len(common)} bytes of format")
    if form == b"AIFC" and common[18:22] not in _PLAIN_AIFC:
        return None
    channels, frames, bits = struct.unpack(">HIH", common[:8])
    sample_bytes = chunk.there - _SSND_BYTES
    stated_bytes = frames * channels * ((bits + 7) // 8)
    if stated_bytes != sample_bytes and chunk.stated >= 0:
        raise DamagedError(f"its header says {stated_bytes} bytes of samples in COMM and {sample_bytes} in SSND")
    return frames if chunk.stated >= 0 else None
