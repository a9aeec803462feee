"""Confidence intervals of any score of a test set, with speakers or utterances as the independent units.

A score is a function of sums over utterances: errors over words, or BLEU of n-gram counts. Each unit is left out once. The
spread of the scores that remain gives the standard error (delete-one jackknife), and Student's t gives the interval. Three
corrections make 95 % of such intervals hold the true value where speakers are few:

* the units are speakers if there are at least MIN_SPEAKERS, because the errors of one speaker are not independent;
* the interval is symmetric on a scale on which the score is nearly normal: log for rates, logit for shares;
* the degrees of freedom are those of the variance estimate itself, which are fewer than units - 1 if some units have more
  words than others.

`jaxasr bench intervals` measures the coverage by simulation, beside the bootstrap of utterances and of speakers.

Sources: Efron & Stein 1981, "The jackknife estimate of variance", Annals of Statistics 9(3); Bell & McCaffrey 2002, "Bias
reduction in standard errors for linear regression with multi-stage samples", Survey Methodology 28(2) (degrees of freedom);
Cameron & Miller 2015, "A practitioner's guide to cluster-robust inference", section VI (few clusters).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtrit

MIN_SPEAKERS = 5  # with fewer, utterances are the units
METHOD = "jackknife-t"  # its name in a row of results

Over = Literal["auto", "utterances", "speakers"]  # the units; auto: speakers if there are enough of them
Scale = Literal["identity", "log", "logit"]
Column = Sequence[int] | Sequence[float] | np.ndarray  # one number an utterance
Blocks = Sequence[str] | Sequence[int] | np.ndarray  # the unit of each utterance


@dataclass(frozen=True)
class Interval:
    """The interval of a value at a level of confidence."""

    low: float
    high: float
    level: float  # 0.95: of a hundred such intervals 95 hold the true value


@dataclass(frozen=True)
class Score:
    """A score as a function of column sums, and the scale on which it is nearly normal."""

    of: Callable[[Float64[np.ndarray, "sets columns"]], Float64[np.ndarray, " sets"]]
    scale: Scale
    weight: int  # the column that says how much each unit counts, such as the reference words


@dataclass(frozen=True)
class IndependentUnits:
    """The independent units of a test set."""

    kind: Literal["speakers", "utterances"]
    count: int
    blocks: tuple[str, ...] | None  # the unit of each utterance; None: every utterance is one

    @property
    def title(self) -> str:
        """The text for people: "10 speakers"."""
        return f"{self.count:,} {self.kind}"


class Spread(NamedTuple):
    """The standard error of a value, and its degrees of freedom."""

    error: float
    freedom: float


def independent_units(speakers: Sequence[str]) -> IndependentUnits:
    """Returns the units that intervals of a set rest on: speakers if at least MIN_SPEAKERS are known, else utterances.

    Args:
        speakers: the speaker of each utterance; "" is unknown, and such an utterance is a unit of its own.
    """
    known = len(set(speakers) - {""})
    if known < MIN_SPEAKERS:
        return IndependentUnits("utterances", len(speakers), None)
    labels = [f"speaker {speaker}" if speaker else f"utterance {i}" for i, speaker in enumerate(speakers)]
    return IndependentUnits("speakers", len(set(labels)), tuple(labels))


def intervals(
    columns: Sequence[Column],
    scores: Mapping[str, Score],
    *,
    blocks: Blocks | None = None,
    level: float = 0.95,
) -> dict[str, tuple[float, Interval]]:
    """Returns each score of the whole set and its interval.

    A set of one unit has no spread: its interval is everything the score can be. A rate of 0 has an upper limit as if the
    utterances were trials of which each could have failed: 1 - ((1 - level) / 2)^(1 / utterances), the exact one of a share.

    Args:
        columns: one number an utterance each, such as errors and words.
        blocks: the unit of each utterance, such as its speaker; None: every utterance is one.

    Raises:
        ValueError: no utterance, columns of unequal lengths, or a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is no share of confidence; one between 0 and 1 is needed, such as 0.95")
    units = unit_sums(columns, blocks)
    utterances = len(columns[0])
    whole = units.sum(axis=0)
    others = whole - units
    found: dict[str, tuple[float, Interval]] = {}
    for name, score in scores.items():
        value = float(score.of(whole[None])[0])
        left = score.of(others) if len(units) > 1 else np.full(1, np.nan)
        found[name] = value, _interval(value, left, units[:, score.weight], score.scale, level, utterances)
    return found


