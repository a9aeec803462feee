"""Wave64 files (Sonic Foundry 1998): chunks with ids of 128 bits and sizes of 64 bits that include the header."""

import io

from jaxasr.data.containers.chunks import Chunk, Layout, check_samples, walk
from jaxasr.data.containers.claim import Claim, DamagedError, read_at
from jaxasr.data.containers.riff import frame_of_format

_SUFFIX = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_HEADER_BYTES = 40


def check(file: io.BufferedIOBase, start: int) -> Claim:
    """Compares the header of a Wave64 file with its bytes.

    Raises:
        DamagedError: the file is truncated, or its header contradicts itself.
    """
    format = b""
    samples: list[Chunk] = []
    layout = Layout("<16sQ", align=8, counts_head=True)
    for chunk in walk(file, start + _HEADER_BYTES, layout, samples_id=b"data" + _SUFFIX, sizes={}):
        if chunk.id == b"fmt " + _SUFFIX:
            format = read_at(file, chunk.place, min(chunk.there, 40))
        elif chunk.id == b"data" + _SUFFIX:
            samples.append(chunk)
    if len(format) < 16 or len(samples) != 1:
        raise DamagedError(f"cut off or damaged: {len(samples)} chunks of samples and {len(format)} bytes of format")
    frame_bytes, plain = frame_of_format(format, "<")
    check_samples(samples[0], frame_bytes=frame_bytes)
    return Claim(frames=samples[0].there // frame_bytes if plain and frame_bytes else None)
