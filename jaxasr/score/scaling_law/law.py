"""The law of an error over what was spent on it, error = E + sum A x^-a, and what it says about spending."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

Values = Float64[np.ndarray, " n"]
Inputs = Float64[np.ndarray, "n x"]


class Allocation(NamedTuple):
    """The parameters N and hours D with the lowest error at a compute of C = unit x N x D."""

    compute: float
    parameters: float
    hours: float
    error: float


@dataclass(frozen=True)
class ScalingLaw:
    """A fitted law: `error = irreducible + sum of coefficient * x ** -exponent` over its variables.

    Coefficients are kept as logarithms, because A of 10^6 parameters with an exponent of 2 is beyond what tables show.
    """

    variables: tuple[str, ...]  # such as ("N", "D")
    irreducible: float  # E
    log_coefficients: tuple[float, ...]  # the logarithms of A, B
    exponents: tuple[float, ...]  # a, b

    def error(self, inputs_nx: Inputs) -> Values:
        """Returns the predicted errors at the values of the variables."""
        powers = np.exp(np.array(self.log_coefficients) - np.array(self.exponents) * np.log(inputs_nx))
        return self.irreducible + powers.sum(axis=1)

    @property
    def figures(self) -> dict[str, float]:
        """The fitted figures by name: E, then coefficient and exponent of each variable."""
        named = {"E": self.irreducible}
        for name, log_coefficient, exponent in zip(self.variables, self.log_coefficients, self.exponents, strict=True):
            named |= {f"log coefficient of {name}": log_coefficient, f"exponent of {name}": exponent}
        return named

    def optimum(self, compute: float, unit: float = 1.0) -> Allocation:
        """Returns how to divide compute between N and D.

        Args:
            compute: C = unit x N x D.
            unit: FLOPs of training for a parameter and an hour of data; 1: compute is counted in parameter-hours.

        Raises:
            ValueError: the law is not one of N and D, or an exponent is 0: more of that variable does not help.

        Source: Hoffmann et al. 2022, arXiv:2203.15556, equation 4.
        """
        if len(self.variables) != 2:
            raise ValueError(f"a law of {', '.join(self.variables)} divides nothing; one of two variables is needed")
        a, b = self.exponents
        if min(a, b) <= 0:
            raise ValueError(
                f"the exponents are {a:g} and {b:g}; both must be above 0 for an optimum. Add points that differ more"
            )
        log_a, log_b = self.log_coefficients
        log_product = np.log(compute) - np.log(unit)
        log_ratio = (np.log(a) + log_a - np.log(b) - log_b) / (a + b)
        log_n = float(log_ratio + b / (a + b) * log_product)
        log_d = float(log_product - log_n)
        error = float(self.error(np.exp([[log_n, log_d]]))[0])
        return Allocation(compute, float(np.exp(log_n)), float(np.exp(log_d)), error)


def law_from(variables: Sequence[str], figures: Mapping[str, float]) -> ScalingLaw:
    """Returns the law with given figures, named as in `ScalingLaw.figures`."""
    return ScalingLaw(
        tuple(variables),
        figures["E"],
        tuple(figures[f"log coefficient of {name}"] for name in variables),
        tuple(figures[f"exponent of {name}"] for name in variables),
    )
