"""The choice of shapes with two token limits for each length, for transcripts that differ much at one length.

Utterances of a range of lengths share a padded length. Those with few tokens have a shape of their own, with a lower limit.
The ranges and the limits of least padded work are found by dynamic programming.
"""

import math

import numpy as np
from jaxtyping import Float64, Int64

from jaxasr.data.batching.joint_buckets import PaddedWork

_MOST = 256  # candidates for a limit, and for a length; more are rounded up to so many


def best_grid(
    lengths: Int64[np.ndarray, " b"],
    tokens: Int64[np.ndarray, " b"],
    weights: Float64[np.ndarray, " b"],
    count: int,
    work: PaddedWork,
) -> list[tuple[int, int]]:
    """Returns pairs of length and token limit: at most `count` lengths, from short to long, with at most two limits each.

    An utterance belongs to the first length that holds it and there to the first limit that holds it. The padded work is the
    least for lengths and limits among at most 256 candidates each.
    """
    edges, edge_ids = np.unique(_rounded(lengths), return_inverse=True)
    limits, limit_ids = np.unique(_rounded(tokens), return_inverse=True)
    cells = edge_ids * len(limits) + limit_ids
    shape = (len(edges), len(limits))
    table = np.bincount(cells, weights, len(edges) * len(limits)).reshape(shape)
    counts = np.bincount(cells, minlength=len(edges) * len(limits)).reshape(shape)
    cost, lower = _costs(table, counts, edges, limits, work)
    pairs: list[tuple[int, int]] = []
    for first, last in _ranges(cost, count):
        here = (edge_ids >= first) & (edge_ids <= last)
        length = int(lengths[here].max())
        few = here & (limit_ids <= lower[first, last])
        highest = int(tokens[here].max())
        lowest = int(tokens[few].max(initial=0)) or highest
        pairs += [(length, limit) for limit in sorted({lowest, highest})]
    return pairs


def _costs(
    table: Float64[np.ndarray, "edges limits"],
    counts: Int64[np.ndarray, "edges limits"],
    edges: Int64[np.ndarray, " edges"],
    limits: Int64[np.ndarray, " limits"],
    work: PaddedWork,
) -> tuple[Float64[np.ndarray, "edges edges"], Int64[np.ndarray, "edges edges"]]:
    """Returns the least work of the lengths i ... j in the shapes of edge j, and the place of their lower limit."""
    before = np.vstack([np.zeros((1, len(limits))), table.cumsum(axis=0)])
    counts_before = np.vstack([np.zeros((1, len(limits)), np.int64), counts.cumsum(axis=0)])
    cost = np.full((len(edges), len(edges)), np.inf)
    lower = np.zeros((len(edges), len(edges)), np.int64)
    for first in range(len(edges)):
        within = (before[first + 1 :] - before[first]).cumsum(axis=1)
        held = counts_before[first + 1 :] - counts_before[first] > 0
        total = within[:, -1:]
        highest = limits[len(limits) - 1 - np.argmax(held[:, ::-1], axis=1)]
        padded = within * limits + (total - within) * highest[:, None]
        lower[first, first:] = padded.argmin(axis=1)
        audio = total[:, 0] * edges[first:] / work.mean_length
        cost[first, first:] = audio + padded.min(axis=1) / work.mean_tokens
    return cost, lower


def _ranges(cost: Float64[np.ndarray, "edges edges"], count: int) -> list[tuple[int, int]]:
    """Returns the first and last edge of at most `count` ranges of least cost that follow each other."""
    best = cost[0]
    back = []
    for _ in range(1, min(count, len(cost))):
        total = np.concatenate([[np.inf], best[:-1]])[:, None] + cost
        back.append(total.argmin(axis=0))
        best = total.min(axis=0)
    last = len(cost) - 1
    ranges = []
    for firsts in reversed(back):
        ranges.append((int(firsts[last]), last))
        last = int(firsts[last]) - 1
    return [(0, last), *reversed(ranges)]


def _rounded(values: Int64[np.ndarray, " b"]) -> Int64[np.ndarray, " b"]:
    """Returns the values, rounded up so that at most `_MOST` differ."""
    quantum = max(1, math.ceil(int(values.max()) / _MOST))
    return -(-values // quantum) * quantum
