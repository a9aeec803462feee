"""SpecAugment's parts by loops, on draws that are given."""

import math

import numpy as np


def warped(frames_tf, length, source, target):
    """Frame `source` goes to `target`; between (0, 0), (source, target) and (length - 1, length - 1) time is linear."""
    result = np.array(frames_tf, float)
    for t in range(length):
        slope = source / target if t <= target else (length - 1 - source) / (length - 1 - target)
        at = source + (t - target) * slope
        low = min(math.floor(at), length - 1)
        high = min(low + 1, length - 1)
        result[t] = frames_tf[low] * (1 - (at - low)) + frames_tf[high] * (at - low)
    return result


def runs(zero):
    """(start, width) of every stretch of True."""
    found, start = [], None
    for i, value in enumerate([*zero, False]):
        if value and start is None:
            start = i
        elif not value and start is not None:
            found.append((start, i - start))
            start = None
    return found
