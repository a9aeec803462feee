"""Ogg files (RFC 3533): pages with checksums and numbers, in logical streams that may be chained one after another."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from jaxasr.data.containers.claim import Claim, DamagedError, Part, check_rest, file_bytes, read_at

_HEAD = struct.Struct("<4sBBqIIIB")  # capture pattern, version, flags, granule, serial, number, checksum, segments
_BEGIN = 2  # flag of the first page of a stream
_END = 4  # flag of the last page
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check(file: io.BufferedIOBase, start: int) -> Claim:
    """Checks the checksum and the number of every page and the last page of every stream.

    Returns:
        A claim whose parts are the links of the chain, if there are several.

    Raises:
        DamagedError: a page is damaged or missing, or a stream has no last page.
    """
    numbers: dict[int, int] = {}  # of the last page of each open stream
    end = start
    for page in _pages(file, start):
        _check_sum(file, page)
        if page.begins:
            if numbers and not page.joins:
                raise DamagedError(f"cut off before byte {page.place:,}: a stream begins before the last has ended")
        elif numbers.get(page.serial, -2) + 1 != page.number:
            raise DamagedError(f"a page is missing before page {page.number} at byte {page.place:,}")
        numbers[page.serial] = page.number
        if page.ends:
            del numbers[page.serial]
        end = page.place + page.size_bytes
    if numbers:
        raise DamagedError(f"cut off or damaged, its last page is missing: no page begins at byte {end:,}")
    check_rest(file, end, "its last page")
    return Claim(parts=links(file, start))


def links(file: io.BufferedIOBase, start: int) -> tuple[Part, ...]:
    """Returns the links of a chained Ogg file; none: it is not chained."""
    begins = []
    end = start
    for page in _pages(file, start):
        if page.begins and not page.joins:
            begins.append(page.place)
        end = page.place + page.size_bytes
    return tuple(map(Part, begins, [*begins[1:], end])) if len(begins) > 1 else ()


@dataclass(frozen=True)
class _Page:
    """A page, by its header."""

    place: int
    size_bytes: int
    serial: int  # of its stream
    number: int
    begins: bool  # True: the first page of its stream
    ends: bool  # True: the last page of its stream
    joins: bool  # True: the page before it is a first page too, so both streams run beside each other
    checksum: bytes


def _pages(file: io.BufferedIOBase, start: int) -> Iterator[_Page]:
    """Yields the pages up to the end of the file, or to the first bytes that are no whole page."""
    end = file_bytes(file)
    place = start
    joins = False
    while len(head := read_at(file, place, _HEAD.size)) == _HEAD.size and head.startswith(b"OggS"):
        _, _, flags, _, serial, number, _, segments = _HEAD.unpack(head)
        size_bytes = _HEAD.size + segments + sum(file.read(segments))
        if place + size_bytes > end:
            return
        begins = bool(flags & _BEGIN)
        yield _Page(place, size_bytes, serial, number, begins, bool(flags & _END), joins, head[22:26])
        joins = begins
        place += size_bytes


def _check_sum(file: io.BufferedIOBase, page: _Page) -> None:
    """Compares the CRC of a page: polynomial 0x04C11DB7, first bit first, from 0.

    zlib has the same polynomial for the last bit first, so the bits of each byte and of the result are reversed.
    """
    data = bytearray(read_at(file, page.place, page.size_bytes))
    data[22:26] = bytes(4)
    crc = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    if crc.to_bytes(4, "big").translate(_REVERSED) != page.checksum:
        raise DamagedError(f"the page at byte {page.place:,} has another checksum than its header says")
