"""The source of AN4: letters, digits and dates, read by 84 speakers at CMU in 1991; 0.8 hours.

The official archive (or its folder, or the repository):

    an4/etc/an4_train.fileids         an4_clstk/fash/an251-fash-b
    an4/etc/an4_train.transcription   <s> YES </s> (an251-fash-b)
    an4/wav/an4_clstk/fash/an251-fash-b.sph     or .wav, .flac, .raw
"""

import functools
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
import soundfile
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo

from jaxasr.data.corpora.archives import members
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import MOST_AUDIO_BYTES, MOST_TEXT_BYTES, RawExample, Reject, SourceSplit
from jaxasr.files import read_regular

_AUDIO = (".sph", ".wav", ".flac", ".raw")
_LINE = re.compile(r"(?:<s>)?\s*(?P<text>.*?)\s*(?:</s>)?\s*\((?P<id>[^()\s]+)\)\s*")
_DEV_UTTERANCES = 100
_RAW_HZ = 16_000
_SPLIT_OF_ESPNET = {"train_nodev": "train", "train_dev": "dev", "test": "test"}


@dataclass(frozen=True)
class An4:
    """The official distribution, or a folder with a manifest whose column `espnet_split` names the split."""

    folder: Path  # or archive: .tar.gz
    name: str = "an4"
    url_infos: ClassVar[Mapping[str, UrlInfo]] = {}

    @property
    def description(self) -> str:
        """The corpus, its origin and its splits."""
        return (
            "CMU AN4 (http://www.speech.cs.cmu.edu/databases/an4/); dev is ESPnet's train_dev: the first 100 training "
            "utterances in Kaldi's order, speaker first; train is the rest."
        )

    def splits(self, downloads: tfds.download.DownloadManager) -> dict[str, SourceSplit]:
        """Returns train (848 utterances), dev (100) and test (130)."""
        if (self.folder / "manifest.jsonl").is_file():
            splits = Manifest(self.folder, self.name, split_column="espnet_split").splits(downloads)
            unknown = splits.keys() - _SPLIT_OF_ESPNET
            if unknown:
                raise ValueError(
                    f"{self.folder} has {', '.join(sorted(unknown))} in column 'espnet_split'; AN4's splits there are "
                    f"{', '.join(_SPLIT_OF_ESPNET)}. A folder with splits of its own is a `manifest`"
                )
            return {_SPLIT_OF_ESPNET[split]: splits[split] for split in _SPLIT_OF_ESPNET if split in splits}
        tree = _Archive(self.folder) if self.folder.is_file() else _UnpackedFolder(self.folder)
        training = sorted(_fileids(tree, "train"), key=_kaldi_id)
        ids = {
            "train": set(training[_DEV_UTTERANCES:]),
            "dev": set(training[:_DEV_UTTERANCES]),
            "test": set(_fileids(tree, "test")),
        }
        texts = _transcripts(tree, "train") | _transcripts(tree, "test")
        return {split: SourceSplit(_examples(tree, fileids, texts), len(fileids)) for split, fileids in ids.items()}


@dataclass(frozen=True)
class _UnpackedFolder:
    """The distribution, unpacked."""

    root: Path

    def read(self, name: str) -> str:
        """Reads a file of etc/."""
        path = self._base() / "etc" / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{self.root} is not AN4: there is no etc/{name}. It needs the official archive (an4_sphere.tar.gz), "
                "its folder, or a folder with a manifest.jsonl"
            )
        return _decoded(read_regular(path, most_bytes=MOST_TEXT_BYTES), f"{path}")

    def audio(self) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
        """Yields file id, suffix and read function of every recording."""
        base = self._base() / "wav"
        for path in sorted(base.rglob("*")):
            if path.suffix in _AUDIO:
                fileid = path.relative_to(base).with_suffix("").as_posix()
                yield fileid, path.suffix, functools.partial(read_regular, path, most_bytes=MOST_AUDIO_BYTES)

    def _base(self) -> Path:
        return self.root / "an4" if (self.root / "an4").is_dir() else self.root


@dataclass(frozen=True)
class _Archive:
    """The distribution as an archive. It is read in several passes and never unpacked."""

    root: Path

    def read(self, name: str) -> str:
        """Reads a file of etc/."""
        for _, content in members(self.root, lambda path: path.parts[-2:] == ("etc", name)):
            return _decoded(content, f"etc/{name} in {self.root}")
        raise FileNotFoundError(f"{self.root} is not AN4: there is no etc/{name} in the archive")

    def audio(self) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
        """Yields file id, suffix and read function of every recording, in the order of the archive."""
        for path, content in members(self.root, lambda path: path.suffix in _AUDIO and "wav" in path.parts):
            fileid = PurePosixPath(*path.parts[path.parts.index("wav") + 1 :]).with_suffix("").as_posix()
            yield fileid, path.suffix, lambda content=content: content


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 ({error}): it is not AN4's") from error


def _fileids(tree: _UnpackedFolder | _Archive, part: str) -> list[str]:
    return tree.read(f"an4_{part}.fileids").split()


def _transcripts(tree: _UnpackedFolder | _Archive, part: str) -> dict[str, tuple[str, str]]:
    """Returns the text of each id, with the file and line it comes from."""
    name = f"an4_{part}.transcription"
    matches = [(number, _LINE.fullmatch(line)) for number, line in enumerate(tree.read(name).splitlines(), start=1)]
    return {match["id"]: (match["text"], f"{name} line {number}") for number, match in matches if match}


def _kaldi_id(fileid: str) -> str:
    """Converts an4_clstk/fash/an251-fash-b to fash-an251-b."""
    path = PurePosixPath(fileid)
    speaker = path.parent.name
    return f"{speaker}-{path.name.replace(f'-{speaker}-', '-')}"


def _examples(
    tree: _UnpackedFolder | _Archive, fileids: set[str], texts: dict[str, tuple[str, str]]
) -> Iterator[RawExample | Reject]:
    missing = set(fileids)
    for fileid, suffix, read in tree.audio():
        if fileid not in missing:
            continue
        missing.remove(fileid)
        path = PurePosixPath(fileid)
        text, where = texts.get(path.name, ("", f"{fileid}{suffix}"))
        if suffix == ".raw":
            read = functools.partial(_wav_from_raw, read, tree.root.name)
        yield RawExample(path.name, text, path.parent.name, where, read)
    for fileid in sorted(missing):
        yield Reject(fileid, PurePosixPath(fileid).name, "missing file", f"wav/{fileid} with any of {_AUDIO}")


def _wav_from_raw(read: Callable[[], bytes], archive: str) -> bytes:
    """Converts samples without a header to a WAV file. The archive's name gives the byte order."""
    order = {"littleendian": "<i2", "bigendian": ">i2"}
    named = [kind for name, kind in order.items() if name in archive]
    if not named:
        raise ValueError(f"{archive}: .raw files, but neither of {', '.join(order)} in the name")
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(read(), named[0]).astype(np.int16), _RAW_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()
