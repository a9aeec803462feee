"""A convolution over time and frequency for one example, by loops over places and taps."""

import numpy as np


def convolve(x_tfc, filters, padding, strides=(1, 1)):
    """Zeros around, then at each place the sum over the taps and channels under the filters."""
    x_tfc = np.pad(x_tfc, (*padding, (0, 0)))
    taps = filters.shape[:2]
    sizes = [(size - tap) // stride + 1 for size, tap, stride in zip(x_tfc.shape[:2], taps, strides, strict=True)]
    y_kmo = np.zeros((*sizes, filters.shape[3]), np.result_type(x_tfc, filters))
    for k, m in np.ndindex(*sizes):
        for i, j in np.ndindex(*taps):
            y_kmo[k, m] += x_tfc[k * strides[0] + i, m * strides[1] + j] @ filters[i, j]
    return y_kmo
