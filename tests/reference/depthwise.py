"""The depthwise convolution of one example by loops over positions and taps. Takes complex numbers too."""

import numpy as np


def depthwise(x_tc, filters_kc, *, before):
    """y_t = sum_j F_j x_(t + j - before), zero outside."""
    y_tc = np.zeros(x_tc.shape, np.result_type(x_tc, filters_kc))
    for t in range(len(x_tc)):
        for j, filter_c in enumerate(filters_kc):
            if 0 <= t + j - before < len(x_tc):
                y_tc[t] += filter_c * x_tc[t + j - before]
    return y_tc
