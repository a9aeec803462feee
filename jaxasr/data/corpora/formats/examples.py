"""The reader that turns rows of any format into raw examples: their ids, their audio or the segment or channel of it."""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxasr.data.audio import channel_count
from jaxasr.data.corpora.formats.audio_paths import AudioPaths, IdMaker
from jaxasr.data.corpora.formats.rows import CorpusRow, RowFile, TableColumns
from jaxasr.data.corpora.recordings import Recordings, take_channel
from jaxasr.data.corpora.source import MOST_AUDIO_BYTES, RawExample, Reject
from jaxasr.data.corpora.times import RecordingSegment, StatedDuration, find_times, time_columns
from jaxasr.files import read_regular

_SPLIT_NAME = re.compile(r"(?!all$)\w[\w-]*")  # TFDS reads "all" as every split
_CHANNELS = {"mix": None, "left": 0, "right": 1}
_MOST_CHANNELS = 256


def parse_channel(text: str) -> int | None:
    """Returns the channel that an option names, from 0 on, or None for "mix" and "each".

    Raises:
      ValueError: it names none.
    """
    if text in _CHANNELS or text == "each":
        return _CHANNELS.get(text)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MOST_CHANNELS):
        raise ValueError(f"channel={text:.40}: mix, left, right, each or a number from 1 to {_MOST_CHANNELS} is needed")
    return int(text) - 1


@dataclass(frozen=True)
class ExampleReader:
    """A reader of the rows of one file.

    Args:
      channel: the channel of rows that name none: mix, left, right, each or a number from 1 on.
    """

    file: RowFile
    paths: AudioPaths
    recordings: Recordings
    ids: IdMaker
    channel: str = "mix"

    def examples(self, row: CorpusRow) -> Iterator[RawExample | Reject]:
        """Yields the example of a row, or one of each channel, or a Reject."""
        columns = columns_of(self.file)
        id = row.get(columns.id)
        if fault := row_fault(row, self.file):
            yield Reject(row.where, id, row.reason, fault)
            return
        name = row.get(columns.audio)
        held = row.held.get(columns.audio)
        try:
            times = None if held is not None and _has_segment(row) else find_times(row.columns)
            channel = self._channel(row)
            path = Path() if held is not None else self.paths.resolve(name)
        except ValueError as error:
            yield Reject(row.where, id, "unreadable row", str(error))
            return
        segment = times if isinstance(times, RecordingSegment) else None
        place = id_place(row, self.file)
        id = id or self.ids.make(name, place, time_columns(row.columns).values() if segment else ())
        stated = times if isinstance(times, StatedDuration) else None
        count = channel_count(path if held is None else held) if self.channel == "each" and channel is None else 1
        for number in range(count):
            chosen = number if count > 1 else channel
            audio = (
                functools.partial(_held, held, chosen, id) if held is not None else self._read(path, segment, chosen)
            )
            yield RawExample(
                f"{id}-{number + 1}" if count > 1 else id,
                row.get(columns.text),
                row.get(columns.speaker),
                row.where,
                audio,
                stated,
            )

    def _channel(self, row: CorpusRow) -> int | None:
        """Returns the channel that the row names, or else the option."""
        named = row.get(columns_of(self.file).channel)
        if named.isdecimal() and int(named[:9]) < _MOST_CHANNELS:
            return int(named)
        if named and named != "average":
            raise ValueError(f"channel {named:.40!r}: a number from 0 to {_MOST_CHANNELS - 1} is needed")
        return parse_channel(self.channel)

    def _read(self, path: Path, segment: RecordingSegment | None, channel: int | None) -> Callable[[], bytes]:
        if segment is None and channel is None:
            return functools.partial(read_regular, path, most_bytes=MOST_AUDIO_BYTES)
        return functools.partial(self.recordings.cut, path, segment or RecordingSegment(None, None, None), channel)


def _has_segment(row: CorpusRow) -> bool:
    """Tells whether a row has times of a recording. They are not used where the row holds its own audio, already cut."""
    return len(time_columns(row.columns)) > 1


def _held(audio: bytes, channel: int | None, id: str) -> bytes:
    return audio if channel is None else take_channel(audio, channel, id=id)


def columns_of(file: RowFile) -> TableColumns:
    """Returns the columns of a file whose columns were found."""
    assert file.columns is not None
    return file.columns


def id_place(row: CorpusRow, file: RowFile) -> Path:
    """Returns the place of a row's path, for its id: the folder of the audio, or the split if rows hold their audio."""
    return Path("/", split_of(row, file)) if file.holds_audio else file.folder


def split_of(row: CorpusRow, file: RowFile) -> str:
    """Returns the split, or "" if the split of a row is not known or the row has no id that could name it."""
    columns = columns_of(file)
    if not columns.split:
        return file.split
    return "" if row_fault(row, file) else row.get(columns.split)


def row_fault(row: CorpusRow, file: RowFile) -> str:
    """Returns the reason why a row cannot be used, or ""."""
    columns = columns_of(file)
    if row.fault:
        return row.fault
    needed = [name for name in (columns.id, columns.audio, columns.text, columns.split) if name]
    missing = [name for name in needed if name not in row.columns]
    if missing:
        return f"no column {', '.join(map(repr, missing))}; there are {', '.join(row.columns)}"
    nested = [name for name in (*needed, columns.speaker) if name in row.nested]
    if nested:
        return f"{nested[0]!r} is {row.get(nested[0]):.80}, a text is needed"
    empty = [name for name in (columns.id, columns.audio) if name and not row.get(name)]
    if empty:
        return f"nothing in column {empty[0]!r}"
    if columns.split and not _SPLIT_NAME.fullmatch(row.get(columns.split)):
        return (
            f"{row.get(columns.split)!r} in column {columns.split!r} cannot name a split: letters, digits, _ and - can, but "
            "not 'all'"
        )
    return ""
