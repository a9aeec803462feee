"""Decodes a set of utterances and lays the hypotheses beside the references."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Protocol, runtime_checkable

import jax
import numpy as np

from jaxasr.records import Batch, Hypotheses
from jaxasr.report import Progress
from jaxasr.score.alignment import Counts
from jaxasr.score.estimates import Estimate, estimates
from jaxasr.score.jackknife import IndependentUnits, Over, independent_units
from jaxasr.score.metrics import ErrorRate, Scores, count_errors, measure
from jaxasr.score.repetition import is_repetitive

MOST_UNITS = 3_000  # whose errors a row of results carries
DecodeText = Callable[[Sequence[int]], str]


@runtime_checkable
class LabelledBatch(Protocol):
    """A batch, this host's rows of it, and the names of all hosts' valid rows, which come first (data.EvalBatch)."""

    @property
    def batch(self) -> Batch: ...

    @property
    def sample_lengths(self) -> Sequence[int]: ...

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def texts(self) -> Sequence[str]: ...

    @property
    def speakers(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Candidate:
    """One of the n best."""

    text: str
    score: float  # what the n best are ranked by
    log_prob: float
    finished: bool  # False: cut at the search's limit
    shares: Mapping[str, float] = field(default_factory=dict[str, float])  # of the log probability, by what added them


@dataclass(frozen=True)
class Utterance:
    """An utterance with its reference and its n-best list."""

    id: str
    speaker: str
    reference: str
    samples: int
    candidates: tuple[Candidate, ...]  # best first

    @property
    def hypothesis(self) -> str:
        """The text of the best candidate."""
        return self.candidates[0].text

    @property
    def finished(self) -> bool:
        """The answer to whether the best candidate ended before the search's limit."""
        return self.candidates[0].finished


@dataclass(frozen=True)
class Speed:
    """The speed of a search, from waves on the host to tokens on the host.

    The first batch of each shape is left out, because it may include compilation. If every batch was the first of its shape,
    the rate is None.
    """

    samples: int
    wall_s: float

    def audio_per_wall(self, rate_hz: int) -> float | None:
        """Returns seconds of audio per second (RTFx)."""
        return self.samples / rate_hz / self.wall_s if self.wall_s else None


@dataclass(frozen=True)
class EvalOutput:
    """A decoded set: utterances in the order they came, and their scores in the same order."""

    utterances: tuple[Utterance, ...]
    scores: Scores
    speed: Speed

    @property
    def cut(self) -> tuple[str, ...]:
        """Ids of utterances whose best hypothesis did not come to an end: the search's limit cut it."""
        return tuple(utterance.id for utterance in self.utterances if not utterance.finished)

    @cached_property
    def repetitive(self) -> tuple[str, ...]:
        """The ids of utterances whose hypothesis repeats a phrase again and again, unlike the reference."""
        return tuple(
            utterance.id for utterance in self.utterances if is_repetitive(utterance.hypothesis, utterance.reference)
        )

    @cached_property
    def oracle(self) -> float:
        """The word error rate of the best hypothesis in each n-best list, a lower bound for rescoring."""
        return self.oracle_rate("wer")

    def oracle_rate(self, rate: ErrorRate) -> float:
        """Returns an error rate of the best hypothesis in each n-best list."""
        pairs = [
            (utterance.reference, candidate.text) for utterance in self.utterances for candidate in utterance.candidates
        ]
        errors = iter(count.errors for count in count_errors(rate, *zip(*pairs, strict=True)))
        fewest = sum(min(islice(errors, len(utterance.candidates))) for utterance in self.utterances)
        references = sum(utterance.counts(rate).references for utterance in self.scores.utterances)
        return Counts(0, 0, fewest, references).rate  # of what kind they are doesn't matter

    @cached_property
    def units(self) -> IndependentUnits:
        """The independent units of the intervals: speakers if there are enough of them, else utterances."""
        return independent_units([utterance.speaker for utterance in self.utterances])

    @property
    def unit_errors(self) -> dict[str, list[int]] | None:
        """The word errors, words, character errors and characters of each independent unit, for paired tests.

        None: there are more than MOST_UNITS.
        """
        labels = self.units.blocks or tuple(utterance.id for utterance in self.utterances)
        if self.units.count > MOST_UNITS:
            return None
        found = {label: [0, 0, 0, 0] for label in labels}
        for label, scores in zip(labels, self.scores.utterances, strict=True):
            words = scores.words
            characters = scores.characters
            counts = (words.errors, words.references, characters.errors, characters.references)
            found[label] = [before + count for before, count in zip(found[label], counts, strict=True)]
        return found

    def estimates(self, over: Over = "auto") -> Mapping[str, Estimate]:
        """Returns every score with its interval.

        Args:
            over: the independent units: speakers, utterances, or "auto": speakers if there are enough of them.
        """
        if over == "auto":
            return self._estimates
        blocks = [utterance.speaker for utterance in self.utterances] if over == "speakers" else None
        return estimates(self.scores, blocks=blocks)

    @cached_property
    def _estimates(self) -> Mapping[str, Estimate]:
        return estimates(self.scores, blocks=self.units.blocks)


