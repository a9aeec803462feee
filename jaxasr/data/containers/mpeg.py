"""MPEG audio files (ISO 11172-3, 13818-3), mostly MP3: frames that follow each other, and tags before and behind them."""

import io
import struct
from dataclasses import dataclass

from jaxasr.data.containers.claim import Claim, DamagedError, Part, check_rest, file_bytes, read_at
from jaxasr.data.containers.tags import tag_bytes

_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version bits
_LAYER_1 = 3  # bits of the layer
_LAYER_3 = 1
_KBPS = {  # by whether the version is 1, and by the layer bits; index 0 is of no fixed rate
    (True, 3): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBPS[False, 1] = _KBPS[False, 2]
_LEADING_BYTES = 1 << 16  # before the first frame: what is left of a cut frame, or zeros behind a tag


@dataclass(frozen=True)
class _FrameHeader:
    """The header of a frame."""

    kind: tuple[int, int, int, bool]  # version, layer, sample rate, mono; equal in all frames
    size_bytes: int
    side_bytes: int  # of the side information


@dataclass(frozen=True)
class _Count:
    """The counts of a Xing, Info or VBRI header in the first frame. They do not include that frame."""

    frames: int
    size_bytes: int  # of all frames; 0: unknown
    xing: bool  # False: VBRI, which libsndfile does not read


def check(file: io.BufferedIOBase, start: int) -> Claim:
    """Follows the frames to the end of the file and compares their number with that of the first frame, if it has one.

    Raises:
        DamagedError: the last frame is truncated, bytes between frames belong to none, or frames are missing.
    """
    first, header = _first(file, start)
    count = _count(read_at(file, first, 200), header)
    frames, size_bytes = _follow(file, first, header)
    if count is not None and count.frames:
        _check_count(count, frames - 1, size_bytes)
    layer = header.kind[1]
    if layer != _LAYER_3:
        return Claim(frames=frames * (384 if layer == _LAYER_1 else 1152))
    return Claim(parts=_counted(file, first, header, count, frames))


def parts(file: io.BufferedIOBase, start: int) -> tuple[Part, ...]:
    """Returns the parts of the claim of a file. Follows its frames only where the first one does not count them.

    Raises:
        DamagedError: the file is damaged.
    """
    first, header = _first(file, start)
    count = _count(read_at(file, first, 200), header)
    if header.kind[1] != _LAYER_3 or (count is not None and count.xing and count.frames):
        return ()
    return _counted(file, first, header, count, _follow(file, first, header)[0])


def _follow(file: io.BufferedIOBase, first: int, header: _FrameHeader) -> tuple[int, int]:
    """Returns the number of frames from the place of the first one on, and the bytes up to the end of the last one."""
    end = file_bytes(file)
    place = last = first
    frames = 0
    while place < end:
        found = _header(read_at(file, place, 4))
        if found is not None and found.kind == header.kind:
            if place + found.size_bytes > end:
                raise DamagedError(f"cut off, its last frame has {found.size_bytes} bytes, {end - place} are there")
            place = last = place + found.size_bytes
            frames += 1
        elif skipped := tag_bytes(file, place):
            place += skipped
        else:
            check_rest(file, place, "its last frame")
            break
    return frames, last - first


def _counted(
    file: io.BufferedIOBase, first: int, header: _FrameHeader, count: _Count | None, frames: int
) -> tuple[Part, ...]:
    """Returns the file with a frame before it that counts the others; none: it has such a frame, of the Xing kind.

    libsndfile estimates the number of samples from the size of the first frame, and decodes no more than that. Where the
    bit rate varies, that can be half of the file.
    """
    if count is not None and count.xing and count.frames:
        return ()
    own = header.size_bytes if count is not None else 0  # a count of another kind is left out
    content = bytes(header.side_bytes) + b"Xing" + struct.pack(">2I", 1, frames - bool(own))
    head = bytearray(read_at(file, first, 4))
    head[1] |= 1  # without a checksum
    for index in range(1, 15):
        head[2] = index << 4 | head[2] & 0x0C
        made = _header(bytes(head))
        if made is not None and made.size_bytes >= 4 + len(content):
            return (Part(first + own, file_bytes(file), (bytes(head) + content).ljust(made.size_bytes, b"\0")),)
    raise DamagedError("its frames are too short to count them")


def _first(file: io.BufferedIOBase, start: int) -> tuple[int, _FrameHeader]:
    """Returns the place of the first of two frames that follow each other, and its header."""
    data = read_at(file, start, _LEADING_BYTES)
    at = -1
    while (at := data.find(b"\xff", at + 1)) >= 0:
        header = _header(data[at : at + 4])
        if header is not None:
            after = start + at + header.size_bytes
            following = _header(read_at(file, after, 4))
            if (following is not None and following.kind == header.kind) or after == file_bytes(file):
                return start + at, header
    raise DamagedError("damaged, or no MPEG audio of fixed rates: no two frames follow each other at its beginning")


def _check_count(count: _Count, frames: int, size_bytes: int) -> None:
    """Compares the counts of the first frame with the number of the other frames and the size of all."""
    lacking = count.frames - frames
    counts_itself = lacking == 1 and count.size_bytes == size_bytes
    if lacking > 0 and not counts_itself:
        raise DamagedError(f"cut off, its first frame counts {count.frames} frames, {frames} are there")
    if lacking < 0:
        raise DamagedError(f"its first frame counts {count.frames} frames, {frames} are there: files joined to one?")


def _header(head: bytes) -> _FrameHeader | None:
    """Returns the header of a frame; None: no frame begins with these bytes, or one of no fixed rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version = head[1] >> 3 & 3
    layer = head[1] >> 1 & 3
    rate = head[2] >> 2 & 3
    index = head[2] >> 4
    if version == 1 or layer == 0 or rate == 3 or index in (0, 15):
        return None
    rate_hz = _RATES_HZ[version][rate]
    kbps = _KBPS[version == 3, layer][index]
    padding = head[2] >> 1 & 1
    if layer == _LAYER_1:
        size_bytes = (12_000 * kbps // rate_hz + padding) * 4
    else:
        size_bytes = (72_000 if layer == _LAYER_3 and version != 3 else 144_000) * kbps // rate_hz + padding
    mono = head[3] >> 6 == 3
    side_bytes = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _FrameHeader((version, layer, rate_hz, mono), size_bytes, side_bytes)


def _count(data: bytes, header: _FrameHeader) -> _Count | None:
    """Returns the counts in the first frame; None: it has none."""
    if header.kind[1] != _LAYER_3:
        return None
    for at in (4 + header.side_bytes, 6 + header.side_bytes):  # without and with the checksum of a frame
        if data[at : at + 4] in (b"Xing", b"Info"):
            flags = int.from_bytes(data[at + 4 : at + 8], "big")
            fields = struct.unpack(">2I", data[at + 8 : at + 16])
            frames = fields[0] if flags & 1 else 0
            return _Count(frames, fields[flags & 1] if flags & 2 else 0, xing=True)
    if data[36:40] == b"VBRI":
        size_bytes, frames = struct.unpack(">2I", data[46:54])
        return _Count(frames, size_bytes, xing=False)
    return None
