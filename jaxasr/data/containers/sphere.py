"""NIST SPHERE files (NIST 1991), the format of TIMIT, WSJ and the 1991 distribution of AN4."""

import io
import re

import numpy as np

from jaxasr.data.containers.claim import Claim, DamagedError, check_rest, file_bytes, read_at

_FIELD = re.compile(rb"^(\w+) -(?:i|s\d+) (\S+)", re.MULTILINE)
_BLOCK_BYTES = 1 << 20


def check(file: io.BufferedIOBase, start: int) -> Claim:
    """Compares the header of a SPHERE file with its bytes, and the checksum of 16-bit samples where it has one.

    Raises:
        DamagedError: the file is truncated, continues behind its samples, or has another checksum.
    """
    head = read_at(file, start, 16)
    if not re.fullmatch(rb"NIST_1A\n *\d{1,7}\n", head):
        raise DamagedError(f"its SPHERE header begins with {head!r}")
    header_bytes = int(head[8:])
    header = read_at(file, start, header_bytes).partition(b"\nend_head")
    if not header[1]:
        raise DamagedError("cut off or damaged: its SPHERE header has no end_head")
    fields = dict(_FIELD.findall(header[0]))
    try:
        frames, channels, width = (
            int(fields.get(name, default))
            for name, default in ((b"sample_count", b"-1"), (b"channel_count", b"1"), (b"sample_n_bytes", b"2"))
        )
        checksum = int(fields[b"sample_checksum"]) if b"sample_checksum" in fields else None
    except ValueError as error:
        raise DamagedError(f"its SPHERE header has no numbers: {error}") from error
    place = start + header_bytes
    stated = frames * channels * width
    there = file_bytes(file) - place
    if frames < 0:
        raise DamagedError("its SPHERE header has no sample_count")
    if there < stated:
        raise DamagedError(f"cut off, its header says {stated} bytes of samples, {there} are there")
    if there > stated:
        check_rest(file, place + stated, "its samples")
        raise DamagedError(f"{there - stated} zeros follow its samples, which libsndfile would decode")
    if checksum is not None and width == 2:
        found = _sum16(file, place, b"10" if fields.get(b"sample_byte_format") == b"10" else b"01")
        if found != checksum:
            raise DamagedError(f"its samples have the checksum {found}, its header says {checksum}")
    return Claim(frames=frames)


def _sum16(file: io.BufferedIOBase, place: int, byte_order: bytes) -> int:
    """Returns the sum of the 16-bit samples modulo 2^16 (NIST SPHERE 2.6, sp_compute_short_checksum)."""
    file.seek(place)
    total = 0
    while block := file.read(_BLOCK_BYTES):
        samples = np.frombuffer(block, ">u2" if byte_order == b"10" else "<u2", count=len(block) // 2)
        total += int(samples.sum(dtype=np.uint64))
    return total % (1 << 16)
