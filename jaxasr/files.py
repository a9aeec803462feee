"""Files for every package: written whole or not at all, and the default folder of prepared data."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

DATA_DIR = "JAXASR_DATA"  # the environment variable of the data folder


def default_data_dir() -> Path:
    """Returns the folder of prepared corpora: $JAXASR_DATA, or else ~/.cache/jaxasr/data."""
    return Path(os.environ.get(DATA_DIR) or Path.home() / ".cache" / "jaxasr" / "data")


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
