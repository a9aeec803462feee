"""Attention for one example by loops over positions and taps. Takes complex numbers too."""

import numpy as np


def additive_energy(query_d, keys_sd, v_d):
    """e_s = v . tanh(query + key_s): Bahdanau et al. 2015, appendix A.1.2."""
    return np.array([np.sum(v_d * np.tanh(query_d + key_d)) for key_d in keys_sd])


def softmax(energy_s):
    """The distribution over real positions; of none, none."""
    if not len(energy_s):
        return energy_s
    exp_s = np.exp(energy_s - np.max(energy_s.real))
    return exp_s / np.sum(exp_s)


def location_features(weights_s, filters_kc):
    """f_s = sum_j F_j w_(s + j - k // 2), where there is such a position: Chorowski et al. 2015, equation 8."""
    taps, filters = filters_kc.shape
    features_sc = np.zeros((len(weights_s), filters), np.result_type(weights_s, filters_kc))
    for s in range(len(weights_s)):
        for j in range(taps):
            position = s + j - taps // 2
            if 0 <= position < len(weights_s):
                features_sc[s] += filters_kc[j] * weights_s[position]
    return features_sc


def read(weights_hs, values_se):
    """Each head's mean of its own columns, side by side."""
    columns = values_se.shape[1] // len(weights_hs)
    parts = []
    for head, weights_s in enumerate(weights_hs):
        part = np.zeros(columns, np.result_type(weights_s, values_se))
        for s, weight in enumerate(weights_s):
            part = part + weight * values_se[s, head * columns : (head + 1) * columns]
        parts.append(part)
    return np.concatenate(parts)
