"""Windows that seek: they begin where the words of the last one end, files come in order, memory is that of a window."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxasr.records import Word
from jaxasr.transcription.batch_transcriber import WindowTranscript
from jaxasr.transcription.long_form import PartialTranscript, Transcript, TranscriptionError
from jaxasr.transcription.segments import Windows
from jaxasr.transcription.timestamps.seeking import transcribe_seeking

RATE_HZ = 1_000
LEVEL = 1_000


class Counter:
    """Hears numbers: the level of each tenth of a second in steps of `LEVEL`; a window ends before its last number."""

    def __init__(self, *, whole: bool = False) -> None:
        self.batches: list[list[float]] = []
        self.whole = whole

    def __call__(self, waves) -> list[WindowTranscript]:
        self.batches.append([len(wave_n) / RATE_HZ for wave_n in waves])
        return [self._one(wave_n) for wave_n in waves]

    def _one(self, wave_n) -> WindowTranscript:
        levels = (wave_n[:: RATE_HZ // 10] // LEVEL).tolist()
        words = [Word(str(level), i / 10, (i + 1) / 10, 0.5) for i, level in enumerate(levels) if level]
        if self.whole or len(levels) < 4:
            return WindowTranscript(tuple(words), -1.0, True)
        kept = tuple(word for word in words if word.end_s <= (len(levels) - 1) / 10)
        return WindowTranscript(kept, -1.0, True, advance_s=(len(levels) - 1) / 10, temperature=0.2)


def write(path: Path, numbers) -> Path:
    soundfile.write(path, np.repeat(np.array(numbers, np.int16) * LEVEL, RATE_HZ // 10), RATE_HZ)
    return path


def heard(*paths, stub=None, rows=2, window_s=1.0, progress=None, threshold=None):
    return list(
        transcribe_seeking(
            paths,
            Windows(window_s),
            stub or Counter(),
            rate_hz=RATE_HZ,
            least_samples=25,
            batch_size=rows,
            no_speech_threshold=threshold,
            progress=progress,
        )
    )


def transcripts(events) -> list[Transcript]:
    return [event for event in events if isinstance(event, Transcript)]


def test_a_window_begins_where_the_last_one_has_ended(tmp_path):
    numbers = list(np.random.default_rng(0).integers(1, 30, 35))
    stub = Counter()
    (*partial, transcript) = heard(write(tmp_path / "long.wav", numbers), stub=stub)
    assert [int(word.text) for word in transcript.words] == numbers
    np.testing.assert_allclose([word.start_s for word in transcript.words], np.arange(35) / 10)
    assert [word for event in partial for word in event.words] == list(transcript.words)
    assert all(isinstance(event, PartialTranscript) for event in partial)
    assert transcript.seconds == pytest.approx(3.5)
    assert transcript.drawn == 4  # all but the last window
    # of 1 s they use 0.9 s; the rest of 0.8 s uses 0.7 s, and 0.1 s is left
    assert [length for batch in stub.batches for length in batch] == [1.0, 1.0, 1.0, 0.8, 0.1]


def test_files_share_batches_and_come_in_their_order(tmp_path):
    first = write(tmp_path / "a.wav", range(1, 30))
    others = [write(tmp_path / f"{name}.wav", [number]) for name, number in (("b", 3), ("d", 7), ("e", 9))]
    lost = tmp_path / "c.wav"
    stub = Counter()
    found = heard(first, others[0], lost, *others[1:], stub=stub)
    ends = [event for event in found if not isinstance(event, PartialTranscript)]
    assert [event.path for event in ends] == [first, others[0], lost, *others[1:]]
    assert [event.text for event in transcripts(ends)] == [" ".join(map(str, range(1, 30))), "3", "7", "9"]
    assert isinstance(ends[2], TranscriptionError)
    assert [len(batch) for batch in stub.batches[:3]] == [2, 2, 2]
    assert found[0].path == first  # its words do not wait for its end
    assert isinstance(found[0], PartialTranscript)


def test_silence_is_not_decoded(tmp_path):
    stub = Counter(whole=True)
    (*_, transcript) = heard(write(tmp_path / "gap.wav", [1] * 10 + [0] * 20 + [2] * 5 + [0] * 12), stub=stub)
    assert next(word.start_s for word in transcript.words if word.text == "2") == 3.0
    assert transcript.seconds == pytest.approx(4.7)
    assert stub.batches == [[1.0], [1.0]]


def test_files_that_cannot_be_used_are_named(tmp_path):
    short = write(tmp_path / "short.wav", [1])
    soundfile.write(short, np.ones(20, np.int16), RATE_HZ)
    (tmp_path / "text.wav").write_text("no audio", encoding="utf-8")
    found = heard(short, tmp_path / "text.wav", tmp_path, Path("-"))
    assert all(isinstance(event, TranscriptionError) for event in found)
    reasons = [event.reason for event in found]
    assert "20 samples (20.0 ms at 1000 Hz); at least one window of 25 ms" in reasons[0]
    assert "is a folder" in reasons[2]
    assert "standard input" in reasons[3]


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for seconds in (600, 6_000):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, np.full(seconds * RATE_HZ, LEVEL, np.int16), RATE_HZ)
        tracemalloc.start()
        events = transcribe_seeking(
            [path],
            Windows(10.0),
            lambda waves: [WindowTranscript((), 0.0, True)] * len(waves),
            rate_hz=RATE_HZ,
            least_samples=25,
            batch_size=1,
        )
        assert [type(event) for event in events] == [Transcript]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5 + 50_000
