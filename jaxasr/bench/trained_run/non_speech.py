"""The benchmark of the no-speech decision: words written for sounds without speech, and the error rate on speech.

Every file is transcribed twice, without and with the no-speech decision and the repetition guard of `jaxasr transcribe`. The
sounds are made; half of their kinds are unknown to `jaxasr calibrate`. The speech is an eval of the experiment: as it is,
with noise, and quietly.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Int16

from jaxasr.data import BoundPipeline, decode_audio
from jaxasr.data.non_speech import FOR_CALIBRATION, SOUNDS, changed_speech, made_sound
from jaxasr.experiment import Experiment, load
from jaxasr.experiment.restore import Choice
from jaxasr.files import default_data_dir
from jaxasr.score.alignment import count_words, total
from jaxasr.transcription import Transcript, transcribe
from jaxasr.transcription.no_speech import CONDITIONS, LEVELS_DB

SILENCE_DB = -90.0  # the level of a recording in which nothing but the last bit moves


@dataclass(frozen=True)
class Recording:
    """A file of the benchmark."""

    group: str  # files of one group share a line
    wave_n: Int16[np.ndarray, " n"]
    text: str  # empty: no speech


@dataclass(frozen=True)
class GroupResult:
    """The words of a group of files without the decision and with it."""

    group: str
    seconds: float
    references: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def words_per_minute(self) -> tuple[float, float]:
        """The words written per minute of audio, before and after."""
        before, after = (60 * sum(len(text.split()) for text in texts) / self.seconds for texts in self._both)
        return before, after

    @property
    def word_error_rate(self) -> tuple[float, float]:
        """The word error rate, before and after."""
        before, after = (total(count_words(self.references, texts)).rate for texts in self._both)
        return before, after

    @property
    def _both(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.before, self.after


def bench_non_speech(
    *,
    experiment: str = "",
    workdir: Path | None = None,
    checkpoint: Choice = "best",
    data_dir: Path | None = None,
    seconds: float = 20.0,
    utterances: int = 100,
) -> Iterator[str]:
    """Measures a run: words per minute on sounds without speech and the word error rate on speech, before and after.

    Args:
        experiment: FILE.py or FILE.py:function.
        workdir: its run.
        seconds: length of each made sound; there is one for each kind and level.
        utterances: number of utterances of the first eval, spread over it.

    Raises:
        ValueError: experiment or run are missing, or a number is not positive.
    """
    if not experiment or workdir is None:
        raise ValueError("bench non-speech measures a run: give --experiment FILE.py and --workdir RUN")
    if not (np.isfinite(seconds) and seconds > 0 and utterances > 0):
        raise ValueError(f"{seconds:g} s of each sound and {utterances} utterances; positive numbers are needed")
    tree = load(experiment, {})
    name, split = next(iter(tree.evals.items()), ("validation", tree.validation))
    opened = split.data.open(data_dir or default_data_dir())
    generator = np.random.default_rng(1)
    rate_hz = tree.train_data.rate_hz
    yield f"words per minute without speech, {seconds:g} s at each of {', '.join(f'{db:g}' for db in LEVELS_DB)} dBFS"
    sounds = _measured(tree, workdir, [*_sounds(seconds, rate_hz, generator)], checkpoint)
    for result in sounds:
        before, after = result.words_per_minute
        yield f"  {result.group:34} {before:7.1f} -> {after:6.1f}"
    means = np.mean([result.words_per_minute for result in sounds], axis=0)
    yield f"  {'mean':34} {means[0]:7.1f} -> {means[1]:6.1f}"
    yield f"word error rate on up to {utterances} utterances of {name}"
    for result in _measured(tree, workdir, [*_speech(opened, utterances, rate_hz, generator)], checkpoint):
        before, after = result.word_error_rate
        yield f"  {result.group:34} {before:7.2%} -> {after:6.2%}"


def _sounds(seconds: float, rate_hz: int, generator: np.random.Generator) -> Iterator[Recording]:
    silence_n = generator.integers(-1, 2, round(seconds * rate_hz)).astype(np.int16)
    yield Recording("silence", silence_n, "")
    for kind in SOUNDS:
        known = "" if kind in FOR_CALIBRATION else " (not in calibration)"
        for level_db in LEVELS_DB:
            wave_n = made_sound(kind, seconds=seconds, level_db=level_db, rate_hz=rate_hz, generator=generator)
            yield Recording(kind + known, wave_n, "")


def _speech(data: BoundPipeline, utterances: int, rate_hz: int, generator: np.random.Generator) -> Iterator[Recording]:
    chosen: list[int] = np.unique(np.linspace(0, len(data.ids) - 1, utterances).round().astype(int)).tolist()
    for example in chosen:
        wave_n = decode_audio(data.read(example), id=data.ids[example], rate_hz=rate_hz)
        for gain_db, snr_db in CONDITIONS:
            group = "as it is" if snr_db is None else f"with noise at {snr_db:g} dB"
            group = f"{-gain_db:g} dB quieter" if gain_db else group
            changed_n = changed_speech(wave_n, gain_db=gain_db, snr_db=snr_db, rate_hz=rate_hz, generator=generator)
            yield Recording(group, changed_n, str(data.examples.texts[example]))


def _measured(
    experiment: Experiment, workdir: Path, recordings: Sequence[Recording], checkpoint: Choice
) -> list[GroupResult]:
    """Transcribes all recordings twice, and returns a result for each group."""
    rate_hz = experiment.train_data.rate_hz
    with tempfile.TemporaryDirectory(prefix="jaxasr-") as folder:
        paths = [Path(folder) / f"{number}.wav" for number in range(len(recordings))]
        for path, recording in zip(paths, recordings, strict=True):
            soundfile.write(path, recording.wave_n, rate_hz)
        plain = transcribe(
            experiment, workdir, paths, checkpoint=checkpoint, no_speech_threshold=None, repetition_guard=False
        )
        before = _texts(plain)
        after = _texts(transcribe(experiment, workdir, paths, checkpoint=checkpoint))
    results = []
    for group in dict.fromkeys(recording.group for recording in recordings):
        rows = [row for row, recording in enumerate(recordings) if recording.group == group]
        results.append(
            GroupResult(
                group,
                sum(len(recordings[row].wave_n) for row in rows) / rate_hz,
                tuple(recordings[row].text for row in rows),
                tuple(before[row] for row in rows),
                tuple(after[row] for row in rows),
            )
        )
    return results


def _texts(transcripts: Iterator[object]) -> list[str]:
    """Returns the texts of all files.

    Raises:
        ValueError: a file could not be transcribed.
    """
    texts = []
    for transcript in transcripts:
        if not isinstance(transcript, Transcript):
            raise ValueError(f"a file of the benchmark could not be transcribed: {transcript}")
        texts.append(transcript.text)
    return texts