def evaluate(
    decode: Callable[[Batch], Hypotheses],
    batches: Iterable[LabelledBatch],
    decode_text: DecodeText,
    *,
    scorer_names: Sequence[str] = (),
    progress: Progress | None = None,
) -> EvalOutput:
    """Decodes every batch and counts the errors of the best hypotheses.

    Args:
        decode: a compiled search over a model; in several processes it returns the hypotheses of all hosts' rows.
        batches: as `data.BoundPipeline.eval_batches` gives them.
        decode_text: tokens, without the end, to text.
        parts: names of the shares that hypotheses come with (`decode.Beam.scorer_names`).
        progress: an entered bar, advanced by utterances.

    Raises:
        ValueError: no utterance came, or a batch does not have as many names as valid rows.
        FloatingPointError: the search's score of an utterance is NaN.
    """
    utterances: list[Utterance] = []
    watch = _Stopwatch()
    for labelled in batches:
        found = watch.timed(decode, labelled)
        utterances.extend(_utterances(labelled, found, decode_text, scorer_names))
        if progress is not None:
            progress.advance(len(labelled.ids))
    return EvalOutput(tuple(utterances), _measured(utterances), watch.speed)


def in_form(evaluation: EvalOutput, form: Callable[[str], str]) -> EvalOutput:
    """Returns the evaluation with references and hypotheses in another form, and the scores of that form.

    Args:
        form: a text to its form, such as `text.normalize` of one normaliser.

    Raises:
        ValueError: a text has no such form.
    """
    utterances = tuple(
        replace(
            utterance,
            reference=form(utterance.reference),
            candidates=tuple(replace(candidate, text=form(candidate.text)) for candidate in utterance.candidates),
        )
        for utterance in evaluation.utterances
    )
    return EvalOutput(utterances, _measured(utterances), evaluation.speed)


def _measured(utterances: Sequence[Utterance]) -> Scores:
    return measure(
        [utterance.reference for utterance in utterances], [utterance.hypothesis for utterance in utterances]
    )


class _Stopwatch:
    """A timer of batches whose shape has occurred before."""

    def __init__(self) -> None:
        self.speed = Speed(0, 0.0)
        self._seen: set[tuple[int, ...]] = set()

    def timed(self, decode: Callable[[Batch], Hypotheses], labelled: LabelledBatch) -> "_HostHypotheses":
        batch = labelled.batch
        began = time.perf_counter()
        found = _fetch(decode(batch))
        wall_s = time.perf_counter() - began
        shape = (*batch.wave_bn.shape, *batch.tokens_bu.shape)
        if shape in self._seen:
            samples = self.speed.samples + sum(labelled.sample_lengths)
            self.speed = Speed(samples, self.speed.wall_s + wall_s)
        self._seen.add(shape)
        return found


@dataclass(frozen=True)
class _HostHypotheses:
    """The hypotheses of a batch on the host, without attention."""

    tokens_bwu: np.ndarray
    token_lengths_bw: np.ndarray
    scores_bw: np.ndarray
    log_probs_bw: np.ndarray
    finished_bw: np.ndarray
    shares_bwk: np.ndarray | None


def _fetch(found: Hypotheses) -> _HostHypotheses:
    leaves = (found.tokens_bwu, found.token_lengths_bw, found.scores_bw, found.log_probs_bw, found.finished_bw)
    return _HostHypotheses(*jax.device_get((*leaves, found.scores_by_scorer_bwk)))


def _utterances(
    labelled: LabelledBatch, found: _HostHypotheses, decode_text: DecodeText, parts: Sequence[str]
) -> list[Utterance]:
    names = len(labelled.ids)
    valid_b = np.asarray(labelled.batch.valid_b)
    if len(valid_b) == len(found.scores_bw) and (not valid_b[:names].all() or valid_b[names:].any()):
        raise ValueError(
            f"a batch came with {names} ids and {int(valid_b.sum())} valid rows; its valid rows come first, one an id"
        )
    rows = zip(labelled.ids, labelled.speakers, labelled.texts, labelled.sample_lengths, strict=True)
    return [
        Utterance(id, speaker, text, samples, _candidates(id, found, i, decode_text, parts))
        for i, (id, speaker, text, samples) in enumerate(rows)
    ]


def _candidates(
    id: str, found: _HostHypotheses, i: int, decode_text: DecodeText, parts: Sequence[str]
) -> tuple[Candidate, ...]:
    if np.isnan(found.scores_bw[i]).any():
        raise FloatingPointError(f"the score of utterance {id} is NaN; the model's parameters are probably not finite")
    return tuple(
        Candidate(
            text=decode_text(found.tokens_bwu[i, w, : found.token_lengths_bw[i, w]].tolist()),
            score=float(found.scores_bw[i, w]),
            log_prob=float(found.log_probs_bw[i, w]),
            finished=bool(found.finished_bw[i, w]),
            shares={}
            if found.shares_bwk is None
            else dict(zip(parts, found.shares_bwk[i, w].tolist(), strict=bool(parts))),
        )
        for w in range(found.scores_bw.shape[1])
        if w == 0 or np.isfinite(found.scores_bw[i, w])
    )
