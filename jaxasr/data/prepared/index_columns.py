"""The index of a split as columns: read line by line, or for a large split from a cache of mapped columns beside it."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Int32, Int64, UInt32

from jaxasr.data.columns.store import CACHE_FOLDER, ColumnWriter, MappedColumns, cached_columns
from jaxasr.data.prepared import dataset_info

CACHED_FROM = 20_000  # examples of a split; the index of a smaller one is read in less than a second
_AT_ONCE = 16_384  # rows
T = TypeVar("T")


@dataclass(frozen=True)
class IndexColumns:
    """The columns of examples of a split, in their order."""

    ids: Sequence[str]
    texts: Sequence[str]
    speakers: Sequence[str]
    samples: Int64[np.ndarray, " b"]
    rates_hz: Int32[np.ndarray, " b"]
    crc32: UInt32[np.ndarray, " b"]
    keys: UInt32[np.ndarray, " b"] | None  # `example_key` of each; None: not computed


@dataclass(frozen=True)
class SplitIndex:
    """The index of a whole split, of which examples are picked."""

    rows: list[dataset_info.IndexRow] | MappedColumns

    @property
    def slice_order(self) -> np.ndarray:
        """The examples in the order of the hashes of their ids."""
        if isinstance(self.rows, MappedColumns):
            return self.rows.arrays["slice_order"]
        return _slice_order([row.id for row in self.rows])

    def pick(self, picked: np.ndarray | None) -> IndexColumns:
        """Returns the columns of some examples; None: of all."""
        if isinstance(self.rows, MappedColumns):
            return _pick_columns(self.rows, picked)
        rows = self.rows if picked is None else [self.rows[i] for i in picked.tolist()]
        return IndexColumns(
            ids=[row.id for row in rows],
            texts=[row.text for row in rows],
            speakers=[row.speaker for row in rows],
            samples=np.array([row.samples for row in rows], np.int64),
            rates_hz=np.array([row.rate_hz for row in rows], np.int32),
            crc32=np.array([row.crc32 for row in rows], np.uint32),
            keys=None,
        )


def read_split_index(folder: Path, split: str, info: dataset_info.SplitInfo) -> SplitIndex:
    """Reads the index of a split.

    Raises:
      ValueError: the index differs from what was written.
    """
    if info.examples < CACHED_FROM:
        return SplitIndex(list(dataset_info.read_index(folder, split, info)))
    name = folder.parent.name

    def write(writer: ColumnWriter) -> None:
        writer.source = _file_state(folder, split)
        rows = dataset_info.read_index(folder, split, info)
        hashes = [_add_rows(writer, name, chunk) for chunk in _chunks(rows)]
        writer.add("slice_order", _order(np.concatenate(hashes)))

    cache = folder / CACHE_FOLDER / f"index-{split}"
    columns = cached_columns(cache, f"{name} {split} {info.index_sha256}", write)
    if columns.source != _file_state(folder, split):  # copied, touched or altered since
        for _ in dataset_info.read_index_lines(folder, split, info):
            pass
    return SplitIndex(columns)


def example_key(name: str, id: str) -> int:
    """Returns a stable 32-bit hash of a corpus's name and an example's id. It keys the randomness of the example."""
    return int.from_bytes(hashlib.blake2b(f"{name}\0{id}".encode(), digest_size=4).digest(), "big")


def example_keys(name: str, ids: Iterable[str]) -> UInt32[np.ndarray, " b"]:
    """Returns the keys of examples."""
    return np.fromiter((example_key(name, id) for id in ids), np.uint32)


def _add_rows(writer: ColumnWriter, name: str, rows: list[dataset_info.IndexRow]) -> np.ndarray:
    """Appends rows to the columns and returns the hashes of their ids."""
    ids = [row.id for row in rows]
    writer.add_strings("ids", ids)
    writer.add_strings("texts", [row.text for row in rows])
    writer.add_strings("speakers", [row.speaker for row in rows])
    writer.add("samples", np.array([row.samples for row in rows], np.int64))
    writer.add("rates_hz", np.array([row.rate_hz for row in rows], np.int32))
    writer.add("crc32", np.array([row.crc32 for row in rows], np.uint32))
    writer.add("keys", example_keys(name, ids))
    return _hashes(ids)


def _pick_columns(columns: MappedColumns, picked: np.ndarray | None) -> IndexColumns:
    def values(name: str) -> np.ndarray:
        return np.asarray(columns.arrays[name]) if picked is None else columns.arrays[name][picked]

    return IndexColumns(
        ids=columns.strings("ids", picked),
        texts=columns.strings("texts", picked),
        speakers=columns.strings("speakers", picked),
        samples=values("samples"),
        rates_hz=values("rates_hz"),
        crc32=values("crc32"),
        keys=values("keys"),
    )


def _slice_order(ids: list[str]) -> np.ndarray:
    return _order(_hashes(ids))


def _hashes(ids: list[str]) -> np.ndarray:
    """Returns 16 bytes of hash of each id, as two big-endian numbers that sort as the bytes do."""
    digests = b"".join(hashlib.blake2b(id.encode(), digest_size=16).digest() for id in ids)
    return np.frombuffer(digests, ">u8").reshape(-1, 2)


def _order(hashes: np.ndarray) -> np.ndarray:
    return np.lexsort((hashes[:, 1].astype(np.uint64), hashes[:, 0].astype(np.uint64)))


def _file_state(folder: Path, split: str) -> dict[str, int]:
    state = dataset_info.index_path(folder, split).stat()
    return {"size_bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def _chunks(items: Iterator[T]) -> Iterator[list[T]]:
    while chunk := list(islice(items, _AT_ONCE)):
        yield chunk
