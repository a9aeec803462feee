"""Bands of a scaling law by the bootstrap, and the prediction of runs that were held out.

Log residuals are drawn, not points: with few points, a resample without the largest models would be another study. Runs with
the same inputs (seeds) are drawn together. So the bands cover other seeds of the same sizes and amounts of data. They do not
cover a law of another form.

Sources: Efron and Tibshirani 1993, An introduction to the bootstrap, section 9.4 (regression with fixed inputs); Hesterberg
2015, The American Statistician 69(4), section 5.2 (percentiles of few points are expanded by Student's t).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int
from scipy.special import ndtri, stdtrit

from jaxasr.score.scaling_law.fit import LawFitter, delta_of
from jaxasr.score.scaling_law.law import Inputs, ScalingLaw
from jaxasr.score.scaling_law.points import MEANINGS, Point, Variable, inputs_of
from jaxasr.score.significance import Interval, percentiles

RESAMPLES = 500
LEVEL = 0.95  # of the bands
FEWEST_LEVELS = 3  # values of a variable: two leave its exponent open, because E is unknown
_MOST_CONDITION = 1e6  # of the design: log N and log D change apart


@dataclass(frozen=True)
class LawFit:
    """A fitted law with the laws of its resamples."""

    points: tuple[Point, ...]  # that it was fitted to
    law: ScalingLaw
    resamples: tuple[ScalingLaw, ...]
    residuals: tuple[float, ...]  # of the points: log observed less log predicted, expanded as the resamples have them
    spread: float  # standard deviation of log errors around the law
    delta: float  # of Huber's loss
    seed: int
    level: float = LEVEL

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables of the law."""
        names: Any = self.law.variables
        return names

    def interval(self, figure: Callable[[ScalingLaw], float]) -> Interval:
        """Returns the band of a figure of the law."""
        return percentiles([figure(law) for law in self.resamples], self.level)

    def curve(self, inputs_nx: Inputs) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        """Returns the lower and the upper end of the band of the law at some inputs."""
        errors_rn = np.stack([law.error(inputs_nx) for law in self.resamples])
        low, high = np.quantile(errors_rn, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return low, high

    def new_run(self, inputs: Sequence[float]) -> Interval:
        """Returns the band of the error of one new run: that of the law, and the spread of a run around it."""
        rng = np.random.default_rng(self.seed)
        drawn = np.exp(rng.choice(self.residuals, size=len(self.resamples)))
        laws = [float(law.error(np.array([inputs], np.float64))[0]) for law in self.resamples]
        return percentiles(np.array(laws) * drawn, self.level)


@dataclass(frozen=True)
class Prediction:
    """A run that was held out from the fit, beside its prediction."""

    point: Point
    error: float  # predicted
    law: Interval  # of the law
    new_run: Interval  # of a single run

    @property
    def is_inside(self) -> bool:
        """The answer to whether the observed error lies in the band of a new run."""
        return self.new_run.low <= self.point.error <= self.new_run.high


def fit_points(
    points: Sequence[Point],
    variables: Sequence[Variable],
    *,
    delta: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> LawFit:
    """Fits a law to points, and to resamples of them.

    Args:
        points: trained runs; those with equal inputs are seeds of one another.
        variables: of the law, such as ("N", "D").
        delta: of Huber's loss; None: the one that suits the noise of the points (`delta_of`).
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: there are too few different inputs, a variable has too few values, or two change together.
    """
    inputs_nx = inputs_of(points, variables)
    _check_design(inputs_nx, variables)
    errors_n = np.array([point.error for point in points], np.float64)
    if delta is None:
        first = LawFitter(variables, inputs_nx).fit(errors_n)
        delta = delta_of(np.log(errors_n) - np.log(first.error(inputs_nx)))
    fitter = LawFitter(variables, inputs_nx, delta=delta)
    law = fitter.fit(errors_n)
    predicted_n = law.error(inputs_nx)
    groups_n = _groups(inputs_nx)
    residuals_n = np.log(errors_n) - np.log(predicted_n)
    count = int(groups_n.max()) + 1
    spread = float(np.sqrt(np.mean(residuals_n**2) * count / (count - len(law.figures))))
    residuals_n *= _expansion(count, len(law.figures), LEVEL)
    rng = np.random.default_rng(seed)
    laws = [fitter.fit(predicted_n * np.exp(_drawn(residuals_n, groups_n, rng)), start=law) for _ in range(resamples)]
    return LawFit(tuple(points), law, tuple(laws), tuple(residuals_n.tolist()), spread, delta, seed)


def hold_out_largest(
    points: Sequence[Point], variables: Sequence[Variable], count: int
) -> tuple[list[Point], list[Point]]:
    """Returns the points to fit and those to predict: all runs of the `count` largest inputs, by the product of variables.

    Raises:
        ValueError: nothing is left to fit.
    """
    inputs_nx = inputs_of(points, variables)
    sizes = [round(math.fsum(logs), 9) for logs in np.log(inputs_nx).tolist()]
    largest = sorted(set(sizes), reverse=True)[:count]
    held = [size in largest for size in sizes]
    if all(held):
        raise ValueError(
            f"{count} of {len(set(sizes))} products of {' and '.join(variables)} are held out; some must be left to fit"
        )
    kept = [point for point, out in zip(points, held, strict=True) if not out]
    return kept, [point for point, out in zip(points, held, strict=True) if out]


def predict(fit: LawFit, points: Sequence[Point]) -> list[Prediction]:
    """Returns the predictions for runs that were held out."""
    inputs_nx = inputs_of(points, fit.variables)
    lows, highs = fit.curve(inputs_nx)
    return [
        Prediction(point, float(error), Interval(float(low), float(high), fit.level), fit.new_run(row.tolist()))
        for point, row, error, low, high in zip(points, inputs_nx, fit.law.error(inputs_nx), lows, highs, strict=True)
    ]


def _check_design(inputs_nx: Inputs, variables: Sequence[Variable]) -> None:
    different = len(np.unique(inputs_nx, axis=0))
    figures = 1 + 2 * len(variables)
    for column, name in zip(inputs_nx.T, variables, strict=True):
        levels = np.unique(column)
        if len(levels) < FEWEST_LEVELS:
            shown = ", ".join(f"{level:g}" for level in levels)
            raise ValueError(
                f"{name} ({MEANINGS[name]}) of the {len(inputs_nx)} points is {shown or 'missing'}; {FEWEST_LEVELS} values "
                f"at least are needed to fit its exponent. Add points, or leave {name} out with --over"
            )
    if different <= figures:
        raise ValueError(
            f"{different} different points for the {figures} figures of a law of {', '.join(variables)}; {figures + 1} at "
            "least are needed, or fewer variables (--over)"
        )
    logs_nx = np.log(inputs_nx)
    scaled_nx = (logs_nx - logs_nx.mean(axis=0)) / logs_nx.std(axis=0)
    if np.linalg.cond(scaled_nx) > _MOST_CONDITION:
        raise ValueError(
            f"{' and '.join(variables)} change together in all {different} points, so their exponents cannot be told apart; "
            "add points that change one alone, or fit --over one of them"
        )


def _expansion(count: int, figures: int, level: float) -> float:
    """Returns the factor on residuals that makes up for fitted figures, and for the few points that the spread rests on."""
    freedom = count - figures
    quantile = (1 + level) / 2
    return float(np.sqrt(count / freedom) * stdtrit(freedom, quantile) / ndtri(quantile))


def _groups(inputs_nx: Inputs) -> Int[np.ndarray, " n"]:
    """Returns a number for each point, equal for points with the same inputs."""
    return np.unique(inputs_nx, axis=0, return_inverse=True)[1].reshape(-1)


def _drawn(
    residuals_n: Float64[np.ndarray, " n"], groups_n: Int[np.ndarray, " n"], rng: np.random.Generator
) -> Float64[np.ndarray, " n"]:
    """Returns residuals for every point: a group takes those of a drawn group, a sample of them if the sizes differ."""
    drawn_n = np.empty_like(residuals_n)
    groups = [np.flatnonzero(groups_n == group) for group in range(int(groups_n.max()) + 1)]
    for places in groups:
        source = residuals_n[groups[int(rng.integers(len(groups)))]]
        drawn_n[places] = source[rng.integers(len(source), size=len(places))] if len(source) != len(places) else source
    return drawn_n
