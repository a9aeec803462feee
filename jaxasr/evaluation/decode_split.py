"""From variables and a split to numbers, hypotheses and pictures of where the speller looked."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxasr import nn, report, score
from jaxasr.data import BoundPipeline
from jaxasr.decode import Search
from jaxasr.evaluation.attention_metrics import hypothesis_sums
from jaxasr.experiment.experiment import Experiment, Split, recogniser_of, search_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import Batch, Hypotheses, LanguageModel, Sum
from jaxasr.scale import Parallelism, is_primary, placement
from jaxasr.training import TrainState

NOTHING: Mapping[str, LanguageModel] = {}


def evaluated_variables(experiment: Experiment, state: TrainState) -> Any:
    """The variables that are decoded with: averaged parameters where the run averages, else the last ones."""
    statistics = {name: each for name, each in state.statistics.items() if name != "teacher"}
    return {"params": state.ema_params if experiment.keeps_average else state.params, **statistics}


class SearchEvaluator:
    """Decodes one split, as often as it is asked to, with one compiled search."""

    def __init__(
        self,
        experiment: Experiment,
        name: str,
        split: Split,
        data_dir: Path,
        lms: Mapping[str, LanguageModel] = NOTHING,
        how: Parallelism = "jit",
    ):
        """Opens the split; nothing is compiled before the first call.

        Args:
            name: what the split's files and metrics are called.
            lms: what the search may fuse.
            how: as the step is compiled: under jit one device searches, else each its share of the examples.
        """
        self.name = name
        self.data: BoundPipeline = split.data.open(data_dir)
        self._rate_hz = split.data.rate_hz
        self._search, self._lms = _search_with_attention_metrics(recogniser_of(experiment), search_of(split)), lms
        self._parts: tuple[str, ...] = getattr(split.search, "scorer_names", ())
        self._placement = placement(how)
        self.alignments: dict[str, float] = {}  # the means of watch.hypothesis_sums, of the last call

    def __call__(self, variables: Any, workdir: Workdir, *, workers: int = 0) -> score.EvalOutput:
        """Decodes every utterance, counts the errors, writes hypotheses and an alignment into the run's folder."""
        latest: list[tuple[Batch, Hypotheses]] = []
        watched: list[dict[str, Sum]] = []
        variables, lms = self._placement.whole((variables, self._lms))
        seat = self._placement.seat(shape.examples for shape in self.data.eval_plan.shapes)

        def decode(batch: Batch) -> Hypotheses:
            found, sums = self._search(variables, self._placement.shared(batch, seat), lms)
            found, sums = self._placement.gathered_rows(found, seat), self._placement.gathered(sums)
            latest[:] = [(batch, found)]
            watched.append(sums)
            return found

        with self.data.eval_batches(workers=workers, host=seat.host, hosts=seat.hosts) as batches:
            evaluation = score.evaluate(decode, batches, self.data.tokenizer.decode, scorer_names=self._parts)
        totals = {name: sum((each[name] for each in watched[1:]), watched[0][name]) for name in watched[0]}
        self.alignments = {name: total.mean for name, total in jax.device_get(totals).items() if total.weight}
        score.write_hypotheses(evaluation, workdir.path / f"hypotheses.{self.name}.jsonl")
        if is_primary():  # the others have other rows of the batch
            draw_alignment(
                *latest[0],
                self.data,
                rate_hz=self._rate_hz,
                path=workdir.pictures / f"alignment.{self.name}.png",
                title=self.name,
            )
        return evaluation


def draw_alignment(
    batch: Batch, hypotheses: Hypotheses, data: BoundPipeline, *, rate_hz: int, path: Path, title: str
) -> None:
    """Where the speller looked in the first utterance of a batch; nothing is drawn if it wrote nothing."""
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
    """The whole search as one compiled function (variables, batch, lms) -> Hypotheses; it compiles once a shape."""

    @jax.jit
    def decode(variables: Any, batch: Batch, lms: Mapping[str, LanguageModel] = NOTHING) -> Hypotheses:
        return search(nn.Recogniser(model, variables, lms), batch)

    return decode


def _search_with_attention_metrics(model: nn.Seq2Seq, search: Search) -> Any:
    """The same with what the alignments say of themselves: (hypotheses, sums)."""

    @jax.jit
    def decode(variables: Any, batch: Batch, lms: Mapping[str, LanguageModel]) -> tuple[Hypotheses, dict[str, Sum]]:
        hypotheses = search(nn.Recogniser(model, variables, lms), batch)
        return hypotheses, hypothesis_sums(model, hypotheses, batch)

    return decode


def headline(evaluation: score.EvalOutput) -> str:
    """The numbers that people ask for first, in one line."""
    estimates = evaluation.estimates()
    wer, cer = estimates["wer"], estimates["cer"]
    parts = [
        f"WER {wer.value:.2%} [{wer.interval.low:.2%}, {wer.interval.high:.2%}]",
        f"CER {cer.value:.2%}",
        f"{len(evaluation.utterances)} utterances",
    ]
    parts += [f"{len(evaluation.cut)} cut at the limit"] if evaluation.cut else []
    parts += [f"{len(evaluation.repetitive)} loop"] if evaluation.repetitive else []
    return ", ".join(parts)


def row_of(evaluation: score.EvalOutput, rate_hz: int) -> dict[str, Any]:
    """What a row of results holds: every score as a fraction with its 95 % interval over utterances, counts and speed.

    None is a rate that is infinite: insertions, and not a word of reference to count them against.
    """
    estimates = evaluation.estimates()
    scores = {name: _finite(each.value) for name, each in estimates.items()}
    intervals = {name: [_finite(each.interval.low), _finite(each.interval.high)] for name, each in estimates.items()}
    rtfx = evaluation.speed.audio_per_wall(rate_hz)
    return scores | {
        "intervals": intervals,
        "words": evaluation.scores.words.references,
        "characters": evaluation.scores.characters.references,
        "utterances": len(evaluation.utterances),
        "oracle_wer": _finite(evaluation.oracle),
        "cut": list(evaluation.cut),
        "looping": list(evaluation.repetitive),
        "audio_s_per_s": None if rtfx is None else round(rtfx, 1),
    }


def _finite(rate: float) -> float | None:
    return round(rate, 6) if math.isfinite(rate) else None
