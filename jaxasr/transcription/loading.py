"""A trained run loaded as a transcriber of files, which can be called again and again without loading or compiling anew."""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxasr.data import Buckets, KeepSeconds
from jaxasr.decode import Beam, Hotwords, Search, with_repetition_guard
from jaxasr.evaluation.language_models import NO_LMS, check_lms_used, load_language_models
from jaxasr.evaluation.searches import search_for_files
from jaxasr.experiment.experiment import Experiment, recogniser_of
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.split import normalizer_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import LanguageModel
from jaxasr.report import Progress
from jaxasr.score.confidence import Platt
from jaxasr.text import normalize
from jaxasr.training import Metadata
from jaxasr.transcription.batch_transcriber import LENGTH_FRACTIONS, BatchTranscriber, Calibration
from jaxasr.transcription.decode import DecodeFn, Times, compile_decode_fn
from jaxasr.transcription.long_form import (
    PartialTranscript,
    TranscribeFn,
    Transcript,
    TranscriptionError,
    transcribe_stream,
)
from jaxasr.transcription.no_speech import NO_SPEECH_THRESHOLD, load_no_speech_map
from jaxasr.transcription.segments import Windows
from jaxasr.transcription.timestamps.fallback import Fallback, with_fallback
from jaxasr.transcription.timestamps.seeking import transcribe_seeking
from jaxasr.transcription.timestamps.window_form import WindowForm, WindowKind, window_form
from jaxasr.transcription.timing import frame_clock
from jaxasr.units import samples_from_ms

WINDOW_S = 20.0  # the window where the length of the training utterances is unknown
BATCH_SIZE = 8  # windows that are decoded together
LEAST_WINDOW_S = 1.0  # of the default window: a shorter one has no room for pauses


@dataclass(frozen=True)
class FileTranscriber:
    """A transcriber of files with the model of a run, loaded."""

    experiment: Experiment
    form: WindowForm
    windows: Windows
    transcriber: BatchTranscriber
    transcribe_fn: TranscribeFn  # the transcriber, or a fallback around it
    no_speech_threshold: float | None

    def __call__(
        self, paths: Sequence[str | Path], progress: Progress | None = None
    ) -> Iterator[PartialTranscript | Transcript | TranscriptionError]:
        """Yields the words of files as they become final, then the transcript of each, as `iter_transcripts` describes."""
        frontend = self.form.model.frontend
        return (transcribe_stream if self.form.tokens is None else transcribe_seeking)(
            [Path(path) for path in paths],
            self.windows,
            self.transcribe_fn,
            rate_hz=frontend.rate_hz,
            least_samples=samples_from_ms(frontend.window_ms, frontend.rate_hz),
            batch_size=self.transcriber.batch_size,
            no_speech_threshold=self.no_speech_threshold,
            progress=progress,
        )


def load_transcriber(
    experiment: Experiment,
    workdir: str | Path,
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
) -> FileTranscriber:
    """Loads a run for the transcription of files. Arguments and errors are those of `files.iter_transcripts`."""
    _check_options(batch_size, no_speech_threshold)
    biased = with_hotwords(search or search_for_files(experiment), experiment, hotwords, hotword_bonus)
    check_lms_used(lms, [biased])
    form = window_form(experiment, biased, windows, times)
    guarded = with_repetition_guard(form.search) if repetition_guard else form.search
    run = Workdir(Path(workdir))
    variables, metadata = trained_variables(experiment, run, checkpoint)
    cut = form.limited(window_s) or windows_of(experiment, metadata, window_s)
    decode_fn = compile_decode_fn(form.model, guarded, times=form.times)
    models = load_language_models(lms, experiment.tokenizer).models
    transcriber = transcriber_of(experiment, decode_fn, variables, lms=models, windows=cut, batch_size=batch_size)
    transcriber = replace(transcriber, times=form.tokens, **_calibrated(run, form, no_speech_threshold))
    transcribe_fn = transcriber if fallback is None else with_fallback(transcriber, form, guarded, fallback)
    return FileTranscriber(
        experiment, replace(form, search=guarded), cut, transcriber, transcribe_fn, no_speech_threshold
    )


def _check_options(batch_size: int, no_speech_threshold: float | None) -> None:
    """Raises ValueError if an option of `load_transcriber` is not possible."""
    if batch_size < 1:
        raise ValueError(f"{batch_size} windows at once; at least 1 is needed")
    if no_speech_threshold is not None and not 0 < no_speech_threshold <= 1:
        raise ValueError(
            f"a no-speech threshold of {no_speech_threshold:g}; a probability above 0 and up to 1 is needed, or None (off "
            "on the command line) to keep the words of all windows"
        )


