"""Monotonic attention for one example by loops, from the definitions. Takes complex numbers too."""

import numpy as np


def sigmoid(x):
    """1 / (1 + e^-x), in the form that does not overflow."""
    return 1 / (1 + np.exp(-x)) if np.real(x) >= 0 else np.exp(x) / (1 + np.exp(x))


def alignment(energy_s, before_s):
    """alpha_j = p_j sum_(k <= j) before_k prod_(l = k .. j - 1) (1 - p_l): Raffel et al. 2017, equation 9."""
    found = np.zeros(len(energy_s), np.result_type(energy_s, before_s, float))
    for j in range(len(energy_s)):
        for k in range(j + 1):
            passed = 1.0
            for at in range(k, j):
                passed = passed * sigmoid(-energy_s[at])
            found[j] += before_s[k] * passed * sigmoid(energy_s[j])
    return found


def alignment_by_steps(energy_s, before_s):
    """The same by q_j = (1 - p_(j-1)) q_(j-1) + before_j, alpha_j = p_j q_j: equation 10."""
    found, q, go = np.zeros(len(energy_s)), 0.0, 0.0
    for j, (energy, before) in enumerate(zip(energy_s, before_s, strict=True)):
        q = go * q + before
        found[j], go = sigmoid(energy) * q, sigmoid(-energy)
    return found


def chunk(stops_s, energy_s, width):
    """beta: each stop k gives its probability away by a softmax over the last `width` positions (0: all) up to k."""
    found = np.zeros(len(stops_s), np.result_type(stops_s, energy_s, float))
    for k in range(len(stops_s)):
        first = max(0, k - width + 1) if width else 0
        exp = np.exp(energy_s[first : k + 1] - np.max(np.real(energy_s[first : k + 1])))
        found[first : k + 1] += stops_s[k] * exp / np.sum(exp)
    return found


def read_hard(energies_us, chunks_us=None, width=1):
    """Algorithm 1 of Raffel et al. 2017, or of Chiu and Raffel 2018 with `chunks_us`: a row of weights for each token."""
    rows, position = [], 0
    for u, energy_s in enumerate(energies_us):
        weights_s = np.zeros(len(energy_s))
        for j in range(position, len(energy_s)):
            if sigmoid(energy_s[j]) > 0.5:
                position = j
                stop_s = np.eye(len(energy_s))[j]
                weights_s = stop_s if chunks_us is None else chunk(stop_s, chunks_us[u], width)
                break
        rows.append(weights_s)
    return np.array(rows)
