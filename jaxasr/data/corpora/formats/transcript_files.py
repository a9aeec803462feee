"""The readers of LibriSpeech and Multilingual LibriSpeech (MLS) as they are when their archives are extracted.

LibriSpeech/dev-clean/84/121123/84-121123.trans.txt    84-121123-0000 GO DO YOU HEAR    beside 84-121123-0000.flac
mls_dutch/dev/transcripts.txt    2450_3155_000000, tab, text    and dev/audio/2450/3155/2450_3155_000000.flac (or .opus)
"""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxasr.data.corpora.formats.rows import CorpusRow, RowFile
from jaxasr.files import limited_lines

_CHAPTERS = "*/*/*.trans.txt"
_MLS_AUDIO = (".flac", ".opus", ".ogg", ".mp3", ".wav")


def find_librispeech(path: Path) -> tuple[RowFile, ...]:
    """Returns the parts that are in a folder (or in LibriSpeech/ in it), or the folder itself as one, or ()."""
    if not path.is_dir():
        return ()
    for root in (path, path / "LibriSpeech"):
        parts = [part for part in sorted(root.iterdir()) if any(part.glob(_CHAPTERS))] if root.is_dir() else []
        if parts:
            return tuple(_librispeech_part(part) for part in parts)
    return (_librispeech_part(path),) if any(path.glob(_CHAPTERS)) else ()


def find_mls(path: Path) -> tuple[RowFile, ...]:
    """Returns the splits that are in a folder, or the folder itself as one, or ()."""
    if not path.is_dir():
        return ()
    folders = [path, *sorted(folder for folder in path.iterdir() if folder.is_dir())]
    splits = [folder for folder in folders if (folder / "transcripts.txt").is_file() and (folder / "audio").is_dir()]
    return tuple(
        RowFile(split / "transcripts.txt", functools.partial(_mls_rows, split), split.absolute().name, folder=split)
        for split in splits
    )


def _librispeech_part(part: Path) -> RowFile:
    return RowFile(part, functools.partial(_librispeech_rows, part), part.absolute().name, folder=part)


def _librispeech_rows(part: Path, with_audio: bool) -> Iterator[CorpusRow]:
    del with_audio  # no row holds it
    for transcripts in sorted(part.glob(_CHAPTERS)):
        chapter = transcripts.parent.relative_to(part)
        untold = {audio.stem for audio in transcripts.parent.glob("*.flac")}
        for where, id, text in _lines(transcripts, " "):
            untold.discard(id)
            yield _row(where, id, text, (chapter / f"{id}.flac").as_posix(), id.split("-")[0])
        for id in sorted(untold):
            yield CorpusRow(f"{id}.flac", {"id": id}, f"no line for it in {transcripts.name}", "empty transcript")


def _mls_rows(split: Path, with_audio: bool) -> Iterator[CorpusRow]:
    del with_audio  # no row holds it
    for where, id, text in _lines(split / "transcripts.txt", "\t"):
        speaker, _, rest = id.partition("_")
        stem = Path("audio") / speaker / rest.split("_")[0] / id
        yield _row(where, id, text, _existing(split, stem, _MLS_AUDIO), speaker)


def _existing(folder: Path, stem: Path, suffixes: Iterable[str]) -> str:
    """Returns the path with the first suffix that is there, or with the first suffix."""
    paths = [f"{stem.as_posix()}{suffix}" for suffix in suffixes]
    return next((path for path in paths if (folder / path).is_file()), paths[0])


def _row(where: str, id: str, text: str | None, audio: str, speaker: str) -> CorpusRow:
    if text is None:
        return CorpusRow(where, {"id": id}, "not UTF-8")
    return CorpusRow(where, {"id": id, "audio": audio, "text": text, "speaker": speaker})


def _lines(path: Path, separator: str) -> Iterator[tuple[str, str, str | None]]:
    """Yields place, id and text of each line that is not empty. The text is None if the line is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(limited_lines(file.readline, path), start=1):
            if line.strip():
                id, _, text = line.strip().partition(separator.encode())
                where = f"{path.name} line {number}"
                try:
                    yield where, id.decode(), text.decode().strip()
                except UnicodeDecodeError:
                    yield where, id.decode(errors="replace"), None
