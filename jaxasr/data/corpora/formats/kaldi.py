"""The reader of Kaldi's data directories, as Kaldi, ESPnet and icefall write them: wav.scp in FOLDER, FOLDER/SPLIT or
FOLDER/data/SPLIT.

    wav.scp     rec1 wav/rec1.flac        text        utt1 HELLO YOU
    segments    utt1 rec1 0.5 2.25        utt2spk     utt1 anna          segments and utt2spk are optional

Commands in wav.scp (`sox ... |`) and places in archives (`wav.ark:17`) are errors of their rows: nothing is executed.
Transcripts and speakers of a split are in memory.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

from jaxasr.data.corpora.formats.rows import CorpusRow, RowFile, split_from_name
from jaxasr.data.corpora.formats.tables import opened
from jaxasr.files import limited_lines

_SCP = "wav.scp"
_PARENTS = 5  # folders above a data directory from which paths may be relative: that of run.sh


def find(path: Path) -> tuple[RowFile, ...]:
    """Returns the data directories of a folder, one a split, or () if there are none."""
    folder = path.parent if path.name == _SCP else path
    if not folder.is_dir():
        return ()
    places = (folder.glob(_SCP), folder.glob(f"*/{_SCP}"), folder.glob(f"data/*/{_SCP}"))
    folders = next((found for place in places if (found := sorted(scp.parent for scp in place if scp.is_file()))), [])
    return tuple(
        RowFile(
            directory / _SCP,
            functools.partial(_rows, directory),
            split_from_name(directory.absolute().name) or "train",
            folder=directory,
            bases=tuple(directory.absolute().parents)[:_PARENTS],
        )
        for directory in folders
    )


def _rows(folder: Path, with_audio: bool) -> Iterator[CorpusRow]:
    del with_audio  # no row holds it
    texts = _table(folder / "text")
    if not texts:
        raise FileNotFoundError(f"{folder} has no transcripts: its file text is missing or empty")
    speakers = _table(folder / "utt2spk") if (folder / "utt2spk").is_file() else {}
    for row in _utterances(folder):
        id = row.get("id")
        if not row.fault and id not in texts:
            row = CorpusRow(row.where, row.columns, f"no line for it in {folder / 'text'}", "empty transcript")
        yield CorpusRow(
            row.where,
            {**row.columns, "text": texts.pop(id, ""), "speaker": speakers.get(id, "")},
            row.fault,
            row.reason,
        )
    listed = "segments" if (folder / "segments").is_file() else _SCP
    for id in texts:
        yield CorpusRow(f"{folder.name}/text", {"id": id}, f"no line for it in {folder / listed}", "missing file")


def _utterances(folder: Path) -> Iterator[CorpusRow]:
    """Yields id, audio and times of each utterance."""
    if not (folder / "segments").is_file():
        for where, id, audio in _lines(folder / _SCP):
            yield CorpusRow(where, {"id": id, "audio": audio}, _audio_fault(audio))
        return
    recordings = _table(folder / _SCP)
    for where, id, rest in _lines(folder / "segments"):
        fields = rest.split()
        if len(fields) not in (3, 4):  # the fourth is a channel
            yield CorpusRow(where, {"id": id}, "a line of segments is UTTERANCE RECORDING START END")
            continue
        recording, start, end = fields[:3]
        if recording not in recordings:
            yield CorpusRow(where, {"id": id}, f"no recording {recording!r} in {folder / _SCP}", "missing file")
            continue
        audio = recordings[recording]
        times = {"start": start} if end == "-1" else {"start": start, "end": end}
        yield CorpusRow(where, {"id": id, "audio": audio, **times}, _audio_fault(audio))


def _audio_fault(audio: str) -> str:
    if audio.endswith("|") or audio.startswith("|"):
        return (
            f"a command, {audio[:120]!r}, which is not executed: write its output into files (with `wav-copy`, or "
            "the command itself), and name these in wav.scp"
        )
    if audio == "-":
        return "the standard input, which is not read: name a file"
    archive, colon, offset = audio.rpartition(":")
    if colon and offset.isdecimal() and archive.endswith(".ark"):
        return f"a place in an archive, {audio[:120]!r}: archives are not read; `wav-copy` writes files"
    return "" if audio else "no path after the id"


def _table(path: Path) -> dict[str, str]:
    return {id: rest for _, id, rest in _lines(path)}


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yields place, first word and rest of each line that is not empty.

    Raises:
      ValueError: a line is not UTF-8, or its first word was in a line before.
    """
    seen: set[str] = set()
    with opened(path) as file:
        for number, line in enumerate(limited_lines(file.readline, path), start=1):
            try:
                id, _, rest = (
                    line.decode("utf-8-sig" if number == 1 else "utf-8").strip().replace("\t", " ", 1).partition(" ")
                )
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} line {number} is not UTF-8 ({error.reason})") from error
            if id in seen:
                raise ValueError(
                    f"{path} line {number}: a second line of {id!r}; Kaldi's files have one (utils/fix_data_dir.sh)"
                )
            if id:
                seen.add(id)
                yield f"{path.parent.name}/{path.name} line {number}", id, rest.strip()
