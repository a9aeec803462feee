"""Files of any length through windows: what a stub hears in them comes out once, in order, at its time."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from jaxasr.data.signal_level import SignalFault
from jaxasr.records import Word
from jaxasr.transcription.batch_transcriber import WindowTranscript
from jaxasr.transcription.long_form import (
    PartialTranscript,
    Transcript,
    TranscriptionError,
    WindowSpeech,
    transcribe_stream,
)
from jaxasr.transcription.segments import Windows
from tests.trained_run import PITCHES_HZ, RATE_HZ, SYMBOL_S, spoken, wav

WINDOWS = Windows(2.0)
PITCHES = np.array(list(PITCHES_HZ.values()))


class Stub:
    """Hears the letters of `spoken` by their pitches: what stands for a model. A window's words lie where its tones are."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, waves) -> list[WindowTranscript]:
        self.batches.append(len(waves))
        return [WindowTranscript(tuple(words_of(wave_n / 32_768)), -1.0, True) for wave_n in waves]


def words_of(wave_n: np.ndarray):
    """Runs of tones in hops of 10 ms; the letters are read at the middles of equal parts of a run."""
    hop = RATE_HZ // 100
    loud = np.abs(wave_n[: len(wave_n) // hop * hop]).reshape(-1, hop).max(axis=1) > 0.02
    loud = np.convolve(loud, np.ones(5), mode="same") > 0  # between two letters of a word the tone swells down
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    for start, end in edges.reshape(-1, 2):
        count = round((end - start) * 0.01 / SYMBOL_S)
        middles = (start + (np.arange(count) + 0.5) * (end - start) / max(count, 1)) * hop
        text = "".join(letter_at(wave_n, int(middle)) for middle in middles)
        if text:
            yield Word(text, start * 0.01, end * 0.01, 0.9)


def letter_at(wave_n: np.ndarray, middle: int) -> str:
    piece = wave_n[max(middle - 400, 0) : middle + 400]
    pitch = np.argmax(np.abs(np.fft.rfft(piece, RATE_HZ)))
    return list(PITCHES_HZ)[int(np.argmin(np.abs(PITCHES - pitch)))]


def heard(*paths, stub=None, windows=WINDOWS, rows=4, progress=None, threshold=None):
    return list(
        transcribe_stream(
            paths,
            windows,
            stub or Stub(),
            rate_hz=RATE_HZ,
            least_samples=400,
            batch_size=rows,
            no_speech_threshold=threshold,
            progress=progress,
        )
    )


def transcripts(events) -> list[Transcript]:
    return [each for each in events if isinstance(each, Transcript)]


def write(path, *texts, pause_s=0.4):
    """The texts, one after another, with near silence between them."""
    pause = np.random.default_rng(1).normal(0.0, 0.0005, round(pause_s * RATE_HZ))
    soundfile.write(path, np.concatenate([part for text in texts for part in (spoken(text), pause)]), RATE_HZ)
    return path


def nothing(waves) -> list[WindowTranscript]:
    return [WindowTranscript((), 0.0, True)] * len(waves)


TEXTS = ["AB", "CAD", "BA", "DAB", "ACDC", "BAD", "CAB", "D", "CC", "BB"] * 4


def test_a_long_file_is_the_concatenation_of_its_sentences(tmp_path):
    stub = Stub()
    (*passages, transcript) = heard(write(tmp_path / "long.flac", *TEXTS), stub=stub)
    assert transcript.text.split() == TEXTS
    assert [word for passage in passages for word in passage.words] == list(transcript.words)
    assert all(isinstance(each, PartialTranscript) for each in passages)
    assert len(passages) > 10
    assert max(stub.batches) == 4
    assert transcript.log_prob == -sum(stub.batches)
    assert transcript.complete


def test_words_have_the_times_of_the_whole_file(tmp_path):
    (transcript,) = transcripts(heard(write(tmp_path / "long.wav", *TEXTS)))
    lengths = np.array([len(text) * SYMBOL_S for text in TEXTS])
    starts = np.concatenate([[0.0], np.cumsum(lengths + 0.4)[:-1]])
    assert transcript.seconds == pytest.approx(sum(lengths + 0.4))
    np.testing.assert_allclose([word.start_s for word in transcript.words], starts, atol=0.05)
    np.testing.assert_allclose([word.end_s for word in transcript.words], starts + lengths, atol=0.05)
    assert {word.confidence for word in transcript.words} == {0.9}


def test_where_nobody_pauses_windows_overlap_and_words_come_once(tmp_path):
    """120 ms between words are no pause of 200 ms."""
    text = " ".join(TEXTS)
    soundfile.write(tmp_path / "fast.wav", spoken(text), RATE_HZ)
    (transcript,) = transcripts(heard(tmp_path / "fast.wav", windows=Windows(4.0)))
    assert transcript.text == text


def test_files_come_in_their_order_and_share_batches(tmp_path):
    paths = [write(tmp_path / f"{text}.wav", text) for text in ("AB", "CAD", "DAB")]
    lost, long = tmp_path / "lost.wav", write(tmp_path / "long.wav", *TEXTS[:12])
    stub = Stub()
    found = heard(paths[0], paths[1], lost, long, paths[2], stub=stub)
    ends = [each for each in found if not isinstance(each, PartialTranscript)]
    assert [each.path for each in ends] == [paths[0], paths[1], lost, long, paths[2]]
    assert [each.text for each in transcripts(ends)] == ["AB", "CAD", " ".join(TEXTS[:12]), "DAB"]
    assert stub.batches[0] == 4
    assert isinstance(ends[2], TranscriptionError)


def test_a_file_that_breaks_off_is_refused_after_what_was_heard(tmp_path):
    path = write(tmp_path / "long.wav", *TEXTS, pause_s=0.4)
    data, rate_hz = soundfile.read(path)
    data[RATE_HZ * 20] = np.nan
    soundfile.write(path, data, rate_hz, subtype="FLOAT")
    good = write(tmp_path / "good.wav", "DAB")
    *passages, refusal, passage, transcript = heard(path, good)
    said = [word.text for each in passages for word in each.words]
    assert len(said) > 5
    assert said == TEXTS[: len(said)]
    assert refusal == TranscriptionError(path, f"{path}: 1 samples are NaN or infinite")
    assert (passage.path, transcript.text) == (good, "DAB")


def test_ten_minutes_of_silence_are_not_heard_at_all(tmp_path):
    soundfile.write(tmp_path / "silence.flac", np.zeros(600 * RATE_HZ, np.int16), RATE_HZ)
    stub = Stub()
    (transcript,) = heard(tmp_path / "silence.flac", stub=stub, windows=Windows(20.0))
    assert (transcript.text, transcript.seconds, stub.batches) == ("", 600.0, [])
    assert transcript.fault == SignalFault("silent audio", f"all {600 * RATE_HZ} samples are 0")


@pytest.mark.parametrize(("gain", "kind"), [(0.0002, "quiet audio"), (1.0, "clipped audio"), (0.1, "")])
def test_audio_that_cannot_be_used_is_named_with_its_file(tmp_path, rng, gain, kind):
    noise_n = np.clip(gain * rng.normal(0.0, 1.0, 50 * RATE_HZ), -0.999, 0.999)
    soundfile.write(tmp_path / "noise.flac", noise_n, RATE_HZ)
    found = transcribe_stream(
        [tmp_path / "noise.flac"], Windows(20.0), nothing, rate_hz=RATE_HZ, least_samples=1, batch_size=4
    )
    (transcript,) = [item for item in found if isinstance(item, Transcript)]
    assert (transcript.fault.kind if transcript.fault else "") == kind


def test_an_hour_takes_no_more_memory_than_five_minutes(tmp_path):
    """Python's own allocations, NumPy's arrays included; an hour at 16 kHz is 115 MB of samples."""
    peaks = []
    for minutes in (5, 60):
        path = tmp_path / f"{minutes}.flac"
        with soundfile.SoundFile(path, "w", 4_000, 1) as file:
            for minute in range(minutes):
                file.write(np.random.default_rng(minute).integers(-3_000, 3_000, 240_000).astype(np.int16))
        tracemalloc.start()
        assert (
            len(list(transcribe_stream([path], Windows(20.0), nothing, rate_hz=4_000, least_samples=1, batch_size=4)))
            == 1
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (wav(np.zeros(0)), "zero samples"),
        (b"RIFF" + bytes(40), "a RIFF file of b'\\x00\\x00\\x00\\x00', not of 'WAVE'"),
        (wav(np.where(np.arange(800) % 200 == 7, math.nan, 0.0), subtype="FLOAT"), "4 samples are NaN or infinite"),
        (wav(np.full(800, math.inf), subtype="DOUBLE"), "800 samples are NaN or infinite"),
        (wav(np.ones(399)), "has 399 samples (24.9 ms at 16000 Hz); at least one window of 25 ms is needed"),
    ],
    ids=["empty", "no samples", "no audio", "nan", "inf", "short"],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "some.wav"
    path.write_bytes(content)
    (refusal,) = heard(path)
    assert isinstance(refusal, TranscriptionError)
    assert message in refusal.reason
    assert str(path) in refusal.reason


def test_what_is_no_file_is_not_there(tmp_path):
    found = heard(tmp_path, tmp_path / "lost.wav")
    assert found[0].reason.startswith(f"{tmp_path} is a folder; give the files in it")
    assert found[1].reason == f"there is no audio file {tmp_path / 'lost.wav'}"


class Doubtful(Stub):
    """A stub that finds no speech in the windows with a D, and is unsure about those with a C."""

    def __call__(self, waves) -> list[WindowTranscript]:
        transcripts = super().__call__(waves)
        return [replace(transcript, no_speech_prob=doubt(transcript)) for transcript in transcripts]


def doubt(transcript: WindowTranscript) -> float | None:
    """Returns the probability of no speech by the letters of a window; None without words."""
    letters = "".join(word.text for word in transcript.words)
    return (0.9 if "D" in letters else 0.5 if "C" in letters else 0.1) if letters else None


@pytest.mark.parametrize(("threshold", "lost"), [(0.6, "D"), (0.5, "DC"), (0.9, "D"), (1.0, "")])
def test_words_of_windows_without_speech_are_withheld_and_listed(tmp_path, threshold, lost):
    """Checks words, windows and counts where every sentence is a window of its own."""
    path = write(tmp_path / "long.wav", *TEXTS[:12], pause_s=1.0)
    *_, transcript = heard(path, stub=Doubtful(), threshold=threshold)
    spoken_words = [text for text in TEXTS[:12] if not set(text) & set(lost)]
    assert transcript.text.split() == spoken_words
    silent = [window for window in transcript.windows if not window.speech]
    assert [word.text for window in silent for word in window.withheld] == [
        text for text in TEXTS[:12] if text not in spoken_words
    ]
    assert transcript.withheld == 12 - len(spoken_words)
    for window in silent:
        assert window.no_speech_prob >= threshold
        assert all(window.start_s <= word.start_s < word.end_s <= window.end_s for word in window.withheld)
    assert transcript.windows[0].start_s == 0.0
    assert transcript.windows[-1].end_s == pytest.approx(transcript.seconds, abs=1e-3)
    assert transcript.no_speech_s == pytest.approx(sum(window.end_s - window.start_s for window in silent))


def test_without_a_threshold_no_word_is_withheld(tmp_path):
    """Checks that the probabilities alone change nothing, and that windows are listed with a threshold only."""
    path = write(tmp_path / "long.wav", *TEXTS[:6])
    *_, transcript = heard(path, stub=Doubtful())
    assert (transcript.text.split(), transcript.windows, transcript.withheld) == (TEXTS[:6], (), 0)


def test_a_silent_window_has_no_speech_and_no_probability(tmp_path):
    """Checks digital silence, in which nothing is recognised."""
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE_HZ, np.int16), RATE_HZ)
    (transcript,) = heard(tmp_path / "silence.wav", threshold=0.5)
    assert transcript.windows == (WindowSpeech(0.0, 1.0, None, False),)
    assert (transcript.withheld, transcript.no_speech_s) == (0, 1.0)


