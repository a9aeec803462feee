"""Evaluators of a split: error rates of a recogniser's search, perplexity of a language model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr import nn, score, tree
from jaxasr.data import BoundPipeline
from jaxasr.evaluation.decode_split import NOTHING, SearchEvaluator, no_check
from jaxasr.evaluation.result_fields import (
    condition_lines,
    headline,
    normalized_fields,
    rate_fields,
    row_of,
    score_fields,
)
from jaxasr.evaluation.trial import EvalTrial, try_longest_batch
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.split import Split
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import Batch, LanguageModel
from jaxasr.report import Measurements
from jaxasr.scale import Parallelism
from jaxasr.scale.layout import HostShard
from jaxasr.training import log_probs_of


@dataclass(frozen=True)
class EvalResult:
    """The result of an evaluation of one split."""

    line: str  # a summary for the terminal
    scores: dict[str, float]  # lower is better; `experiment.ranked_by` names the one that ranks checkpoints
    row: dict[str, Any]  # the measurements of a row of results
    attention: dict[str, float] = field(default_factory=dict)  # attention metrics, for the curves


@runtime_checkable
class Evaluator(Protocol):
    """An evaluator of an open split, to be called with any variables of the model."""

    data: BoundPipeline

    def __call__(
        self, variables: Any, workdir: Workdir, *, workers: int = 0, before_batch: Callable[[], None] = no_check
    ) -> EvalResult:
        """Evaluates these variables and writes the result of each utterance to a file in the workdir.

        Args:
            workers: loader processes.
            before_batch: called before each batch; an error that it raises ends the evaluation.
        """
        ...

    def trial(self, variables: Any, *, workers: int = 0) -> EvalTrial:
        """Evaluates the longest batch alone, and returns its times. Nothing is written."""
        ...


def make_evaluator(
    experiment: Experiment,
    name: str,
    split: Split,
    data_dir: Path,
    lms: Mapping[str, LanguageModel] = NOTHING,
    parallelism: Parallelism = "jit",
    measurements: Measurements | None = None,
) -> Evaluator:
    """Returns the evaluator that fits the experiment's model.

    Args:
        name: the name of the split in files and metrics.
        lms: the language models that a search may fuse, by name.
        parallelism: selects the devices that a search runs on (scale.placement).
        measurements: those of the run; pictures and pages are some of them.
    """
    if isinstance(experiment.model, nn.Lm):
        return _LmEvaluator(experiment.model, name, split, data_dir, experiment.ranked_by)
    search_evaluator = SearchEvaluator(experiment, name, split, data_dir, lms, parallelism, measurements)
    return _AsrEvaluator(search_evaluator, split, experiment.ranked_by)


class _AsrEvaluator:
    """An evaluator of recognisers: the error rates of their best hypotheses."""

    def __init__(self, search_evaluator: SearchEvaluator, split: Split, ranked_by: str):
        self.data = search_evaluator.data
        self._search_evaluator = search_evaluator
        self._split = split
        self._ranked_by = ranked_by

    def __call__(
        self, variables: Any, workdir: Workdir, *, workers: int = 0, before_batch: Callable[[], None] = no_check
    ) -> EvalResult:
        changed = {condition.name: self._search_evaluator.under(condition) for condition in self._split.conditions}
        evaluation = self._search_evaluator(variables, workdir, workers=workers, before_batch=before_batch)
        by_condition = {
            name: evaluator(variables, workdir, workers=workers, before_batch=before_batch)
            for name, evaluator in changed.items()
        }
        attention = dict(self._search_evaluator.alignments)
        scores = {"wer": evaluation.scores.wer, "cer": evaluation.scores.cer}
        scores[self._ranked_by] = self._ranking_score(evaluation)
        return EvalResult(
            headline(evaluation, self._search_evaluator.loss, self._search_evaluator.normalized)
            + condition_lines(by_condition),
            scores,
            {
                **row_of(evaluation, self._split.data.rate_hz),
                "alignments": {name: round(value, 4) for name, value in attention.items()},
                "search": tree.flatten(self._split.search),
                "normalized": normalized_fields(self._search_evaluator.normalized) or None,
                "by_condition": {name: rate_fields(found) for name, found in by_condition.items()} or None,
            },
            attention,
        )

    def trial(self, variables: Any, *, workers: int = 0) -> EvalTrial:
        return self._search_evaluator.trial(variables, workers=workers)

    def _ranking_score(self, evaluation: score.EvalOutput) -> float:
        loss = self._search_evaluator.loss
        return getattr(evaluation.scores, self._ranked_by) if loss is None else loss


class _LmEvaluator:
    """An evaluator of language models: the perplexity of the transcripts."""

    def __init__(self, model: nn.Lm, name: str, split: Split, data_dir: Path, ranked_by: str):
        self.data = split.data.open(data_dir)
        self._name = name
        self._ranked_by = ranked_by
        self._log_probs = jax.jit(lambda variables, batch: text_log_probs(model, variables, batch))

    def __call__(
        self, variables: Any, workdir: Workdir, *, workers: int = 0, before_batch: Callable[[], None] = no_check
    ) -> EvalResult:
        def log_probs(batch: Batch) -> Float[Array, " b"]:
            before_batch()
            return self._log_probs(variables, batch)

        with self.data.eval_batches(workers=workers) as batches:
            result = score.score_texts(log_probs, batches)
        score.write_texts(result, workdir.path / f"texts.{self._name}.jsonl")
        estimates = result.estimates()
        counts = {
            "tokens": sum(text.tokens for text in result.texts),
            "words": sum(text.words for text in result.texts),
            "characters": sum(text.characters for text in result.texts),
            "utterances": len(result.texts),
            "unwritable": list(result.out_of_vocabulary),
        }
        scores = {name: estimate.value for name, estimate in estimates.items()}
        if self._ranked_by == "loss":
            scores["loss"] = -sum(text.log_prob for text in result.texts) / counts["tokens"]
        return EvalResult(_line(result, estimates), scores, {**score_fields(result), **counts, "search": {}})

    def trial(self, variables: Any, *, workers: int = 0) -> EvalTrial:
        return try_longest_batch(
            self.data, lambda batch: self._log_probs(variables, batch), HostShard(0, 1, ()), workers
        )


def text_log_probs(model: nn.Lm, variables: Any, batch: Batch) -> Float[Array, " b"]:
    """Returns the log probability of each example's text, the end included, in float32."""
    outputs: Any = model.apply(variables, batch, step=None)
    tokens_bwu = jnp.asarray(batch.tokens_bu)[:, None]
    lengths_bw = jnp.asarray(batch.token_lengths_b)[:, None]
    return log_probs_of(outputs.logits_buv, tokens_bwu, lengths_bw)[:, 0]


def _line(result: score.PerplexityResult, estimates: Mapping[str, Any]) -> str:
    token, word, bits = (estimates[name] for name in ("perplexity", "word_perplexity", "bits_per_character"))
    parts = [
        f"perplexity {token.value:.3f} [{token.interval.low:.3f}, {token.interval.high:.3f}] by token",
        f"{word.value:.2f} [{word.interval.low:.2f}, {word.interval.high:.2f}] by word over {result.units.title}",
        f"{bits.value:.3f} bits a character",
        f"{len(result.texts)} texts",
    ]
    if result.out_of_vocabulary:
        parts.append(f"{len(result.out_of_vocabulary)} that the vocabulary can't write left out")
    return ", ".join(parts)
