"""Files of any length to words, in constant memory: windows of all files are decoded batch by batch.

The generator calls a function that transcribes windows. Words come in the order of the files and of time, as soon as no later
window can change them.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from jaxasr.data.audio import stream_audio
from jaxasr.data.signal_level import SignalFault, SignalLevel, SignalLimits
from jaxasr.records import Word
from jaxasr.report import Progress
from jaxasr.scale import CompileCounter
from jaxasr.transcription.batch_transcriber import WindowTranscript
from jaxasr.transcription.merge import OverlapMerger
from jaxasr.transcription.segments import Windows, segments

TranscribeFn = Callable[[Sequence[Int16[np.ndarray, " _"]]], Sequence[WindowTranscript]]


@dataclass(frozen=True)
class PartialTranscript:
    """The next final words of a file."""

    path: Path
    words: tuple[Word, ...]


class WindowSpeech(NamedTuple):
    """The no-speech decision on a window of a file."""

    start_s: float
    end_s: float
    no_speech_prob: (
        float | None
    )  # probability that it holds no speech; None: not computed, because no word was recognised
    speech: (
        bool  # False: nothing was recognised, or the words were withheld because `no_speech_prob` reaches the threshold
    )
    withheld: tuple[Word, ...] = ()  # the words that are not part of the transcript


@dataclass(frozen=True)
class Transcript:
    """The transcript of a file."""

    path: Path
    text: str
    words: tuple[Word, ...]  # with their times in the file
    seconds: float
    log_prob: float  # sum over the hypotheses of all windows
    complete: bool  # False: a search was cut at its limit of tokens
    fault: SignalFault | None = None  # of the recording as a whole: silence, low level or clipping
    windows: tuple[WindowSpeech, ...] = ()  # in order; empty without a no-speech decision
    drawn: int = 0  # windows whose words were drawn at a temperature, because the search failed (timestamps.Fallback)

    @property
    def withheld(self) -> int:
        """The number of words that the no-speech decision withheld."""
        return sum(len(window.withheld) for window in self.windows)

    @property
    def no_speech_s(self) -> float:
        """The seconds in windows without speech; windows that overlap count once."""
        silent = [window for window in self.windows if not window.speech]
        starts = itertools.accumulate((window.end_s for window in silent), max, initial=0.0)
        pairs = zip(silent, starts, strict=False)
        return sum((max(0.0, window.end_s - max(window.start_s, start)) for window, start in pairs), 0.0)


@dataclass(frozen=True)
class TranscriptionError:
    """A file that could not be transcribed, or not to its end, with the reason."""

    path: Path
    reason: str


def transcribe_stream(
    paths: Sequence[Path],
    windows: Windows,
    transcribe_fn: TranscribeFn,
    *,
    rate_hz: int,
    least_samples: int,
    batch_size: int,
    no_speech_threshold: float | None = None,
    progress: Progress | None = None,
) -> Iterator[PartialTranscript | Transcript | TranscriptionError]:
    """Transcribes files in their order; a file that cannot be used yields an error, and the others are still transcribed.

    Args:
        transcribe_fn: returns one transcript per wave, for at most `batch_size` waves.
        least_samples: a shorter file is an error.
        no_speech_threshold: the probability of no speech from which on the words of a window are withheld; None: never.
        progress: an entered progress bar, advanced by seconds of audio.
    """
    waiting: list[Window | TranscriptionError] = []
    emitter = _Emitter(transcribe_fn, rate_hz, no_speech_threshold, progress)
    for window in _windows(paths, windows, rate_hz, least_samples):
        waiting.append(window)
        if sum(map(_has_audio, waiting)) == batch_size:
            yield from emitter.emit(waiting)
            waiting = []
    yield from emitter.emit(waiting)


@dataclass(frozen=True)
class Window:
    """A window of a file and its audio."""

    path: Path
    wave_n: Int16[np.ndarray, " n"] | None  # without digital silence at its ends; None: only silence
    begin: int  # sample of the window at which `wave_n` begins
    samples: int  # of the window
    start: int
    overlap: int
    last: bool
    fault: SignalFault | None = None  # of the file; known with the last window


@dataclass
class FileWords:
    """The state of a file whose words become final window by window."""

    rate_hz: int
    threshold: float | None  # of the no-speech decision; None: there is none
    merger: OverlapMerger = field(default_factory=OverlapMerger)
    words: list[Word] = field(default_factory=list)
    windows: list[WindowSpeech] = field(default_factory=list)
    log_prob: float = 0.0
    complete: bool = True
    spoke: bool = True  # False: the words of the last window were withheld
    drawn: int = 0

    def add(self, window: Window, transcript: WindowTranscript) -> Iterator[PartialTranscript | Transcript]:
        """Adds the next window and yields what becomes final: words, and behind the last window the transcript."""
        start_s = window.start / self.rate_hz
        by_s = start_s + window.begin / self.rate_hz
        words = tuple(
            word._replace(start_s=round(word.start_s + by_s, 3), end_s=round(word.end_s + by_s, 3))
            for word in transcript.words
        )
        withheld = self.threshold is not None and (transcript.no_speech_prob or 0.0) >= self.threshold
        if self.threshold is not None:
            end_s = round(start_s + window.samples / self.rate_hz, 3)
            speech = bool(words) and not withheld
            self.windows.append(
                WindowSpeech(round(start_s, 3), end_s, transcript.no_speech_prob, speech, words if withheld else ())
            )
        # a window whose words are withheld replaces none of its neighbour's in the overlap
        overlap_s = window.overlap / self.rate_hz if self.spoke and not withheld else 0.0
        self.spoke = not withheld
        final = self.merger.add(() if withheld else words, start_s=start_s, overlap_s=overlap_s)
        final += self.merger.end() if window.last else []
        self.words += final
        self.log_prob += transcript.log_prob
        self.complete &= transcript.complete
        self.drawn += transcript.temperature > 0
        if final:
            yield PartialTranscript(window.path, tuple(final))
        if window.last:
            text = " ".join(word.text for word in self.words)
            seconds = (window.start + window.samples) / self.rate_hz
            ended = (seconds, self.log_prob, self.complete, window.fault, tuple(self.windows), self.drawn)
            yield Transcript(window.path, text, tuple(self.words), *ended)


def _windows(
    paths: Sequence[Path], windows: Windows, rate_hz: int, least_samples: int
) -> Iterator[Window | TranscriptionError]:
    for path in paths:
        try:
            level = SignalLevel()
            for segment in segments(audio_blocks(path, level, rate_hz=rate_hz), windows, rate_hz=rate_hz):
                samples = len(segment.wave_n)
                if segment.last:
                    check_samples(path, segment.start + samples, least_samples, rate_hz)
                wave_n = segment.wave_n[segment.begin : segment.end] if segment.end > segment.begin else None
                fault = SignalLimits().fault(level) if segment.last else None
                yield Window(path, wave_n, segment.begin, samples, segment.start, segment.overlap, segment.last, fault)
        except (OSError, ValueError) as error:
            yield TranscriptionError(path, str(error))


def audio_blocks(path: Path, level: SignalLevel, *, rate_hz: int) -> Iterator[Int16[np.ndarray, " _"]]:
    """Yields the samples of a file block by block, and adds them to the level.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no audio, a folder, or standard input.
    """
    if path == Path("-"):
        raise ValueError("- is standard input, which is heard with --stream alone; give a file")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the files in it, such as {path}/*.flac")
    for block_n in stream_audio(path, rate_hz=rate_hz):
        level.add(block_n)
        yield block_n


def check_samples(path: Path, samples: int, least_samples: int, rate_hz: int) -> None:
    """Raises ValueError if a file has too few samples."""
    if samples < least_samples:
        raise ValueError(
            f"{path} has {samples} samples ({samples * 1000 / rate_hz:.1f} ms at {rate_hz} Hz); at least one "
            f"window of {least_samples * 1000 / rate_hz:g} ms is needed"
        )


def _has_audio(window: Window | TranscriptionError) -> bool:
    return isinstance(window, Window) and window.wave_n is not None


class _Emitter:
    """A transcriber of windows that emits the words which become final."""

    def __init__(
        self, transcribe_fn: TranscribeFn, rate_hz: int, no_speech_threshold: float | None, progress: Progress | None
    ):
        self._transcribe_fn = transcribe_fn
        self._rate_hz = rate_hz
        self._threshold = no_speech_threshold
        self._progress = progress
        self._file = FileWords(rate_hz, no_speech_threshold)

    def emit(
        self, waiting: Sequence[Window | TranscriptionError]
    ) -> Iterator[PartialTranscript | Transcript | TranscriptionError]:
        waves = [item.wave_n for item in waiting if isinstance(item, Window) and item.wave_n is not None]
        transcripts = iter(self._transcribed(waves) if waves else ())
        for item in waiting:
            if isinstance(item, TranscriptionError):
                self._file = FileWords(self._rate_hz, self._threshold)
                yield item
                continue
            yield from self._file.add(
                item, next(transcripts) if item.wave_n is not None else WindowTranscript((), 0.0, True)
            )
            if item.last:
                self._file = FileWords(self._rate_hz, self._threshold)
            if self._progress is not None:
                self._progress.advance((item.samples - item.overlap) / self._rate_hz)

    def _transcribed(self, waves: Sequence[Int16[np.ndarray, " _"]]) -> Sequence[WindowTranscript]:
        """Returns the transcripts of windows. Time for compilation is no part of the progress."""
        if self._progress is None:
            return self._transcribe_fn(waves)
        with CompileCounter() as compiles:
            transcripts = self._transcribe_fn(waves)
        if compiles.count:
            self._progress.exclude(compiles.seconds)
            self._progress.print(f"compiled the search for windows of this length in {compiles.seconds:.0f} s")
        return transcripts
