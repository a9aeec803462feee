"""Voss's pink noise by loops, in float64."""

import numpy as np


def voss(octaves, colour, samples):
    """Sample n of octave k is its value n // 2^k; octave 0 counts whole, all others by `colour`."""
    result = np.zeros(samples)
    for n in range(samples):
        result[n] = octaves[0][n] + colour * sum(float(values[n >> k]) for k, values in enumerate(octaves) if k > 0)
    return result
