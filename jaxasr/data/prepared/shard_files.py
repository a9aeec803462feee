"""The ArrayRecord files of a corpus, opened on first use. So many are open at once that a process cannot run out of files."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from array_record.python.array_record_data_source import ArrayRecordDataSource

MOST_OPEN = (
    64  # each has a descriptor and a buffer; 1,000 hours of FLAC are 250 shards, and a process may open 1,024 files
)


@dataclass(frozen=True)
class ShardPath:
    """A shard of a prepared corpus."""

    path: Path
    examples: int


class ShardFiles:
    """The open shards of a corpus in one process. It can be pickled; a worker opens its own."""

    def __init__(self, shards: tuple[ShardPath, ...]):
        self.shards = shards
        self._open: OrderedDict[int, ArrayRecordDataSource] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()

    def read(self, shard: int, record: int) -> bytes:
        """Returns a record. Threads may read at the same time."""
        return self._source(shard)[record]

    @property
    def open_files(self) -> int:
        """The number of shards that are open."""
        return len(self._open)

    def _source(self, shard: int) -> ArrayRecordDataSource:
        """Returns an open shard. The one that was used least recently closes when its last reader has finished."""
        with self._lock:
            if shard not in self._open:
                file = self.shards[shard]
                self._open[shard] = ArrayRecordDataSource([f"{file.path}[0:{file.examples}]"])
                while len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(shard)
            return self._open[shard]

    def __reduce__(self):
        return ShardFiles, (self.shards,)
