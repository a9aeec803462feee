"""Comparison of recipes that were trained with several seeds: the spread of a result over seeds, speakers and utterances.

A difference between two recipes must be larger than what other seeds and other speakers would have made of it. A test over
utterances alone takes the seeds as they fell; a test over seeds alone takes the test set as it is.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtr, stdtrit

from jaxasr.score.comparison.paired_tests import block_sums, standard_error
from jaxasr.score.significance import Column, Interval

Errors = Sequence[Sequence[int]] | np.ndarray  # [runs, utterances]


@dataclass(frozen=True)
class VarianceParts:
    """The variance of the error rate of one run on one test set of this size, by where it comes from."""

    seeds: float  # another seed, the same utterances
    speakers: float  # other speakers
    utterances: float  # other utterances of the same speakers
    rest: float  # seeds differ in which utterances they recognise

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return self.seeds + self.speakers + self.utterances + self.rest


@dataclass(frozen=True)
class TTest:
    """The t test of the difference between two recipes over blocks of utterances, and over seeds where there are several."""

    difference: float  # mean error rate of b less that of a
    interval: Interval
    p_value: float  # two-sided


def variance_parts(errors: Errors, words: Column, speakers: Sequence[Hashable]) -> VarianceParts:
    """Splits the variance of an error rate by the method of moments; a part estimated as negative is 0.

    The model is rate + seed + speaker + utterance(speaker) + seed x utterance, of errors less expected errors, linearised.

    Args:
        errors: of each run on each utterance.
        words: of the reference of each utterance.
        speakers: of each utterance.

    Raises:
        ValueError: fewer than two runs, speakers, or utterances beyond one a speaker.

    Source: Searle, Casella and McCulloch 1992, Variance components, chapter 3 (unbalanced nested) and section 4.3 (crossed).
    """
    scores = _influences(errors, words)
    runs, utterances = scores.shape
    counts = block_sums(np.ones(len(speakers)), speakers)
    if runs < 2 or len(counts) < 2 or utterances <= len(counts):
        raise ValueError(
            f"{runs} runs on {utterances} utterances of {len(counts)} speakers; two runs, two speakers and more than one "
            "utterance of a speaker are needed to split the variance"
        )
    by_run = scores.mean(axis=1, keepdims=True)
    by_utterance = scores.mean(axis=0)
    rest = float(np.sum((scores - by_run - by_utterance) ** 2)) / ((runs - 1) * (utterances - 1))
    seed = max(0.0, float(by_run.var(ddof=1)) - rest / utterances)
    sums = block_sums(by_utterance, speakers)
    between = float(np.sum(sums**2 / counts)) / (len(counts) - 1)  # the mean over all is 0
    squares = float(np.sum(by_utterance**2)) - float(np.sum(sums**2 / counts))
    within = squares / (utterances - len(counts))
    typical = (utterances - float(np.sum(counts**2)) / utterances) / (len(counts) - 1)
    speaker = max(0.0, (between - within) / typical)
    utterance = max(0.0, within - rest / runs)
    return VarianceParts(
        seed, speaker * float(np.sum(counts**2)) / utterances**2, utterance / utterances, rest / utterances
    )


def t_test(
    errors_a: Errors,
    errors_b: Errors,
    words: Column,
    blocks: Sequence[Hashable],
    *,
    level: float = 0.95,
) -> TTest:
    """Compares the mean error rates of two recipes with a t test over seeds and blocks of utterances.

    The variance of the difference is that over blocks plus that over seeds of each recipe; what is in both is not taken
    off, which errs on the safe side. Degrees of freedom are Satterthwaite's.

    Args:
        errors_a: of each run of recipe a on each utterance.
        errors_b: of each run of recipe b on each utterance; the runs need not correspond.
        words: of the reference of each utterance.
        blocks: what is drawn together: the speaker of each utterance, or its id.
        level: of the interval.

    Raises:
        ValueError: fewer than two blocks.

    Source: Cameron, Gelbach and Miller 2011, Journal of Business & Economic Statistics 29, for clusters in two directions;
    Satterthwaite 1946, Biometrics Bulletin 2.
    """
    runs_a = np.asarray(errors_a, np.float64)
    runs_b = np.asarray(errors_b, np.float64)
    total = float(np.sum(words))
    more = runs_b.mean(axis=0) - runs_a.mean(axis=0)
    parts = [(standard_error(block_sums(more, blocks), block_sums(words, blocks)) ** 2, len(set(blocks)) - 1)]
    for runs in (runs_a, runs_b):
        if len(runs) > 1:
            parts.append((float((runs.sum(axis=1) / total).var(ddof=1)) / len(runs), len(runs) - 1))
    return _t_test_of(float(more.sum()) / total, parts, level)


def welch_test(rates_a: Sequence[float], rates_b: Sequence[float], *, level: float = 0.95) -> TTest:
    """Compares the mean error rates of two recipes by their seeds alone: the test set is taken as it is.

    Raises:
        ValueError: a recipe has fewer than two seeds.

    Source: Welch 1947, Biometrika 34.
    """
    if min(len(rates_a), len(rates_b)) < 2:
        raise ValueError(f"{len(rates_a)} and {len(rates_b)} seeds; two of each recipe at least are needed")
    parts = [(float(np.var(rates, ddof=1)) / len(rates), len(rates) - 1) for rates in (rates_a, rates_b)]
    return _t_test_of(float(np.mean(rates_b) - np.mean(rates_a)), parts, level)


def _t_test_of(difference: float, parts: Sequence[tuple[float, int]], level: float) -> TTest:
    """Returns the t test of a difference whose variance is a sum of parts, each with its degrees of freedom."""
    variance = sum(part for part, _ in parts)
    if not variance:
        return TTest(difference, Interval(difference, difference, level), float(not difference))
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    error = math.sqrt(variance)
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(difference) / error))
    return TTest(difference, Interval(difference - half, difference + half, level), p_value)


def _influences(errors: Errors, words: Column) -> Float64[np.ndarray, "runs utterances"]:
    """Returns errors less expected errors, scaled so that the mean of a run is its rate less the mean rate."""
    counts = np.asarray(errors, np.float64)
    lengths = np.asarray(words, np.float64)
    rate = counts.sum() / (len(counts) * lengths.sum())
    return (counts - rate * lengths) * (len(lengths) / lengths.sum())
