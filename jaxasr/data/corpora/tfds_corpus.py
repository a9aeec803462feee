"""The source for corpora that a builder of TFDS prepared with TensorFlow. It reads their Audio feature without TensorFlow.

FOLDER/dataset_info.json, features.json      for instance ~/tensorflow_datasets/librispeech/2.1.1
FOLDER/librispeech-train_clean100.tfrecord-00000-of-00064, or .array_record-...
"""

import functools
import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import soundfile
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from google.protobuf.message import DecodeError
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.proto import tf_example_pb2

from jaxasr.data.corpora.crc32c import crc32c
from jaxasr.data.corpora.source import RawExample, SourceSplit
from jaxasr.files import kind_of_file

_FORMATS = ("array_record", "tfrecord")


@dataclass(frozen=True)
class TfdsCorpus:
    """A corpus prepared by TFDS: the folder of a version, and the names of its features."""

    folder: Path
    name: str = ""  # of the prepared corpus; empty: TFDS's name
    text: str = "text"
    speaker: str = "speaker_id"
    id: str = "id"
    url_infos: ClassVar[Mapping[str, UrlInfo]] = {}

    def __post_init__(self):
        if not self.name:
            object.__setattr__(self, "name", str(_json(self.folder / "dataset_info.json")["name"]))

    @property
    def description(self) -> str:
        """The origin of the corpus."""
        return f"{self.name}, as TFDS had prepared it."

    def splits(self, downloads: tfds.download.DownloadManager) -> dict[str, SourceSplit]:
        """Returns the splits that TFDS prepared."""
        del downloads  # nothing to download
        info = _json(self.folder / "dataset_info.json")
        audio = self._audio()
        form = info.get("fileFormat", "tfrecord")
        if form not in _FORMATS:
            raise ValueError(f"{self.folder} holds {form} files; {' and '.join(_FORMATS)} can be read")
        found = {}
        for split in info["splits"]:
            lengths = [int(length) for length in split["shardLengths"]]
            paths = sorted(self.folder.glob(f"{info['name']}-{split['name']}.{form}-*"))
            if len(paths) != len(lengths):
                raise FileNotFoundError(
                    f"{self.folder} has {len(paths)} of the {len(lengths)} {form} files of its split {split['name']!r}: "
                    "bring the whole folder, or let TFDS prepare it again"
                )
            found[split["name"]] = SourceSplit(
                self._examples(dict(zip(paths, lengths, strict=True)), audio), sum(lengths)
            )
        return found

    def _audio(self) -> tuple[str, Mapping[str, Any]]:
        """Returns the name and the description of the only Audio feature."""
        features = _json(self.folder / "features.json").get("featuresDict", {}).get("features", {})
        found = [(name, feature["audio"]) for name, feature in features.items() if "audio" in feature]
        if len(found) != 1 or self.text not in features:
            raise ValueError(
                f"{self.folder} needs one Audio feature and the text feature {self.text!r} (chosen with text=...); "
                f"its features are {', '.join(features) or 'not listed'}"
            )
        return found[0]

    def _examples(self, lengths: dict[Path, int], audio: tuple[str, Mapping[str, Any]]) -> Iterator[RawExample]:
        for path, length in lengths.items():
            number = -1
            for number, record in enumerate(_records(path)):
                where = f"{path.name} record {number}"
                features = _features(record, where)
                yield RawExample(
                    id=_text(features, self.id) or f"{path.name}-{number}",
                    text=_text(features, self.text),
                    speaker=_text(features, self.speaker),
                    where=where,
                    audio=functools.partial(_file, features[audio[0]], audio[1], where),
                )
            if number + 1 != length:
                raise ValueError(
                    f"{path} has {number + 1} records, {length} by dataset_info.json: TFDS has to prepare it again"
                )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: --from needs the folder of a version that TFDS prepared, such as .../librispeech/2.1.1"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def _records(path: Path) -> Iterator[bytes]:
    if kind := kind_of_file(path):
        raise ValueError(f"{path} is {kind}; a regular file is needed")
    if ".array_record-" in path.name:
        yield from ArrayRecordDataSource([str(path)])
    else:
        with path.open("rb") as file:
            while head := file.read(12):
                yield _tfrecord(file, head, path)


def _tfrecord(file: BinaryIO, head: bytes, path: Path) -> bytes:
    """Reads one record: length (8 bytes), its CRC (4), the data, its CRC (4)."""
    size, length_crc = struct.unpack("<QI", head.ljust(12, b"\0"))
    if len(head) == 12 and _masked_crc(head[:8]) != length_crc:
        raise ValueError(
            f"{path} is damaged, a record has another checksum of its length: TFDS has to prepare it again"
        )
    data = file.read(size + 4)
    if len(head) < 12 or len(data) < size + 4:
        raise ValueError(f"{path} ends within a record: TFDS has to prepare it again")
    if _masked_crc(data[:size]) != struct.unpack("<I", data[size:])[0]:
        raise ValueError(f"{path} is damaged, a record has another checksum: TFDS has to prepare it again")
    return data[:size]


def _masked_crc(data: bytes) -> int:
    """Returns the checksum as TFRecord files have it (tensorflow/core/lib/hash/crc32c.h)."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _features(record: bytes, where: str) -> Mapping[str, Any]:
    try:
        return tf_example_pb2.Example.FromString(record).features.feature  # pyright: ignore
    except DecodeError as error:
        raise ValueError(f"{where} is damaged ({error}): TFDS has to prepare it again") from error


def _text(features: Mapping[str, Any], name: str) -> str:
    """Returns a feature of any type as text, or "" if it is missing."""
    if name not in features:
        return ""
    feature = features[name]
    if feature.bytes_list.value:
        return feature.bytes_list.value[0].decode()
    return str(feature.int64_list.value[0]) if feature.int64_list.value else ""


def _file(feature: Any, audio: Mapping[str, Any], where: str) -> bytes:
    """Returns the audio file of an example: the stored file, or FLAC of the stored samples."""
    if audio.get("lazyDecode"):
        return feature.bytes_list.value[0]
    if "sampleRate" not in audio:
        raise ValueError(f"{where}: TFDS was not told the sample rate of this corpus; bring it as a manifest")
    dimensions = [int(size) for size in audio["shape"]["dimensions"]]
    wave_nc = _samples(feature, audio).reshape(-1, *dimensions[1:])
    if wave_nc.dtype.kind == "f":
        wave_nc = np.round(wave_nc * 32_768)
    if wave_nc.size and np.abs(wave_nc).max() > 32_768:
        raise ValueError(f"{where}: samples up to {np.abs(wave_nc).max()}, which are not 16 bits")
    file = io.BytesIO()
    wave_nc = np.clip(wave_nc, -32_768, 32_767).astype(np.int16)
    soundfile.write(file, wave_nc, int(audio["sampleRate"]), format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _samples(feature: Any, audio: Mapping[str, Any]) -> np.ndarray:
    if not feature.bytes_list.value:
        return np.array(feature.int64_list.value or feature.float_list.value)
    data = feature.bytes_list.value[0]
    if audio["encoding"] == "zlib":
        data = zlib.decompress(data)
    return np.frombuffer(data, audio["dtype"])
