"""What the weights of one head of one utterance say of themselves, by loops over steps and positions."""

import math


def alignment(weights_us, *, least_mass=1e-2, deviation=0.2, diffuse=0.9, least=4):
    """The measures of ops.alignments by name, from a list of rows, real steps and positions only."""
    steps, positions = len(weights_us), len(weights_us[0]) if len(weights_us) else 0
    if not steps or not positions:
        names = "entropy diffuse back behind skip coverage again diagonal lag collapsed"
        return dict.fromkeys(names.split(), 0.0)
    entropies, near, behind, moves, peaks = [], [], [], [], []
    at, front, fronts = None, 0, []
    for u, row_s in enumerate(weights_us):
        mass = sum(row_s)
        if mass > least_mass:
            entropies.append(-sum(w / mass * math.log(w / mass) for w in row_s if w > 0))
            near.append(
                sum(
                    w / mass * math.exp(-(((u + 0.5) / steps - (s + 0.5) / positions) ** 2) / (2 * deviation**2))
                    for s, w in enumerate(row_s)
                )
            )
            peak = max(range(positions), key=lambda s: (row_s[s], -s))
            if at is not None:
                moves.append(peak - at)
            at = peak
            peaks.append(peak)
            front = max(front, peak)
            behind.append(peak < front)
        fronts.append(front)
    had_s = [sum(row_s[s] for row_s in weights_us) for s in range(positions)]
    total = max(sum(had_s), least_mass)
    share = mean(entropies) / math.log(max(positions, 2))
    stuck = len(peaks) >= least and len(set(peaks)) == 1
    return {
        "entropy": mean(entropies),
        "diffuse": share,
        "back": mean([move < 0 for move in moves]),
        "behind": mean(behind),
        "skip": max([*moves, 0]) / positions,
        "coverage": sum(min(had, sum(had_s) / positions) for had in had_s) / total,
        "again": sum(max(had - 1, 0) for had in had_s) / total,
        "diagonal": mean(near),
        "lag": lag(fronts, positions),
        "collapsed": float(min(steps, positions) >= least and (share > diffuse or stuck)),
    }


def lag(fronts, positions):
    """Average lagging: the mean over steps 1 ... tau of g(i) - (i - 1) / r, tau the first to have read everything."""
    steps, waits = len(fronts), []
    for i, front in enumerate(fronts, start=1):
        waits.append(front + 1 - (i - 1) * positions / steps)
        if front + 1 == positions:
            break
    return mean(waits)


def mean(values):
    return sum(values) / len(values) if values else 0.0
