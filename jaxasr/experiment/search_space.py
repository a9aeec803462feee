"""Generators of variants that draw the values of fields: random search and Latin hypercubes.

    def tuned():
        space = {"optimizer.schedule.peak": LogUniform(1e-4, 1e-2), "model.dropout": Uniform(0.0, 0.5)}
        yield from latin_hypercube(space, count=16, seed=0)

Sources: Bergstra and Bengio 2012, "Random search for hyper-parameter optimization", JMLR 13; McKay, Beckman and Conover 1979,
Technometrics 21(2).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.stats import qmc

from jaxasr.tree import check_numbers

_DIGITS = 4  # of a drawn number: enough to differ, few enough to read


@runtime_checkable
class Distribution(Protocol):
    """The values that a field may take."""

    def at(self, quantile: float) -> object:
        """Returns the value below which lies this share of the values, in [0, 1)."""
        ...


@dataclass(frozen=True)
class Uniform:
    """A distribution of numbers between two bounds, all equally likely."""

    low: int | float
    high: int | float

    def __post_init__(self):
        _check_bounds(self, self.low, self.high)

    def at(self, quantile: float) -> float:
        """Returns the value at a quantile, with 4 digits."""
        return _rounded(self.low + quantile * (self.high - self.low))


@dataclass(frozen=True)
class LogUniform:
    """A distribution of numbers between two bounds whose logarithms are equally likely, such as learning rates."""

    low: int | float
    high: int | float

    def __post_init__(self):
        _check_bounds(self, self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"{self}: the bounds have logarithms only above 0")

    def at(self, quantile: float) -> float:
        """Returns the value at a quantile, with 4 digits."""
        return _rounded(math.exp(math.log(self.low) + quantile * (math.log(self.high) - math.log(self.low))))


@dataclass(frozen=True)
class WholeUniform:
    """A distribution of whole numbers from one to another, both included."""

    low: int
    high: int

    def __post_init__(self):
        _check_bounds(self, self.low, self.high)

    def at(self, quantile: float) -> int:
        """Returns the number at a quantile."""
        return self.low + int(quantile * (self.high - self.low + 1))


@dataclass(frozen=True)
class OneOf:
    """A distribution over some values, all equally likely."""

    values: tuple[object, ...]

    def __post_init__(self):
        if not self.values:
            raise ValueError("OneOf(()): a value at least is needed")

    def at(self, quantile: float) -> object:
        """Returns the value at a quantile."""
        return self.values[int(quantile * len(self.values))]


Space = Mapping[str, Distribution]  # by the dotted path of the field


def random_search(
    space: Space, *, count: int, seed: int, prefix: str = "random"
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yields variants whose fields are drawn independently. With a larger count the first ones stay as they are.

    Args:
        space: the values of each field.
        count: of variants.
        seed: of the draws.
        prefix: of their names, which end in a number.

    Raises:
        ValueError: the space is empty, or the count is below 1.
    """
    _check(space, count)
    quantiles = [np.random.default_rng([seed, number]).random(len(space)) for number in range(count)]
    yield from _variants(space, quantiles, prefix)


def latin_hypercube(
    space: Space, *, count: int, seed: int, prefix: str = "latin"
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yields variants of which one lies in each of `count` equal parts of every field. Another count draws all anew.

    Arguments and errors are those of `random_search`.
    """
    _check(space, count)
    yield from _variants(space, qmc.LatinHypercube(d=len(space), seed=seed).random(count), prefix)


def _variants(
    space: Space, quantiles: Sequence[np.ndarray] | np.ndarray, prefix: str
) -> Iterator[tuple[str, dict[str, object]]]:
    for number, point in enumerate(quantiles):
        values = {
            path: distribution.at(float(quantile))
            for (path, distribution), quantile in zip(space.items(), point, strict=True)
        }
        yield f"{prefix}-{number:03}", values


def _check(space: Space, count: int) -> None:
    if not space or count < 1:
        raise ValueError(f"{count} variants of {len(space)} fields; one at least of each is needed")


def _check_bounds(distribution: object, low: int | float, high: int | float) -> None:
    check_numbers(distribution)
    if not low < high:
        raise ValueError(f"{distribution}: two bounds are needed, the lower one first")


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
