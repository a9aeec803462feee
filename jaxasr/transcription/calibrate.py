"""Calibration of word confidences and of the no-speech decision on the validation split, stored in the workdir."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxasr import tree
from jaxasr.data import BoundPipeline
from jaxasr.decode import with_repetition_guard
from jaxasr.evaluation.language_models import NO_LMS, check_lms_used, load_language_models
from jaxasr.evaluation.outputs import set_aside
from jaxasr.evaluation.searches import search_for_files
from jaxasr.experiment.experiment import Experiment, recogniser_of
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.split import named_splits
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.records import LanguageModel
from jaxasr.report import Measurements, Progress
from jaxasr.report.reliability import reliability as draw
from jaxasr.score.confidence import BINS, Platt, Reliability, fit, reliability, words_right
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.transcription.decode import DecodedBatch, DecodeFn, compile_decode_fn
from jaxasr.transcription.loading import BATCH_SIZE, transcriber_of, windows_of
from jaxasr.transcription.no_speech import calibrate_no_speech
from jaxasr.transcription.timing import log_posteriors, tokens_to_words


@dataclass(frozen=True)
class WordPosteriors:
    """The log posteriors of the words of a split's hypotheses, and which words are correct."""

    log_posteriors: Float[np.ndarray, " words"]
    right: Bool[np.ndarray, " words"]


def calibrate(
    experiment: Experiment,
    workdir: Path,
    runtime: RuntimeConfig,
    *,
    splits: Sequence[str] = (),
    checkpoint: Choice = "best",
    lms: Mapping[str, str] = NO_LMS,
    print_fn: Callable[[str], None] = print,
) -> Platt:
    """Fits the maps to confidences of words and to probabilities of no speech, and stores them for `transcribe`.

    All splits are decoded with the search for audio files (`evaluation.search_for_files`). The map is fitted on the
    validation split. Its reliability before and after is printed for every split and drawn for the last one. The no-speech
    decision is fitted on the validation split and on made sounds (no_speech.py).

    Args:
        workdir: the folder of the run; gets confidence.json, pictures/confidence.png and no_speech.json. Those of another
            search or checkpoint get names with a digest.
        splits: names of `experiment.evals` to measure it on; none means all.
        checkpoint: "best", "last", a step, or "mean": the mean of all that are kept.
        lms: the language models that the search fuses, as in `evaluation.load_language_models`.
        print_fn: receives a line per split.

    Raises:
        KeyError: no such split.
        FileNotFoundError: no such run or checkpoint, or a corpus is not prepared.
        ValueError: the hypotheses of a split are all empty.
    """
    chosen = {"validation": experiment.validation, **named_splits(experiment.evals, splits)}
    run = Workdir(workdir)
    variables, metadata = trained_variables(experiment, run, checkpoint)
    search = with_repetition_guard(search_for_files(experiment))  # as `transcribe` has it
    check_lms_used(lms, [search])
    decode_fn = compile_decode_fn(recogniser_of(experiment), search)
    loaded = load_language_models(lms, experiment.tokenizer)
    measured: dict[str, dict[str, Reliability]] = {}
    platt = Platt()
    for name, split in chosen.items():
        data = split.data.open(runtime.data_dir)
        words = _words(name, data, decode_fn, variables, loaded.models, experiment.tokenizer, workers=runtime.workers)
        if name == "validation":
            platt = fit(words.log_posteriors, words.right)
        before = reliability(Platt()(words.log_posteriors), words.right)
        after = reliability(platt(words.log_posteriors), words.right)
        print_fn(f"{name}: {_line(before, after)}")
        measured[name] = {"before": before, "after": after}
    about = {"checkpoint": checkpoint, "search": tree.flatten(search), "lms": dict(loaded.provenance)}
    rows = {name: {when: _numbers(value) for when, value in pair.items()} for name, pair in measured.items()}
    kept = {"slope": platt.slope, "offset": platt.offset, "fitted_on": "validation", **about, "splits": rows}
    if line := set_aside(run.confidence, about, (run.no_speech, run.pictures / "confidence.png")):
        print_fn(line)
    write_whole(run.confidence, json.dumps(kept, indent=1, default=str) + "\n")
    last = list(measured)[-1]
    bins = {when: value.bins for when, value in measured[last].items()}
    with Measurements(print_fn).optional("the picture of the confidences"):
        draw(bins, path=run.pictures / "confidence.png", title=last)
    windows = windows_of(experiment, metadata)
    transcriber = transcriber_of(
        experiment, decode_fn, variables, lms=loaded.models, windows=windows, batch_size=BATCH_SIZE
    )
    print_fn(calibrate_no_speech(transcriber, experiment.validation.data.open(runtime.data_dir), run)[1])
    return platt


def _words(
    name: str,
    data: BoundPipeline,
    decode_fn: DecodeFn,
    variables: Any,
    lms: Mapping[str, LanguageModel],
    tokenizer: Tokenizer,
    *,
    workers: int,
) -> WordPosteriors:
    references: list[str] = []
    hypotheses: list[str] = []
    posteriors: list[np.ndarray] = []
    with data.eval_batches(workers=workers) as batches, Progress(len(data.ids), name, "utterances") as bar:
        for labelled in batches:
            decoded: DecodedBatch = jax.device_get(decode_fn(variables, labelled.batch, lms))
            for row in range(len(labelled.ids)):
                tokens_u = np.asarray(decoded.tokens_bu[row, : int(decoded.token_lengths_b[row])])
                words = tokens_to_words(tokens_u, tokenizer)
                hypotheses.append(" ".join(word.text for word in words))
                posteriors.append(log_posteriors(words, np.asarray(decoded.token_log_probs_bu[row])))
            references += labelled.texts
            bar.advance(len(labelled.ids))
    return WordPosteriors(np.concatenate(posteriors), np.concatenate(words_right(references, hypotheses)))


def _line(before: Reliability, after: Reliability) -> str:
    return (
        f"{before.words} words, {before.right:.1%} right; calibration error ({BINS} bins) {before.calibration_error:.3f} -> "
        f"{after.calibration_error:.3f}, normalised cross entropy {before.cross_entropy:.3f} -> {after.cross_entropy:.3f}, "
        f"area under the ROC curve {after.area:.3f}"
    )


def _numbers(measured: Reliability) -> dict[str, Any]:
    """Returns the measures for a JSON file; NaN, the value of a split without errors, becomes null."""
    measures = {"right": measured.right, "calibration_error": measured.calibration_error}
    measures |= {"normalised_cross_entropy": measured.cross_entropy, "area": measured.area}
    rounded = {name: None if np.isnan(value) else round(value, 6) for name, value in measures.items()}
    bins = [[words, round(confidence, 6), round(share, 6)] for words, confidence, share in measured.bins]
    return {"words": measured.words, **rounded, "bins": bins}
