"""CTC prefix probabilities twice: by listing every path, and by the recursion of the paper in probabilities.

Sources: Graves 2008, section 7.5; Watanabe et al. 2017, "Hybrid CTC/attention architecture", algorithm 2.
"""

import itertools

import numpy as np

BLANK = 0

Prefix = tuple[int, ...]


def transcripts(probs_sv: np.ndarray) -> dict[Prefix, float]:
    """The probability of every transcript, by summing over all paths."""
    frames, vocab = probs_sv.shape
    found: dict[Prefix, float] = {}
    for path in itertools.product(range(vocab), repeat=frames):
        tokens = tuple(token for token, _ in itertools.groupby(path) if token != BLANK)
        found[tokens] = found.get(tokens, 0.0) + float(np.prod([probs_sv[t, token] for t, token in enumerate(path)]))
    return found


def listed(probs_sv: np.ndarray, prefix: Prefix) -> tuple[float, float]:
    """Probability that the transcript starts with the prefix, and that it is the prefix."""
    found = transcripts(probs_sv)
    starts = sum(p for tokens, p in found.items() if tokens[: len(prefix)] == prefix)
    return starts, found.get(prefix, 0.0)


def recursive(probs_sv: np.ndarray, prefix: Prefix) -> tuple[float, float]:
    """The same by algorithm 2: gamma_n and gamma_b over frames for each prefix of the prefix."""
    frames = len(probs_sv)
    gamma_n = np.zeros(frames + 1)  # index t: after t frames
    gamma_b = np.concatenate([[1.0], np.cumprod(probs_sv[:, BLANK])])
    psi, last = 1.0, None
    for c in prefix:
        new_n, new_b = np.zeros(frames + 1), np.zeros(frames + 1)
        psi = 0.0
        for t in range(1, frames + 1):
            phi = gamma_b[t - 1] + (0.0 if c == last else gamma_n[t - 1])
            new_n[t] = (new_n[t - 1] + phi) * probs_sv[t - 1, c]
            new_b[t] = (new_b[t - 1] + new_n[t - 1]) * probs_sv[t - 1, BLANK]
            psi += phi * probs_sv[t - 1, c]
        gamma_n, gamma_b, last = new_n, new_b, c
    return psi, gamma_n[-1] + gamma_b[-1]
