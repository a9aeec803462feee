"""The joint choice of lengths and token limits of shapes, for corpora in which a few long transcripts would pad all others.

Shapes form a chain: the next one holds whatever the one before holds. So the utterances of shape k are those within
(length, limit) of shape k without those within shape k - 1, two lookups in a cumulative histogram, and the chain of least
padded work is found by dynamic programming.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

_EDGES = 24  # candidates for the lengths, and for the limits


@dataclass(frozen=True)
class PaddedWork:
    """A measure of padded work in which the audio and the tokens of a corpus count the same.

    The work of an utterance in a shape is the padded length over the mean length plus the padded tokens over the mean tokens.
    """

    mean_length: float
    mean_tokens: float

    @classmethod
    def of(cls, lengths: np.ndarray, tokens: np.ndarray, weights: np.ndarray) -> "PaddedWork":
        """Returns the measure for a corpus."""
        return cls(
            max(1.0, float(np.average(lengths, weights=weights))),
            max(1.0, float(np.average(tokens, weights=weights))),
        )

    def per_utterance(self, length: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Returns the work of one utterance in shapes of these sizes."""
        return length / self.mean_length + tokens / self.mean_tokens


def best_chain(
    lengths: Int64[np.ndarray, " b"],
    tokens: Int64[np.ndarray, " b"],
    weights: Float64[np.ndarray, " b"],
    count: int,
    work: PaddedWork,
) -> list[tuple[int, int]]:
    """Returns at most `count` pairs of length and token limit with the least padded work.

    Both increase or stay, and the last pair holds every utterance. The candidates are quantiles of the corpus and its
    largest values; among them the choice is exact.
    """
    length_edges = _edges(lengths, weights)
    token_edges = _edges(tokens, weights)
    table, _, _ = np.histogram2d(
        np.searchsorted(length_edges, lengths),
        np.searchsorted(token_edges, tokens),
        bins=(np.arange(len(length_edges) + 1), np.arange(len(token_edges) + 1)),
        weights=weights,
    )
    held = table.cumsum(axis=0).cumsum(axis=1).reshape(-1)  # utterances within each pair
    length_g = np.repeat(length_edges, len(token_edges))
    token_g = np.tile(token_edges, len(length_edges))
    price = work.per_utterance(length_g, token_g)
    follows = (length_g[:, None] <= length_g) & (token_g[:, None] <= token_g)  # [before, pair]
    added = np.where(follows, (held[None, :] - held[:, None]) * price[None, :], np.inf)
    cost = held * price
    back = []
    for _ in range(1, count):
        total = cost[:, None] + added
        back.append(total.argmin(axis=0))
        cost = total.min(axis=0)
    pair = len(price) - 1
    chain = [pair]
    for first in reversed(back):
        pair = int(first[pair])
        chain.append(pair)
    return [(int(length_g[i]), int(token_g[i])) for i in sorted(set(chain)) if held[i] > 0]


def _edges(values: Int64[np.ndarray, " b"], weights: Float64[np.ndarray, " b"]) -> Int64[np.ndarray, " edges"]:
    """Returns quantiles of the values, closer to each other at the top, and the largest value."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    wanted = 1 - np.concatenate([np.linspace(1, 0.1, _EDGES // 2), np.geomspace(0.1, 1e-4, _EDGES // 2)])
    picked = np.minimum(np.searchsorted(share, wanted[1:]), len(values) - 1)
    return np.unique(np.append(values[order][picked], values.max()))
