"""The reader of tar archives for the sources of corpora. Archives are read as a stream and never unpacked.

`tarfile` accepts archives that are cut in a header or in a skipped member, and the cuts that it finds depend on the version
of Python. So gzip, bz2 and lzma decompress the stream here and it is read to its end: they raise EOFError if the trailer is
missing. Every archive has to end in a block of zeros (POSIX.1-2017, pax, ustar format).
"""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from jaxasr.data.corpora.source import archive_errors

_OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_BLOCK = 1 << 20


def members(path: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yields name and content of the wanted files of an archive (.tar, .tar.gz, .tar.bz2, .tar.xz), in its order.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the archive is cut off, damaged or no archive at all.
    """
    with path.open("rb") as raw, archive_errors(path):
        stream = _decompressed(raw)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, tarinfo=_Header) as archive:
            for header in archive:
                name = PurePosixPath(header.name)
                if header.isfile() and wanted(name):
                    file = archive.extractfile(header)
                    assert file is not None
                    yield name, file.read()
        while stream.read(_BLOCK):
            pass


class _Header(tarfile.TarInfo):
    """A tar header. If it is missing, truncated or damaged, `tarfile` raises instead of ending the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Header":
        """Returns the header at the current position of the archive."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # pyright: ignore[reportAttributeAccessIssue] (the block of zeros)
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {archive.offset:,}") from error


def _decompressed(raw: IO[bytes]) -> Any:
    head = raw.read(max(map(len, _OPENERS)))
    raw.seek(0)
    openers = [opener for magic, opener in _OPENERS.items() if head.startswith(magic)]
    return openers[0](raw) if openers else raw
