"""The interface of a corpus before it is prepared: named splits, each a stream of raw examples that read audio lazily."""

import contextlib
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo

MOST_AUDIO_BYTES = 1 << 30  # of one audio file, 1.5 hours of 32-bit stereo at 24 kHz
MOST_TEXT_BYTES = 1 << 28  # of one file of transcripts, which is read whole

Reason = Literal[
    "unreadable row",
    "missing file",
    "undecodable",
    "zero length",
    "empty transcript",
    "emptied by the normaliser",
    "refused by the normaliser",
    "duplicate id",
    "silent audio",
    "quiet audio",
    "clipped audio",
    "another duration than stated",
    "segment outside the recording",
]


class OutsideError(ValueError):
    """An error for a segment that is not in its recording."""


@dataclass(frozen=True)
class StatedDuration:
    """The duration of an utterance as its corpus states it."""

    seconds: float
    tolerance_s: float  # largest difference from the decoded duration


@dataclass(frozen=True)
class RawExample:
    """An utterance as the corpus provides it, not yet checked."""

    id: str
    text: str
    speaker: str
    where: str  # position for error messages: "manifest.jsonl line 17"
    audio: Callable[[], bytes] | None
    """Returns the compressed audio and runs in a thread; None: a text without audio.

    Raises OSError if the file is missing, OutsideError if a segment is not in it, and ValueError if it is not audio.
    """
    duration: StatedDuration | None = None  # as the corpus states it, if it does


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used."""

    where: str
    id: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class SourceSplit:
    """A split of a source: its examples in the order of the corpus."""

    examples: Iterable[RawExample | Reject]
    expected: int | None = None  # number of examples, if it is known without reading


@runtime_checkable
class Source(Protocol):
    """A source of a corpus. It is a frozen dataclass whose fields are the options of `jaxasr prepare`."""

    @property
    def name(self) -> str:
        """The name of the prepared corpus."""
        ...

    @property
    def description(self) -> str:
        """A sentence, with the licence or where to find it."""
        ...

    @property
    def url_infos(self) -> Mapping[str, UrlInfo]:
        """The sizes and SHA-256 of the downloads."""
        ...

    def splits(self, downloads: tfds.download.DownloadManager) -> dict[str, SourceSplit]:
        """Returns the splits by name. Raises errors about the corpus as a whole, such as a missing folder."""
        ...


@contextlib.contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """Converts errors while an archive or a compressed file is read.

    Raises:
      ValueError: the file is truncated, damaged or of another type.
    """
    try:
        yield
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # of the disk; gzip and bz2 raise it without a number
            raise
        raise ValueError(f"{path} is cut off or damaged ({error}): fetch it again") from error
