"""The source of LibriSpeech: 1000 hours of read English (Panayotov et al. 2015) in seven official archives.

train-clean-100.tar.gz: LibriSpeech/train-clean-100/103/1240/103-1240-0000.flac
                        LibriSpeech/train-clean-100/103/1240/103-1240.trans.txt   103-1240-0000 CHAPTER ONE ...
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError
from tensorflow_datasets.core.units import Size

from jaxasr.data.corpora.archives import members
from jaxasr.data.corpora.formats.transcript_files import find_librispeech
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import MOST_AUDIO_BYTES, RawExample, Reject, SourceSplit

URL = "https://www.openslr.org/resources/12/"
_UTTERANCES = {
    "dev-clean": 2703,
    "dev-other": 2864,
    "test-clean": 2620,
    "test-other": 2939,
    "train-clean-100": 28_539,
    "train-clean-360": 104_014,
    "train-other-500": 148_688,
}
# Sizes and SHA-256 from datasets/librispeech/checksums.tsv of TFDS 4.9.10.
_ARCHIVES = {
    "dev-clean": (337926286, "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
    "dev-other": (314305928, "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
    "test-clean": (346663984, "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
    "test-other": (328757843, "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
    "train-clean-100": (6387309499, "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
    "train-clean-360": (23049477885, "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
    "train-other-500": (30593501606, "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
}
PARTS = tuple(_ARCHIVES)
URL_INFOS = {
    f"{URL}{part}.tar.gz": UrlInfo(Size(size), sha256, f"{part}.tar.gz") for part, (size, sha256) in _ARCHIVES.items()
}


@dataclass(frozen=True)
class Librispeech:
    """A selection of the seven parts. Each becomes a split of its name, and archives are checked against their SHA-256."""

    folder: Path | None = None  # of the archives, or of what was extracted from them; None: download them
    name: str = "librispeech"
    parts: tuple[str, ...] = ()  # empty: all that are in the folder

    def __post_init__(self):
        unknown = set(self.parts) - set(PARTS)
        if unknown:
            raise ValueError(f"LibriSpeech has no part {', '.join(sorted(unknown))}; it has {', '.join(PARTS)}")
        if self.folder is None and not self.parts:
            size_gb = sum(size for size, _ in _ARCHIVES.values()) / 1e9
            raise ValueError(
                f"to download LibriSpeech, say which parts (all seven are {size_gb:.0f} GB): "
                f"parts={','.join(PARTS[:3])}, for instance; or give the folder of the archives with --from"
            )

    @property
    def description(self) -> str:
        """The corpus and its licence."""
        return "LibriSpeech (https://www.openslr.org/12), CC BY 4.0; Panayotov et al., ICASSP 2015."

    @property
    def url_infos(self) -> Mapping[str, UrlInfo]:
        """The sizes and checksums that the download manager checks the archives against."""
        return URL_INFOS

    def splits(self, downloads: tfds.download.DownloadManager) -> dict[str, SourceSplit]:
        """Returns the selected parts, each as the stream of its archive, or of its folder if there are no archives."""
        is_archived = any(self._path(part).is_file() for part in PARTS)
        if self.folder is not None and not is_archived and find_librispeech(self.folder):
            return Manifest(self.folder, self.name, parts=self.parts, format="librispeech").splits(downloads)
        parts = self.parts or tuple(part for part in PARTS if self._path(part).is_file())
        absent = [part for part in parts if self.folder is not None and not self._path(part).is_file()]
        if absent or not parts:
            wanted = ", ".join(f"{part}.tar.gz" for part in absent or PARTS)
            raise FileNotFoundError(
                f"{self.folder} has none of {wanted}: give the folder with the official archives, or where they are extracted"
            )
        archives = self._fetch(parts, downloads)
        return {part: SourceSplit(_examples(archives[part]), _UTTERANCES[part]) for part in parts}

    def _fetch(self, parts: tuple[str, ...], downloads: tfds.download.DownloadManager) -> Mapping[str, Path]:
        """Returns the archives of the parts, from the folder or downloaded."""
        try:
            found = downloads.download({part: f"{URL}{part}.tar.gz" for part in parts})
            return {part: Path(found[part]) for part in parts}
        except NonMatchingChecksumError as error:
            raise ValueError(
                f"an archive of {self.folder or URL} is not the official one of LibriSpeech, or is damaged; fetch it again, "
                f"or bring recordings of your own as a manifest. {error}"
            ) from error
        except DownloadError as error:
            raise ConnectionError(
                f"LibriSpeech can't be downloaded from {URL} ({error}); fetch the archives by other means and give their "
                "folder with --from"
            ) from error

    def _path(self, part: str) -> Path:
        return (self.folder or Path()) / f"{part}.tar.gz"


def _examples(archive: Path) -> Iterator[RawExample | Reject]:
    """Yields an utterance as soon as both its audio and its transcript were read. At most two chapters are in memory."""
    texts: dict[str, tuple[str, str]] = {}  # text and line of utterances whose audio was not read yet
    waiting: dict[str, bytes] = {}  # audio whose transcript was not read yet
    waiting_bytes = 0
    for path, content in members(archive, lambda path: path.suffix == ".flac" or path.name.endswith(".trans.txt")):
        if path.suffix == ".flac":
            waiting[path.stem] = content
            waiting_bytes += len(content)
            if waiting_bytes > MOST_AUDIO_BYTES:
                raise ValueError(
                    f"{archive} has {len(waiting)} recordings ({waiting_bytes:,} bytes) before their transcripts: it is no "
                    "archive of LibriSpeech, whose chapters have theirs beside the audio"
                )
            ready = [path.stem] if path.stem in texts else []
        else:
            chapter = _transcripts(path, content)
            texts.update(chapter)
            ready = [id for id in chapter if id in waiting]
        for id in ready:
            audio = waiting.pop(id)
            waiting_bytes -= len(audio)
            yield _example(id, *texts.pop(id), audio)
    for id, (_, where) in texts.items():
        yield Reject(where, id, "missing file", f"no {id}.flac in {archive.name}")
    for id in waiting:
        yield Reject(f"{id}.flac", id, "empty transcript", f"no line for it in any .trans.txt of {archive.name}")


def _transcripts(path: PurePosixPath, content: bytes) -> dict[str, tuple[str, str]]:
    chapter = {}
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): the archive is not LibriSpeech's") from error
    for number, line in enumerate(lines, start=1):
        id, _, text = line.partition(" ")
        chapter[id] = (text, f"{path.name} line {number}")
    return chapter


def _example(id: str, text: str, where: str, audio: bytes) -> RawExample:
    return RawExample(id, text, id.split("-")[0], where, lambda: audio)
