"""Files of speech to text, with the best model of a run."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxasr.data import Buckets, KeepSeconds
from jaxasr.data.audio import header_duration_s
from jaxasr.decode import Beam, Hotwords, Search
from jaxasr.evaluation.language_models import NO_LMS, load_language_models, check_lms_used
from jaxasr.evaluation.searches import search_for_files
from jaxasr.experiment.experiment import Experiment, normalizer_of, recogniser_of
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.workdir import Workdir
from jaxasr.report import Progress
from jaxasr.score.confidence import Platt
from jaxasr.text import normalize
from jaxasr.training import Metadata
from jaxasr.transcription.batch_transcriber import Calibrated, BatchTranscriber
from jaxasr.transcription.decode import Times, compile_decode_fn
from jaxasr.transcription.long_form import PartialTranscript, TranscriptionError, Transcript, transcribe_stream
from jaxasr.transcription.segments import Windows
from jaxasr.transcription.timing import frame_clock
from jaxasr.units import samples_from_ms

WINDOW_S = 20.0  # where nobody knows how long the utterances were that the model was trained on
BATCH_SIZE = 8  # windows that are heard at once
LONG_S = 60.0  # of all files together, from which on there is a bar


def transcribe(
    experiment: Experiment, workdir: Workdir, paths: Sequence[Path], **options
) -> Iterator[Transcript | TranscriptionError]:
    """What was heard in each file, in their order, as soon as it is heard to its end. Arguments and errors: `follow`."""
    for each in iter_transcripts(experiment, workdir, paths, **options):
        if not isinstance(each, PartialTranscript):
            yield each


def iter_transcripts(
    experiment: Experiment,
    workdir: Workdir,
    paths: Sequence[Path],
    *,
    search: Search | None = None,
    checkpoint: Choice = "best",
    lms: Mapping[str, str] = NO_LMS,
    hotwords: Sequence[str] = (),
    hotword_bonus: float = 0.5,
    times: Times = "auto",
    window_s: float | None = None,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> Iterator[PartialTranscript | Transcript | TranscriptionError]:
    """Transcribes files of any length, and tells their words as they become final.

    A file that can't be used is refused, the others are still done. A long one is cut into windows (data.segments), and
    windows of several files go through the model together. Memory does not grow with their length.

    Args:
        search: None: that which all evals of the experiment share, or the watched one (searches.search_for_files).
        checkpoint: "best", "last", a step, or "mean": of all that are kept.
        lms: where the language models are that the search fuses, by name.
        hotwords: phrases that are likely to be said; brought to the form that the model writes.
        hotword_bonus: of each of their letters (decode.Hotwords).
        times: what words get their times from: "ctc", "attention", or "auto": CTC where the model has it.
        window_s: the longest window; None: the longest utterance of training, for a model is at home only up to there.
        rows: windows that are heard at once.
        progress: an entered bar, advanced by seconds of audio.

    Raises:
        FileNotFoundError: there is no such run or checkpoint.
        ValueError: the checkpoint does not fit the experiment, or an option is not possible.
    """
    if batch_size < 1:
        raise ValueError(f"{batch_size} windows at once; at least 1 is needed")
    model, rate_hz = recogniser_of(experiment), experiment.train_data.rate_hz
    biased = with_hotwords(search or search_for_files(experiment), experiment, hotwords, hotword_bonus)
    check_lms_used(lms, [biased])
    variables, metadata = trained_variables(experiment, workdir, checkpoint)
    windows = Windows(longest_window_s(experiment, metadata) if window_s is None else window_s)
    ear = BatchTranscriber(
        compile_decode_fn(model, biased, times=times),
        variables,
        load_language_models(lms, experiment.tokenizer).models,
        experiment.tokenizer,
        frame_clock(model),
        rate_hz,
        windows.longest(rate_hz),
        batch_size,
        load_calibration(workdir),
    )
    return transcribe_stream(
        paths,
        windows,
        ear,
        rate_hz=rate_hz,
        least_samples=samples_from_ms(model.frontend.window_ms, rate_hz),
        batch_size=batch_size,
        progress=progress,
    )


def with_hotwords(search: Search, experiment: Experiment, phrases: Sequence[str], bonus: float) -> Search:
    """The search, paid for writing these phrases.

    Raises:
        ValueError: it is no beam, or the model cannot write a phrase, or nothing of it.
    """
    if not phrases:
        return search
    if not isinstance(search, Beam):
        raise ValueError(
            f"hotwords need a beam, and the search is {type(search).__name__}: take another, such as --search beam"
        )
    kind = normalizer_of(experiment.train_data)
    written = tuple(normalize(kind, each) if kind else each for each in phrases)  # pyright: ignore[reportArgumentType]
    if lost := [each for each, form in zip(phrases, written, strict=True) if not form.strip()]:
        raise ValueError(
            f"hotwords {lost} have no letter left in the form {kind!r}, which the model writes: leave them out"
        )
    return replace(search, scorers=(*search.scorers, Hotwords(experiment.tokenizer, written, bonus)))


@contextlib.contextmanager
def progress_bar(paths: Sequence[Path]) -> Iterator[Progress | None]:
    """An entered bar over the seconds of files, where they are so long that somebody would wait for it."""
    seconds = sum(map(header_duration_s, paths))
    if seconds < LONG_S:
        yield None
        return
    with Progress(seconds, "transcribe", "seconds") as bar:
        yield bar


def longest_window_s(experiment: Experiment, metadata: Metadata) -> float:
    """Seconds of the longest utterance that the model was trained on, as far as anything tells; else WINDOW_S."""
    if metadata.longest_s:
        return metadata.longest_s
    data = experiment.train_data
    told = [each.max_s for each in data.transforms if isinstance(each, KeepSeconds)]
    told += [data.shapes.seconds[-1]] if isinstance(data.shapes, Buckets) else []
    return min(told, default=WINDOW_S)


def load_calibration(workdir: Workdir) -> Calibrated:
    """What makes confidences of log posteriors: the map that `jaxasr calibrate` has left in the run's folder, or none.

    Raises:
        ValueError: the file is damaged.
    """
    path = workdir.confidence
    if not path.exists():
        return np.exp
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Platt(float(kept["slope"]), float(kept["offset"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, or make it again with jaxasr calibrate") from error
