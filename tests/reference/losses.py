"""Cross-entropy against the smoothed distribution written out, in float64."""

import numpy as np

from tests.reference.ctc import log_softmax


def label_smoothed_cross_entropy(logits_uv, targets_u, smoothing, prior_v=None):
    """- sum over tokens and vocabulary of q log p, q = (1 - smoothing) one-hot + smoothing * prior; evenly: 1 / v."""
    total = 0.0
    for logits_v, target in zip(logits_uv, targets_u, strict=True):
        vocab = len(logits_v)
        for token, log_p in enumerate(log_softmax(np.asarray(logits_v, float))):
            q = (1 - smoothing) * (token == target) + smoothing * (1 / vocab if prior_v is None else prior_v[token])
            total -= q * log_p
    return total
