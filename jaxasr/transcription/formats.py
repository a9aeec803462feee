"""Transcripts as text, JSON or subtitles, printed or written to files while they are heard.

Nothing but transcripts is in them: what went wrong is told by the `Transcript` or `Refusal` that each file ends with.
"""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TextIO, get_args

from jaxasr.transcription.long_form import PartialTranscript, TranscriptionError, Transcript
from jaxasr.transcription.subtitles import Subtitles

Format = Literal["txt", "json", "srt"]
FORMATS: tuple[str, ...] = get_args(Format)


def write_transcripts(
    heard: Iterable[PartialTranscript | Transcript | TranscriptionError], format: Format, folder: Path | None
) -> Iterator[Transcript | TranscriptionError]:
    """Writes what is heard as it comes, and passes on how each file ended.

    txt is a line a file: its words, and if it is printed, before them its path and a tab. json is an object a file, on a
    line of its own. srt are subtitles.

    Args:
        folder: takes NAME.FORMAT for each file NAME.*; None: standard output.
    """
    with contextlib.ExitStack() as files:
        writer, out, path = _writer(format, folder), sys.stdout, None
        for each in heard:
            if path is None and not isinstance(each, TranscriptionError):
                path = each.path
                out = sys.stdout if folder is None else files.enter_context(_opened(_place(path, format, folder)))
                out.write(writer.begin(path))
            if isinstance(each, PartialTranscript):
                out.write(writer.add(each))
                out.flush()
                continue
            if path is not None:
                out.write(writer.end(each))
                out.flush()
                files.close()
            writer, path = _writer(format, folder), None
            yield each


def check_output_paths(paths: Sequence[Path], format: Format, folder: Path | None) -> None:
    """Refuses what would be lost by writing it.

    Raises:
        ValueError: two files would be written to the same place, or subtitles of several would run into each other.
    """
    if folder is None:
        if format == "srt" and len(paths) > 1:
            raise ValueError(f"subtitles of {len(paths)} files, one after another, are none of any: give --out DIR")
        return
    heard: dict[Path, Path] = {}
    for path in paths:
        there = heard.setdefault(_place(path, format, folder), path)
        if there is not path:
            raise ValueError(
                f"{there} and {path} would both be written to {_place(path, format, folder)}: transcribe them one after "
                "the other, each into a folder of its own"
            )


class _Line:
    def __init__(self, named: bool) -> None:
        self._named, self._space = named, ""

    def begin(self, path: Path) -> str:
        return f"{path}\t" if self._named else ""

    def add(self, passage: PartialTranscript) -> str:
        text = self._space + " ".join(word.text for word in passage.words)
        self._space = " "
        return text

    def end(self, how: Transcript | TranscriptionError) -> str:
        del how
        return "\n"


class _Json:
    def __init__(self) -> None:
        self._comma = ""

    def begin(self, path: Path) -> str:
        return f'{{"path": {json.dumps(str(path), ensure_ascii=False)}, "words": ['

    def add(self, passage: PartialTranscript) -> str:
        text = self._comma + ", ".join(json.dumps(word._asdict(), ensure_ascii=False) for word in passage.words)
        self._comma = ", "
        return text

    def end(self, how: Transcript | TranscriptionError) -> str:
        rest: dict[str, object] = (
            {"refused": how.reason}
            if isinstance(how, TranscriptionError)
            else {"text": how.text, "seconds": how.seconds, "log_prob": how.log_prob, "complete": how.complete}
        )
        return f"], {json.dumps(rest, ensure_ascii=False)[1:]}\n"


class _Srt:
    def __init__(self) -> None:
        self._subtitles = Subtitles()

    def begin(self, path: Path) -> str:
        del path
        return ""

    def add(self, passage: PartialTranscript) -> str:
        return self._subtitles.add(passage.words)

    def end(self, how: Transcript | TranscriptionError) -> str:
        del how
        return self._subtitles.end() + "\n"


def _writer(format: Format, folder: Path | None) -> _Line | _Json | _Srt:
    if format == "txt":
        return _Line(named=folder is None)
    return _Json() if format == "json" else _Srt()


def _place(path: Path, format: Format, folder: Path) -> Path:
    return folder / f"{path.stem}.{format}"


def _opened(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")
