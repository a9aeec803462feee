"""The formats of transcripts. A renderer turns the passages of one file into text as they come."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

from jaxasr.records import Word
from jaxasr.transcription.cues import Cue, CueLimits, CueSplitter
from jaxasr.transcription.long_form import PartialTranscript, Transcript, TranscriptionError

Format = Literal["txt", "json", "srt", "vtt", "ctm", "stm"]
FORMATS: tuple[str, ...] = get_args(Format)
SUBTITLES = ("srt", "vtt")  # one file of them belongs to one recording
NAMED_BY_STEM = ("ctm", "stm")  # fields that spaces separate; the first one is the name of the recording
CHANNEL = "1"  # of CTM and STM
UNKNOWN_SPEAKER = "unknown"


@runtime_checkable
class Renderer(Protocol):
    """A renderer of the transcript of one file."""

    def begin(self, path: Path) -> str:
        """Returns the text in front of all words."""
        ...

    def add(self, passage: PartialTranscript) -> str:
        """Returns the text that the words of a passage complete."""
        ...

    def end(self, how: Transcript | TranscriptionError) -> str:
        """Returns the rest of the text."""
        ...


def renderer(format: Format, *, named: bool, limits: CueLimits) -> Renderer:
    """Returns the renderer of a file.

    "txt" is a line with the words. "json" is an object on a line of its own, with words, segments and a summary. "srt" and
    "vtt" are subtitles (SubRip; WebVTT, W3C). "ctm" has a line for each word and "stm" one for each segment, as NIST's sclite
    reads them (SCTK, appendix of file formats).

    Args:
        named: the path stands in front of the words of "txt".
        limits: of subtitles and segments.
    """
    if format == "txt":
        return _Line(named)
    if format == "json":
        return _Json(limits)
    return _Ctm() if format == "ctm" else _Cues(format, limits)


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
    def __init__(self, limits: CueLimits) -> None:
        self._comma = ""
        self._splitter = CueSplitter(limits)
        self._segments: list[Cue] = []

    def begin(self, path: Path) -> str:
        return f'{{"path": {json.dumps(str(path), ensure_ascii=False)}, "words": ['

    def add(self, passage: PartialTranscript) -> str:
        self._segments += self._splitter.add(passage.words)
        text = self._comma + ", ".join(json.dumps(word._asdict(), ensure_ascii=False) for word in passage.words)
        self._comma = ", "
        return text

    def end(self, how: Transcript | TranscriptionError) -> str:
        self._segments += self._splitter.end()
        rest: dict[str, object] = {"segments": [segment._asdict() for segment in self._segments]}
        rest |= {"refused": how.reason} if isinstance(how, TranscriptionError) else _summary(how)
        return f"], {json.dumps(rest, ensure_ascii=False)[1:]}\n"


class _Cues:
    """A renderer of cues, one after the other."""

    def __init__(self, format: Format, limits: CueLimits) -> None:
        self._format = format
        self._limits = limits
        self._splitter = CueSplitter(limits)
        self._stem = ""
        self._number = 0

    def begin(self, path: Path) -> str:
        self._stem = path.stem
        return "WEBVTT\n" if self._format == "vtt" else ""

    def add(self, passage: PartialTranscript) -> str:
        return self._rendered(self._splitter.add(passage.words))

    def end(self, how: Transcript | TranscriptionError) -> str:
        del how
        return self._rendered(self._splitter.end()) + ("\n" if self._format == "srt" else "")

    def _rendered(self, cues: Iterable[Cue]) -> str:
        return "".join(map(self._cue, cues))

    def _cue(self, cue: Cue) -> str:
        self._number += 1
        if self._format == "stm":
            return f"{self._stem} {CHANNEL} {UNKNOWN_SPEAKER} {cue.start_s:.3f} {cue.end_s:.3f} {cue.text}\n"
        lines = "\n".join(self._limits.wrap(cue.text))
        if self._format == "vtt":
            lines = lines.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            return f"\n{_clock(cue.start_s)} --> {_clock(cue.end_s)}\n{lines}\n"
        space = "\n" if self._number > 1 else ""
        times = f"{_clock(cue.start_s)} --> {_clock(cue.end_s)}".replace(".", ",")
        return f"{space}{self._number}\n{times}\n{lines}\n"


class _Ctm:
    def __init__(self) -> None:
        self._stem = ""

    def begin(self, path: Path) -> str:
        self._stem = path.stem
        return ""

    def add(self, passage: PartialTranscript) -> str:
        return "".join(map(self._word, passage.words))

    def end(self, how: Transcript | TranscriptionError) -> str:
        del how
        return ""

    def _word(self, word: Word) -> str:
        confidence = "" if word.confidence is None else f" {word.confidence:.4f}"
        return f"{self._stem} {CHANNEL} {word.start_s:.3f} {word.end_s - word.start_s:.3f} {word.text}{confidence}\n"


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


def _clock(seconds: float) -> str:
    """Formats a time as HH:MM:SS.mmm."""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
