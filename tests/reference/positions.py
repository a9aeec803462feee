"""Positions by loops over queries, keys and columns. Takes complex numbers too."""

import math

import numpy as np


def sinusoid(position, width):
    """Vaswani et al. 2017, section 3.5: sin(p / 10000^(2 i / d)) for each i, then the cosines."""
    angles = [position / 10_000 ** (2 * i / width) for i in range(width // 2)]
    return np.array([math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles])


def rotary(x_e, position):
    """Su et al. 2021, equation 34: columns i and i + e / 2 are a point of the plane, turned by position * frequency."""
    half = len(x_e) // 2
    turned_e = np.zeros_like(x_e)
    for i in range(half):
        angle = position / 10_000 ** (i / half)
        cos, sin = math.cos(angle), math.sin(angle)
        turned_e[i] = cos * x_e[i] - sin * x_e[i + half]
        turned_e[i + half] = sin * x_e[i] + cos * x_e[i + half]
    return turned_e


def shift_relative(scores_qr):
    """Entry [q, k] is the score of the distance q - k; column r holds the distance t - 1 - r."""
    t = len(scores_qr)
    shifted_qk = np.zeros((t, t), scores_qr.dtype)
    for q in range(t):
        for k in range(t):
            shifted_qk[q, k] = scores_qr[q, t - 1 - (q - k)]
    return shifted_qk
