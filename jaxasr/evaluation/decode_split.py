"""Decoding of a split: error rates, hypotheses and a picture of the attention."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxasr import nn, report, score, text
from jaxasr.data import BoundPipeline
from jaxasr.decode import Search
from jaxasr.evaluation.attention_metrics import hypothesis_sums
from jaxasr.experiment.experiment import Experiment, Split, recogniser_of, search_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import Batch, Hypotheses, LanguageModel, Sum
from jaxasr.scale import Parallelism, is_primary, placement
from jaxasr.score.estimates import TEXT_SCORES
from jaxasr.training import Objective, TrainState

NOTHING: Mapping[str, LanguageModel] = {}
_Sums = tuple[dict[str, Sum], dict[str, Sum]]  # of attention metrics, and of the loss


def no_check() -> None:
    """Does nothing before a batch: the evaluation is not to be stopped."""


def evaluated_variables(experiment: Experiment, state: TrainState) -> Any:
    """Returns the variables for decoding: averaged parameters if the run keeps an average, else the last ones."""
    statistics = {name: collection for name, collection in state.statistics.items() if name != "teacher"}
    return {"params": state.ema_params if experiment.keeps_average else state.params, **statistics}


class SearchEvaluator:
    """An evaluator that decodes one split with one compiled search, for any variables of the model."""

    def __init__(
        self,
        experiment: Experiment,
        name: str,
        split: Split,
        data_dir: Path,
        lms: Mapping[str, LanguageModel] = NOTHING,
        parallelism: Parallelism = "jit",
        measurements: report.Measurements | None = None,
    ):
        """Opens the split; nothing is compiled before the first call.

        Args:
            name: the name of the split in files and metrics.
            lms: the language models that the search may fuse, by name.
            parallelism: under "jit" one device decodes everything; otherwise all devices share the examples.
            measurements: those of the run; the picture and the pages are some of them.
        """
        self._measurements = measurements or report.Measurements()
        self.name = name
        self.data: BoundPipeline = split.data.open(data_dir)
        self._rate_hz = split.data.rate_hz
        _check_durations(name, self.data, recogniser_of(experiment).frontend)
        loss = _validation_objective(experiment) if experiment.ranked_by == "loss" else None
        self._search = _search_with_sums(recogniser_of(experiment), search_of(split), loss)
        self._lms = lms
        self._normalizer: text.Kind | None = split.normalizer
        self._scored("")  # raises an error now if the normaliser is not installed
        self._scorer_names: tuple[str, ...] = getattr(split.search, "scorer_names", ())
        self._placement = placement(parallelism)
        self.loss: float | None = None  # in the last call; None: it does not rank checkpoints
        self.alignments: dict[str, float] = {}  # the means of `hypothesis_sums` in the last call

    def __call__(
        self, variables: Any, workdir: Workdir, *, workers: int = 0, before_batch: Callable[[], None] = no_check
    ) -> score.EvalOutput:
        """Decodes every utterance, counts the errors, and writes hypotheses and an alignment into the workdir.

        Args:
            workers: loader processes.
            before_batch: called before each batch; an error that it raises ends the evaluation.
        """
        latest: list[tuple[Batch, Hypotheses]] = []
        attention_sums: list[dict[str, Sum]] = []
        losses: list[dict[str, Sum]] = []
        variables, lms = self._placement.whole((variables, self._lms))
        shard = self._placement.host_shard(shape.examples for shape in self.data.eval_plan.shapes)

        def decode(batch: Batch) -> Hypotheses:
            before_batch()
            found, sums = self._search(variables, self._placement.shared(batch, shard), lms)
            found = self._placement.gathered_rows(found, shard)
            latest[:] = [(batch, found)]
            attention, loss = self._placement.gathered(sums)
            attention_sums.append(attention)
            losses.append(loss)
            return found

        with self.data.eval_batches(workers=workers, host=shard.host, hosts=shard.hosts) as batches:
            references = (replace(batch, texts=tuple(map(self._scored, batch.texts))) for batch in batches)
            evaluation = score.evaluate(decode, references, self._text, scorer_names=self._scorer_names)
        self.loss = _means(losses).get("loss")
        self.alignments = {}
        with self._measurements.optional("the measures of attention"):
            self.alignments = _means(attention_sums)
        path = workdir.path / f"hypotheses.{self.name}.jsonl"
        score.write_hypotheses(evaluation, path, measurements=self._measurements)
        if is_primary():  # the other processes have other rows of the batch
            with self._measurements.optional("the picture of an alignment"):
                draw_alignment(
                    *latest[0],
                    self.data,
                    rate_hz=self._rate_hz,
                    path=workdir.pictures / f"alignment.{self.name}.png",
                    title=self.name,
                )
        return evaluation

    def _scored(self, written: str) -> str:
        """Returns a transcript in the form that is scored."""
        return written if self._normalizer is None else text.normalize(self._normalizer, written)

    def _text(self, tokens: Sequence[int]) -> str:
        return self._scored(self.data.tokenizer.decode(tokens))


def _check_durations(name: str, data: BoundPipeline, frontend: nn.LogMel) -> None:
    """Checks, before a training or a search, that every utterance fits into the duration that the frontend pads to.

    Raises:
        ValueError: some are longer; the longest is named.
    """
    seconds_b = data.eval_plan.lengths.samples.max(axis=1) / frontend.rate_hz
    longer = np.flatnonzero(seconds_b > frontend.pad_s)
    if frontend.pad_s and len(longer):
        longest = int(longer[np.argmax(seconds_b[longer])])
        raise ValueError(
            f"{name} has {len(longer)} utterances of more than model.frontend.pad_s={frontend.pad_s:g} s, such as "
            f"{data.ids[longest]} ({seconds_b[longest]:.1f} s), and an evaluation leaves none out: evaluate on a corpus of "
            "shorter segments, or transcribe the files, which cuts windows"
        )


def _means(batches: Sequence[Mapping[str, Sum]]) -> dict[str, float]:
    """Returns the means of sums over batches, on the host; those without weight are left out."""
    first, *others = batches
    totals = {name: sum((sums[name] for sums in others), first[name]) for name in first}
    return {name: total.mean for name, total in jax.device_get(totals).items() if total.weight}


def draw_alignment(
    batch: Batch, hypotheses: Hypotheses, data: BoundPipeline, *, rate_hz: int, path: Path, title: str
) -> None:
    """Draws the attention of the first utterance of a batch; nothing is drawn if its hypothesis is empty."""
    tokens = np.asarray(hypotheses.tokens_bwu[0, 0, : int(hypotheses.token_lengths_bw[0, 0])])
    weights_us = np.asarray(hypotheses.weights_buhs[0, : len(tokens)].mean(axis=1))
    if not len(tokens) or not weights_us.size:
        return
    real = int(batch.sample_lengths_b[0])
    positions = max(1, round(weights_us.shape[1] * real / batch.wave_bn.shape[1]))
    report.pictures.alignment(
        weights_us[:, :positions],
        tokens=[data.tokenizer.decode([token]) for token in tokens],
        seconds=real / rate_hz,
        path=path,
        title=f"{title}: {data.tokenizer.decode(tokens)}",
    )


def compiled_search(model: nn.Seq2Seq, search: Search) -> Any:
    """Returns the search as one compiled function (variables, batch, lms) -> Hypotheses, compiled once per shape."""

    @jax.jit
    def decode(variables: Any, batch: Batch, lms: Mapping[str, LanguageModel] = NOTHING) -> Hypotheses:
        return search(nn.Recogniser(model, variables, lms), batch)

    return decode


def _search_with_sums(model: nn.Seq2Seq, search: Search, objective: Objective | None) -> Any:
    """Returns a compiled function (variables, batch, lms) -> (hypotheses, (sums of attention metrics, sum of the loss)).

    Args:
        objective: gives the teacher-forced loss of the transcripts; None: there is no loss among the sums.
    """

    @jax.jit
    def decode(variables: Any, batch: Batch, lms: Mapping[str, LanguageModel]) -> tuple[Hypotheses, _Sums]:
        hypotheses = search(nn.Recogniser(model, variables, lms), batch)
        attention = hypothesis_sums(model, hypotheses, batch)
        if objective is None:
            return hypotheses, (attention, {})
        outputs: Any = model.apply(variables, batch, step=None)
        return hypotheses, (attention, {"loss": objective(outputs, batch)["loss"]})

    return decode


def _validation_objective(experiment: Experiment) -> Objective:
    """Returns the objective of the validation loss: cross-entropy and CTC, without smoothing and auxiliary losses."""
    return Objective(ctc_weight=experiment.objective.ctc_weight)


def headline(evaluation: score.EvalOutput, loss: float | None = None) -> str:
    """Returns WER with its interval, CER and the number of utterances in one line.

    Args:
        loss: the teacher-forced loss of a target token in nats, if it is known.
    """
    estimates = evaluation.estimates()
    wer = estimates["wer"]
    parts = [
        f"WER {wer.value:.2%} [{wer.interval.low:.2%}, {wer.interval.high:.2%}] over {evaluation.units.title}",
        f"CER {estimates['cer'].value:.2%}",
        f"{len(evaluation.utterances)} utterances",
    ]
    parts += [] if loss is None else [f"loss {loss:.4f}"]
    parts += [f"MER {estimates['mer'].value:.2%}"] if evaluation.scores.mer != evaluation.scores.wer else []
    parts += [f"{len(evaluation.cut)} cut at the limit"] if evaluation.cut else []
    parts += [f"{len(evaluation.repetitive)} loop"] if evaluation.repetitive else []
    return ", ".join(parts)


def row_of(evaluation: score.EvalOutput, rate_hz: int) -> dict[str, Any]:
    """Returns the scores of a row of results: fractions with 95 % intervals, counts and speed.

    A rate is None if it is infinite: there are insertions and no reference words.
    """
    rtfx = evaluation.speed.audio_per_wall(rate_hz)
    return {
        **dict.fromkeys(sorted(TEXT_SCORES)),  # None: does not apply
        **score_fields(evaluation),
        "unit_errors": evaluation.unit_errors,
        "bleu_tokenizer": evaluation.scores.tokenizer,
        "words": evaluation.scores.words.references,
        "characters": evaluation.scores.characters.references,
        "utterances": len(evaluation.utterances),
        "oracle_wer": _finite(evaluation.oracle),
        "cut": list(evaluation.cut),
        "looping": list(evaluation.repetitive),
        "audio_s_per_s": None if rtfx is None else round(rtfx, 1),
    }


def score_fields(evaluation: score.EvalOutput | score.PerplexityResult) -> dict[str, Any]:
    """Returns the scores and their intervals for a row of results, with the units that the intervals rest on.

    `intervals` are over speakers if there are enough of them; `intervals_over_utterances` are there as well then.
    """
    units = evaluation.units
    found = evaluation.estimates()
    fields = {name: _finite(estimate.value) for name, estimate in found.items()}
    fields |= {"intervals": _bounds(found), "intervals_over": units.kind, "units": units.count}
    if units.kind == "speakers":
        fields["intervals_over_utterances"] = _bounds(evaluation.estimates("utterances"))
    return fields | {"interval_method": score.METHOD}


def _bounds(found: Mapping[str, score.Estimate]) -> dict[str, list[float | None]]:
    return {name: [_finite(estimate.interval.low), _finite(estimate.interval.high)] for name, estimate in found.items()}


def _finite(rate: float) -> float | None:
    return round(rate, 6) if math.isfinite(rate) else None
