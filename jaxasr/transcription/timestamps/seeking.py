"""Files of any length to words by windows that seek: a window begins where the segments of the one before end.

The windows of a file depend on one another, so those of several files are decoded together. Memory holds a window of each.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from jaxasr.data.signal_level import SignalLevel, SignalLimits
from jaxasr.report import Progress
from jaxasr.transcription.batch_transcriber import WindowTranscript
from jaxasr.transcription.long_form import (
    FileWords,
    PartialTranscript,
    TranscribeFn,
    Transcript,
    TranscriptionError,
    Window,
    audio_blocks,
    check_samples,
)
from jaxasr.transcription.segments import Windows, audible

Event = PartialTranscript | Transcript | TranscriptionError


def transcribe_seeking(
    paths: Sequence[Path],
    windows: Windows,
    transcribe_fn: TranscribeFn,
    *,
    rate_hz: int,
    least_samples: int,
    batch_size: int,
    no_speech_threshold: float | None = None,
    progress: Progress | None = None,
) -> Iterator[Event]:
    """Transcribes files, `batch_size` of them at a time, and yields their words and transcripts in the order of the files.

    Args:
        windows: the duration of a window, and the level of silence.
        transcribe_fn: returns one transcript per wave, with `advance_s`.
        least_samples: a shorter file is an error.
        no_speech_threshold: as in `long_form.transcribe_stream`.
        progress: an entered progress bar, advanced by seconds of audio.

    Source: Radford et al. 2022 (2212.04356), section 3.8.
    """
    following = iter(paths)
    lanes: deque[_Lane] = deque()  # in the order of the files; finished ones wait for those before them
    while True:
        running = [lane for lane in lanes if not lane.finished]
        while len(running) < batch_size and (path := next(following, None)) is not None:
            lanes.append(_Lane(path, windows, FileWords(rate_hz, no_speech_threshold), least_samples))
            running += [lanes[-1]] * (not lanes[-1].finished)
        heard = [lane for lane in running if lane.audible]
        found = dict(zip(map(id, heard), transcribe_fn([lane.wave_n for lane in heard]) if heard else (), strict=True))
        for lane in running:
            gone_s = lane.add(found.get(id(lane), WindowTranscript((), 0.0, True)))
            if progress is not None:
                progress.advance(gone_s)
        while lanes:
            yield from lanes[0].events
            lanes[0].events.clear()
            if not lanes[0].finished:
                break
            lanes.popleft()
        if not lanes and not running:
            return


class _Lane:
    """A file that is being transcribed: its next window, and the events that were not yielded yet."""

    def __init__(self, path: Path, windows: Windows, words: FileWords, least_samples: int):
        self.events: list[Event] = []
        self.finished = False
        self._path = path
        self._windows = windows
        self._words = words
        self._level = SignalLevel()
        self._blocks = audio_blocks(path, self._level, rate_hz=words.rate_hz)
        self._held_n = np.zeros(0, np.int16)
        self._start = 0
        self._ended = False
        self._fill()
        if self._ended and not self.finished:
            try:
                check_samples(path, len(self._held_n), least_samples, words.rate_hz)
            except ValueError as error:
                self._fail(error)

    @property
    def wave_n(self) -> Int16[np.ndarray, " _"]:
        """The samples of the window."""
        return self._held_n[: self._windows.longest(self._words.rate_hz)]

    @property
    def audible(self) -> bool:
        """The answer to whether the window holds more than silence."""
        begin, end = audible(self.wave_n, self._windows, self._words.rate_hz)
        return begin < end

    def add(self, transcript: WindowTranscript) -> float:
        """Adds the words of the window, moves it on, and returns by how many seconds."""
        samples = len(self.wave_n)
        if transcript.advance_s is not None:
            samples = min(samples, round(transcript.advance_s * self._words.rate_hz))
        rest_n = self._held_n[samples:]
        last = self._ended and audible(rest_n, self._windows, self._words.rate_hz) == (0, 0)
        samples += len(rest_n) * last  # a silent rest of the file is no window
        fault = SignalLimits().fault(self._level) if last else None
        window = Window(self._path, self.wave_n, 0, samples, self._start, 0, last, fault)
        self.events += self._words.add(window, transcript)
        self.finished = last
        self._held_n = self._held_n[samples:].copy()  # a view would keep the samples before it
        self._start += samples
        self._fill()
        return samples / self._words.rate_hz

    def _fill(self) -> None:
        """Reads more than a window, so that the end of the file is known with the last one."""
        parts = [self._held_n]
        size = len(self._held_n)
        try:
            while not self._ended and size <= self._windows.longest(self._words.rate_hz):
                block_n = next(self._blocks, None)
                self._ended = block_n is None
                if block_n is not None:
                    parts.append(block_n)
                    size += len(block_n)
        except (OSError, ValueError) as error:
            self._fail(error)
        self._held_n = np.concatenate(parts)

    def _fail(self, error: Exception) -> None:
        self.events.append(TranscriptionError(self._path, str(error)))
        self.finished = True
