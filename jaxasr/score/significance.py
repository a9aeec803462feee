"""Confidence intervals of error rates, and paired comparisons of two systems on the same utterances.

The interval of one rate is that of the jackknife (`score.jackknife`). For a comparison, utterances (or speakers, which is
better if there are several utterances of each) are drawn with replacement a thousand times, and the interval lies between the
percentiles of the resampled differences. Errors within an utterance are not independent, so words are never drawn.

Sources: Bisani & Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP;
Liu & Peng 2020, arXiv:1912.09508 (blocks); Gillick & Cox 1989, ICASSP (matched pairs).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from scipy.special import stdtrit

from jaxasr.score.jackknife import Blocks, Column, Interval, Score, intervals

RESAMPLES = 1_000


@dataclass(frozen=True)
class Comparison:
    """The comparison of system b with system a on the same utterances; negative means that b makes fewer errors."""

    difference: float  # error rate of b less that of a
    interval: Interval  # of the difference
    better: float  # share of resamples in which b makes fewer errors: the probability of improvement
    p_value: float  # two-sided, of the matched-pairs test: how likely so large a difference is if there is none


def totals(
    columns: Sequence[Column], *, blocks: Sequence[Hashable] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Float64[np.ndarray, "resamples columns"]:
    """Returns the column sums of sets drawn with replacement, as many utterances (or blocks) as there are.

    Args:
        columns: one number an utterance each, such as errors and words.
        blocks: who speaks in each utterance: whole speakers are drawn then.
        seed: the same seed and number of utterances give the same draws.

    Raises:
        ValueError: no utterance, columns of unequal lengths, or no resample.
    """
    lengths = {len(column) for column in columns} | (set[int]() if blocks is None else {len(blocks)})
    if len(lengths) != 1 or not min(lengths) or resamples < 1:
        raise ValueError(
            f"columns and blocks of {sorted(lengths)} utterances, {resamples} resamples; all need the same number of "
            "utterances, and one at least of everything"
        )
    values = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    if blocks is not None:
        values = _sum_blocks(values, blocks)
    rng = np.random.default_rng(seed)
    units = len(values)
    drawn = (np.bincount(rng.integers(units, size=units), minlength=units) for _ in range(resamples))
    return np.stack([times @ values for times in drawn])


def percentiles(values: Sequence[float] | np.ndarray, level: float) -> Interval:
    """Returns the middle part of resampled values, `level` of them.

    Raises:
        ValueError: level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is no share of confidence; one between 0 and 1 is needed, such as 0.95")
    # a value that was drawn, not one between two: infinite rates have no mean
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return Interval(float(low), float(high), level)


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Returns the interval of the mean over all seeds from independent runs: Student's t, n - 1 degrees of freedom.

    It knows nothing of the utterances that were drawn: the test set is taken as it is.

    Raises:
        ValueError: fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no spread; two runs at least are needed")
    half = float(stdtrit(len(values) - 1, (1 + level) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    mean = float(np.mean(values))
    return Interval(mean - half, mean + half, level)


def rate_interval(errors: Column, words: Column, *, level: float = 0.95, blocks: Blocks | None = None) -> Interval:
    """Returns the interval of an error rate by the jackknife: errors over words, one number an utterance each.

    Example: `rate_interval([1, 0, 2, 1], [5, 4, 6, 5])` is 0.062 to 0.646.

    Args:
        blocks: the unit of each utterance, such as its speaker (`independent_units`); None: every utterance is one.

    Raises:
        ValueError: no utterance, columns of unequal lengths, or a level that is not between 0 and 1.
    """
    return intervals([errors, words], {"rate": Score(rates, "log", 1)}, blocks=blocks, level=level)["rate"][1]


def compare(
    errors_a: Column,
    errors_b: Column,
    words: Column,
    *,
    level: float = 0.95,
    blocks: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compares system b with system a by utterance: both get the same draws, so utterances that are hard for both cancels.

    Args:
        words: of the references, which are the same for both.
    """
    drawn_a, drawn_b, drawn_words = totals([errors_a, errors_b, words], blocks=blocks, resamples=resamples, seed=seed).T
    differences = rates(np.stack([drawn_b - drawn_a, drawn_words], axis=1))
    more = np.asarray(errors_b, np.float64) - np.asarray(errors_a, np.float64)
    return Comparison(
        difference=float(rates(np.array([[more.sum(), np.sum(words)]]))[0]),
        interval=percentiles(differences, level),
        better=float(np.mean(differences < 0)),
        p_value=matched_pairs(more if blocks is None else _sum_blocks(more[:, None], blocks)[:, 0]),
    )


def matched_pairs(differences: Column) -> float:
    """Returns the two-sided p-value of the mean difference of errors per segment, by the normal approximation (50 and more).

    Segments are utterances (or speakers): they must be independent. 1 if all differences are 0 or there is one only.

    Source: Gillick & Cox 1989, section 4.
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2 or not values.any():
        return 1.0
    error = values.std(ddof=1) / math.sqrt(len(values))
    return math.erfc(abs(values.mean()) / error / math.sqrt(2)) if error else 0.0


def rates(rows: Float64[np.ndarray, "resamples two"]) -> Float64[np.ndarray, " resamples"]:
    """Errors over words; a draw without a word has rate 0, or infinite if it has errors (more, or fewer)."""
    errors, words = rows.T
    empty = np.where(errors == 0, 0.0, np.copysign(np.inf, errors))
    return np.divide(errors, words, out=empty, where=words > 0)


def _sum_blocks(
    values: Float64[np.ndarray, "utterances columns"], blocks: Sequence[Hashable]
) -> Float64[np.ndarray, "blocks columns"]:
    numbers: dict[Hashable, int] = {}
    rows: Int[np.ndarray, " utterances"] = np.array([numbers.setdefault(block, len(numbers)) for block in blocks])
    summed = np.zeros((len(numbers), values.shape[1]))
    np.add.at(summed, rows, values)
    return summed
