"""The reader of prepared corpora: lengths of all examples, and random access to the audio bytes."""

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.message import DecodeError
from jaxtyping import Int32, Int64, UInt32
from tensorflow_datasets.proto import tf_example_pb2

from jaxasr.data.columns.strings import chained, joined
from jaxasr.data.prepared import dataset_info
from jaxasr.data.prepared.index_columns import IndexColumns, example_keys, read_split_index
from jaxasr.data.prepared.index_columns import example_key as example_key
from jaxasr.data.prepared.shard_files import ShardFiles, ShardPath

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Corpus:
    """A split, or a slice of a split, of a prepared corpus. The command line selects the `data_dir`."""

    name: str  # as given to `jaxasr prepare`: "an4"
    split: str  # a split or TFDS's slice syntax: "train", "train[:50%]", "train+dev"

    def __post_init__(self):
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"corpus name {self.name!r}: lower-case letters, digits and _ are needed, a letter first")
        if not self.split:
            raise ValueError(f"corpus {self.name!r} needs a split, for instance 'train' or 'train[:50%]'")

    def open(self, data_dir: Path) -> "PreparedCorpus":
        """Reads the index. Audio is read later, example by example.

        A slice selects examples by the hash of their ids: "train[:50%]" is a fair sample of the speakers and contains
        "train[:25%]". The order is that of the whole split.

        Raises:
          FileNotFoundError: the corpus is not prepared.
          ValueError: there is no such split, the slice has no example, or files were truncated or altered.
        """
        folder = dataset_info.readable_folder(data_dir, self.name)
        _check_prepared(folder)
        infos = dataset_info.read(folder).splits
        slices = [_split_slice(folder, infos, instruction) for instruction in _instructions(self, infos)]
        if not any(len(part.columns.samples) for part in slices):
            counts = ", ".join(f"{split} has {info.examples}" for split, info in infos.items())
            raise ValueError(f"corpus {self.name!r} has no example in its slice {self.split!r}: {counts}; take more")
        columns = [part.columns for part in slices]
        offsets = np.cumsum([0, *(len(part.files) for part in slices)])[:-1]
        keys = [part.keys for part in columns if part.keys is not None]
        return PreparedCorpus(
            name=self.name,
            split=self.split,
            ids=chained([part.ids for part in columns]),
            samples=joined([part.samples for part in columns]),
            rates_hz=joined([part.rates_hz for part in columns]),
            texts=chained([part.texts for part in columns]),
            speakers=chained([part.speakers for part in columns]),
            manifest_hash=hashlib.sha256("".join(part.hash for part in slices).encode()).hexdigest()[:12],
            folder=folder,
            _crc32_b=joined([part.crc32 for part in columns]),
            _files=ShardFiles(tuple(file for part in slices for file in part.files)),
            _file_b=joined([part.file_b + np.int32(offset) for part, offset in zip(slices, offsets, strict=True)]),
            _record_b=joined([part.record_b for part in slices]),
            _keys=joined(keys) if len(keys) == len(columns) else None,
        )


