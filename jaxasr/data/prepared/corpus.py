"""A prepared corpus, read back: the lengths of everything, and any example's audio bytes at random."""

import hashlib
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from google.protobuf.message import DecodeError
from jaxtyping import Int32, Int64, UInt32
from tensorflow_datasets.proto import tf_example_pb2

from jaxasr.data.prepared import dataset_info

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Corpus:
    """A split, or a slice of one, of a prepared corpus; `data_dir` is the command's business."""

    name: str  # as it was prepared: "an4"
    split: str  # a split or TFDS's slice syntax: "train", "train[:50%]", "train+dev"

    def __post_init__(self):
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"corpus name {self.name!r}: lower-case letters, digits and _ are needed, a letter first")
        if not self.split:
            raise ValueError(f"corpus {self.name!r} needs a split, for instance 'train' or 'train[:50%]'")

    def open(self, data_dir: Path) -> "PreparedCorpus":
        """Reads the index; the audio is read when asked for.

        Which examples a slice takes is decided by the hash of their ids: "train[:50%]" is a fair sample of the
        speakers and contains "train[:25%]"; the order is that of the whole split.

        Raises:
          FileNotFoundError: not prepared.
          ValueError: no such split, a slice without an example, or truncated or altered since it was prepared.
        """
        folder = dataset_info.corpus_folder(data_dir, self.name)
        _check_prepared(folder)
        parts = dataset_info.read(folder).splits
        pieces = [_split_slice(folder, parts, each) for each in _instructions(self, parts)]
        rows = [row for piece in pieces for row in piece.rows]
        if not rows:
            counts = ", ".join(f"{split} has {part.examples}" for split, part in parts.items())
            raise ValueError(f"corpus {self.name!r} has no example in its slice {self.split!r}: {counts}; take more")
        offsets = np.cumsum([0, *(len(piece.files) for piece in pieces)])[:-1]
        return PreparedCorpus(
            name=self.name,
            split=self.split,
            ids=[row.id for row in rows],
            samples=np.array([row.samples for row in rows], np.int64),
            rates_hz=np.array([row.rate_hz for row in rows], np.int32),
            texts=[row.text for row in rows],
            speakers=[row.speaker for row in rows],
            manifest_hash=hashlib.sha256("".join(piece.hash for piece in pieces).encode()).hexdigest()[:12],
            _crc32_b=np.array([row.crc32 for row in rows], np.uint32),
            _files=[file for piece in pieces for file in piece.files],
            _file_b=np.concatenate([piece.file_b + offset for piece, offset in zip(pieces, offsets, strict=True)]),
            _record_b=np.concatenate([piece.record_b for piece in pieces]),
        )


@dataclass(frozen=True)
class PreparedCorpus:
    """The examples of a corpus. It can be pickled into workers; files are opened lazily, by each process."""

    name: str
    split: str
    ids: list[str]
    samples: Int64[np.ndarray, " b"]  # exact, at the rate of the file
    rates_hz: Int32[np.ndarray, " b"]
    texts: list[str]  # raw transcripts
    speakers: list[str]
    manifest_hash: str  # 12 hex digits; equal for equal examples, whatever the machine
    _crc32_b: UInt32[np.ndarray, " b"] = field(repr=False)
    _files: "list[_ShardFile]" = field(repr=False)
    _file_b: Int64[np.ndarray, " b"] = field(repr=False)  # which of the files has the example
    _record_b: Int64[np.ndarray, " b"] = field(repr=False)  # and where in it

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, i: int) -> bytes:
        """The compressed audio of example `i`, as it came.

        Raises:
          ValueError: the bytes are not those that were prepared.
        """
        try:
            record = self._files[self._file_b[i]].records[self._record_b[i]]
            message = tf_example_pb2.Example.FromString(record)  # pyright: ignore
            audio = message.features.feature["audio"].bytes_list.value[0]
            found = zlib.crc32(audio)
        except (RuntimeError, ValueError, IndexError, DecodeError) as error:  # the file's, the record's or the parser's
            raise ValueError(self._damage(i, f"cannot be read ({error})")) from error
        if found != self._crc32_b[i]:
            raise ValueError(self._damage(i, f"has checksum {found:08x}, {self._crc32_b[i]:08x} was written"))
        return audio

    def _damage(self, i: int, what: str) -> str:
        path = self._files[self._file_b[i]].path
        return (
            f"prepared corpus is damaged: example {self.ids[i]!r} of {self.name} {self.split} "
            f"(record {self._record_b[i]} of {path}) {what}: {dataset_info.reprepare_hint(path.parent)}"
        )


