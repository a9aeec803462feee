"""The source for your own corpus: a folder in one of the formats of jaxasr/data/corpora/formats, or one of its files.

    FOLDER/manifest.jsonl      {"id": "a1", "audio": "wav/a1.flac", "text": "HELLO", "speaker": "a", "split": "train"}
    FOLDER/manifest.csv, .tsv  the same columns, named in the first line

`audio` is relative to the manifest. Only the audio and the text are required: ids are made from the paths of the audio, and
the split is that of the file's name. Columns of times (times.py) are used as well: a row with a start or an end is a segment
of its recording, which is cut out of it. Rows of one recording should follow each other. Other columns are ignored.
"""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo

from jaxasr.data.corpora.formats.audio_paths import AudioPaths, IdMaker, base_folder
from jaxasr.data.corpora.formats.columns import check_columns, describe_columns, find_columns
from jaxasr.data.corpora.formats.examples import ExampleReader, columns_of, id_place, parse_channel, row_fault, split_of
from jaxasr.data.corpora.formats.recognise import CorpusLayout, recognise
from jaxasr.data.corpora.formats.rows import RowFile
from jaxasr.data.corpora.recordings import Recordings
from jaxasr.data.corpora.source import RawExample, Reject, SourceSplit

_SPLIT_COLUMN = "split"
_SAMPLE = 100  # rows that decide of which folder the paths of audio are relative
IF_SET = {"recipe": "if set"}  # metadata of options that recipes on disk do not have


@dataclass(frozen=True)
class Manifest:
    """A folder with a corpus, or a file of it."""

    folder: Path
    name: str = ""  # of the prepared corpus; empty: the folder's name
    split_column: str = _SPLIT_COLUMN
    split: str = field(default="", metadata=IF_SET)  # of all rows; empty: the column or the file's name has it
    audio_column: str = field(default="", metadata=IF_SET)  # empty, as the following: found by its name
    text_column: str = field(default="", metadata=IF_SET)
    id_column: str = field(default="", metadata=IF_SET)
    speaker_column: str = field(default="", metadata=IF_SET)
    parts: tuple[str, ...] = field(default=(), metadata=IF_SET)  # the splits to prepare; empty: all
    format: str = field(default="", metadata=IF_SET)  # one of FORMATS; empty: it is recognised
    audio_folder: str = field(default="", metadata=IF_SET)  # of relative paths; empty: that of the manifest
    strip_prefix: str = field(default="", metadata=IF_SET)  # the beginning of paths that is taken off
    channel: str = field(
        default="mix", metadata=IF_SET
    )  # mix, left, right, each (an utterance of each), or a number from 1 on
    url_infos: ClassVar[Mapping[str, UrlInfo]] = {}

    def __post_init__(self):
        parse_channel(self.channel)
        if not self.name:
            path = self.folder.resolve()
            stem = (path.parent if path.is_file() else path).name
            object.__setattr__(self, "name", re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_"))

    @property
    def description(self) -> str:
        """The origin of the corpus, without paths of this machine."""
        return f"The manifest of {self.name}, splits by its column {self.split_column!r}."

    @functools.cached_property
    def layout(self) -> CorpusLayout:
        """The files of the corpus and their format."""
        found = recognise(self.folder, self.format)
        return dataclasses.replace(found, files=tuple(self._completed(file) for file in found.files))

    def origin(self) -> Iterator[str]:
        """Yields lines that say what the corpus is taken for."""
        yield f"{self.folder} is read as {self.layout.format.title}:"
        for file in self.layout.files:
            assert file.columns is not None
            split = f"split from {file.columns.split!r}" if file.columns.split else f"split {file.split}"
            folder = "" if file.folder in (file.path, file.path.parent) else f", audio in {file.folder}"
            columns = describe_columns(dataclasses.replace(file.columns, split=""))
            place = file.path.name if file.path == self.folder else file.path.relative_to(self.folder)
            yield f"  {place}: {split}, {columns}{folder}"

    def splits(self, downloads: tfds.download.DownloadManager) -> dict[str, SourceSplit]:
        """Returns the splits in the order of their first rows.

        Raises:
          FileNotFoundError: the format is not recognised.
          ValueError: no row can be used, or a split of `parts` has no row.
        """
        del downloads  # nothing to download
        ids = IdMaker()
        rows: Counter[str] = Counter()
        for file in self.layout.files:
            for row in file.rows(False):
                rows[split_of(row, file)] += 1
                if not row_fault(row, file):
                    ids.add(row.get(columns_of(file).audio), id_place(row, file))
        bad = rows.pop("", 0)
        if not rows:
            raise ValueError(f"{self.folder} has no usable row: {self._first_fault()}")
        if absent := [part for part in self.parts if part not in rows]:
            raise ValueError(f"{self.folder} has no row of {', '.join(absent)}; its splits are {', '.join(rows)}")
        recordings = Recordings()
        first = next(
            split for split in rows if not self.parts or split in self.parts
        )  # it also reports the rows without a valid split
        strays = {split: bad if split == first else 0 for split in rows}
        return {
            split: SourceSplit(
                self._examples(split, recordings, ids, strays=split == first),
                None if self.channel == "each" else count + strays[split],  # the channels of files are not known yet
            )
            for split, count in rows.items()
            if not self.parts or split in self.parts
        }

    def _completed(self, file: RowFile) -> RowFile:
        """Returns a file with the columns, the split and the folder of audio that the options and its rows give."""
        columns = file.columns or find_columns(file.rows(False))
        options = {
            "audio": self.audio_column,
            "text": self.text_column,
            "id": self.id_column,
            "speaker": self.speaker_column,
            "split": "" if self.split_column == _SPLIT_COLUMN else self.split_column,
        }
        columns = dataclasses.replace(columns, **{role: name for role, name in options.items() if name})
        if self.split:
            columns = dataclasses.replace(columns, split="")
        missing = {role: role for role in ("audio", "text") if not getattr(columns, role)}
        columns = dataclasses.replace(columns, **missing)
        if file.columns is None:
            check_columns(file, columns)
        folders = (Path(self.audio_folder),) if self.audio_folder else (file.folder, *file.bases, Path.cwd())
        folder = base_folder(
            (row.get(columns.audio) for row in islice(file.rows(False), _SAMPLE)), folders, self.strip_prefix
        )
        return dataclasses.replace(file, columns=columns, split=self.split or file.split, folder=folder)

    def _first_fault(self) -> str:
        for file in self.layout.files:
            for row in file.rows(False):
                hint = "the columns are chosen with split_column=..., audio_column=... and text_column=..."
                return f"{row.where}: {row_fault(row, file)} ({hint})"
        return f"{self.layout.files[0].path.name}: there is none"

    def _examples(
        self, split: str, recordings: Recordings, ids: IdMaker, *, strays: bool
    ) -> Iterator[RawExample | Reject]:
        for file in self.layout.files:
            if not columns_of(file).split and file.split != split:
                continue
            reader = ExampleReader(file, AudioPaths(file.folder, self.strip_prefix), recordings, ids, self.channel)
            for row in file.rows(True):
                found = split_of(row, file)
                if found == split:
                    yield from reader.examples(row)
                elif not found and strays:
                    yield Reject(row.where, row.get(columns_of(file).id), row.reason, row_fault(row, file))
