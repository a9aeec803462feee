"""Continuous integrate-and-fire for one utterance, by the loop of the paper. Takes complex numbers too."""

import numpy as np


def read(shares_s, tokens):
    """Dong and Xu 2020, section 3.1: shares are added up; at 1 a token is complete, and the rest begins the next one.

    Returns a row of weights for each token. The last ones have what is left, or nothing.
    """
    rows = np.zeros((tokens + 1, len(shares_s)), np.result_type(shares_s, float))
    token, missing = 0, 1.0
    for s, share in enumerate(shares_s):
        while np.real(share) >= np.real(missing) and token < tokens:
            rows[token, s] = missing
            share, token, missing = share - missing, token + 1, 1.0
        rows[token, s], missing = share, missing - share
    return rows[:tokens]