def example_key(name: str, id: str) -> int:
    """A stable 32-bit hash of a corpus's name and an example's id: what randomness is keyed by."""
    return int.from_bytes(hashlib.blake2b(f"{name}\0{id}".encode(), digest_size=4).digest(), "big")


@dataclass(frozen=True)
class _ShardFile:
    """A shard: opened by each process when it reads from it."""

    path: Path
    records: ArrayRecordDataSource


@dataclass(frozen=True)
class _SplitSlice:
    """What one instruction of a slice takes from one split."""

    rows: list[dataset_info.IndexRow]
    files: list[_ShardFile]
    file_b: Int64[np.ndarray, " b"]
    record_b: Int64[np.ndarray, " b"]
    hash: str


def _check_prepared(folder: Path) -> None:
    if (folder / dataset_info.INFO_FILE).is_file():
        return
    name, data_dir = folder.parent.name, folder.parent.parent
    there = sorted(path.parent.parent.name for path in data_dir.glob(f"*/*/{dataset_info.INFO_FILE}"))
    message = (
        f"corpus {name!r} is not prepared in {data_dir} (there: {', '.join(there) or 'nothing'}): "
        f"run `jaxasr prepare {name} --data-dir {data_dir}`, or for a corpus of your own "
        f"`jaxasr prepare manifest --from FOLDER name={name} --data-dir {data_dir}`"
    )
    for stock in sorted((data_dir / name).glob("**/features.json")):
        message += f". TFDS itself prepared {stock.parent}: `jaxasr prepare tfds --from {stock.parent}` takes that over"
    raise FileNotFoundError(message)


def _instructions(corpus: Corpus, parts: dict[str, dataset_info.SplitInfo]) -> list:
    """TFDS's reading of the slice: (splitname, from_, to) each."""
    infos = {
        split: tfds.core.SplitInfo(split, [shard.examples for shard in part.shards], num_bytes=0)
        for split, part in parts.items()
    }
    try:
        return tfds.core.ReadInstruction.from_spec(corpus.split).to_absolute(infos)
    except (ValueError, AssertionError) as error:
        raise ValueError(
            f"corpus {corpus.name!r} has no split {corpus.split!r}; it has {', '.join(parts)} "
            f"and slices of them, such as '{next(iter(parts))}[:50%]' ({error})"
        ) from error


def _split_slice(folder: Path, parts: dict[str, dataset_info.SplitInfo], instruction) -> _SplitSlice:
    split, part = instruction.splitname, parts[instruction.splitname]
    dataset_info.check_shards(folder, part)
    rows = list(dataset_info.read_index(folder, split, part))
    start, stop = instruction.from_ or 0, part.examples if instruction.to is None else instruction.to
    keys = np.arange(part.examples)
    if (start, stop) != (0, part.examples):
        keys = np.sort(
            np.array(sorted(range(part.examples), key=lambda key: _slice_key(rows[key].id))[start:stop], np.int64)
        )
    ends = np.cumsum([shard.examples for shard in part.shards])
    file_b = np.searchsorted(ends, keys, side="right")
    return _SplitSlice(
        rows=[rows[key] for key in keys],
        files=[_open_shard(folder / shard.file, shard.examples) for shard in part.shards],
        file_b=file_b,
        record_b=keys - np.concatenate([[0], ends])[file_b],
        hash=f"{part.index_sha256}[{start}:{stop}]",
    )


def _open_shard(path: Path, examples: int) -> _ShardFile:
    return _ShardFile(path, ArrayRecordDataSource([f"{path}[0:{examples}]"]))


def _slice_key(id: str) -> bytes:
    return hashlib.blake2b(id.encode(), digest_size=16).digest()
