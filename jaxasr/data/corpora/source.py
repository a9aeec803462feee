"""What a corpus is before it is prepared: named splits, each a stream of candidates. Audio is fetched, never held."""

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

Reason = Literal[
    "unreadable row",
    "missing file",
    "undecodable",
    "zero length",
    "empty transcript",
    "emptied by the normaliser",
    "refused by the normaliser",
    "duplicate id",
]


@dataclass(frozen=True)
class RawExample:
    """An utterance as the corpus gives it, not yet looked at."""

    id: str
    text: str
    speaker: str
    where: str  # for people: "manifest.jsonl line 17"
    # compressed, as it came; OSError: not there, ValueError: not audio; runs in a thread. None: a text that nobody spoke
    audio: Callable[[], bytes] | None


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used."""

    where: str
    id: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class SourceSplit:
    """The candidates of one split, in the order of the corpus."""

    examples: Iterable[RawExample | Reject]
    expected: int | None = None  # how many, if that is known without looking


@runtime_checkable
class Source(Protocol):
    """A corpus where it comes from. A frozen dataclass; its fields are the options of `jaxasr prepare`."""

    @property
    def name(self) -> str:
        """What the prepared corpus is called."""
        ...

    @property
    def description(self) -> str:
        """A sentence, with the licence or where to find it."""
        ...

    @property
    def url_infos(self) -> Mapping[str, UrlInfo]:
        """Size and SHA-256 of what it downloads."""
        ...

    def splits(self, downloads: tfds.download.DownloadManager) -> dict[str, SourceSplit]:
        """The splits by name. Errors about the corpus as a whole (no such folder) are raised here."""
        ...


@contextlib.contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """While an archive or a compressed file is read.

    Raises:
      ValueError: it is cut off, damaged or no such file at all.
    """
    try:
        yield
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # of the disk; gzip and bz2 raise it without a number
            raise
        raise ValueError(f"{path} is cut off or damaged ({error}): fetch it again") from error
