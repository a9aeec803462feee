"""The source of texts without audio, for language models: a file or a folder of files in which every line is one text.

    FILE.txt, FILE.txt.gz         YES I DO
    FOLDER/any/where/*.txt(.gz)   NO I DO NOT

Empty lines are skipped. Lines of UTF-8 are stored unchanged; the normaliser of the experiment normalises them later.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo

from jaxasr.data.corpora.source import RawExample, Reject, SourceSplit, archive_errors
from jaxasr.files import kind_of_file, limited_lines
from jaxasr.tree import check_numbers

_SUFFIXES = (".txt", ".txt.gz")
_SHARES = 10_000  # number of hash values; dev takes the first ones


@dataclass(frozen=True)
class Text:
    """A text file, or a folder with text files, read in the order of their names.

    The hash of a line's text assigns it to train or dev, so equal lines are in the same split.

    Raises:
      ValueError: `dev` is not in [0, 1).
    """

    folder: Path  # or a file
    name: str = "text"  # of the prepared corpus
    dev: float = 0.05  # share of the lines in the split dev; 0: all lines are train
    url_infos: ClassVar[Mapping[str, UrlInfo]] = {}

    def __post_init__(self):
        check_numbers(self)
        if not 0.0 <= self.dev < 1.0:
            raise ValueError(f"dev={self.dev}: the share of the lines that dev gets is needed, from 0 to below 1")

    @property
    def description(self) -> str:
        """The contents of the corpus."""
        return f"Lines of text, without audio; a share of {self.dev:g} of them, chosen by hash, is dev."

    def splits(self, downloads: tfds.download.DownloadManager) -> dict[str, SourceSplit]:
        """Returns train, and dev unless its share is 0."""
        del downloads  # nothing to download
        files = _files(self.folder)
        return {split: SourceSplit(self._examples(files, split)) for split in ("train", "dev")[: 1 + (self.dev > 0)]}

    def _examples(self, files: dict[str, Path], split: str) -> Iterator[RawExample | Reject]:
        """Yields the examples of a split. Lines that cannot be read are reported with train."""
        for name, path in files.items():
            for number, line in _lines(path):
                id = f"{name}-{number}"
                where = f"{name} line {number}"
                try:
                    text = line.decode("utf-8-sig").strip()
                except UnicodeDecodeError as error:
                    if split == "train":
                        yield Reject(where, id, "unreadable row", f"not UTF-8 ({error.reason})")
                    continue
                if self._split_of(text) == split:
                    yield RawExample(id, text, "", where, audio=None)

    def _split_of(self, text: str) -> str:
        drawn = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % _SHARES
        return "dev" if drawn < round(self.dev * _SHARES) else "train"


def _files(folder: Path) -> dict[str, Path]:
    """Returns the text files by the prefixes of their lines' ids."""
    root = folder.parent if folder.is_file() else folder
    found = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    paths = [path for path in found if path.name.endswith(_SUFFIXES)]
    if odd := [path for path in paths if kind_of_file(path)]:
        raise ValueError(f"{odd[0]} is {kind_of_file(odd[0])}; a regular file is needed")
    if not paths:
        raise FileNotFoundError(f"{folder} holds no text: a file .txt or .txt.gz is needed, or a folder with some")
    files = {re.sub(r"\.txt(\.gz)?$", "", path.relative_to(root).as_posix()): path for path in paths}
    twice = sorted(set(paths) - set(files.values()))
    if twice:
        raise ValueError(
            f"{twice[0]} stands beside {twice[0].name}.gz, whose lines would have the same ids: rename one"
        )
    return files


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that are not empty, with their numbers. Only one line is in memory at a time."""
    with archive_errors(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        numbered = enumerate(limited_lines(lines.readline, path), start=1)
        yield from ((number, line) for number, line in numbered if line.strip())
