"""The fit of a scaling law to points: Huber's loss of log residuals, minimised by L-BFGS from a grid of initial values.

Source: Hoffmann et al. 2022, "Training compute-optimal large language models", arXiv:2203.15556, section 3.3 and appendix D.
The loss is a sum and is divided by delta, because a mean of such small terms ends L-BFGS before its minimum (Besiroglu et al.
2024, "Chinchilla scaling: a replication attempt", arXiv:2404.10102).
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64
from scipy.optimize import minimize

from jaxasr.score.scaling_law.law import Inputs, ScalingLaw, Values

DELTA = 1e-3  # of Huber's loss, in Hoffmann et al.: log residuals beyond it count by their size, not its square
_EFFICIENT = 1.345  # standard deviations: delta with which normal residuals lose 5 % of the data (Huber 1964)
_NORMAL_MEDIAN = 0.6745  # of the size of normal residuals of standard deviation 1
MOST_EXPONENT = 8.0
_SHARES = (0.02, 0.3, 0.6, 0.9)  # of E in the lowest error
_SPLITS = (0.2, 0.5, 0.8)  # of the rest, for the first of two variables
_EXPONENTS = (0.1, 0.3, 0.6, 1.0, 2.0)
_STARTS = 16  # of the grid, the best ones
_LOWEST_LOG = -40.0  # of a term relative to the mean error: it is as good as 0

Theta = Float64[
    np.ndarray, " p"
]  # the logarithm of E, then of each variable the logarithm of its term and the exponent


def delta_of(residuals_n: Values) -> float:
    """Returns the delta that suits the noise of the points, `DELTA` at least.

    Losses of language models scatter by less than a percent, which `DELTA` suits. Error rates of a few hundred words scatter
    by several. With a delta far below its noise Huber's loss is the absolute value, whose minimum is no single law where two
    seeds lie on either side.

    Args:
        residuals_n: log residuals of a first fit.
    """
    return max(DELTA, _EFFICIENT * float(np.median(np.abs(residuals_n))) / _NORMAL_MEDIAN)


class LawFitter:
    """A fit of laws to the same inputs, with changing errors and weights, as a bootstrap needs it."""

    def __init__(self, variables: Sequence[str], inputs_nx: Inputs, *, delta: float = DELTA):
        """Prepares the inputs.

        Args:
            variables: names of the columns.
            inputs_nx: positive and finite.
            delta: of Huber's loss.
        """
        self._variables = tuple(variables)
        self._delta = delta
        logs = np.log(inputs_nx)
        self._centres = logs.mean(axis=0)  # a term is fitted at the centre, where it hardly depends on its exponent
        self._logs_nx = logs - self._centres

    def fit(self, errors_n: Values, weights_n: Values | None = None, *, start: ScalingLaw | None = None) -> ScalingLaw:
        """Returns the law with the lowest loss.

        Args:
            errors_n: positive and finite.
            weights_n: how often each point counts; None: once.
            start: a law near the minimum, as for a resample; None: the search begins at the best values of the grid.
        """
        logs_n = np.log(errors_n)
        weights_n = np.ones(len(errors_n)) if weights_n is None else weights_n
        starts = self._best_of_grid(logs_n, weights_n) if start is None else [self._theta_of(start)]
        variables = len(self._variables)
        bounds = [(_LOWEST_LOG, None), *[(_LOWEST_LOG, None), (0.0, MOST_EXPONENT)] * variables]
        best = min(
            (
                minimize(
                    self._loss,
                    theta,
                    args=(logs_n, weights_n),
                    jac=True,
                    method="L-BFGS-B",
                    bounds=bounds,
                    options={"maxiter": 2_000, "maxfun": 4_000, "ftol": 1e-12, "gtol": 1e-8},
                )
                for theta in starts
            ),
            key=lambda found: found.fun,
        )
        return self._law_of(best.x)

    def _best_of_grid(self, logs_n: Values, weights_n: Values) -> list[Theta]:
        grid = list(self._grid(logs_n))
        losses = [self._loss(theta, logs_n, weights_n)[0] for theta in grid]
        return [grid[index] for index in np.argsort(losses)[:_STARTS]]

    def _loss(self, theta: Theta, logs_n: Values, weights_n: Values) -> tuple[float, Theta]:
        """Returns Huber's loss divided by delta, and its gradient."""
        exponents = theta[2::2]
        terms_tn = np.vstack([np.full(len(logs_n), theta[0]), (theta[1::2] - exponents * self._logs_nx).T])
        highest = terms_tn.max(axis=0)
        powers_tn = np.exp(terms_tn - highest)
        sums_n = powers_tn.sum(axis=0)
        residuals = (highest + np.log(sums_n) - logs_n) / self._delta
        slope_n = np.clip(residuals, -1.0, 1.0)
        loss = float(np.sum(weights_n * slope_n * (residuals - slope_n / 2))) * self._delta
        pulls_tn = powers_tn / sums_n * (weights_n * slope_n)
        gradient = np.empty_like(theta)
        gradient[0] = pulls_tn[0].sum()
        gradient[1::2] = pulls_tn[1:].sum(axis=1)
        gradient[2::2] = -(pulls_tn[1:] * self._logs_nx.T).sum(axis=1)
        return loss, gradient

    def _grid(self, logs_n: Values) -> Iterator[Theta]:
        """Yields initial values whose sum at the centre is the mean error."""
        middle = float(np.exp(logs_n.mean()))
        lowest = float(np.exp(logs_n.min()))
        variables = len(self._variables)
        splits = _SPLITS if variables == 2 else (1.0,)
        for share, split, *exponents in itertools.product(_SHARES, splits, *[_EXPONENTS] * variables):
            irreducible = share * lowest
            rest = [split, 1 - split][:variables]
            parts = [(np.log((middle - irreducible) * part), a) for part, a in zip(rest, exponents, strict=True)]
            yield np.array([np.log(irreducible), *itertools.chain.from_iterable(parts)])

    def _theta_of(self, law: ScalingLaw) -> Theta:
        exponents = np.array(law.exponents)
        terms = np.array(law.log_coefficients) - exponents * self._centres
        log_irreducible = np.log(max(law.irreducible, np.exp(_LOWEST_LOG)))
        return np.array([log_irreducible, *np.stack([terms, exponents], axis=1).reshape(-1)])

    def _law_of(self, theta: Theta) -> ScalingLaw:
        exponents = theta[2::2]
        coefficients = theta[1::2] + exponents * self._centres
        return ScalingLaw(
            self._variables, float(np.exp(theta[0])), tuple(coefficients.tolist()), tuple(exponents.tolist())
        )
