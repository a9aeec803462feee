"""CTC forced alignment by looking at every path there is."""

import itertools

import numpy as np


def states_of(frames, tokens):
    """Every path through the extended transcript, as states: stays, moves by one, or by two over a blank that may go."""
    extended = [0]
    for token in tokens:
        extended += [int(token), 0]
    for path in itertools.product(range(len(extended)), repeat=frames):
        steps = [(-1, path[0]), *itertools.pairwise(path)] if path else []
        if path and path[-1] < len(extended) - 2:
            continue
        if all(_allowed(extended, max(a, 0), b, first=a < 0) for a, b in steps):
            yield path


def _allowed(extended, a, b, *, first):
    if first:
        return b in (0, 1) and b < len(extended)
    skips = b == a + 2 and extended[b] != 0 and extended[b] != extended[a]
    return b in (a, a + 1) or skips


def best(log_probs_sv, tokens):
    """(log probability, [(first, last, mean log probability) of each token]) of the likeliest path, or None.

    Of equal ones, the path whose states are the largest at every frame.
    """
    extended = [0]
    for token in tokens:
        extended += [int(token), 0]

    def emitted(path):
        return [float(log_probs_sv[s, extended[state]]) for s, state in enumerate(path)]

    paths = [path for path in states_of(len(log_probs_sv), tokens) if sum(emitted(path)) > -np.inf]
    if not len(log_probs_sv):
        return (0.0, []) if not tokens else None
    if not paths:
        return None
    top = max(sum(emitted(path)) for path in paths)
    equal = [path for path in paths if sum(emitted(path)) == top]
    path = max(equal, key=sum)
    assert all(np.all(np.array(path) >= np.array(other)) for other in equal)
    spans = []
    for number in range(len(tokens)):
        frames = [s for s, state in enumerate(path) if state == 2 * number + 1]
        spans.append((frames[0], frames[-1], float(np.mean([emitted(path)[s] for s in frames]))))
    return top, spans
