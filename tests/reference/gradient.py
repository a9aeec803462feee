"""Derivatives by a complex step: df/dx = Im f(x + ih) / h, exact to rounding, with no rule of differentiation in it.

Source: Squire and Trapp 1998, SIAM Review 40(1).
"""

import numpy as np

STEP = 1e-30


def gradients(function, *arrays):
    """The gradient of a real `function(*arrays)` with respect to each array, an element at a time, in float64.

    The function has to be analytic and written for complex numbers: no absolute values, no maxima.
    """
    found = []
    for number, array in enumerate(arrays):
        gradient = np.zeros(np.shape(array))
        for index in np.ndindex(*gradient.shape):
            moved = np.array(array, complex)
            moved[index] += 1j * STEP
            gradient[index] = np.imag(function(*arrays[:number], moved, *arrays[number + 1 :])) / STEP
        found.append(gradient)
    return found
