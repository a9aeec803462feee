"""Transcripts as text, JSON or subtitles, printed or written to files as they come.

The output holds transcripts only. Errors are in the `Transcript` or `TranscriptionError` that ends each file.
"""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TextIO, get_args

from jaxasr.transcription.long_form import PartialTranscript, Transcript, TranscriptionError
from jaxasr.transcription.subtitles import Subtitles

Format = Literal["txt", "json", "srt"]
FORMATS: tuple[str, ...] = get_args(Format)


def write_transcripts(
    events: Iterable[PartialTranscript | Transcript | TranscriptionError], format: Format, folder: Path | None
) -> Iterator[Transcript | TranscriptionError]:
    """Writes words as they come, and yields the transcript or error that ends each file.

    "txt" is a line per file with its words; on standard output its path and a tab come first. "json" is an object per file,
    on a line of its own. "srt" are subtitles.

    Args:
        folder: gets NAME.FORMAT for each file NAME.*; None: standard output.
    """
    with contextlib.ExitStack() as files:
        writer = _writer(format, folder)
        out = sys.stdout
        path = None
        for event in events:
            if path is None and not isinstance(event, TranscriptionError):
                path = event.path
                out = sys.stdout if folder is None else files.enter_context(_open(_output_path(path, format, folder)))
                out.write(writer.begin(path))
            if isinstance(event, PartialTranscript):
                out.write(writer.add(event))
                out.flush()
                continue
            if path is not None:
                out.write(writer.end(event))
                out.flush()
                files.close()
            writer = _writer(format, folder)
            path = None
            yield event


def check_output_paths(paths: Sequence[Path], format: Format, folder: Path | None) -> None:
    """Checks that each file gets an output of its own.

    Raises:
        ValueError: two files would be written to the same path, or subtitles of several files to standard output.
    """
    if folder is None:
        if format == "srt" and len(paths) > 1:
            raise ValueError(f"subtitles of {len(paths)} files, one after another, are none of any: give --out DIR")
        return
    sources: dict[Path, Path] = {}
    for path in paths:
        output = _output_path(path, format, folder)
        other = sources.setdefault(output, path)
        if other is not path:
            raise ValueError(
                f"{other} and {path} would both be written to {output}: transcribe them one after "
                "the other, each into a folder of its own"
            )


class _Line:
    def __init__(self, named: bool) -> None:
        self._named = named
        self._space = ""

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
        rest: dict[str, object] = {"refused": how.reason} if isinstance(how, TranscriptionError) else _summary(how)
        return f"], {json.dumps(rest, ensure_ascii=False)[1:]}\n"


def _summary(transcript: Transcript) -> dict[str, object]:
    """Returns what a JSON object holds besides the words; windows only where the no-speech decision is on."""
    summary: dict[str, object] = {
        name: getattr(transcript, name) for name in ("text", "seconds", "log_prob", "complete")
    }
    if transcript.windows:
        summary["windows"] = [
            window._asdict() | {"withheld": [word._asdict() for word in window.withheld]}
            for window in transcript.windows
        ]
    return summary


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


def _output_path(path: Path, format: Format, folder: Path) -> Path:
    return folder / f"{path.stem}.{format}"


def _open(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")
