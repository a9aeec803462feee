"""Transcripts as text, JSON or subtitles, printed or written to files while they are heard."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TextIO, get_args

from jaxasr.report.subtitles import Subtitles
from jaxasr.run.long_form import Passage, Refusal, Transcript

Format = Literal["txt", "json", "srt"]
FORMATS: tuple[str, ...] = get_args(Format)


def write_transcripts(
    heard: Iterable[Passage | Transcript | Refusal], format: Format, folder: Path | None
) -> Iterator[Transcript | Refusal]:
    """Writes what is heard as it comes, and passes on how each file ended.

    txt is a line a file: its path, a tab, its words. json is an object a file, on a line of its own. srt are subtitles.

    Args:
        folder: takes NAME.FORMAT for each file NAME.*; None: standard output.
    """
    with contextlib.ExitStack() as files:
        writer, out, path = _WRITERS[format](), sys.stdout, None
        for each in heard:
            if path is None and not isinstance(each, Refusal):
                path = each.path
                out = sys.stdout if folder is None else files.enter_context(_opened(folder / f"{path.stem}.{format}"))
                out.write(writer.begin(path))
            if isinstance(each, Passage):
                out.write(writer.add(each))
                out.flush()
                continue
            if path is not None:
                out.write(writer.end(each))
                out.flush()
                files.close()
            writer, path = _WRITERS[format](), None
            yield each


class _Line:
    def __init__(self) -> None:
        self._space = ""

    def begin(self, path: Path) -> str:
        return f"{path}\t"

    def add(self, passage: Passage) -> str:
        text = self._space + " ".join(word.text for word in passage.words)
        self._space = " "
        return text

    def end(self, how: Transcript | Refusal) -> str:
        if isinstance(how, Refusal):
            return "  [broken off: the rest could not be read]\n"
        return "\n" if how.complete else "  [cut: the search did not come to an end]\n"


class _Json:
    def __init__(self) -> None:
        self._comma = ""

    def begin(self, path: Path) -> str:
        return f'{{"path": {json.dumps(str(path), ensure_ascii=False)}, "words": ['

    def add(self, passage: Passage) -> str:
        text = self._comma + ", ".join(json.dumps(word._asdict(), ensure_ascii=False) for word in passage.words)
        self._comma = ", "
        return text

    def end(self, how: Transcript | Refusal) -> str:
        rest: dict[str, object] = (
            {"refused": how.reason}
            if isinstance(how, Refusal)
            else {"text": how.text, "seconds": how.seconds, "log_prob": how.log_prob, "complete": how.complete}
        )
        return f"], {json.dumps(rest, ensure_ascii=False)[1:]}\n"


class _Srt:
    def __init__(self) -> None:
        self._subtitles = Subtitles()

    def begin(self, path: Path) -> str:
        del path
        return ""

    def add(self, passage: Passage) -> str:
        return self._subtitles.add(passage.words)

    def end(self, how: Transcript | Refusal) -> str:
        del how
        return self._subtitles.end() + "\n"


_WRITERS: dict[str, type[_Line] | type[_Json] | type[_Srt]] = {"txt": _Line, "json": _Json, "srt": _Srt}


def _opened(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")
