"""Transcription of audio files with the best model of a run."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jaxasr.data.audio import header_duration_s
from jaxasr.decode import Search
from jaxasr.evaluation.language_models import NO_LMS
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.restore import Choice
from jaxasr.report import Progress
from jaxasr.transcription.decode import Times
from jaxasr.transcription.loading import BATCH_SIZE, load_transcriber
from jaxasr.transcription.long_form import PartialTranscript, Transcript, TranscriptionError
from jaxasr.transcription.no_speech import NO_SPEECH_THRESHOLD
from jaxasr.transcription.timestamps.fallback import Fallback
from jaxasr.transcription.timestamps.window_form import WindowKind

LONG_S = 60.0  # total duration of the files from which on a progress bar is shown


def transcribe(
    experiment: Experiment,
    workdir: str | Path,
    paths: Sequence[str | Path],
    *,
    search: Search | None = None,
    checkpoint: Choice = "best",
    lms: Mapping[str, str] = NO_LMS,
    hotwords: Sequence[str] = (),
    hotword_bonus: float = 0.5,
    times: Times = "auto",
    window_s: float | None = None,
    batch_size: int = BATCH_SIZE,
    no_speech_threshold: float | None = NO_SPEECH_THRESHOLD,
    repetition_guard: bool = True,
    windows: WindowKind = "pauses",
    fallback: Fallback | None = None,
    progress: Progress | None = None,
) -> Iterator[Transcript | TranscriptionError]:
    """Yields the transcript of each file, in their order, as soon as the file is finished.

    Arguments and errors are those of `iter_transcripts`.
    """
    for event in iter_transcripts(
        experiment,
        workdir,
        paths,
        search=search,
        checkpoint=checkpoint,
        lms=lms,
        hotwords=hotwords,
        hotword_bonus=hotword_bonus,
        times=times,
        window_s=window_s,
        batch_size=batch_size,
        no_speech_threshold=no_speech_threshold,
        repetition_guard=repetition_guard,
        windows=windows,
        fallback=fallback,
        progress=progress,
    ):
        if not isinstance(event, PartialTranscript):
            yield event


def iter_transcripts(
    experiment: Experiment,
    workdir: str | Path,
    paths: Sequence[str | Path],
    *,
    search: Search | None = None,
    checkpoint: Choice = "best",
    lms: Mapping[str, str] = NO_LMS,
    hotwords: Sequence[str] = (),
    hotword_bonus: float = 0.5,
    times: Times = "auto",
    window_s: float | None = None,
    batch_size: int = BATCH_SIZE,
    no_speech_threshold: float | None = NO_SPEECH_THRESHOLD,
    repetition_guard: bool = True,
    windows: WindowKind = "pauses",
    fallback: Fallback | None = None,
    progress: Progress | None = None,
) -> Iterator[PartialTranscript | Transcript | TranscriptionError]:
    """Transcribes files of any length and yields their words as they become final, then the transcript of each file.

    A file that cannot be used yields a `TranscriptionError`. A long file is cut into windows; `batch_size` windows, of one or
    several files, are decoded together. Memory does not grow with their length. `workdir` is the folder of the run.

    Args:
        search: None: the search that all evals of the experiment share, or else that of the validation split.
        checkpoint: "best", "last", a step, or "mean": the mean of all that are kept.
        lms: the language models that the search fuses, as in `evaluation.load_language_models`.
        hotwords: phrases that are likely to occur, normalised like the transcripts, with a bonus in nats a letter.
        times: the source of word times: "ctc", "attention", or "auto": CTC if the model has a CTC head.
        window_s: the longest window of a long file; None: as the utterances of training give it (`windows_of`).
        no_speech_threshold: the probability of no speech from which on the words of a window are withheld; None: never.
        repetition_guard: True: no phrase repeats without limit (decode.with_repetition_guard).
        windows: how files are cut (timestamps.window_form); `fallback` says which windows are decoded again.
        progress: an entered progress bar, advanced by seconds of audio.

    Raises:
        FileNotFoundError: no such run or checkpoint.
        ValueError: the checkpoint does not fit, or an option is not possible.
    """
    transcriber = load_transcriber(
        experiment,
        workdir,
        search=search,
        checkpoint=checkpoint,
        lms=lms,
        hotwords=hotwords,
        hotword_bonus=hotword_bonus,
        times=times,
        window_s=window_s,
        batch_size=batch_size,
        no_speech_threshold=no_speech_threshold,
        repetition_guard=repetition_guard,
        windows=windows,
        fallback=fallback,
    )
    return transcriber(paths, progress)


@contextlib.contextmanager
def progress_bar(paths: Sequence[Path]) -> Iterator[Progress | None]:
    """Yields an entered progress bar over the seconds of the files; None if they are shorter than LONG_S together."""
    seconds = sum(map(header_duration_s, paths))
    if seconds < LONG_S:
        yield None
        return
    with Progress(seconds, "transcribe", "seconds") as bar:
        yield bar
