"""Decoding of a split: error rates, hypotheses and a picture of the attention."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxasr import nn, report, score, text
from jaxasr.data import BoundPipeline, RecordingCondition
from jaxasr.decode import Search
from jaxasr.evaluation.attention_metrics import hypothesis_sums
from jaxasr.evaluation.trial import EvalTrial, try_longest_batch
from jaxasr.experiment.experiment import Experiment, recogniser_of
from jaxasr.experiment.split import Split, search_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import Batch, Hypotheses, LanguageModel, Sum
from jaxasr.scale import Parallelism, is_primary, placement
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
        self._frontend = recogniser_of(experiment).frontend
        _check_durations(name, self.data, self._frontend)
        loss = _validation_objective(experiment) if experiment.ranked_by == "loss" else None
        self._search = _search_with_sums(recogniser_of(experiment), search_of(split), loss)
        self._lms = lms
        self._normalizer: text.Kind | None = split.normalizer
        self._normalizers = split.normalizers
        for kind in filter(None, (self._normalizer, *self._normalizers)):
            text.normalize(kind, "")  # raises an error now if the normaliser is not installed
        self._scorer_names: tuple[str, ...] = getattr(split.search, "scorer_names", ())
        self._placement = placement(parallelism)
        self.loss: float | None = None  # in the last call; None: it does not rank checkpoints
        self.normalized: dict[
            str, score.EvalOutput | str
        ] = {}  # in further forms, of the last call; str: has no such form
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
            written = score.evaluate(decode, batches, self.data.tokenizer.decode, scorer_names=self._scorer_names)
        evaluation = written if self._normalizer is None else _in_form(written, self._normalizer)
        self.normalized = {kind: in_form_or_reason(written, kind) for kind in self._normalizers}
        self.loss = _means(losses).get("loss")
        self.alignments = {}
        with self._measurements.optional("the measures of attention"):
            self.alignments = _means(attention_sums)
        path = workdir.path / f"hypotheses.{self.name}.jsonl"
        score.write_hypotheses(evaluation, path, measurements=self._measurements)
        if is_primary() and self.data.condition is None:  # the other processes have other rows of the batch
            with self._measurements.optional("the picture of an alignment"):
                draw_alignment(
                    *latest[0],
                    self.data,
                    rate_hz=self._rate_hz,
                    path=workdir.pictures / f"alignment.{self.name}.png",
                    title=self.name,
                )
        return evaluation

    def under(self, condition: RecordingCondition) -> "SearchEvaluator":
        """Returns an evaluator with the same compiled search for the split under a recording condition.

        Raises:
            ValueError: the frontend pads to a duration, and an utterance is longer at the speed of the condition.
        """
        other = copy.copy(self)
        other.name = f"{self.name}.{condition.slug}"
        other.data = replace(self.data, condition=condition)
        _check_durations(f"{self.name} under {condition.name}", other.data, self._frontend)
        return other

    def trial(self, variables: Any, *, workers: int = 0) -> EvalTrial:
        """Decodes the longest batch of the split, and returns its times."""
        variables, lms = self._placement.whole((variables, self._lms))
        shard = self._placement.host_shard(shape.examples for shape in self.data.eval_plan.shapes)
        return try_longest_batch(
            self.data,
            lambda batch: self._search(variables, self._placement.shared(batch, shard), lms),
            shard,
            workers,
        )


def _in_form(evaluation: score.EvalOutput, kind: text.Kind) -> score.EvalOutput:
    return score.in_form(evaluation, partial(text.normalize, kind))


def in_form_or_reason(evaluation: score.EvalOutput, kind: text.Kind) -> score.EvalOutput | str:
    """Returns the evaluation in a further form, or the reason why a text has no such form: decoding is not lost by that."""
    try:
        return _in_form(evaluation, kind)
    except ValueError as error:
        return str(error)


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
    wave_n = np.asarray(batch.wave_bn[0, :real], np.float32)
    positions = max(1, round(weights_us.shape[1] * real / batch.wave_bn.shape[1]))
    report.attention.alignment(
        weights_us[:, :positions],
        tokens=[data.tokenizer.decode([token]) for token in tokens],
        seconds=real / rate_hz,
        path=path,
        title=f"{title}: {data.tokenizer.decode(tokens)}",
        levels_ft=spectrogram_db(wave_n, rate_hz),
    )


def spectrogram_db(wave_n: np.ndarray, rate_hz: int) -> np.ndarray | None:
    """Returns levels in dB of windows of 25 ms every 10 ms; None if the audio is shorter than a window."""
    from scipy import signal  # here: importing it takes longer than a command without pictures should

    window = rate_hz // 40
    if len(wave_n) < window:
        return None
    _, _, powers_ft = signal.spectrogram(wave_n, rate_hz, nperseg=window, noverlap=window - rate_hz // 100)
    return 10.0 * np.log10(np.maximum(powers_ft, 1e-10 * max(float(powers_ft.max()), 1e-30)))


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