def unit_sums(columns: Sequence[Column], blocks: Blocks | None) -> Float64[np.ndarray, "units columns"]:
    """Returns the sums of each unit. Errors are those of `intervals`."""
    lengths = {len(column) for column in columns} | (set[int]() if blocks is None else {len(blocks)})
    if len(lengths) != 1 or not min(lengths):
        raise ValueError(
            f"columns and blocks of {sorted(lengths)} utterances; all need the same number of utterances, and one at least"
        )
    values = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    if blocks is None:
        return values
    names, rows = np.unique(np.asarray(blocks), return_inverse=True)
    return np.stack([np.bincount(rows, column, len(names)) for column in values.T], axis=1)


def spread(value: float, left: Float64[np.ndarray, " units"], weights: Float64[np.ndarray, " units"]) -> Spread | None:
    """Returns the jackknife's standard error with its degrees of freedom; None if a value is not finite or one unit is all.

    Args:
        value: of the whole set.
        left: the values without each unit.
        weights: how much each unit counts.
    """
    units = len(left)
    if units < 2 or not np.isfinite(value) or not np.isfinite(left).all():
        return None
    freedom = degrees_of_freedom(weights)
    error = math.sqrt((units - 1) / units * float(np.sum((left - value) ** 2)))
    return Spread(error, freedom) if freedom > 0 else None


def degrees_of_freedom(weights: Float64[np.ndarray, " units"]) -> float:
    """Returns the degrees of freedom of the jackknife variance of a weighted mean of units of equal variance.

    It is 2 E[V]^2 / Var[V] of V = r' B r with normal r: (tr B)^2 / tr(B^2) for B = M' D M, M = I - 1 a', where a are the
    weights' shares and D = diag(a^2 / (1 - a)^2). For equal weights it is units - 1; 0 if one unit has all the weight.

    Source: Bell & McCaffrey 2002, section 4, for the mean.
    """
    total = float(weights.sum())
    a = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
    if len(a) < 2 or a.max() >= 1.0:
        return 0.0
    d = (a / (1 - a)) ** 2
    delta = float(d.sum())
    aa = float(a @ a)
    ad = float(a @ d)
    dd = float(d @ d)
    trace = delta - 2 * ad + delta * aa
    rest = 2 * (aa * dd + ad**2) - 4 * delta * aa * ad + (delta * aa) ** 2
    square = dd + 2 * float(d @ (delta * a**2 - 2 * a * d)) + rest
    return trace**2 / square


def _interval(
    value: float,
    left: Float64[np.ndarray, " units"],
    weights: Float64[np.ndarray, " units"],
    scale: Scale,
    level: float,
    utterances: int,
) -> Interval:
    beyond = (1 - level) / 2
    top = 1.0 if scale == "logit" else math.inf
    if not math.isfinite(value):
        return Interval(0.0, value, level)
    if scale != "identity" and value <= 0.0:
        return Interval(0.0, 1 - beyond ** (1 / utterances), level)
    if scale == "logit" and value >= 1.0:
        return Interval(beyond ** (1 / utterances), 1.0, level)
    found = _scaled_spread(value, left, weights, scale)
    if found is None:
        return Interval(-math.inf if scale == "identity" else 0.0, top, level)
    half = float(stdtrit(found.freedom, 1 - beyond)) * found.error
    if scale == "identity":
        return Interval(value - half, value + half, level)
    grow = math.exp(min(half, 700.0))  # beyond it a float is infinite
    if scale == "log":
        return Interval(value / grow, value * grow, level)
    odds = value / (1 - value)
    return Interval(odds / grow / (1 + odds / grow), odds * grow / (1 + odds * grow), level)


def _scaled_spread(
    value: float, left: Float64[np.ndarray, " units"], weights: Float64[np.ndarray, " units"], scale: Scale
) -> Spread | None:
    """Returns the spread on the scale.

    If leaving one unit out reaches the end of the scale (all errors are in that unit), the spread of the plain values is
    divided by the slope of the scale instead (delta method).
    """
    if scale == "identity":
        return spread(value, left, weights)
    inside = bool((left > 0.0).all() and (scale == "log" or (left < 1.0).all()))
    if inside:
        odds, left_odds = (value, left) if scale == "log" else (value / (1 - value), left / (1 - left))
        return spread(float(np.log(odds)), np.log(left_odds), weights)
    found = spread(value, left, weights)
    slope = value if scale == "log" else value * (1 - value)
    return None if found is None else Spread(found.error / slope, found.freedom)
