"""A cache of columns beside a corpus: NumPy files that are mapped into memory, so that only what is used is read.

A cache is a folder with one .npy file for each column and a header with their digests. It appears whole, by a rename. Of
several processes one writes it and the others wait. A cache that is damaged, or was made of something else, is made again.
Where the folder cannot be written, the columns lie in a temporary folder for as long as they are in use.
"""

import contextlib
import fcntl
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxasr.data.columns.strings import Strings

CACHE_FOLDER = ".columns"  # in the folder of a corpus
_HEADER = "columns.json"
_FORMAT = 1
_STAGE = ".building-"
_LOCK = ".lock"
_CHUNK_BYTES = 1 << 20
_THREADS = 4  # of checking; SHA-256 releases Python's global lock


@dataclass(frozen=True)
class MappedColumns:
    """A set of mapped columns by name, with the notes of their writer about their source."""

    arrays: dict[str, np.ndarray]
    source: dict[str, int]

    def strings(self, name: str, picked: np.ndarray | None = None) -> Strings:
        """Returns a column of texts, or those of the rows that are picked."""
        return Strings(self.arrays[f"{name}.content"], self.arrays[f"{name}.starts"], picked)


class ColumnWriter:
    """A writer that appends to columns, so that no column is ever whole in memory."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._columns: dict[str, _OpenColumn] = {}
        self._ends: dict[str, int] = {}  # of columns of sequences
        self.source: dict[str, int] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        """Appends values to a column. All have the type of the first."""
        if name not in self._columns:
            self._columns[name] = _OpenColumn(self._folder / f"{name}.npy", values.dtype)
        self._columns[name].append(values)

    def add_sequences(self, name: str, content: np.ndarray, lengths: np.ndarray) -> None:
        """Appends sequences that lie end to end: NAME.content, and NAME.starts with one entry more."""
        if name not in self._ends:
            self._ends[name] = 0
            self.add(f"{name}.starts", np.zeros(1, np.int64))
        self.add(f"{name}.content", content)
        ends = self._ends[name] + np.cumsum(lengths, dtype=np.int64)
        self.add(f"{name}.starts", ends)
        self._ends[name] += len(content)

    def add_strings(self, name: str, texts: Sequence[str]) -> None:
        """Appends texts to a column of texts."""
        encoded = [line.encode() for line in texts]
        content = np.frombuffer(b"".join(encoded), np.uint8)
        self.add_sequences(name, content, np.fromiter(map(len, encoded), np.int64, len(encoded)))

    def finish(self, key: str) -> None:
        """Closes the columns and writes the header."""
        columns = {name: column.finish() for name, column in self._columns.items()}
        header = {"format": _FORMAT, "key": key, "source": self.source, "columns": columns}
        (self._folder / _HEADER).write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Closes the files of columns that are not finished."""
        for column in self._columns.values():
            column.file.close()


def cached_columns(
    folder: Path,
    key: str,
    write: Callable[[ColumnWriter], None],
    *,
    print_fn: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> MappedColumns:
    """Returns the columns in the folder, which are written first if they are missing, damaged or of another key.

    Args:
      folder: the cache. Its parent is made if it is missing.
      key: names everything that the columns depend on.
      write: writes all columns.
    """
    if found := _read(folder, key, print_fn):
        return found
    try:
        folder.parent.mkdir(exist_ok=True)
        with _build_lock(folder, print_fn) as alone:
            if found := _read(folder, key, lambda _: None):
                return found
            if alone:
                for remains in folder.parent.glob(f"{_STAGE}*"):
                    shutil.rmtree(remains, ignore_errors=True)
            stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=folder.parent))
            try:
                _write(stage, key, write)
                stage.chmod(0o755)
                shutil.rmtree(folder, ignore_errors=True)
                with contextlib.suppress(OSError):  # another process without a lock was first; ours is as good
                    stage.rename(folder)
                    stage = folder
                return _map(stage, key)
            finally:
                if stage != folder:
                    shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        print_fn(f"{folder} cannot be written ({error.strerror or error}): its columns are made anew in every process")
    with tempfile.TemporaryDirectory(prefix="jaxasr-columns-") as stage:
        _write(Path(stage), key, write)
        return _map(Path(stage), key)  # the files are read after they have lost their names


def _write(stage: Path, key: str, write: Callable[[ColumnWriter], None]) -> None:
    writer = ColumnWriter(stage)
    try:
        write(writer)
        writer.finish(key)
    finally:
        writer.close()


def _read(folder: Path, key: str, print_fn: Callable[[str], None]) -> MappedColumns | None:
    """Returns the columns of a folder; None, with a printed reason, if they cannot be used."""
    if not (folder / _HEADER).is_file():
        return None
    try:
        columns = _map(folder, key)
        recorded = json.loads((folder / _HEADER).read_text(encoding="utf-8"))["columns"]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda name: _check_digest(folder / f"{name}.npy", recorded[name]["sha256"]), recorded))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        print_fn(f"{folder} is made again: {error}")
        return None
    return columns


def _map(folder: Path, key: str) -> MappedColumns:
    """Maps the columns of a folder.

    Raises:
      ValueError: they have another key or format, or a file has another length than was written.
    """
    header = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
    if header["format"] != _FORMAT or header["key"] != key:
        raise ValueError("it was made of another corpus, vocabulary or version")
    arrays = {}
    for name, column in header["columns"].items():
        path = folder / f"{name}.npy"
        array = np.load(path, mmap_mode="r" if column["length"] else None)
        if len(array) != column["length"]:
            raise ValueError(f"{path.name} has {len(array)} entries, {column['length']} were written")
        arrays[name] = array
    return MappedColumns(arrays, header["source"])


def _check_digest(path: Path, sha256: str) -> None:
    """Raises ValueError if the values differ from what was written. The file is read, not mapped, to keep memory free."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise ValueError(f"{path.name} is not what was written: its checksum differs")


class _OpenColumn:
    """A .npy file that grows. NumPy leaves room in the header for the final length."""

    def __init__(self, path: Path, dtype: np.dtype):
        self.file: BinaryIO = path.open("wb")
        self._dtype = dtype
        self._length = 0
        self._digest = hashlib.sha256()
        self._write_header()

    def append(self, values: np.ndarray) -> None:
        content = values.astype(self._dtype, casting="safe").tobytes()
        self._digest.update(content)
        self.file.write(content)
        self._length += len(values)

    def finish(self) -> dict[str, object]:
        self.file.seek(0)
        self._write_header()
        self.file.close()
        return {"length": self._length, "sha256": self._digest.hexdigest()}

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._length,)}
        np.lib.format.write_array_header_1_0(self.file, header)


@contextlib.contextmanager
def _build_lock(folder: Path, print_fn: Callable[[str], None]) -> Iterator[bool]:
    """Waits for other processes that write beside the folder. Yields False if the file system has no locks."""
    with (folder.parent / _LOCK).open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            print_fn(f"waiting for another process, which writes {folder.parent}")
            fcntl.flock(lock, fcntl.LOCK_EX)
            alone = True
        except OSError:
            alone = False
        yield alone