def _calibrated(run: Workdir, form: WindowForm, no_speech_threshold: float | None) -> dict[str, Any]:
    """Returns the fields of a transcriber that `jaxasr calibrate` fits to a run."""
    ctc = form.model.ctc is not None
    no_speech = None if no_speech_threshold is None else load_no_speech_map(run, ctc=ctc)
    return {"calibration": load_calibration(run), "no_speech": no_speech}


def transcriber_of(
    experiment: Experiment,
    decode_fn: DecodeFn,
    variables: Any,
    *,
    lms: Mapping[str, LanguageModel],
    windows: Windows,
    batch_size: int,
) -> BatchTranscriber:
    """Returns the transcriber of windows with the tokenizer and the clock of an experiment."""
    rate_hz = recogniser_of(experiment).frontend.rate_hz
    longest_samples = windows.whole(rate_hz)
    usual = windows.longest(rate_hz) / longest_samples  # a longer window is a whole file
    return BatchTranscriber(
        decode_fn,
        variables,
        lms,
        experiment.tokenizer,
        frame_clock(recogniser_of(experiment)),
        rate_hz,
        longest_samples,
        batch_size,
        # a frontend that pads to one duration needs one compiled program
        length_fractions=(1.0,)
        if recogniser_of(experiment).frontend.pad_s
        else tuple(dict.fromkeys((*(usual * share for share in LENGTH_FRACTIONS), 1.0))),
    )


def with_hotwords(search: Search, experiment: Experiment, phrases: Sequence[str], bonus: float) -> Search:
    """Returns the search with a bonus for these phrases.

    Raises:
        ValueError: the search is no beam, or the tokenizer cannot encode a phrase, or nothing of a phrase is left.
    """
    if not phrases:
        return search
    if not isinstance(search, Beam):
        raise ValueError(
            f"hotwords need a beam, and the search is {type(search).__name__}: take another, such as --search beam"
        )
    kind = normalizer_of(experiment.train_data)
    written = tuple(normalize(kind, phrase) if kind else phrase for phrase in phrases)  # pyright: ignore[reportArgumentType]
    if lost := [phrase for phrase, form in zip(phrases, written, strict=True) if not form.strip()]:
        raise ValueError(
            f"hotwords {lost} have no letter left in the form {kind!r}, which the model writes: leave them out"
        )
    return replace(search, scorers=(*search.scorers, Hotwords(experiment.tokenizer, written, bonus)))


def windows_of(experiment: Experiment, metadata: Metadata, window_s: float | None = None) -> Windows:
    """Returns the windows of files. A line on stderr warns of windows unlike the utterances of training.

    Args:
        window_s: the longest one; None: the high quantile of the utterances of training, and the longest of them for a file
            that is no longer. A checkpoint of an older version has no quantile; the longest utterance is taken then.
    """
    if window_s is None:
        whole_s = longest_window_s(experiment, metadata)
        return Windows(max(metadata.usual_s[1] or whole_s, LEAST_WINDOW_S), whole_s=whole_s)
    low_s, high_s = metadata.usual_s
    longest_s = metadata.longest_s
    if high_s and not low_s <= window_s <= max(longest_s, LEAST_WINDOW_S):
        print(
            f"jaxasr transcribe: windows of up to {window_s:g} s, and 90 % of the utterances of training have {low_s:g} to "
            f"{high_s:g} s, the longest {longest_s:g} s: expect more errors, or give --window-s "
            f"{max(high_s, LEAST_WINDOW_S):g}",
            file=sys.stderr,
        )
    return Windows(window_s)


def longest_window_s(experiment: Experiment, metadata: Metadata) -> float:
    """Returns the seconds of the longest utterance of training, or WINDOW_S if neither checkpoint nor experiment has it."""
    if metadata.longest_s:
        return metadata.longest_s
    data = experiment.train_data
    limits_s = [transform.max_s for transform in data.transforms if isinstance(transform, KeepSeconds)]
    limits_s += [data.shapes.seconds[-1]] if isinstance(data.shapes, Buckets) else []
    return min(limits_s, default=WINDOW_S)


def load_calibration(workdir: Workdir) -> Calibration:
    """Returns the map from log posteriors to confidences that `jaxasr calibrate` has stored in the workdir, or `exp`.

    Raises:
        ValueError: the file is damaged.
    """
    path = workdir.confidence
    if not path.exists():
        return np.exp
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = Platt(float(kept["slope"]), float(kept["offset"]))
        if not (math.isfinite(found.slope) and math.isfinite(found.offset)):
            raise ValueError(f"{found} is not finite")
        return found
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, or make it again with jaxasr calibrate") from error