class Numbered:
    """A stub whose n-th window has one word at each second of the file, and the given probability of no speech."""

    def __init__(self, *probabilities: float) -> None:
        self.probabilities = iter(probabilities)

    def __call__(self, waves) -> list[WindowTranscript]:
        return [
            WindowTranscript(
                tuple(Word(f"W{second}", second + 0.1, second + 0.3, 0.9) for second in range(len(wave_n) // RATE_HZ)),
                -1.0,
                True,
                next(self.probabilities),
            )
            for wave_n in waves
        ]


@pytest.mark.parametrize(
    ("probabilities", "seconds"),
    [((0.1, 0.1), range(7)), ((0.1, 0.9), range(4)), ((0.9, 0.1), range(3, 7)), ((0.9, 0.9), ())],
)
def test_a_window_without_speech_takes_no_words_from_its_neighbour(tmp_path, probabilities, seconds):
    """Checks two windows of 4 s that overlap by 1 s: each alone keeps all of its words."""
    noise_n = np.random.default_rng(0).normal(0.0, 0.1, 7 * RATE_HZ)
    soundfile.write(tmp_path / "noise.wav", noise_n, RATE_HZ)
    *_, transcript = heard(tmp_path / "noise.wav", stub=Numbered(*probabilities), windows=Windows(4.0), threshold=0.5)
    assert [int(word.start_s) for word in transcript.words] == list(seconds)
    assert len(transcript.windows) == 2
    assert transcript.no_speech_s == pytest.approx({0: 7.0, 7: 0.0}.get(len(seconds), 4.0))
