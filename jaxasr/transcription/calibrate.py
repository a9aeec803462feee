"""Confidences that mean what they say: a map fitted on the watched split, kept in the run's folder, judged on the others."""

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
from jaxasr.evaluation.language_models import NO_LMS, load_language_models, check_lms_used
from jaxasr.evaluation.searches import search_for_files
from jaxasr.experiment.experiment import Experiment, named_splits, recogniser_of
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.records import LanguageModel
from jaxasr.report import Progress
from jaxasr.report.reliability import reliability as draw
from jaxasr.score.confidence import BINS, Platt, Reliability, fit, reliability, words_right
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.transcription.decode import DecodedBatch, DecodeFn, compile_decode_fn
from jaxasr.transcription.timing import log_posteriors, tokens_to_words


@dataclass(frozen=True)
class WordPosteriors:
    """The words of a split's hypotheses."""

    log_posteriors: Float[np.ndarray, " words"]
    right: Bool[np.ndarray, " words"]


def calibrate(
    experiment: Experiment,
    folder: Path,
    runtime: RuntimeConfig,
    *,
    splits: Sequence[str] = (),
    checkpoint: Choice = "best",
    lms: Mapping[str, str] = NO_LMS,
    say: Callable[[str], None] = print,
) -> Platt:
    """Fits the map from log posteriors of words to confidences, and writes it where `transcribe` finds it.

    All splits are decoded with the search that files are heard with (searches.search_for_files). The map is fitted on the
    watched one; what it is worth is said of every split, before and after, and drawn for the last.

    Args:
        folder: the run's; takes confidence.json and pictures/confidence.png.
        splits: names of `experiment.evals` to judge it on; none means all.
        checkpoint: "best", "last", a step, or "mean": of all that are kept.
        lms: where the language models are that the search fuses, by name.
        say: takes the lines that are for people.

    Raises:
        KeyError: no such split.
        FileNotFoundError: no such run or checkpoint, or a corpus is not prepared.
        ValueError: the hypotheses of a split are all empty.
    """
    chosen = {"validation": experiment.validation, **named_splits(experiment.evals, splits)}
    workdir = Workdir(folder)
    variables, _ = trained_variables(experiment, workdir, checkpoint)
    model, search = recogniser_of(experiment), search_for_files(experiment)
    check_lms_used(lms, [search])
    hear = compile_decode_fn(model, search)
    fused = load_language_models(lms, experiment.tokenizer)
    found, fitted, map_ = {}, {}, Platt()
    for name, split in chosen.items():
        opened = split.data.open(runtime.data_dir)
        words = _words(name, opened, hear, variables, fused.models, experiment.tokenizer, workers=runtime.workers)
        map_ = fit(words.log_posteriors, words.right) if name == "validation" else map_
        before, after = (reliability(each(words.log_posteriors), words.right) for each in (Platt(), map_))
        say(f"{name}: {_line(before, after)}")
        found[name] = {"before": before, "after": after}
        fitted[name] = {when: _numbers(each) for when, each in found[name].items()}
    about = {"checkpoint": checkpoint, "search": tree.flatten(search), "lms": dict(fused.provenance)}
    kept = {"slope": map_.slope, "offset": map_.offset, "fitted_on": "validation", **about, "splits": fitted}
    write_whole(workdir.confidence, json.dumps(kept, indent=1, default=str) + "\n")
    last, both = list(found.items())[-1]
    draw({when: each.bins for when, each in both.items()}, path=workdir.pictures / "confidence.png", title=last)
    return map_


def _words(
    name: str,
    opened: BoundPipeline,
    hear: DecodeFn,
    variables: Any,
    lms: Mapping[str, LanguageModel],
    tokenizer: Tokenizer,
    *,
    workers: int,
) -> WordPosteriors:
    references, hypotheses, posteriors = [], [], []
    with opened.eval_batches(workers=workers) as batches, Progress(len(opened.ids), name, "utterances") as bar:
        for labelled in batches:
            heard: DecodedBatch = jax.device_get(hear(variables, labelled.batch, lms))
            for row in range(len(labelled.ids)):
                words = tokens_to_words(np.asarray(heard.tokens_bu[row, : int(heard.token_lengths_b[row])]), tokenizer)
                hypotheses.append(" ".join(word.text for word in words))
                posteriors.append(log_posteriors(words, np.asarray(heard.token_log_probs_bu[row])))
            references += labelled.texts
            bar.advance(len(labelled.ids))
    return WordPosteriors(np.concatenate(posteriors), np.concatenate(words_right(references, hypotheses)))


def _line(before: Reliability, after: Reliability) -> str:
    return (
        f"{before.words} words, {before.right:.1%} right; calibration error ({BINS} bins) {before.calibration_error:.3f} -> "
        f"{after.calibration_error:.3f}, normalised cross entropy {before.cross_entropy:.3f} -> {after.cross_entropy:.3f}, "
        f"area under the ROC curve {after.area:.3f}"
    )


def _numbers(each: Reliability) -> dict[str, Any]:
    """What a JSON file can hold: NaN, which a split without an error gives, is null."""
    measures = {"right": each.right, "calibration_error": each.calibration_error}
    measures |= {"normalised_cross_entropy": each.cross_entropy, "area": each.area}
    rounded = {name: None if np.isnan(value) else round(value, 6) for name, value in measures.items()}
    return {"words": each.words, **rounded, "bins": [[n, round(p, 6), round(share, 6)] for n, p, share in each.bins]}
