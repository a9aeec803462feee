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

from jaxasr.data.corpora.source import MOST_AUDIO_BYTES, archive_errors
from jaxasr.files import kind_of_file

_OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_BLOCK = 1 << 20
_LONGEST_EXTENSION = 1 << 20  # bytes of a long name or of a pax header, which tarfile reads whole
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def members(path: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yields name and content of the wanted files of an archive (.tar, .tar.gz, .tar.bz2, .tar.xz), in its order.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the archive is cut off, damaged, no archive at all, or a wanted file has more than MOST_AUDIO_BYTES.
    """
    if kind := kind_of_file(path):
        raise (IsADirectoryError if path.is_dir() else ValueError)(f"{path} is {kind}; an archive is needed")
    with path.open("rb") as raw, archive_errors(path):
        stream = _decompressed(raw)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, tarinfo=_Header) as archive:
            for header in archive:
                name = PurePosixPath(header.name)
                if header.isfile() and wanted(name):
                    _check_size(path, header)
                    file = archive.extractfile(header)
                    assert file is not None
                    yield name, file.read()
        while stream.read(_BLOCK):
            pass


def _check_size(path: Path, header: tarfile.TarInfo) -> None:
    if header.size > MOST_AUDIO_BYTES:
        raise ValueError(
            f"{path}: its file {header.name} has {header.size:,} bytes; at most {MOST_AUDIO_BYTES:,} are read: cut it, or "
            "leave it out of the archive"
        )


class _Header(tarfile.TarInfo):
    """A tar header. If it is missing, truncated or damaged, `tarfile` raises instead of ending the archive."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        """Returns the member of this header. Raises tarfile.ReadError if it announces a long name of more than 1 MiB.

        Every version of `tarfile` calls this method for each header, as its source says; `frombuf` is passed over by some.
        """
        if self.type in _EXTENSIONS and self.size > _LONGEST_EXTENSION:
            raise tarfile.ReadError(f"the name or the attributes of a member have {self.size:,} bytes")
        return super()._proc_member(archive)  # pyright: ignore[reportAttributeAccessIssue]

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Header":  # pyright: ignore[reportIncompatibleMethodOverride] (its name)
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
