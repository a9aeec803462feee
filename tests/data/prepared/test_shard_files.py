"""A corpus of many shards is read with a bound on open files and threads."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from jaxasr.data.prepared import shard_files
from jaxasr.data.prepared.shard_files import ShardFiles, ShardPath

SHARDS = 1200  # more than the 1,024 files that a process may open as a rule
RECORDS = 2


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[ShardPath, ...]:
    """Returns shards of two records."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(SHARDS):
        writer = ArrayRecordWriter(str(folder / f"{shard}"), "group_size:1,uncompressed")
        for record in range(RECORDS):
            writer.write(f"{shard} {record}".encode())
        writer.close()
    return tuple(ShardPath(folder / f"{shard}", RECORDS) for shard in range(SHARDS))


def open_descriptors(folder: Path) -> int:
    """Returns the number of files in the folder that this process has open."""
    targets = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue  # that of the listing itself
    return sum(target.startswith(f"{folder}/") for target in targets)


def system_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_descriptors_and_threads_are_bounded(shards: tuple[ShardPath, ...]):
    files = ShardFiles(shards)
    folder = shards[0].path.parent
    assert open_descriptors(folder) == files.open_files == 0
    files.read(0, 0)
    threads = system_threads()
    most = 0
    for shard in np.random.default_rng(0).permutation(SHARDS).tolist():
        assert files.read(shard, shard % RECORDS) == f"{shard} {shard % RECORDS}".encode()
        most = max(most, open_descriptors(folder) if shard % 10 == 0 else 0)
    assert 1 < most <= shard_files.MOST_OPEN
    assert files.open_files == shard_files.MOST_OPEN
    assert system_threads() < threads + shard_files.MOST_OPEN  # ArrayRecord has one pool, which grows as it is used


def test_threads_that_share_few_files_read_what_was_written(shards: tuple[ShardPath, ...], monkeypatch):
    monkeypatch.setattr(shard_files, "MOST_OPEN", 2)
    files = ShardFiles(shards[:40])
    wanted = np.random.default_rng(1).integers(0, 40, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda shard: files.read(shard, 1), wanted))
    assert found == [f"{shard} 1".encode() for shard in wanted]
    assert files.open_files == 2


def test_a_worker_opens_its_own(shards: tuple[ShardPath, ...]):
    files = ShardFiles(shards[:3])
    files.read(1, 0)
    travelled = pickle.loads(pickle.dumps(files))
    assert travelled.open_files == 0
    assert travelled.read(1, 0) == files.read(1, 0) == b"1 0"