@dataclass(frozen=True)
class PreparedCorpus:
    """An opened corpus. It can be pickled into workers, and each process opens the files on first use."""

    name: str
    split: str
    ids: Sequence[str]
    samples: Int64[np.ndarray, " b"]  # exact, at the rate of the file
    rates_hz: Int32[np.ndarray, " b"]
    texts: Sequence[str]  # raw transcripts
    speakers: Sequence[str]
    manifest_hash: str  # 12 hex digits; equal for equal examples on every machine
    _crc32_b: UInt32[np.ndarray, " b"] = field(repr=False)
    _files: ShardFiles = field(repr=False)
    _file_b: Int32[np.ndarray, " b"] = field(repr=False)  # index of the example's file
    _record_b: Int32[np.ndarray, " b"] = field(repr=False)  # index of its record in the file
    folder: Path | None = None  # None: it is not on the disk
    _keys: UInt32[np.ndarray, " b"] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def keys(self) -> UInt32[np.ndarray, " b"]:
        """The `example_key` of every example."""
        return example_keys(self.name, self.ids) if self._keys is None else self._keys

    def read(self, i: int) -> bytes:
        """Returns the compressed audio of example `i`, as the corpus has it.

        Raises:
          ValueError: the bytes differ from those that were prepared.
        """
        try:
            record = self._files.read(int(self._file_b[i]), int(self._record_b[i]))
            message = tf_example_pb2.Example.FromString(record)  # pyright: ignore
            audio = message.features.feature["audio"].bytes_list.value[0]
            found = zlib.crc32(audio)
        except (RuntimeError, ValueError, IndexError, DecodeError) as error:  # from the file, the record or the parser
            raise ValueError(self._damage_message(i, f"cannot be read ({error})")) from error
        if found != self._crc32_b[i]:
            raise ValueError(self._damage_message(i, f"has checksum {found:08x}, {self._crc32_b[i]:08x} was written"))
        return audio

    def _damage_message(self, i: int, problem: str) -> str:
        path = self._files.shards[self._file_b[i]].path
        return (
            f"prepared corpus is damaged: example {self.ids[i]!r} of {self.name} {self.split} "
            f"(record {self._record_b[i]} of {path}) {problem}: {dataset_info.reprepare_hint(path.parent)}"
        )


@dataclass(frozen=True)
class _SplitSlice:
    """The examples that one instruction of a slice takes from one split."""

    columns: IndexColumns
    files: list[ShardPath]
    file_b: Int32[np.ndarray, " b"]
    record_b: Int32[np.ndarray, " b"]
    hash: str


def _check_prepared(folder: Path) -> None:
    if (folder / dataset_info.INFO_FILE).is_file():
        return
    name = folder.parent.name
    data_dir = folder.parent.parent
    there = sorted(path.parent.parent.name for path in data_dir.glob(f"*/*/{dataset_info.INFO_FILE}"))
    message = (
        f"corpus {name!r} is not prepared in {data_dir} (there: {', '.join(there) or 'nothing'}): "
        f"run `jaxasr prepare {name} --data-dir {data_dir}`, or for a corpus of your own "
        f"`jaxasr prepare manifest --from FOLDER name={name} --data-dir {data_dir}`"
    )
    for features in sorted((data_dir / name).glob("**/features.json")):
        found = features.parent
        message += f". TFDS itself prepared {found}: `jaxasr prepare tfds --from {found}` takes that over"
    raise FileNotFoundError(message)


def _instructions(corpus: Corpus, infos: dict[str, dataset_info.SplitInfo]) -> list:
    """Parses the slice by TFDS's grammar. Returns its instructions, which have the fields splitname, from_ and to."""
    tfds_infos = {
        split: tfds.core.SplitInfo(split, [shard.examples for shard in info.shards], num_bytes=0)
        for split, info in infos.items()
    }
    try:
        return tfds.core.ReadInstruction.from_spec(corpus.split).to_absolute(tfds_infos)
    except (ValueError, AssertionError) as error:
        raise ValueError(
            f"corpus {corpus.name!r} has no split {corpus.split!r}; it has {', '.join(infos)} "
            f"and slices of them, such as '{next(iter(infos))}[:50%]' ({error})"
        ) from error


def _split_slice(folder: Path, infos: dict[str, dataset_info.SplitInfo], instruction) -> _SplitSlice:
    split = instruction.splitname
    info = infos[split]
    dataset_info.check_shards(folder, info)
    index = read_split_index(folder, split, info)
    start = instruction.from_ or 0
    stop = info.examples if instruction.to is None else instruction.to
    picked = None
    if (start, stop) != (0, info.examples):
        picked = np.sort(index.slice_order[start:stop])
    keys = np.arange(info.examples, dtype=np.int32) if picked is None else picked
    ends = np.cumsum([shard.examples for shard in info.shards])
    file_b = np.searchsorted(ends, keys, side="right").astype(np.int32)
    return _SplitSlice(
        columns=index.pick(picked),
        files=[ShardPath(folder / shard.file, shard.examples) for shard in info.shards],
        file_b=file_b,
        record_b=(keys - np.concatenate([[0], ends])[file_b]).astype(np.int32),
        hash=f"{info.index_sha256}[{start}:{stop}]",
    )
