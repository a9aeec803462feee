"""The compute-optimal frontier of a scaling law of N and D: how large a model, and how much data, for a given compute."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxasr.score.scaling_law.bootstrap import LawFit
from jaxasr.score.scaling_law.law import Allocation
from jaxasr.score.scaling_law.points import Point
from jaxasr.score.significance import Interval, percentiles


@dataclass(frozen=True)
class ComputeUnit:
    """The FLOPs of training for a parameter and an hour of data, C = unit x N x D. 1: compute is in parameter-hours."""

    flops: float = 1.0
    low: float = 1.0  # the lowest and the highest of the points
    high: float = 1.0

    @classmethod
    def of_points(cls, points: Sequence[Point]) -> "ComputeUnit":
        """Returns the geometric mean over the points; 1 if one of them has no compute."""
        if not all({"N", "D", "C"} <= point.inputs.keys() for point in points):
            return cls()
        logs = [np.log(point.inputs["C"] / (point.inputs["N"] * point.inputs["D"])) for point in points]
        return cls(*(float(np.exp(log)) for log in (np.mean(logs), min(logs), max(logs))))


@dataclass(frozen=True)
class OptimalAllocation:
    """The best division of one compute, with bands."""

    best: Allocation
    parameters: Interval
    hours: Interval
    error: Interval


@dataclass(frozen=True)
class Frontier:
    """The optimal divisions of several computes."""

    unit: ComputeUnit
    exponent: float  # N grows with C to this power
    exponent_band: Interval
    allocations: tuple[OptimalAllocation, ...]
    left_out: int  # resamples without an optimum, because an exponent is 0


def frontier(fit: LawFit, unit: ComputeUnit, computes: Sequence[float] = ()) -> Frontier:
    """Returns the frontier of a law of N and D.

    Args:
        fit: the law and its resamples.
        unit: what a parameter and an hour take.
        computes: in FLOPs, or in parameter-hours if the unit is 1; none: powers of 10 from the smallest point to 100 times
            the largest.

    Raises:
        ValueError: the law has no optimum, or fewer than half of its resamples have one.
    """
    laws = [law for law in fit.resamples if min(law.exponents) > 0]
    if 2 * len(laws) < len(fit.resamples):
        raise ValueError(
            f"only {len(laws)} of {len(fit.resamples)} resamples have exponents above 0: these points do not say how to "
            "divide compute; add points that differ more"
        )

    def shares(exponents: tuple[float, ...]) -> float:
        return exponents[1] / (exponents[0] + exponents[1])

    found: list[OptimalAllocation] = []
    for compute in computes or _usual_computes(fit.points, unit):
        best = fit.law.optimum(compute, unit.flops)
        drawn = [law.optimum(compute, unit.flops) for law in laws]
        bands = [
            percentiles([value(allocation) for allocation in drawn], fit.level)
            for value in (_parameters, _hours, _error)
        ]
        found.append(OptimalAllocation(best, *bands))
    return Frontier(
        unit,
        shares(fit.law.exponents),
        percentiles([shares(law.exponents) for law in laws], fit.level),
        tuple(found),
        len(fit.resamples) - len(laws),
    )


def _usual_computes(points: Sequence[Point], unit: ComputeUnit) -> list[float]:
    computes = [unit.flops * point.inputs["N"] * point.inputs["D"] for point in points]
    first = int(np.floor(np.log10(min(computes))))
    last = int(np.floor(np.log10(max(computes)))) + 2
    return [10.0**power for power in range(first, last + 1)]


def _parameters(allocation: Allocation) -> float:
    return allocation.parameters


def _hours(allocation: Allocation) -> float:
    return allocation.hours


def _error(allocation: Allocation) -> float:
    return allocation.error
