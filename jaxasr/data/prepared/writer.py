"""The writer of a split: it streams records into ArrayRecord shards and rows into the index, with constant memory."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordWriter

from jaxasr.data.prepared import dataset_info

SHARD_BYTES = 256 << 20
_OPTIONS = "group_size:1,uncompressed"  # records are read one by one, and compressed audio does not compress further


class SplitWriter:
    """A writer of the records of a split, in order, to be used as a context.

    `finish()` closes the files and describes them. Shards get their final names when their number is known.

    Args:
      folder: an existing folder.
      shard_path: maps (shard index, number of shards) to the final path.
    """

    def __init__(
        self, folder: Path, split: str, shard_path: Callable[[int, int], Path], *, shard_bytes: int = SHARD_BYTES
    ):
        self._folder = folder
        self._split = split
        self._shard_path = shard_path
        self._shard_bytes = shard_bytes
        self._index = dataset_info.index_path(folder, split).open("wb")
        self._digest = hashlib.sha256()
        self._writer: ArrayRecordWriter | None = None
        self._written: list[list[int]] = []  # for each shard: examples, bytes of their records

    def __enter__(self) -> "SplitWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, row: dataset_info.IndexRow, record: bytes) -> None:
        """Writes one record and its line of the index."""
        if self._writer is None or self._written[-1][1] + len(record) > self._shard_bytes:
            self._next_shard()
        assert self._writer is not None
        self._writer.write(record)
        self._written[-1][0] += 1
        self._written[-1][1] += len(record)
        line = json.dumps(dataclasses.asdict(row), ensure_ascii=False).encode() + b"\n"
        self._digest.update(line)
        self._index.write(line)

    def finish(self) -> dataset_info.SplitInfo:
        """Closes the files, names them, and returns their description for the dataset info."""
        self._close()
        shards = []
        for number, (examples, _) in enumerate(self._written):
            path = self._shard_path(number, len(self._written))
            self._unnamed(number).rename(path)
            shards.append(dataset_info.Shard(path.name, examples, path.stat().st_size))
        return dataset_info.SplitInfo(sum(shard.examples for shard in shards), self._digest.hexdigest(), tuple(shards))

    @property
    def record_bytes(self) -> int:
        """The bytes of all records so far."""
        return sum(size_bytes for _, size_bytes in self._written)

    def _next_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = ArrayRecordWriter(str(self._unnamed(len(self._written))), _OPTIONS)
        self._written.append([0, 0])

    def _unnamed(self, number: int) -> Path:
        return self._folder / f"{self._split}.shard-{number:05d}"

    def _close(self) -> None:
        self._index.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
