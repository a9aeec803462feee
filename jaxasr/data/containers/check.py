"""The check of a whole audio file before it is decoded: one function for all containers that are accepted."""

import io
from dataclasses import replace

from jaxasr.data.containers import au, caf, flac, iff, mpeg, ogg, riff, sphere, wave64
from jaxasr.data.containers.claim import Claim, Part, file_bytes, read_at
from jaxasr.data.containers.tags import id3_bytes

_CHECKS = {
    b"RIFF": riff.check,
    b"RIFX": riff.check,
    b"RF64": riff.check,
    b"BW64": riff.check,
    b"riff": wave64.check,
    b"FORM": iff.check,
    b"caff": caf.check,
    b".snd": au.check,
    b"dns.": au.check,
    b"NIST": sphere.check,
    b"fLaC": flac.check,
    b"OggS": ogg.check,
}


def check(file: io.BufferedIOBase) -> Claim:
    """Compares the lengths and checksums of a container with the bytes of the file, without decoding it.

    Args:
      file: an open file that can seek.

    Raises:
      DamagedError: the file is truncated, continues behind its end, or contradicts itself.
    """
    start, head = _start(file)
    if head in _CHECKS:
        claim = _CHECKS[head](file, start)
        return claim if claim.parts else replace(claim, parts=_behind_tag(file, start))
    return mpeg.check(file, start) if _is_mpeg(start, head) else Claim()


def parts(file: io.BufferedIOBase) -> tuple[Part, ...]:
    """Returns the parts of the claim of a file that was checked before, at less cost.

    Raises:
      DamagedError: the file is MPEG audio and damaged.
    """
    start, head = _start(file)
    if head == b"OggS":
        return ogg.links(file, start) or _behind_tag(file, start)
    if head == b"fLaC":
        return flac.parts(file, start) or _behind_tag(file, start)
    return mpeg.parts(file, start) if _is_mpeg(start, head) else _behind_tag(file, start)


def _behind_tag(file: io.BufferedIOBase, start: int) -> tuple[Part, ...]:
    """Returns the file without the tag before it, with which libsndfile decodes WAV from a wrong place."""
    return (Part(start, file_bytes(file)),) if start else ()


def _is_mpeg(start: int, head: bytes) -> bool:
    return head not in _CHECKS and (start > 0 or head[:1] == b"\xff")


def _start(file: io.BufferedIOBase) -> tuple[int, bytes]:
    """Returns the place behind an ID3v2 tag and the four bytes there."""
    start = id3_bytes(read_at(file, 0, 10))
    return start, read_at(file, start, 4)
