"""CTC three ways, in float64: the sum over every path, the forward recursion, and the best path by loops."""

import itertools

import numpy as np


def collapse(path):
    """B of the paper: repeats merged, then blanks (0) removed."""
    return [token for token, _ in itertools.groupby(path) if token != 0]


def loss_by_enumeration(log_probs_sv, tokens):
    """- log of the summed probability of all v^s paths that collapse to the tokens; infinite if there is none."""
    frames, vocab = log_probs_sv.shape
    probability = 0.0
    for path in itertools.product(range(vocab), repeat=frames):
        if collapse(path) == list(tokens):
            probability += np.exp(sum(log_probs_sv[s, token] for s, token in enumerate(path)))
    with np.errstate(divide="ignore"):
        return -np.log(probability)


def loss_by_recursion(log_probs_sv, tokens):
    """Graves et al. 2006, equations 5 to 8, on probabilities."""
    extended = [0]
    for token in tokens:
        extended += [int(token), 0]
    states = len(extended)
    alpha = np.zeros(states)
    alpha[0] = 1.0  # before the first frame; state 1 is entered from here as well
    for s in range(len(log_probs_sv)):
        new = np.zeros(states)
        for j, token in enumerate(extended):
            total = alpha[j] + (alpha[j - 1] if j >= 1 else 0.0)
            if j >= 2 and token != 0 and token != extended[j - 2]:
                total += alpha[j - 2]
            new[j] = total * np.exp(log_probs_sv[s, token])
        alpha = new
    with np.errstate(divide="ignore"):
        return -np.log(alpha[-1] + (alpha[-2] if states > 1 else 0.0))


def log_softmax(x):
    """Over the last axis."""
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
