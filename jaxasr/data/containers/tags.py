"""Tags before, between and behind the frames of MPEG audio: ID3v1, ID3v2, APE and Lyrics3."""

import io
import struct

from jaxasr.data.containers.claim import ID3V1_BYTES, file_bytes, read_at

_APE_BYTES = 32  # of the header and of the footer
_APE_HEADER = 1 << 29  # flag
_MOST_LYRICS_BYTES = 1 << 20


def id3_bytes(head: bytes) -> int:
    """Returns the size of the ID3v2 tag that begins with these 10 bytes; 0: they begin none (id3.org, ID3v2.4, 3.1)."""
    if not head.startswith(b"ID3") or len(head) < 10 or max(head[6:10]) >= 128:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def tag_bytes(file: io.BufferedIOBase, place: int) -> int:
    """Returns the size of the tag that begins at a place; 0: none does."""
    head = read_at(file, place, _APE_BYTES)
    rest = file_bytes(file) - place
    if head.startswith(b"TAG") and rest >= ID3V1_BYTES:
        return ID3V1_BYTES
    if head.startswith(b"APETAGEX") and len(head) == _APE_BYTES:
        return _ape_bytes(head)
    if head.startswith(b"LYRICSBEGIN"):
        data = read_at(file, place, _MOST_LYRICS_BYTES)
        return min((at + 9 for end in (b"LYRICSEND", b"LYRICS200") if (at := data.find(end)) >= 0), default=0)
    for behind in (0, ID3V1_BYTES):  # an APE tag without a header ends in a footer
        footer = read_at(file, max(0, place + rest - behind - _APE_BYTES), _APE_BYTES)
        if footer.startswith(b"APETAGEX") and _ape_bytes(footer) == rest - behind:
            return rest - behind
    return id3_bytes(head)


def _ape_bytes(head: bytes) -> int:
    """Returns the size of an APE tag by its header or its footer. The stated size includes the footer alone."""
    size, _, flags = struct.unpack("<3I", head[12:24])
    return size + (_APE_BYTES if flags & _APE_HEADER else 0)
