"""Logistic regression of few parameters by Newton's method, for calibration of confidences and of the no-speech decision."""

import numpy as np
from jaxtyping import Float
from scipy.special import expit

_NEWTON_STEPS = 50


def fit_logistic(
    inputs_nk: Float[np.ndarray, "n k"],
    targets_n: Float[np.ndarray, " n"],
    *,
    prior_k: Float[np.ndarray, " k"],
    ridge_k: Float[np.ndarray, " k"],
    weights_n: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " k"]:
    """Returns the parameters w with which sigmoid(inputs @ w) gives the targets the largest posterior probability.

    A step of Newton's method that does not raise it is halved.

    Args:
        inputs_nk: a constant term is a column of ones.
        targets_n: probabilities, in [0, 1].
        prior_k: means of the Gaussian prior of the parameters.
        ridge_k: precisions of that prior, > 0.
        weights_n: weights of the examples; None: all are 1.
    """
    weights_n = np.ones(len(targets_n)) if weights_n is None else weights_n
    ridge = np.diag(ridge_k)
    parameters = prior_k.copy()

    def loss(parameters: np.ndarray) -> float:
        z = inputs_nk @ parameters
        away = parameters - prior_k
        return float(np.sum(weights_n * (np.logaddexp(0, z) - targets_n * z)) + away @ ridge @ away / 2)

    for _ in range(_NEWTON_STEPS):
        p = expit(inputs_nk @ parameters)
        gradient = inputs_nk.T @ (weights_n * (p - targets_n)) + ridge @ (parameters - prior_k)
        hessian = (inputs_nk * (weights_n * p * (1 - p))[:, None]).T @ inputs_nk + ridge
        step = np.linalg.solve(hessian + 1e-9 * np.eye(len(prior_k)), gradient)
        while loss(parameters - step) > loss(parameters) and np.abs(step).max() > 1e-10:
            step = step / 2
        parameters = parameters - step
        if np.abs(step).max() < 1e-8:
            break
    return parameters
