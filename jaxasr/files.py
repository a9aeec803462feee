"""Files for every package: read within limits, written whole or not at all, and the default folder of prepared data."""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import AnyStr, BinaryIO

DATA_DIR = "JAXASR_DATA"  # the environment variable of the data folder
LONGEST_LINE = 16 << 20  # of a text file, in bytes or characters

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a block device",
}


def default_data_dir() -> Path:
    """Returns the folder of prepared corpora: $JAXASR_DATA, or else ~/.cache/jaxasr/data."""
    return Path(os.environ.get(DATA_DIR) or Path.home() / ".cache" / "jaxasr" / "data")


def check_local(path: Path) -> None:
    """Checks that a path is no address of a store, such as gs://bucket/run, which would become the local folder "gs:".

    Raises:
        ValueError: it is one.
    """
    if found := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", os.fspath(path)):
        address = re.sub(r":/+", "://", os.fspath(path), count=1)
        raise ValueError(
            f"{address}: {found[1]}:// is not supported; jaxasr reads and writes folders: mount the store (gcsfuse, "
            "mount-s3, rclone mount) or copy from it, and give the folder"
        )


def kind_of_file(path: Path) -> str:
    """Returns "" for a regular file, else the kind: "a folder", "a named pipe", "a socket" or "a device". Follows links.

    Raises:
        OSError: there is no such file.
    """
    mode = path.stat().st_mode
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def read_regular(path: Path, *, most_bytes: int) -> bytes:
    """Reads a file that a list names. It never waits for a pipe and never reads a device without end.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: it is no regular file, or has more than `most_bytes`.
    """
    if kind := kind_of_file(path):
        raise ValueError(f"{path} is {kind}; a regular file is needed")
    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; at most {most_bytes:,} are read")
    return data


def limited_lines(readline: Callable[[int], AnyStr], path: Path, *, longest: int = LONGEST_LINE) -> Iterator[AnyStr]:
    """Yields the lines of an open file, so that a file without line ends (a compressed one, say) cannot fill the memory.

    Args:
        readline: the method of the open file.
        path: the file that the error message names.

    Raises:
        ValueError: a line is longer than `longest`.
    """
    number = 0
    while line := readline(longest + 1):
        number += 1
        if len(line) > longest:
            raise ValueError(
                f"{path} line {number} is longer than {longest:,} characters: this is no text file of lines"
            )
        yield line


@contextlib.contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that replaces `path` when the block ends without an error.

    A reader sees the file as it was or as it will be, never half of it, even if the machine dies. After an error the old
    file is unchanged and no partial file is left.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Writes UTF-8 text to `path` as `open_whole` does."""
    with open_whole(path) as file:
        file.write(text.encode())
