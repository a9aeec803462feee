"""FLAC files (RFC 9639): the stream information, and the headers of the first and the last frame."""

import io
from dataclasses import dataclass

from jaxasr.data.containers.claim import ID3V1_BYTES, Claim, DamagedError, Part, file_bytes, read_at

_STREAM_INFO_BYTES = 34
_TAIL_BYTES = 1 << 20  # in which the last frame begins
_HEADER_BYTES = 16  # the longest header of a frame
_RATES_HZ = {1: 88_200, 2: 176_400, 3: 192_000, 4: 8_000, 5: 16_000, 6: 22_050, 7: 24_000, 8: 32_000, 9: 44_100}
_RATES_HZ |= {10: 48_000, 11: 96_000}
_RATE_UNITS = {12: (1, 1000), 13: (2, 1), 14: (2, 10)}  # bytes behind the header, Hz of their unit
_BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}


@dataclass(frozen=True)
class _Frame:
    """The header of a frame. Zeros stand for values of the stream information."""

    fixed: bool  # all frames but the last have the same number of samples
    number: int  # of the frame if `fixed`, else of its first sample
    samples: int
    rate_hz: int
    channels: int
    bits: int


def check(file: io.BufferedIOBase, start: int) -> Claim:
    """Reads the number of samples and their MD5, and compares the first frame with the stream information.

    A file from a pipe has neither. The header of its last frame then gives the number of samples.

    Raises:
        DamagedError: the file is truncated within its header, or its headers contradict each other.
    """
    place, info = _metadata(file, start)
    packed = int.from_bytes(info[10:18], "big")
    rate_hz = packed >> 44
    channels = (packed >> 41 & 7) + 1
    bits = (packed >> 36 & 31) + 1
    total = packed & (1 << 36) - 1
    first = _frame(read_at(file, place, _HEADER_BYTES))
    if first is None:
        if file_bytes(file) <= place and not total:
            return Claim(frames=0)
        raise DamagedError(f"cut off or damaged: no frame begins at byte {place:,}")
    found = (first.rate_hz or rate_hz, first.channels, first.bits or bits)
    if found != (rate_hz, channels, bits):
        raise DamagedError(
            f"its headers contradict each other: {rate_hz} Hz, {channels} channels, {bits} bits, and {found} in a frame"
        )
    return Claim(
        frames=total or _last_sample(file, place, first),
        md5=info[18:34] if any(info[18:34]) else b"",
        parts=parts(file, start),
    )


def parts(file: io.BufferedIOBase, start: int) -> tuple[Part, ...]:
    """Returns the file without its ID3v1 tag, with which libFLAC does not decode it; none: it has no tag."""
    end = file_bytes(file) - ID3V1_BYTES
    return (Part(start, end),) if end > start and read_at(file, end, 3) == b"TAG" else ()


def _metadata(file: io.BufferedIOBase, start: int) -> tuple[int, bytes]:
    """Returns the place of the first frame and the stream information."""
    place = start + 4
    info = b""
    last = False
    while not last:
        head = read_at(file, place, 4)
        size = int.from_bytes(head[1:], "big")
        if len(head) < 4 or place + 4 + size > file_bytes(file):
            raise DamagedError("cut off within its header")
        if not info:
            info = read_at(file, place + 4, size)
            if head[0] & 0x7F or size != _STREAM_INFO_BYTES:
                raise DamagedError("its header has no stream information")
        last = bool(head[0] & 0x80)
        place += 4 + size
    return place, info


def _last_sample(file: io.BufferedIOBase, place: int, first: _Frame) -> int | None:
    """Returns the number of samples by the last frame; None: no frame begins in the last part of the file."""
    begin = max(place, file_bytes(file) - _TAIL_BYTES)
    tail = read_at(file, begin, _TAIL_BYTES)
    sync = b"\xff\xf8" if first.fixed else b"\xff\xf9"
    at = len(tail)
    while (at := tail.rfind(sync, 0, at)) >= 0:
        last = _frame(tail[at : at + _HEADER_BYTES])
        if last and (last.rate_hz, last.bits, last.channels) == (first.rate_hz, first.bits, first.channels):
            return (last.number * first.samples if first.fixed else last.number) + last.samples
    return None


def _frame(head: bytes) -> _Frame | None:
    """Returns the header of the frame that begins with these bytes; None: none does (RFC 9639, section 9.1)."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    block = head[2] >> 4
    rate = head[2] & 15
    channels = head[3] >> 4
    bits = head[3] >> 1 & 7
    number_bytes = max(1, 8 - (head[4] ^ 0xFF).bit_length())
    block_bytes = {6: 1, 7: 2}.get(block, 0)
    rate_bytes, unit_hz = _RATE_UNITS.get(rate, (0, 0))
    end = 4 + number_bytes + block_bytes + rate_bytes
    invalid = block == 0 or rate == 15 or channels > 10 or bits == 3 or number_bytes > 7 or len(head) <= end
    if invalid or _crc8(head[:end]) != head[end]:
        return None
    number = head[4] & (0x7F if number_bytes == 1 else 0x7F >> number_bytes)
    for byte in head[5 : 4 + number_bytes]:
        number = number << 6 | byte & 0x3F
    samples = int.from_bytes(head[4 + number_bytes : 4 + number_bytes + block_bytes], "big") + 1
    if not block_bytes:
        samples = 192 if block == 1 else 576 << block - 2 if block < 6 else 256 << block - 8
    rate_hz = int.from_bytes(head[end - rate_bytes : end], "big") * unit_hz if rate_bytes else _RATES_HZ.get(rate, 0)
    return _Frame(
        head[1] == 0xF8,
        number,
        samples,
        rate_hz,
        min(channels, 1) + 1 if channels > 7 else channels + 1,
        _BITS.get(bits, 0),
    )


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x107 if crc & 0x80 else 0)) & 0xFF
    return crc
