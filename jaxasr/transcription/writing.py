"""Transcripts printed or written to files as they come.

The output holds transcripts only. Errors are in the `Transcript` or `TranscriptionError` that ends each file.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from jaxasr.transcription.cues import CueLimits
from jaxasr.transcription.formats import NAMED_BY_STEM, SUBTITLES, Format, renderer
from jaxasr.transcription.long_form import PartialTranscript, Transcript, TranscriptionError


def write_transcripts(
    events: Iterable[PartialTranscript | Transcript | TranscriptionError],
    format: Format,
    folder: Path | None,
    limits: CueLimits = CueLimits(),
) -> Iterator[Transcript | TranscriptionError]:
    """Writes words as they come, and yields the transcript or error that ends each file.

    Args:
        format: see `renderer`. On standard output, the path and a tab stand in front of each line of "txt".
        folder: gets NAME.FORMAT for each file NAME.*; None: standard output.
        limits: of subtitles and segments.
    """
    with contextlib.ExitStack() as files:
        rendered = renderer(format, named=folder is None, limits=limits)
        out = sys.stdout
        path = None
        for event in events:
            if path is None and not isinstance(event, TranscriptionError):
                path = event.path
                out = sys.stdout if folder is None else files.enter_context(_open(_output_path(path, format, folder)))
                out.write(rendered.begin(path))
            if isinstance(event, PartialTranscript):
                out.write(rendered.add(event))
                out.flush()
                continue
            if path is not None:
                out.write(rendered.end(event))
                out.flush()
                files.close()
            rendered = renderer(format, named=folder is None, limits=limits)
            path = None
            yield event


def check_output_paths(paths: Sequence[Path], format: Format, folder: Path | None) -> None:
    """Checks that the transcript of each file can be told from the others.

    Raises:
        ValueError: two files would be written to the same path, subtitles of several files to standard output, or lines of
            CTM or STM under the same name or one that contains a space.
    """
    if format in NAMED_BY_STEM and (spaced := [path for path in paths if len(path.stem.split()) != 1]):
        raise ValueError(
            f"{format.upper()} separates its fields by spaces, and {spaced[0].name!r} contains one: rename the file, or "
            "choose another format"
        )
    if folder is None and format in SUBTITLES and len(paths) > 1:
        raise ValueError(f"subtitles of {len(paths)} files, one after another, are none of any: give --out DIR")
    if folder is None and format not in NAMED_BY_STEM:
        return
    sources: dict[Path, Path] = {}
    for path in paths:
        output = _output_path(path, format, folder or Path())
        other = sources.setdefault(output, path)
        if other is not path:
            raise ValueError(
                f"{other} and {path} would both be written to {output if folder else 'lines of ' + path.stem}: transcribe "
                "them one after the other, each into a folder of its own"
            )


def _output_path(path: Path, format: Format, folder: Path) -> Path:
    return folder / f"{path.stem}.{format}"


def _open(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")
