"""The static shape of a batch, the assignment of utterances to shapes, and the padding that a list of shapes causes."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int, Int64


@dataclass(frozen=True)
class Shape:
    """A static batch shape. Each shape is compiled once."""

    samples: int  # 0: transcripts alone
    tokens: int  # without the end
    examples: int

    @property
    def padded_length(self) -> int:
        """The padded length of one example: samples, or without audio the token positions, the end included."""
        return self.samples or self.tokens + 1


def assign_buckets(
    shapes: tuple[Shape, ...], samples: Int[np.ndarray, "*any"], tokens: Int[np.ndarray, "*any"]
) -> Int64[np.ndarray, "*any"]:
    """Returns the index of the first shape that holds each utterance; -1 if none does."""
    if any(after.tokens < before.tokens for before, after in pairwise(shapes)):
        first = np.full(samples.shape, -1, np.int64)
        for number, shape in reversed(list(enumerate(shapes))):
            first = np.where((samples <= shape.samples) & (tokens <= shape.tokens), number, first)
        return first
    by_samples = np.searchsorted([shape.samples for shape in shapes], samples)
    by_tokens = np.searchsorted([shape.tokens for shape in shapes], tokens)
    bucket_ids = np.maximum(by_samples, by_tokens)
    return np.where(bucket_ids < len(shapes), bucket_ids, -1)


def host_rows(shape: Shape, host: int, hosts: int) -> slice:
    """Returns the rows of a batch that a host reads.

    Raises:
      ValueError: the examples cannot be split evenly over the hosts.
    """
    rows, rest = divmod(shape.examples, hosts)
    if rest:
        raise ValueError(
            f"a batch of {shape.examples} examples cannot be split over {hosts} hosts: "
            f"give the shapes examples_multiple={hosts}, or a multiple of it"
        )
    return slice(host * rows, (host + 1) * rows)


def describe_shapes(
    shapes: tuple[Shape, ...],
    samples: Int[np.ndarray, " b"],
    tokens: Int[np.ndarray, " b"],
    weights: Float64[np.ndarray, " b"],
    *,
    rate_hz: int,
) -> str:
    """Formats a table with one line for each shape: its size, its share of the utterances, its shares of padding.

    The padding of tokens counts the ends of the transcripts.
    """
    bucket_ids = assign_buckets(shapes, samples, tokens)
    lengths = samples if shapes[-1].samples else tokens + 1
    held = np.where(bucket_ids >= 0, weights, 0.0)
    lines = [f"{'seconds':>9} {'tokens':>7} {'examples':>9} {'utterances':>11} {'padding':>8} {'of tokens':>10}"]
    for bucket_id, shape in enumerate(shapes):
        here = np.where(bucket_ids == bucket_id, weights, 0.0)
        lines.append(
            f"{shape.samples / rate_hz:9.2f} {shape.tokens:7d} {shape.examples:9d} "
            f"{_share(here.sum(), held.sum()):>11} {_share(*_padded(here, lengths, shape.padded_length)):>8} "
            f"{_share(*_padded(here, tokens + 1, shape.tokens + 1)):>10}"
        )
    capacities = np.array([shape.padded_length for shape in shapes])[bucket_ids]
    limits = np.array([shape.tokens + 1 for shape in shapes])[bucket_ids]
    padding = f"{_share(*_padded(held, lengths, capacities)):>8} {_share(*_padded(held, tokens + 1, limits)):>10}"
    return "\n".join([*lines, f"{'all':>9} {'':>7} {'':>9} {'':>11} {padding}"])


def _padded(weights: np.ndarray, lengths: np.ndarray, capacity: np.ndarray | int) -> tuple[float, float]:
    """Returns the weighted padding and the weighted total."""
    total = (weights * capacity).sum()
    return total - (weights * lengths).sum(), total


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2%}" if whole else "-"
