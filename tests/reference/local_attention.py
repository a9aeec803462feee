"""Local attention for one example by loops over positions. Takes complex numbers too."""

import numpy as np

from tests.reference.attention import softmax


def window_softmax(energy_s, first, last):
    """The softmax of the positions from `first` to `last`; zero elsewhere."""
    found = np.zeros(len(energy_s), np.result_type(energy_s, float))
    inside = [s for s in range(len(energy_s)) if first <= s <= last]
    found[inside] = softmax(energy_s[inside])
    return found


def median(weights_s):
    """The first position at which half of the weight is reached."""
    total, half = 0.0, np.sum(weights_s) / 2
    for s, weight in enumerate(weights_s):
        total += weight
        if total >= half:
            return s
    return 0


def bell(positions, centre, spread):
    """exp(-(s - p)^2 / (2 sigma^2)): Luong et al. 2015, equation 10."""
    return np.array([np.exp(-((s - centre) ** 2) / (2 * spread**2)) for s in range(positions)])


def forward(energy_s, before_s, reach, move=None):
    """Forward attention, one step: Zhang et al. 2018, equations 6 and 7, and 10 with the agent's `move`."""
    scores = []
    for n, score in enumerate(softmax(energy_s)):
        moved = sum(before_s[n - by] for by in range(1, reach + 1) if n >= by)
        there = before_s[n] + moved if move is None else (1 - move) * before_s[n] + move / reach * moved
        scores.append(there * score)
    return np.array(scores) / sum(scores)


def mixture(shares_k, centres_k, spreads_k, positions):
    """sum_k share_k exp(-(s - mu_k)^2 / (2 sigma_k^2)), and no more than 1 a row."""
    weights_s = sum(share * bell(positions, c, d) for share, c, d in zip(shares_k, centres_k, spreads_k, strict=True))
    total = np.sum(weights_s)
    return weights_s / total if total.real > 1 else weights_s
