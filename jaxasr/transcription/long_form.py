"""Files of any length to words, in constant memory: windows of all files go through the model batch by batch.

A pure generator around a function that hears windows. What was heard comes in the order of the files and of time, as soon as
no later window can change it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from jaxasr.data.audio import stream_audio
from jaxasr.records import Word
from jaxasr.report import Progress
from jaxasr.transcription.batch_transcriber import WindowTranscript
from jaxasr.transcription.merge import OverlapMerger
from jaxasr.transcription.segments import Windows, segments

Hear = Callable[[Sequence[Int16[np.ndarray, " _"]]], Sequence[WindowTranscript]]


@dataclass(frozen=True)
class PartialTranscript:
    """The next words of a file. They are final."""

    path: Path
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Transcript:
    """What was heard in a file."""

    path: Path
    text: str
    words: tuple[Word, ...]  # with their times in the file
    seconds: float
    log_prob: float  # of the hypotheses of all windows together
    complete: bool  # False: a search was cut before it came to an end


@dataclass(frozen=True)
class TranscriptionError:
    """A file that could not be transcribed, or not to its end, and why."""

    path: Path
    reason: str


def transcribe_stream(
    paths: Sequence[Path],
    windows: Windows,
    hear: Hear,
    *,
    rate_hz: int,
    least_samples: int,
    batch_size: int,
    progress: Progress | None = None,
) -> Iterator[PartialTranscript | Transcript | TranscriptionError]:
    """Hears files in their order. One that can't be used is refused, the others are still heard.

    Args:
        hear: one reading a wave, for at most `rows` waves.
        least_samples: what is shorter is refused.
        progress: an entered bar, advanced by seconds of audio.
    """
    waiting: list[_Window | TranscriptionError] = []
    teller = _Emitter(hear, rate_hz, progress)
    for each in _windows(paths, windows, rate_hz, least_samples):
        waiting.append(each)
        if sum(map(_has_audio, waiting)) == batch_size:
            yield from teller.emit(waiting)
            waiting = []
    yield from teller.emit(waiting)


@dataclass(frozen=True)
class _Window:
    """A window of a file, and what is to be heard in it."""

    path: Path
    wave_n: Int16[np.ndarray, " n"] | None  # without digital silence at its ends; None: there is nothing else
    begin: int  # sample of the window at which it begins
    samples: int  # of the window
    start: int
    overlap: int
    last: bool


@dataclass
class _File:
    """What is known of the file that is being told."""

    joiner: OverlapMerger = field(default_factory=OverlapMerger)
    words: list[Word] = field(default_factory=list)
    log_prob: float = 0.0
    complete: bool = True


def _windows(paths: Sequence[Path], windows: Windows, rate_hz: int, least_samples: int) -> Iterator[_Window | TranscriptionError]:
    for path in paths:
        try:
            if path == Path("-"):
                raise ValueError("- is standard input, which is heard with --stream alone; give a file")
            if path.is_dir():
                raise ValueError(f"{path} is a folder; give the files in it, such as {path}/*.flac")
            for each in segments(stream_audio(path, rate_hz=rate_hz), windows, rate_hz=rate_hz):
                samples = len(each.wave_n)
                if each.last and each.start + samples < least_samples:
                    raise ValueError(
                        f"{path} has {samples} samples ({samples * 1000 / rate_hz:.1f} ms at {rate_hz} Hz); at least one "
                        f"window of {least_samples * 1000 / rate_hz:g} ms is needed"
                    )
                wave_n = each.wave_n[each.begin : each.end] if each.end > each.begin else None
                yield _Window(path, wave_n, each.begin, samples, each.start, each.overlap, each.last)
        except (OSError, ValueError) as error:
            yield TranscriptionError(path, str(error))


def _has_audio(each: _Window | TranscriptionError) -> bool:
    return isinstance(each, _Window) and each.wave_n is not None


class _Emitter:
    """Has windows heard, and tells what becomes final by them."""

    def __init__(self, hear: Hear, rate_hz: int, progress: Progress | None):
        self._hear, self._rate_hz, self._progress = hear, rate_hz, progress
        self._file = _File()

    def emit(self, waiting: Sequence[_Window | TranscriptionError]) -> Iterator[PartialTranscript | Transcript | TranscriptionError]:
        waves = [each.wave_n for each in waiting if isinstance(each, _Window) and each.wave_n is not None]
        readings = iter(self._hear(waves) if waves else ())
        for each in waiting:
            if isinstance(each, TranscriptionError):
                self._file = _File()
                yield each
                continue
            yield from self._add(each, next(readings) if each.wave_n is not None else WindowTranscript((), 0.0, True))
            if self._progress is not None:
                self._progress.advance((each.samples - each.overlap) / self._rate_hz)

    def _add(self, window: _Window, reading: WindowTranscript) -> Iterator[PartialTranscript | Transcript]:
        file, start_s = self._file, window.start / self._rate_hz
        by_s = start_s + window.begin / self._rate_hz
        words = [
            word._replace(start_s=round(word.start_s + by_s, 3), end_s=round(word.end_s + by_s, 3))
            for word in reading.words
        ]
        final = file.joiner.add(words, start_s=start_s, overlap_s=window.overlap / self._rate_hz)
        final += file.joiner.end() if window.last else []
        file.words += final
        file.log_prob += reading.log_prob
        file.complete &= reading.complete
        if final:
            yield PartialTranscript(window.path, tuple(final))
        if window.last:
            text = " ".join(word.text for word in file.words)
            seconds = (window.start + window.samples) / self._rate_hz
            yield Transcript(window.path, text, tuple(file.words), seconds, file.log_prob, file.complete)
            self._file = _File()
