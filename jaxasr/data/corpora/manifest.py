"""The source for your own corpus: a folder with a manifest.

    FOLDER/manifest.jsonl      {"id": "a1", "audio": "wav/a1.flac", "text": "HELLO", "speaker": "a", "split": "train"}
    FOLDER/manifest.csv, .tsv  the same columns, named in the first line

`audio` is relative to the manifest. The columns `id`, `audio`, `text` and that of the split are required, `speaker` is
optional, and so are the columns of times (times.py): a row with a start or an end is a segment of its recording, which is
cut out of it. Rows of one recording should follow each other. Other columns are ignored.
"""

import csv
import functools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo

from jaxasr.data.corpora.recordings import Recordings
from jaxasr.data.corpora.source import MOST_AUDIO_BYTES, RawExample, Reject, SourceSplit
from jaxasr.data.corpora.times import RecordingSegment, find_times
from jaxasr.files import limited_lines, read_regular

_FILES = ("manifest.jsonl", "manifest.csv", "manifest.tsv")
_SPLIT_NAME = re.compile(r"(?!all$)\w[\w-]*")  # TFDS reads "all" as every split
_NEEDED = ("id", "audio", "text")
_Line = tuple[str, dict[str, str] | str]  # file and line, and the columns or an error message


@dataclass(frozen=True)
class Manifest:
    """A folder with manifest.jsonl, .csv or .tsv, or such a file."""

    folder: Path
    name: str = ""  # of the prepared corpus; empty: the folder's name
    split_column: str = "split"
    url_infos: ClassVar[Mapping[str, UrlInfo]] = {}

    def __post_init__(self):
        if not self.name:
            path = self.folder.resolve()
            stem = (path.parent if path.is_file() else path).name
            object.__setattr__(self, "name", re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_"))

    @property
    def description(self) -> str:
        """The origin of the corpus, without paths of this machine."""
        return f"The manifest of {self.name}, splits by its column {self.split_column!r}."

    def splits(self, downloads: tfds.download.DownloadManager) -> dict[str, SourceSplit]:
        """Returns one split for each value of the split column, in the order of their first rows."""
        del downloads  # nothing to download
        path = _manifest_path(self.folder)
        rows = Counter(_split_of(row, self.split_column) for _, row in _lines(path, self.split_column))
        bad = rows.pop("", 0)
        if not rows:
            raise ValueError(f"{path} has no usable row: {_first_fault(path, self.split_column)}")
        recordings = Recordings()
        first = next(iter(rows))  # it also reports the rows without a valid split
        return {
            split: SourceSplit(
                self._examples(path, split, recordings, strays=split == first), count + (bad if split == first else 0)
            )
            for split, count in rows.items()
        }

    def _examples(
        self, path: Path, split: str, recordings: Recordings, *, strays: bool
    ) -> Iterator[RawExample | Reject]:
        for where, row in _lines(path, self.split_column):
            found = _split_of(row, self.split_column)
            if found == split:
                assert isinstance(row, dict)
                yield _example(path.parent, where, row, recordings)
            elif not found and strays:
                yield Reject(where, _id_of(row), "unreadable row", _row_fault(row, self.split_column))


def _manifest_path(folder: Path) -> Path:
    if folder.is_file():
        if folder.suffix not in (".jsonl", ".csv", ".tsv"):
            raise ValueError(
                f"manifest {folder} is a {folder.suffix or 'nameless'} file: .jsonl, .csv or .tsv are read"
            )
        return folder
    there = [folder / file for file in _FILES if (folder / file).is_file()]
    if len(there) != 1:
        found = " and ".join(path.name for path in there) or "none of these"
        raise FileNotFoundError(f"{folder} needs one of {', '.join(_FILES)}; it has {found}")
    return there[0]


def _lines(path: Path, column: str) -> Iterator[_Line]:
    """Yields each row as text by column, or an error message. Only one line is in memory at a time."""
    return _json_lines(path, column) if path.suffix == ".jsonl" else _table_lines(path)


def _json_lines(path: Path, column: str) -> Iterator[_Line]:
    with path.open("rb") as lines:
        for number, line in enumerate(limited_lines(lines.readline, path), start=1):
            if line.strip():
                yield f"{path.name} line {number}", _json_row(line.removeprefix(b"\xef\xbb\xbf"), column)


def _json_row(line: bytes, column: str) -> dict[str, str] | str:
    try:
        content = json.loads(line)
        row = {str(key): "" if value is None else str(value) for key, value in content.items()}
    except (ValueError, AttributeError) as error:
        return f"no JSON object ({error})"
    nested = [key for key in (*_NEEDED, "speaker", column) if isinstance(content.get(key), list | dict)]
    return f"{nested[0]!r} is {row[nested[0]]:.80}, a text is needed" if nested else _check_utf8(row)


def _table_lines(path: Path) -> Iterator[_Line]:
    """Yields the rows of a table. Raises ValueError at an unclosed quotation mark, because it hides the following rows."""
    quoting = csv.QUOTE_NONE if path.suffix == ".tsv" else csv.QUOTE_MINIMAL
    delimiter = "\t" if path.suffix == ".tsv" else ","
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        reader = csv.DictReader(limited_lines(lines.readline, path), delimiter=delimiter, quoting=quoting, strict=True)
        begins = 1
        try:
            columns = len(reader.fieldnames or ())
            begins = reader.line_num + 1
            for row in reader:
                where = f"{path.name} line {reader.line_num}"
                begins = reader.line_num + 1
                if None in row or None in row.values():
                    yield where, f"not as many cells as the first line, which has {columns}"
                else:
                    yield where, _check_utf8(dict(row))
        except csv.Error as error:
            raise ValueError(
                f"{path} line {begins}: no row of a table begins there ({error}). A cell that begins with a quotation mark "
                "has to end with one, those within doubled; manifest.tsv and manifest.jsonl have no such rule"
            ) from error


def _check_utf8(row: dict[str, str]) -> dict[str, str] | str:
    """Returns the row, or an error message if a text is not valid UTF-8 or has a lone surrogate such as JSON's \\ud800."""
    try:
        "".join([*row, *row.values()]).encode()
    except UnicodeEncodeError:
        return "not UTF-8"
    null = [key for key, value in row.items() if "\0" in value]
    return f"a null byte in column {null[0]!r}" if null else row


def _split_of(row: dict[str, str] | str, column: str) -> str:
    """Returns the split, or "" if the row cannot be used."""
    return "" if _row_fault(row, column) or not isinstance(row, dict) else row[column]


def _row_fault(row: dict[str, str] | str, column: str) -> str:
    if isinstance(row, str):
        return row
    missing = [key for key in (*_NEEDED, column) if key not in row]
    if missing:
        return f"no column {', '.join(map(repr, missing))}; there are {', '.join(row)}"
    empty = [key for key in ("id", "audio") if not row[key]]
    if empty:
        return f"nothing in column {empty[0]!r}"
    if not _SPLIT_NAME.fullmatch(row[column]):
        return f"{row[column]!r} in column {column!r} cannot name a split: letters, digits, _ and - can, but not 'all'"
    return ""


def _first_fault(path: Path, column: str) -> str:
    where, row = next(_lines(path, column), (path.name, "there is none"))
    return f"{where}: {_row_fault(row, column)} (the column of the split is chosen with split_column=...)"


def _example(folder: Path, where: str, row: dict[str, str], recordings: Recordings) -> RawExample | Reject:
    try:
        times = find_times(row)
    except ValueError as error:
        return Reject(where, row["id"], "unreadable row", str(error))
    path = folder / row["audio"]
    audio = functools.partial(read_regular, path, most_bytes=MOST_AUDIO_BYTES)
    stated = None
    if isinstance(times, RecordingSegment):
        audio = functools.partial(recordings.cut, path, times)
    else:
        stated = times
    return RawExample(row["id"], row["text"], row.get("speaker", ""), where, audio, stated)


def _id_of(row: dict[str, str] | str) -> str:
    return row.get("id", "") if isinstance(row, dict) else ""
